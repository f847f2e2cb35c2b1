// Windows of the images on screen, chosen by preset, drag and key.

import { activePanel, frontOf, geometry } from "./panels.js";
import { imageIn } from "./images.js";
import { changed, openScan, view } from "./state.js";
import { say } from "./speech.js";
import { adjusted, byPreset, inUnits, isMap, opening, PRESETS, windowWords } from "./windows.js";

let waiting = []; // groups whose window is chosen as soon as their image is here
let opened = null; // windows as the scan opened and its result came: what a reset goes back to
const FIRST = { source: "original", target: "translated" };

// For a scan that was opened, or a result that is new.
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

const withSize = (name) => {
  const { pixels, frame } = imageIn(name);
  return pixels && { pixels, ...frame };
};

// Choose the windows that wait for their images; called before each drawing.
export function settle() {
  if (!waiting.length || !openScan()) return;
  const source = withSize("original");
  if (!source) return;
  const images = { source };
  if (waiting.includes("target")) images.target = withSize("translated");
  for (const [preset, isOpening] of [["brain", true], [view.preset, false]]) {
    const windows = byPreset(preset, images, openScan().window, null);
    for (const group of waiting) {
      if (!images[group] || !windows[group]) continue;
      if (isOpening) opened = { ...opened, [group]: windows[group] };
      view.windows[group] = { ...windows[group] };
    }
    if (preset === view.preset) break;
  }
  waiting = waiting.filter((group) => !images[group]);
}

export function choosePreset(name) {
  if (name === "hand" || !imageIn("original").pixels) return;
  const images = { source: withSize("original"), target: withSize(FIRST.target) };
  Object.assign(view.windows, structuredClone(byPreset(name, images, openScan().window, rectangleInView())));
  view.preset = name;
  say(`${PRESETS[name].title}. ${windowWords("source", view.windows.source, openScan().units)}`);
  changed();
}

// Of the active panel, in pixels of its slice.
function rectangleInView() {
  const panel = activePanel();
  const { width, height } = frontOf(panel).frame;
  const g = geometry(panel);
  const within = (at, most) => Math.round(Math.min(Math.max(at, 0), most));
  return [
    within(-g.left / g.x, width), within(-g.top / g.y, height),
    within((panel.canvas.width - g.left) / g.x, width), within((panel.canvas.height - g.top) / g.y, height),
  ];
}

export function windowBy(panel, widen, raise) {
  const { group } = frontOf(panel);
  view.windows[group] = adjusted(group, view.windows[group], widen, raise);
  if (!isMap(group)) view.preset = "hand";
  const { center, width } = view.windows[group];
  const { units } = openScan();
  say(
    isMap(group) ? `Colours up to ${(center + width / 2).toFixed(2)}`
      : `Window ${inUnits(group, width, units, 2, true)}, level ${inUnits(group, center, units)}`
  );
  changed();
}

export function invert() {
  view.inverted = !view.inverted;
  say(view.inverted ? "Inverted" : "Not inverted");
  changed();
}

export function reset() {
  view.windows = { ...opening(), ...structuredClone(opened) };
  Object.assign(view, { preset: "brain", zoom: 1, pan: { axial: [0, 0], coronal: [0, 0], sagittal: [0, 0] } });
  say("View reset");
  changed();
}
