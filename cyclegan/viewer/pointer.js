// Mouse, pen and touch on the panels. One finger goes through the slices, two zoom and pan, one that rests first
// sets the window.

import { moveLine } from "./compare.js";
import { pick } from "./files.js";
import { enlarge } from "./layout.js";
import { windowBy } from "./look.js";
import * as measures from "./measures.js";
import { activePanel, frontOf, geometry, panels, pointAt, voxelAt } from "./panels.js";
import { isFirstSight, openFiles } from "./scan.js";
import { meetAt, moveSlice } from "./scroll.js";
import { changed, openScan, view } from "./state.js";
import { say } from "./speech.js";

const ZOOM_LIMITS = [0.5, 20];
const LONG_PRESS_MS = 450;
const SLACK = 8; // CSS pixels that a resting finger may move
const CLICK = 4; // that a click may
const SWIPE = 24; // CSS pixels of a finger for one slice

export function zoomBy(factor, panel = null, at = null) {
  const zoom = Math.min(Math.max(view.zoom * factor, ZOOM_LIMITS[0]), ZOOM_LIMITS[1]);
  if (at) {
    // The point under the cursor stays under the cursor.
    const { frame: { box } } = frontOf(panel);
    const pan = view.pan[panel.plane];
    const keep = 1 - view.zoom / zoom;
    [0, 1].forEach((i) => (pan[i] += (at[i] - (box[i] + box[i + 2]) / 2 - pan[i]) * keep));
  }
  view.zoom = zoom;
  say(`Zoom ${Math.round(zoom * 100)} %`);
  changed();
}

export function panBy(panel, dx, dy) {
  const density = panel.canvas.width / panel.canvas.clientWidth;
  const g = geometry(panel);
  const pan = view.pan[panel.plane];
  pan[0] -= (dx * density) / g.x;
  pan[1] -= (dy * density) / g.y;
  changed();
}

// What a drag that begins like this one does.
function actOf(event) {
  if (view.mode === "swipe" && event.button === 0 && !event.shiftKey) return "line";
  if (event.button === 2) return "zoom";
  if (event.button === 1 || event.shiftKey) return "pan";
  return view.planes && view.tool === "window" ? "meet" : view.tool;
}

function lineFollows(panel, event) {
  const box = panel.canvas.getBoundingClientRect();
  moveLine((event.clientX - box.left) / box.width);
}

const DRAGS = {
  window: (panel, { at }, to) => {
    const { clientWidth, clientHeight } = panel.canvas;
    windowBy(panel, (to.clientX - at[0]) / clientWidth, (at[1] - to.clientY) / clientHeight);
  },
  pan: (panel, { at }, to) => panBy(panel, to.clientX - at[0], to.clientY - at[1]),
  zoom: (panel, { at, begun }, to) => zoomBy(Math.exp((at[1] - to.clientY) / 150), panel, begun),
  line: (panel, _, to) => lineFollows(panel, to),
  meet: (panel, _, to) => meetAt(voxelAt(panel, to)),
  grip: (panel, { grip }, to) => measures.move(grip.id, grip.end, pointAt(panel, to)),
  slices: (panel, pointer, to) => {
    const steps = Math.trunc((to.clientY - pointer.at[1]) / SWIPE);
    if (!steps) return true; // `at` stays
    moveSlice(steps);
  },
};

function startOf(panel, event) {
  const begun = pointAt(panel, event);
  const pointer = { at: [event.clientX, event.clientY], from: [event.clientX, event.clientY], begun, act: actOf(event) };
  const box = panel.canvas.getBoundingClientRect();
  const grip = event.button === 0 && measures.grip(panel, begun, (geometry(panel).x * box.width) / panel.canvas.width);
  if (grip) {
    measures.note();
    Object.assign(pointer, { act: "grip", grip });
  } else if (["ruler", "region"].includes(pointer.act)) {
    Object.assign(pointer, { grip: { id: measures.begin(pointer.act, panel, begun), end: "to" }, act: "grip", isNew: true });
  }
  return pointer;
}

export function listen(panel) {
  const { canvas } = panel;
  const pointers = new Map(); // id -> {at, from, begun, act}
  let wheelTravel = 0;
  let resting = 0;

  const hasImage = () => Boolean(openScan());
  const isOpener = () => !openScan() || isFirstSight();

  canvas.addEventListener("pointerdown", (event) => {
    view.active = panel.name;
    if (!hasImage()) return;
    const isTouch = event.pointerType === "touch";
    clearTimeout(resting);
    const pointer = startOf(panel, event);
    if (pointer.act === "meet") DRAGS.meet(panel, pointer, event);
    if (isTouch && pointer.act === "window") {
      pointer.act = "slices";
      resting = setTimeout(() => {
        pointer.act = "window";
        say("Drag changes the window");
      }, LONG_PRESS_MS);
    }
    pointers.set(event.pointerId, pointer);
    if (pointers.size > 1) clearTimeout(resting); // two fingers zoom
    canvas.setPointerCapture(event.pointerId);
    canvas.focus({ preventScroll: true });
    event.preventDefault(); // the middle button would start the browser's own scrolling
  });

  canvas.addEventListener("pointermove", (event) => {
    if (!hasImage()) return;
    const pointer = pointers.get(event.pointerId);
    if (event.pointerType !== "touch" || (pointer && pointer.act !== "slices")) view.cursor = voxelAt(panel, event);
    if (view.mode === "swipe" && event.pointerType === "mouse" && !event.buttons) lineFollows(panel, event);
    if (pointer) drag(pointer, event);
    changed();
  });

  function drag(pointer, event) {
    const { at } = pointer;
    const moved = Math.hypot(event.clientX - pointer.from[0], event.clientY - pointer.from[1]);
    if (moved > SLACK) clearTimeout(resting);
    const others = [...pointers.values()].filter((each) => each !== pointer);
    if (others.length) {
      const [ox, oy] = others[0].at;
      const before = Math.hypot(at[0] - ox, at[1] - oy) || 1;
      zoomBy(Math.hypot(event.clientX - ox, event.clientY - oy) / before);
      panBy(panel, (event.clientX - at[0]) / 2, (event.clientY - at[1]) / 2);
    } else if (DRAGS[pointer.act](panel, pointer, event)) {
      return;
    }
    pointer.at = [event.clientX, event.clientY];
  }

  const release = (event) => {
    clearTimeout(resting);
    const pointer = pointers.get(event.pointerId);
    pointers.delete(event.pointerId);
    if (pointer?.grip) measures.end(pointer.grip.id);
    if (event.pointerType === "touch") view.cursor = null;
    changed();
  };
  canvas.addEventListener("pointerup", release);
  canvas.addEventListener("pointercancel", release);
  canvas.addEventListener("pointerleave", () => {
    if (view.steering) return;
    view.cursor = null;
    changed();
  });
  let pressed = null; // where a press began that may become a click
  canvas.addEventListener("pointerdown", ({ clientX, clientY, button }) => (pressed = button === 0 ? [clientX, clientY] : null));
  canvas.addEventListener("click", ({ clientX, clientY }) => {
    const isStill = !pressed || Math.hypot(clientX - pressed[0], clientY - pressed[1]) < CLICK;
    if (isStill && isOpener()) pick(false, openFiles);
  });
  canvas.addEventListener("contextmenu", (event) => event.preventDefault()); // the right button zooms
  canvas.addEventListener("dblclick", () => hasImage() && !isOpener() && !view.planes && enlarge());
  canvas.addEventListener("focus", () => (view.active = panel.name));
  canvas.addEventListener("wheel", (event) => {
    if (!hasImage()) return;
    event.preventDefault();
    if (event.ctrlKey || event.metaKey) return zoomBy(Math.exp(-event.deltaY / 300), panel, pointAt(panel, event));
    // A mouse notch is one slice; a trackpad's small steps add up to one.
    wheelTravel += event.deltaMode === 0 ? event.deltaY / 50 : event.deltaY;
    const steps = Math.sign(Math.trunc(wheelTravel));
    if (!steps) return;
    wheelTravel = 0;
    through(panel, steps);
  }, { passive: false });
  new ResizeObserver(changed).observe(canvas);
}

// One step along the normal of the panel's plane.
export function through(panel, steps) {
  if (panel.plane === "axial") return moveSlice(steps);
  const axis = panel.plane === "coronal" ? 1 : 0;
  meetAt(view.point.map((at, i) => (i === axis ? at + steps : at)));
}

export const listenAll = () => panels.forEach(listen);
export { activePanel };
