// Which images are on screen and how: one to four, one enlarged, the planes; two of them in one place; a map over them.

import { columnsFor, NARROW, PLANES, WIDE } from "./geometry.js";
import { IMAGES, isMap, offered, titleOf } from "./images.js";
import { changed, openScan, recall, remember, say, update, view } from "./state.js";

const COUNT = "layout"; // the user's choice of how many, in this browser
const NUMBERS = ["", "One image", "Two images", "Three images", "Four images"];

export function startCount() {
  view.count = Number(recall("localStorage", COUNT)) || (innerWidth >= WIDE ? 3 : 2);
}

/** @returns {ImageName[]} */
export function shownNames() {
  return view.enlarged ? [view.enlarged] : view.slots.slice(0, view.count);
}

// What each panel on screen shows.
/** @returns {[ImageName, Plane][]} */
export function shownViews() {
  if (!view.planes) return shownNames().map((name) => [name, "axial"]);
  /** @type {ImageName[]} */
  const names = ["original", "translated"];
  return names.flatMap((name) => PLANES.map((plane) => /** @type {[ImageName, Plane]} */ ([name, plane])));
}

// What stands side by side until the user changes it: as many as are on screen, then one that takes another's place.
/** @param {number} count @returns {ImageName[]} */
function startingSlots(count) {
  if (!openScan()?.real) return ["original", "translated", "reconstructed", "cycleError"];
  if (count < 3) return ["translated", "real", "original", "trueError"];
  return count === 3 ? ["original", "translated", "real", "trueError"] : ["original", "translated", "reconstructed", "real"];
}

// A scan, or a real image for it, came or went.
export function arrange() {
  view.slots = startingSlots(view.count);
  view.enlarged = null;
  view.active = "translated";
}

// Put an image on screen, in place of `instead`; one that is there already changes places with it.
/** @param {ImageName} name @param {ImageName} instead */
export function showImage(name, instead) {
  view.planes = false;
  if (view.enlarged) {
    view.enlarged = name;
  } else {
    const at = Math.max(view.slots.indexOf(instead), 0);
    const before = view.slots.indexOf(name);
    if (before >= 0) view.slots[before] = view.slots[at];
    view.slots[at] = name;
  }
  view.active = name;
  say(shownNames().map(titleOf).join(" beside "));
  changed();
}

/** @param {number} count */
export function chooseLayout(count) {
  view.planes = false;
  view.enlarged = count === 1 ? view.active : null;
  if (count > 1) {
    if (startingSlots(view.count).every((name, i) => name === view.slots[i])) view.slots = startingSlots(count);
    view.count = count;
    if (!shownNames().includes(view.active)) view.active = view.slots[Math.min(1, count - 1)];
    remember("localStorage", COUNT, String(count));
  }
  say(NUMBERS[count]);
  changed();
}

// One image alone, and back.
export const enlarge = () => chooseLayout(view.enlarged ? view.count : 1);

export function togglePlanes() {
  const scan = openScan();
  if (!scan || scan.slices < 2) return false;
  view.point ||= [Math.floor(scan.width / 2) + 0.5, Math.floor(scan.height / 2) + 0.5, view.index + 0.5];
  update({ planes: !view.planes }, view.planes ? "Slices" : "Planes");
}

export async function fullScreen() {
  if (document.fullscreenElement) await document.exitFullscreen();
  else await document.querySelector(".viewer")?.requestFullscreen();
}

// The panels fill the grid.
/** @param {HTMLElement} grid */
export function fit(grid) {
  const { clientWidth: width, clientHeight: height } = grid;
  const count = shownViews().length;
  const scan = openScan();
  const [left, top, right, bottom] = scan?.box || [0, 0, 1, 1];
  const shape = view.planes ? 1 : (right - left) / ((bottom - top) * (scan?.aspect || 1));
  const columns = width < NARROW && count === 4 ? 2 : columnsFor(count, width, height, shape);
  grid.style.setProperty("--columns", String(columns));
  grid.style.setProperty("--rows", String(Math.ceil(count / columns)));
}

// ---------------------------------------------------------------- two in one place

// What each is compared with where not two are on screen.
/** @type {Record<ImageName, ImageName>} */
const PARTNERS = {
  original: "translated", translated: "original", reconstructed: "original", cycleError: "original",
  uncertainty: "translated", real: "translated", trueError: "translated",
};
const TAP_MS = 300; // a press shorter than this changes over for good; a longer one until it ends
/** @type {{at: number, wasBlinked: boolean} | null} */
let press = null;

// The two on screen; of one alone, also the one that was beside it; of more, the active one and its partner.
function pair() {
  const two = view.slots.slice(0, 2);
  if (view.count === 2 && (!view.enlarged || two.includes(view.active))) return two;
  return [view.active, view.active === "translated" && openScan()?.real ? "real" : PARTNERS[view.active]];
}

// What the panel of `name` shows in front, and what, if anything, lies over it.
/** @param {ImageName} name @returns {{front: ImageName, behind: ImageName | null}} */
export function comparedIn(name) {
  const both = view.mode || view.blinked ? pair() : [];
  if (!both.includes(name)) return { front: name, behind: null };
  const beside = both[1 - both.indexOf(name)];
  const [front, behind] = view.blinked ? [beside, name] : [name, beside];
  return { front, behind: view.mode ? behind : null };
}

/** @param {"swipe" | "overlay"} mode */
export function chooseMode(mode) {
  const isOn = view.mode !== mode;
  const words = isOn ? { swipe: "Swipe: ", overlay: "Overlay: " }[mode] : "Side by side: ";
  update({ mode: isOn ? mode : "" }, words + shownNames().map(titleOf).join(", "));
}

/** @param {number} share */
const within = (share) => Math.min(Math.max(share, 0), 1);

/** @param {number} to */
export function setOpacity(to) {
  update({ opacity: within(to) }, `Opacity ${Math.round(100 * within(to))} %`);
}

/** @param {number} to */
export function moveLine(to) {
  update({ line: within(to) }, `Line at ${Math.round(100 * within(to))} %`);
}

// The line, or the opacity, by key.
/** @param {number} by */
export function moveCompared(by) {
  if (view.mode === "overlay") setOpacity(view.opacity + by);
  else if (view.mode === "swipe") moveLine(view.line + by);
  else return false;
}

/** @param {boolean} blinked */
function blink(blinked) {
  view.blinked = blinked;
  update({}, titleOf(comparedIn(view.active).front));
}

export function pressBlink() {
  if (press) return; // keys repeat
  press = { at: performance.now(), wasBlinked: view.blinked };
  blink(!view.blinked);
}

export function releaseBlink() {
  if (!press) return;
  const { at, wasBlinked } = press;
  press = null;
  if (performance.now() - at >= TAP_MS) blink(wasBlinked);
}

// ---------------------------------------------------------------- a map over the anatomy

export const maps = () => offered().filter((name) => isMap(IMAGES[name].group));

/** @param {ImageName | ""} map */
export function chooseMap(map) {
  update({ map }, map ? `${titleOf(map)} over original and synthetic image` : "No map");
}

export function nextMap() {
  const all = [/** @type {const} */ (""), ...maps()];
  chooseMap(all[(all.indexOf(view.map) + 1) % all.length]);
}

/** @param {number} mapOpacity */
export function setMapOpacity(mapOpacity) {
  update({ mapOpacity }, `Opacity of the map ${Math.round(100 * mapOpacity)} %`);
}
