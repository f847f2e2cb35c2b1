// Mouse, pen and touch on the panels. One finger goes through the slices, two zoom and pan, one that rests first
// sets the window.

import { pick } from "./files.js";
import { enlarge, frontOf, geometry, moveLine, panels, pointAt, voxelAt } from "./panels.js";
import * as measures from "./measures.js";
import { meetAt, moveSlice, panBy, through, zoomBy } from "./navigation.js";
import { isFirstSight, openFiles } from "./scan.js";
import { changed, openScan, say, view } from "./state.js";
import { windowBy } from "./windows.js";

const LONG_PRESS_MS = 450;
const SLACK = 8; // CSS pixels that a resting finger may move
const CLICK = 4; // that a click may
const SWIPE = 24; // CSS pixels of a finger for one slice

/** @typedef {{id: number, end: "from" | "to"}} Grip */
/**
 * A pointer that is down: where it was last, where it came down on the screen and on the image, and what its drag does.
 * @typedef {{at: Point, from: Point, begun: Point, act: string, grip?: Grip}} Pressed
 */

// What a drag that begins like this one does.
/** @param {PointerEvent} event */
function actOf(event) {
  if (view.mode === "swipe" && event.button === 0 && !event.shiftKey) return "line";
  if (event.button === 2) return "zoom";
  if (event.button === 1 || event.shiftKey) return "pan";
  return view.planes && view.tool === "window" ? "meet" : view.tool;
}

/** @param {Panel} panel @param {PointerEvent} event */
function lineFollows(panel, event) {
  const box = panel.canvas.getBoundingClientRect();
  moveLine((event.clientX - box.left) / box.width);
}

// What drags do; true leaves `at` where it is.
/** @type {Record<string, (panel: Panel, pressed: Pressed, to: PointerEvent) => unknown>} */
const DRAGS = {
  window: (panel, { at }, to) => {
    const { clientWidth, clientHeight } = panel.canvas;
    windowBy(panel, (to.clientX - at[0]) / clientWidth, (at[1] - to.clientY) / clientHeight);
  },
  pan: (panel, { at }, to) => panBy(panel, to.clientX - at[0], to.clientY - at[1]),
  zoom: (panel, { at, begun }, to) => zoomBy(Math.exp((at[1] - to.clientY) / 150), panel, begun),
  line: (panel, _, to) => lineFollows(panel, to),
  meet: (panel, _, to) => meetAt(voxelAt(panel, to)),
  grip: (panel, { grip }, to) => grip && measures.move(grip.id, grip.end, pointAt(panel, to)),
  slices: (_, { at }, to) => {
    const steps = Math.trunc((to.clientY - at[1]) / SWIPE);
    if (!steps) return true;
    moveSlice(steps);
  },
};

/** @param {Panel} panel @param {PointerEvent} event @returns {Pressed} */
function pressedAt(panel, event) {
  const begun = pointAt(panel, event);
  const act = actOf(event);
  /** @type {Point} */
  const at = [event.clientX, event.clientY];
  const scale = (geometry(panel).x * panel.canvas.clientWidth) / panel.canvas.width;
  const grip = event.button === 0 && measures.endAt(measures.measuresIn(panel.plane), begun, frontOf(panel).frame.aspect, scale);
  if (grip) {
    measures.note();
    return { at, from: at, begun, act: "grip", grip };
  }
  if (act !== "ruler" && act !== "region") return { at, from: at, begun, act };
  return { at, from: at, begun, act: "grip", grip: { id: measures.begin(act, panel.plane, begun), end: "to" } };
}

/** @param {Panel} panel */
export function listen(panel) {
  const { canvas } = panel;
  /** @type {Map<number, Pressed>} */
  const pointers = new Map();
  let wheelTravel = 0;
  let resting = 0;
  /** @type {Point | null} */
  let clicked = null; // where a press began that may become a click

  const isOpener = () => !openScan() || isFirstSight();

  canvas.addEventListener("pointerdown", (event) => {
    clicked = event.button === 0 ? [event.clientX, event.clientY] : null;
    view.active = panel.name;
    if (!openScan()) return;
    clearTimeout(resting);
    const pressed = pressedAt(panel, event);
    if (pressed.act === "meet") DRAGS.meet(panel, pressed, event);
    if (event.pointerType === "touch" && pressed.act === "window") {
      pressed.act = "slices";
      resting = setTimeout(() => {
        pressed.act = "window";
        say("Drag changes the window");
      }, LONG_PRESS_MS);
    }
    pointers.set(event.pointerId, pressed);
    if (pointers.size > 1) clearTimeout(resting); // two fingers zoom
    canvas.setPointerCapture(event.pointerId);
    canvas.focus({ preventScroll: true });
    event.preventDefault(); // the middle button would start the browser's own scrolling
  });

  canvas.addEventListener("pointermove", (event) => {
    if (!openScan()) return;
    const pressed = pointers.get(event.pointerId);
    if (event.pointerType !== "touch" || (pressed && pressed.act !== "slices")) view.cursor = voxelAt(panel, event);
    if (view.mode === "swipe" && event.pointerType === "mouse" && !event.buttons) lineFollows(panel, event);
    if (pressed) drag(pressed, event);
    changed();
  });

  /** @param {Pressed} pressed @param {PointerEvent} event */
  function drag(pressed, event) {
    const { at, from } = pressed;
    if (Math.hypot(event.clientX - from[0], event.clientY - from[1]) > SLACK) clearTimeout(resting);
    const beside = [...pointers.values()].find((each) => each !== pressed);
    if (beside) {
      const [x, y] = beside.at;
      const before = Math.hypot(at[0] - x, at[1] - y) || 1;
      zoomBy(Math.hypot(event.clientX - x, event.clientY - y) / before);
      panBy(panel, (event.clientX - at[0]) / 2, (event.clientY - at[1]) / 2);
    } else if (DRAGS[pressed.act](panel, pressed, event) === true) {
      return;
    }
    pressed.at = [event.clientX, event.clientY];
  }

  /** @param {PointerEvent} event */
  const release = (event) => {
    clearTimeout(resting);
    const grip = pointers.get(event.pointerId)?.grip;
    pointers.delete(event.pointerId);
    if (grip) measures.end(grip.id);
    if (event.pointerType === "touch") view.cursor = null;
    changed();
  };
  canvas.addEventListener("lostpointercapture", release);
  canvas.addEventListener("pointerleave", () => {
    if (view.steering) return;
    view.cursor = null;
    changed();
  });
  canvas.addEventListener("click", ({ clientX, clientY }) => {
    const isStill = !clicked || Math.hypot(clientX - clicked[0], clientY - clicked[1]) < CLICK;
    if (isStill && isOpener()) pick(false, openFiles);
  });
  canvas.addEventListener("contextmenu", (event) => event.preventDefault()); // the right button zooms
  canvas.addEventListener("dblclick", () => !isOpener() && !view.planes && enlarge());
  canvas.addEventListener("focus", () => {
    view.active = panel.name;
  });
  canvas.addEventListener("wheel", (event) => {
    if (!openScan()) return;
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

export const listenAll = () => panels.forEach(listen);
