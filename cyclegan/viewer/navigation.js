// Through the scan: from slice to slice by wheel, key, scrubber and by itself; where the planes meet; zoom and pan.

import { isReady } from "./cache.js";
import { clamp } from "./geometry.js";
import { imageIn } from "./images.js";
import { frontOf, geometry } from "./panels.js";
import { restAt } from "./scan.js";
import { openScan, say, update, view } from "./state.js";

const ZOOM_LIMITS = [0.5, 20];
const CINE_MS = 100;
let playing = 0; // the timer of the cine
let forth = 1; // its direction

export const isPlaying = () => Boolean(playing);

/** @param {number} index */
export function goTo(index) {
  const scan = openScan();
  if (!scan || scan.slices < 2) return false;
  const to = clamp(index, 0, scan.slices - 1);
  if (to === view.index) return;
  const { point, cursor } = view;
  update({
    index: to, point: point && [point[0], point[1], to + 0.5], cursor: cursor && [cursor[0], cursor[1], to + 0.5],
  });
  if (playing) return;
  restAt(to);
  say(`Slice ${to + 1} of ${scan.slices}${isReady(scan, "translated", to) ? "" : ", not translated yet"}`);
}

/** @param {number} steps */
export const moveSlice = (steps) => goTo(view.index + steps);

// Let the planes meet at a voxel; the slice follows.
/** @param {Voxel} voxel */
export function meetAt([x, y, z]) {
  const { width, height, slices } = /** @type {Scan} */ (openScan());
  /** @type {Voxel} */
  const point = [clamp(x, 0.5, width - 0.5), clamp(y, 0.5, height - 0.5), clamp(z, 0.5, slices - 0.5)];
  const index = Math.floor(point[2]);
  if (index !== view.index) restAt(index);
  update({ point, index });
}

// So many steps along the normal of a panel's plane.
/** @param {Panel} panel @param {number} steps */
export function through({ plane }, steps) {
  if (plane === "axial" || !view.point) return moveSlice(steps);
  const [x, y, z] = view.point;
  meetAt(plane === "coronal" ? [x, y + steps, z] : [x + steps, y, z]);
}

// Back and forth through the slices that are here.
export function playOrStop() {
  if (playing) {
    clearInterval(playing);
    playing = 0;
    restAt(view.index);
  } else if ((openScan()?.slices ?? 1) > 1) {
    playing = setInterval(playNext, CINE_MS);
  } else {
    return false;
  }
  update({}, playing ? "Playing" : "Stopped");
}

function playNext() {
  for (const way of [forth, -forth]) {
    const next = view.index + way;
    if (next < 0 || next >= (openScan()?.slices ?? 1)) continue;
    forth = way;
    goTo(next);
    if (imageIn("original").pixels) return;
  }
}

// ---------------------------------------------------------------- zoom and pan

// All panels zoom; the point `at` of the panel stays where it is on the screen.
/** @param {number} factor @param {Panel} [panel] @param {Point} [at] */
export function zoomBy(factor, panel, at) {
  const zoom = clamp(view.zoom * factor, ZOOM_LIMITS[0], ZOOM_LIMITS[1]);
  if (panel && at) {
    const { frame: { box } } = frontOf(panel);
    const pan = view.pan[panel.plane];
    const share = 1 - view.zoom / zoom;
    for (const i of [0, 1]) pan[i] += (at[i] - (box[i] + box[i + 2]) / 2 - pan[i]) * share;
  }
  update({ zoom }, `Zoom ${Math.round(zoom * 100)} %`);
}

// In CSS pixels of the panel.
/** @param {Panel} panel @param {number} dx @param {number} dy */
export function panBy(panel, dx, dy) {
  const density = panel.canvas.width / panel.canvas.clientWidth;
  const g = geometry(panel);
  const pan = view.pan[panel.plane];
  pan[0] -= (dx * density) / g.x;
  pan[1] -= (dy * density) / g.y;
  update({});
}

// ---------------------------------------------------------------- the scrubber

// Beside the panels, its track marked where slices are translated.
/** @param {HTMLElement} scrubber */
export function showScrubber(scrubber) {
  const scan = openScan();
  scrubber.hidden = !scan || scan.slices < 2;
  if (!scan || scrubber.hidden) return;
  const slider = /** @type {HTMLInputElement} */ (scrubber.querySelector("input"));
  Object.assign(slider, { max: scan.slices, value: view.index + 1 });
  slider.setAttribute("aria-valuetext", `slice ${view.index + 1} of ${scan.slices}`);
  const digits = String(scan.slices).length; // as many always: nothing moves
  const counter = /** @type {Element} */ (scrubber.querySelector("output"));
  counter.textContent = `${String(view.index + 1).padStart(digits, "\u2007")}\nof ${scan.slices}`;
  /** @param {string} colour @param {number} first @param {number} end */
  const band = (colour, first, end) => {
    const [from, to] = [first, end].map((at) => `${(100 * at) / scan.slices}%`);
    return `linear-gradient(transparent ${from}, ${colour} ${from}, ${colour} ${to}, transparent ${to})`;
  };
  const measured = new Set(view.measures.filter(({ plane }) => plane === "axial").map(({ at }) => at));
  const marks = [...measured].map((at) => band("#ffe14d", at + 0.3, at + 0.7));
  const track = [...marks, ...scan.ready.map(([first, last]) => band("var(--ready)", first, last + 1))].join();
  if (scrubber.dataset.track === track) return;
  scrubber.dataset.track = track;
  scrubber.style.setProperty("--track", track || "none");
}
