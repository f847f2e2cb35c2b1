// From slice to slice: by wheel, key, scrubber and by itself; and the point where the planes meet.

import { imageIn } from "./images.js";
import { isReady } from "./slices.js";
import { restAt } from "./scan.js";
import { changed, openScan, view } from "./state.js";
import { say } from "./speech.js";

const CINE_MS = 100;
let playing = 0; // the timer of the cine
let forth = 1; // its direction

export const isPlaying = () => Boolean(playing);

export function goTo(index) {
  const scan = openScan();
  if (!scan || scan.slices < 2) return false;
  const to = Math.min(Math.max(index, 0), scan.slices - 1);
  if (to === view.index) return;
  view.index = to;
  if (view.point) view.point = [view.point[0], view.point[1], to + 0.5];
  if (view.cursor) view.cursor = [view.cursor[0], view.cursor[1], to + 0.5];
  if (!playing) {
    restAt(to);
    const word = isReady(scan, "translated", to) ? "" : ", not translated yet";
    say(`Slice ${to + 1} of ${scan.slices}${word}`);
  }
  changed();
}

export const moveSlice = (steps) => goTo(view.index + steps);

// Let the planes meet at a voxel; the slice follows.
export function meetAt(voxel) {
  const { width, height, slices } = openScan();
  const most = [width, height, slices];
  view.point = voxel.map((at, i) => Math.min(Math.max(at, 0.5), most[i] - 0.5));
  const index = Math.floor(view.point[2]);
  if (index !== view.index) {
    view.index = index;
    restAt(index);
  }
  changed();
}

// Back and forth through the slices that are here.
export function playOrStop() {
  if (playing) {
    clearInterval(playing);
    playing = 0;
    restAt(view.index);
  } else if (openScan()?.slices > 1) {
    playing = setInterval(playNext, CINE_MS);
  } else {
    return false;
  }
  say(playing ? "Playing" : "Stopped");
  changed();
}

function playNext() {
  for (const way of [forth, -forth]) {
    const next = view.index + way;
    if (next < 0 || next >= openScan().slices) continue;
    forth = way;
    goTo(next);
    if (imageIn("original").pixels) return;
  }
}

// The scrubber beside the panels, its track marked where slices are translated.
export function showScrubber(scrubber) {
  const scan = openScan();
  scrubber.hidden = !scan || scan.slices < 2;
  if (scrubber.hidden) return;
  const [slider, number] = [scrubber.querySelector("input"), scrubber.querySelector("output")];
  Object.assign(slider, { max: scan.slices, value: view.index + 1 });
  slider.setAttribute("aria-valuetext", `slice ${view.index + 1} of ${scan.slices}`);
  number.textContent = `${view.index + 1}\nof ${scan.slices}`;
  const stops = scan.ready.flatMap(([first, last]) => {
    const [from, to] = [first, last + 1].map((at) => `${(100 * at) / scan.slices}%`);
    return [`transparent ${from}`, `var(--ready) ${from}`, `var(--ready) ${to}`, `transparent ${to}`];
  });
  const ready = `linear-gradient(to bottom, ${["transparent 0%", ...stops, "transparent 100%"].join()})`;
  // A mark where measures are.
  const marks = [...new Set(view.measures.filter(({ plane }) => plane === "axial").map(({ at }) => at))].map((at) => {
    const [from, to] = [at + 0.3, at + 0.7].map((where) => `${(100 * where) / scan.slices}%`);
    return `linear-gradient(to bottom, transparent ${from}, #ffe14d ${from}, #ffe14d ${to}, transparent ${to})`;
  });
  scrubber.style.setProperty("--track", [...marks, ready].join());
}
