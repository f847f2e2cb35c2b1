// Keys, wherever the focus is outside of text fields.

import { moveCompared, releaseBlink } from "./compare.js";
import { toPlane, toVoxel } from "./geometry.js";
import { enlarge } from "./layout.js";
import { windowBy } from "./look.js";
import * as measures from "./measures.js";
import { valueWords } from "./draw.js";
import { activePanel, frontOf } from "./panels.js";
import { panBy, through } from "./pointer.js";
import { meetAt, moveSlice, playOrStop } from "./scroll.js";
import { changed, openScan, view } from "./state.js";
import { say } from "./speech.js";
import { isThere, toolOfKey } from "./tools.js";

const ARROWS = { ArrowUp: [0, -1], ArrowDown: [0, 1], ArrowLeft: [-1, 0], ArrowRight: [1, 0] };
// With the words of the help; tools.js has the others.
export const KEYS = {
  Home: () => moveSlice(-Infinity),
  End: () => moveSlice(Infinity),
  PageUp: () => moveSlice(-1),
  PageDown: () => moveSlice(1),
  "=": () => toolOfKey.get("+").act(),
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
  z: () => measures.undo(),
  Delete: (panel, { shiftKey }) => measures.remove(shiftKey),
  Backspace: (panel, { shiftKey }) => measures.remove(shiftKey),
  c: steer,
  Escape: (panel) => (view.steering ? steer(panel) : false),
};

// ---------------------------------------------------------------- cross-hair

function steer(panel) {
  view.steering = !view.steering;
  const scan = openScan();
  view.cursor = view.steering && !view.planes
    ? [Math.floor(scan.width / 2) + 0.5, Math.floor(scan.height / 2) + 0.5, view.index + 0.5] : null;
  if (view.steering) sayValue(panel);
  else say("Cross-hair off");
  changed();
}

function moveCursor(panel, [dx, dy], isFar) {
  const { frame } = frontOf(panel);
  const from = view.planes ? view.point : view.cursor;
  const step = isFar ? 10 : 1;
  const [u, v] = toPlane(frame, from);
  const clamp = (at, most) => Math.min(Math.max(at, 0.5), most - 0.5);
  const to = [clamp(u + dx * step, frame.width), clamp(v + dy * step, frame.height)];
  const voxel = toVoxel(frame, to, from);
  if (view.planes) meetAt(voxel);
  else view.cursor = voxel;
  if (!measures.follow(to)) sayValue(panel);
  changed();
}

function sayValue(panel) {
  const at = view.cursor || view.point;
  const [column, row] = at.map((each) => Math.floor(each) + 1);
  say(`Column ${column}, row ${row}: ${valueWords(panel, frontOf(panel), at)}`);
}

function measureBy(panel, kind) {
  if (!view.steering) return false;
  measures.anchor(kind, panel, toPlane(frontOf(panel).frame, view.cursor || view.point));
}

// ---------------------------------------------------------------- pressing

function arrow(panel, event) {
  const [dx, dy] = ARROWS[event.key];
  if (view.steering) return moveCursor(panel, [dx, dy], event.shiftKey);
  if (event.shiftKey) return panBy(panel, -20 * dx, -20 * dy);
  return dy ? through(view.planes ? panel : { plane: "axial" }, dy) : false;
}

// Fields and what else uses these keys itself.
function isTaken({ target, key }) {
  if (target.matches("textarea, select, [contenteditable], input:not([type=range], [type=radio], [type=checkbox])")) return true;
  if (target.closest("[popover], dialog")) return true;
  if (target.matches("input:not([type=range])")) return key === " "; // Gradio's radio buttons are groups of one
  if (target.matches("input")) return key in ARROWS || ["Home", "End", "PageUp", "PageDown", " "].includes(key);
  return target.matches("button, summary, a, [role=button]") && ["Enter", " "].includes(key);
}

export function listenToKeys() {
  document.addEventListener("keydown", (event) => {
    if (event.defaultPrevented || event.ctrlKey || event.metaKey || event.altKey || isTaken(event)) return;
    const panel = activePanel();
    if (!openScan() || !panel) return;
    const tool = toolOfKey.get(event.key.toLowerCase());
    const act = event.key in ARROWS ? arrow
      : KEYS[event.key] || (tool && isThere(tool) && (() => tool.act())) || KEYS[event.key.toLowerCase()];
    // Keys that do nothing here (arrows on a single slice) keep their meaning for the page.
    if (act && act(panel, event) !== false) event.preventDefault();
  });
  document.addEventListener("keyup", ({ key }) => key.toLowerCase() === "b" && releaseBlink());
  addEventListener("blur", releaseBlink);
}
