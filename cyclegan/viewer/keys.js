// Keys, wherever the focus is outside of text fields.

import { valueWords } from "./draw.js";
import { clamp, toPlane, toVoxel } from "./geometry.js";
import { activePanel, enlarge, frontOf, moveCompared, releaseBlink } from "./panels.js";
import * as measures from "./measures.js";
import { meetAt, moveSlice, panBy, playOrStop, through } from "./navigation.js";
import { openScan, recall, remember, say, update, view } from "./state.js";
import { isThere, toolOfKey } from "./tools.js";
import { windowBy } from "./windows.js";

const OFF = "single keys off"; // the user's choice, in this browser
/** @type {Record<string, Point>} */
const ARROWS = { ArrowUp: [0, -1], ArrowDown: [0, 1], ArrowLeft: [-1, 0], ArrowRight: [1, 0] };
const OWN = [...Object.keys(ARROWS), "Home", "End", "PageUp", "PageDown", " "]; // of sliders
// With the words of the help; tools.js has the others.
/** @type {Record<string, (panel: Panel, event: KeyboardEvent) => unknown>} */
export const KEYS = {
  Home: () => moveSlice(-Infinity),
  End: () => moveSlice(Infinity),
  PageUp: () => moveSlice(-1),
  PageDown: () => moveSlice(1),
  "=": () => toolOfKey.get("+")?.act?.(),
  Enter: enlarge,
  w: (panel) => windowBy(panel, 0.05, 0),
  W: (panel) => windowBy(panel, -0.05, 0),
  l: (panel) => windowBy(panel, 0, 0.05),
  L: (panel) => windowBy(panel, 0, -0.05),
  "[": () => moveCompared(-0.05),
  "]": () => moveCompared(0.05),
  " ": playOrStop,
  m: (panel) => measureBy(panel, "ruler"),
  r: (panel) => measureBy(panel, "region"),
  z: measures.undo,
  Delete: (_, { shiftKey }) => measures.remove(shiftKey),
  Backspace: (_, { shiftKey }) => measures.remove(shiftKey),
  c: steer,
  Escape: (panel) => (view.steering ? steer(panel) : false),
};
/** @type {Record<string, string>} */
export const HELP = {
  "↑ ↓": "slice; Home, End: first, last; Space: play", "W, L": "window wider, level up; with Shift the other way",
  "Shift + arrows": "pan", "[ ]": "swipe line, opacity", Enter: "one image alone, and back",
  C: "cross-hair, moved by the arrows, with Shift by ten pixels", "M, R": "ruler or region from there",
  "Delete, Z": "remove the last measure (with Shift all), undo",
};

// ---------------------------------------------------------------- cross-hair

/** @param {Panel} panel */
function steer(panel) {
  const { width, height } = /** @type {Scan} */ (openScan());
  const steering = !view.steering;
  const middle = /** @type {Voxel} */ ([Math.floor(width / 2) + 0.5, Math.floor(height / 2) + 0.5, view.index + 0.5]);
  update({ steering, cursor: steering && !view.planes ? middle : null });
  if (steering) sayValue(panel);
  else say("Cross-hair off");
}

// Where the cross-hair is.
const crosshair = () => /** @type {Voxel} */ (view.planes ? view.point : view.cursor);

/** @param {Panel} panel @param {Point} direction @param {number} step */
function moveCrosshair(panel, [dx, dy], step) {
  const { frame } = frontOf(panel);
  const [u, v] = toPlane(frame, crosshair());
  /** @type {Point} */
  const to = [clamp(u + dx * step, 0.5, frame.width - 0.5), clamp(v + dy * step, 0.5, frame.height - 0.5)];
  const voxel = toVoxel(frame, to, crosshair());
  if (view.planes) meetAt(voxel);
  else update({ cursor: voxel });
  if (!measures.follow(to)) sayValue(panel);
}

/** @param {Panel} panel */
function sayValue(panel) {
  const at = crosshair();
  const [column, row] = at.map((each) => Math.floor(each) + 1);
  say(`Column ${column}, row ${row}: ${valueWords(panel, frontOf(panel), at)}`);
}

/** @param {Panel} panel @param {"ruler" | "region"} kind */
function measureBy(panel, kind) {
  if (!view.steering) return false;
  measures.anchor(kind, panel.plane, toPlane(frontOf(panel).frame, crosshair()));
}

// ---------------------------------------------------------------- pressing

/** @param {Panel} panel @param {KeyboardEvent} event */
function arrow(panel, event) {
  const [dx, dy] = ARROWS[event.key];
  if (view.steering) return moveCrosshair(panel, [dx, dy], event.shiftKey ? 10 : 1);
  if (event.shiftKey) return panBy(panel, -20 * dx, -20 * dy);
  return dy ? through(panel, dy) : false;
}

// Fields, and what else uses a key itself.
/** @param {Element} target @param {string} key */
function isTaken(target, key) {
  if (target.matches("textarea, select, [contenteditable], input:not([type=range], [type=radio], [type=checkbox])")) return true;
  if (target.closest("[popover], dialog")) return key.length > 1 || key === " "; // they scroll, close, are gone through
  if (target.matches("input[type=range]")) return OWN.includes(key);
  if (target.matches("input")) return key === " "; // Gradio's radio buttons are groups of one
  return target.matches("button, summary, a, [role=button]") && ["Enter", " "].includes(key);
}

/** @param {KeyboardEvent} event */
function press(event) {
  const { key, target } = event;
  if (event.defaultPrevented || event.ctrlKey || event.metaKey || event.altKey) return;
  if (target instanceof Element && isTaken(target, key)) return;
  if (key.length === 1 && key !== " " && recall("localStorage", OFF)) return;
  const panel = activePanel();
  if (!openScan() || !panel) return;
  const tool = toolOfKey.get(key.toLowerCase());
  const act = key in ARROWS ? arrow
    : KEYS[key] || (tool && isThere(tool) && (() => tool.act?.())) || KEYS[key.toLowerCase()];
  // Keys that do nothing here (arrows on a single slice) keep their meaning for the page.
  if (act && act(panel, event) !== false) event.preventDefault();
}

// `choice`: the box in the help that switches keys of one character off (WCAG 2.1.4).
/** @param {HTMLInputElement} choice */
export function listenToKeys(choice) {
  choice.checked = !recall("localStorage", OFF);
  choice.addEventListener("change", () => remember("localStorage", OFF, choice.checked ? "" : "yes"));
  document.addEventListener("keydown", press);
  document.addEventListener("keyup", ({ key }) => key.toLowerCase() === "b" && releaseBlink());
  addEventListener("blur", releaseBlink);
}
