// Windows of the images on screen, chosen by preset, drag and key.

import { toImage } from "./geometry.js";
import { imageIn } from "./images.js";
import { activePanel, frontOf, geometry } from "./panels.js";
import { changed, openScan, unpanned, update, view } from "./state.js";
import { adjusted, byPreset, inUnits, isMap, opening, PRESETS, windowWords } from "./windows.js";

/** @typedef {"source" | "target"} Grey */
/** @type {Grey[]} */
let waiting = []; // groups whose window is chosen as soon as their image is here
/** @type {Partial<Windows>} */
const opened = {}; // windows as the scan opened and its result came: what a reset goes back to

// For a scan that was opened, or a result that is new.
/** @param {Grey[]} groups */
export function openWindows(groups) {
  const isScan = groups.includes("source");
  if (isScan || !view.windows) {
    view.windows = opening();
    view.inverted = false;
  }
  if (isScan || ["hand", "auto"].includes(view.preset)) view.preset = "brain";
  waiting = [...new Set([...waiting, ...groups])];
  changed();
}

/** @param {ImageName} name */
function withSize(name) {
  const { pixels, frame } = imageIn(name);
  return pixels && { ...frame, pixels };
}

// Choose the windows that wait for their images; called before each drawing.
export function settle() {
  const scan = openScan();
  const source = waiting.length && scan ? withSize("original") : null;
  if (!scan || !source || !view.windows) return;
  const images = { source, target: waiting.includes("target") ? withSize("translated") : null };
  const arrived = waiting.filter((group) => images[group]);
  if (!arrived.length) return; // what follows takes long
  const first = byPreset("brain", images, scan.window, null);
  const windows = view.preset === "brain" ? first : byPreset(view.preset, images, scan.window, null);
  for (const group of arrived) {
    opened[group] = first[group];
    const chosen = windows[group] ?? first[group];
    if (chosen) view.windows[group] = { ...chosen };
  }
  waiting = waiting.filter((group) => !images[group]);
}

/** @param {string} preset */
export function choosePreset(preset) {
  const scan = openScan();
  const source = withSize("original");
  if (preset === "hand" || !scan || !source || !view.windows) return;
  const images = { source, target: withSize("translated") };
  Object.assign(view.windows, structuredClone(byPreset(preset, images, scan.window, rectangleInView())));
  update({ preset }, `${PRESETS[preset].title}. ${windowWords("source", view.windows.source, scan.units)}`);
}

// Of the active panel, in pixels of its slice.
/** @returns {Box} */
function rectangleInView() {
  const panel = activePanel();
  const { width, height } = frontOf(panel).frame;
  const g = geometry(panel);
  /** @param {number} at @param {number} most */
  const within = (at, most) => Math.round(Math.min(Math.max(at, 0), most));
  const [left, top] = toImage(g, [0, 0]);
  const [right, bottom] = toImage(g, [panel.canvas.width, panel.canvas.height]);
  return [within(left, width), within(top, height), within(right, width), within(bottom, height)];
}

/** @param {Panel} panel @param {number} widen @param {number} raise */
export function windowBy(panel, widen, raise) {
  const scan = openScan();
  if (!view.windows || !scan) return;
  const { group } = frontOf(panel);
  view.windows[group] = adjusted(group, view.windows[group], widen, raise);
  const { center, width } = view.windows[group];
  if (isMap(group)) return update({}, `Colours up to ${(center + width / 2).toFixed(2)}`);
  const [wide, level] = [inUnits(group, width, scan.units, 2, true), inUnits(group, center, scan.units)];
  update({ preset: "hand" }, `Window ${wide}, level ${level}`);
}

export function invert() {
  update({ inverted: !view.inverted }, view.inverted ? "Not inverted" : "Inverted");
}

export function reset() {
  const windows = { ...opening(), ...structuredClone(opened) };
  update({ windows, preset: "brain", zoom: 1, pan: unpanned() }, "View reset");
}
