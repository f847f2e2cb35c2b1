// Two images in one place: blinked, swiped or laid over each other.

import { changed, openScan, view } from "./state.js";
import { shownNames } from "./layout.js";
import { say } from "./speech.js";
import { IMAGES, offered, titleOf } from "./images.js";
import { isMap } from "./windows.js";

// What each is compared with where not two are on screen.
const PARTNERS = {
  original: "translated", translated: "original", reconstructed: "original", cycleError: "original",
  uncertainty: "translated", real: "translated", trueError: "translated",
};
const TAP_MS = 300; // a press shorter than this changes over for good; a longer one until it ends
let pressedAt = null;
let wasBlinked = false;

// The two on screen; of one alone, also the one that was beside it; of more, the active one and its partner.
function pair() {
  const two = view.slots.slice(0, 2);
  if (view.count === 2 && (!view.enlarged || two.includes(view.active))) return two;
  return [view.active, view.active === "translated" && openScan()?.real ? "real" : PARTNERS[view.active]];
}

// What the panel of `name` shows in front, and what, if anything, is laid over it.
export function comparedIn(name) {
  const both = view.mode || view.blinked ? pair() : [];
  if (!both.includes(name)) return { front: name, behind: null };
  const beside = both[1 - both.indexOf(name)];
  const [front, behind] = view.blinked ? [beside, name] : [name, beside];
  return { front, behind: view.mode ? behind : null };
}

export function chooseMode(mode) {
  view.mode = view.mode === mode ? "" : mode;
  const words = { swipe: "Swipe: ", overlay: "Overlay: ", "": "Side by side: " }[view.mode];
  say(words + shownNames().map(titleOf).join(", "));
  changed();
}

function blink(on) {
  view.blinked = on;
  say(titleOf(comparedIn(view.active).front));
  changed();
}

// The line, or the opacity, by key.
export function moveCompared(by) {
  if (view.mode === "overlay") setOpacity(view.opacity + by);
  else if (view.mode === "swipe") moveLine(view.line + by);
  else return false;
}

export function setOpacity(to) {
  view.opacity = Math.min(Math.max(to, 0), 1);
  say(`Opacity ${Math.round(100 * view.opacity)} %`);
  changed();
}

export function moveLine(to) {
  view.line = Math.min(Math.max(to, 0), 1);
  say(`Line at ${Math.round(100 * view.line)} %`);
  changed();
}

// ---------------------------------------------------------------- maps on the anatomy

export const maps = () => offered().filter((name) => isMap(IMAGES[name].group));

export function chooseMap(name) {
  view.map = name;
  say(name ? `${titleOf(name)} over original and synthetic image` : "No map");
  changed();
}

export function nextMap() {
  const all = ["", ...maps()];
  chooseMap(all[(all.indexOf(view.map) + 1) % all.length]);
}

export function setMapOpacity(to) {
  view.mapOpacity = to;
  say(`Opacity of the map ${Math.round(100 * to)} %`);
  changed();
}

// ---------------------------------------------------------------- holding

export function pressBlink() {
  if (pressedAt !== null) return; // keys repeat
  pressedAt = performance.now();
  wasBlinked = view.blinked;
  blink(!wasBlinked);
}

export function releaseBlink() {
  if (pressedAt === null) return;
  const isHeld = performance.now() - pressedAt >= TAP_MS;
  pressedAt = null;
  if (isHeld) blink(wasBlinked);
}
