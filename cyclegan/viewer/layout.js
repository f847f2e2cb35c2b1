// Which images are on screen, and how large: one to four, one enlarged, the planes, full screen.

import { columnsFor, NARROW, PLANES, WIDE } from "./geometry.js";
import { offered, startingSlots, titleOf } from "./images.js";
import { changed, openScan, view } from "./state.js";
import { say } from "./speech.js";

const KEPT = "layout"; // the user's choice of how many, in this browser
const NUMBERS = ["", "One image", "Two images", "Three images", "Four images"];

export function startCount() {
  let stored = 0;
  try {
    stored = Number(localStorage.getItem(KEPT));
  } catch {
    // A browser that keeps nothing.
  }
  view.count = stored || (innerWidth >= WIDE ? 3 : 2);
}

export function shownNames() {
  return view.enlarged ? [view.enlarged] : view.slots.slice(0, view.count);
}

// What each panel on screen shows: [image, plane].
export function shownViews() {
  if (!view.planes) return shownNames().map((name) => [name, "axial"]);
  return ["original", "translated"].flatMap((name) => PLANES.map((plane) => [name, plane]));
}

// A scan, or a real image for it, came or went: begin with what belongs side by side.
export function arrange() {
  view.slots = startingSlots(openScan());
  view.enlarged = null;
  view.active = "translated";
}

// Put an image on screen, in place of `instead`; one that is there already changes places with it.
export function showImage(name, instead = view.active) {
  if (!offered().includes(name)) return;
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

export function chooseLayout(count) {
  view.planes = false;
  view.enlarged = count === 1 ? view.active : null;
  if (count > 1) {
    view.count = count;
    if (!shownNames().includes(view.active)) view.active = view.slots[Math.min(1, count - 1)];
    try {
      localStorage.setItem(KEPT, String(count));
    } catch {
      // It goes for this page alone.
    }
  }
  say(NUMBERS[count]);
  changed();
}

// One image alone, and back.
export function enlarge() {
  chooseLayout(view.enlarged ? view.count : 1);
}

export function togglePlanes() {
  const scan = openScan();
  if (!scan || scan.slices < 2) return false;
  view.planes = !view.planes;
  view.point ||= [Math.floor(scan.width / 2) + 0.5, Math.floor(scan.height / 2) + 0.5, view.index + 0.5];
  say(view.planes ? "Planes" : "Slices");
  changed();
}

export async function fullScreen() {
  if (document.fullscreenElement) await document.exitFullscreen();
  else await document.querySelector(".viewer").requestFullscreen?.(); // telephones have none
}

// The panels' grid fills its room.
export function fit(grid) {
  const { width, height } = grid.getBoundingClientRect();
  const count = shownViews().length;
  const scan = openScan();
  const [left, top, right, bottom] = scan?.box || [0, 0, 1, 1];
  const shape = view.planes ? 1 : (right - left) / ((bottom - top) * (scan?.aspect || 1));
  const columns = width < NARROW && count === 4 ? 2 : columnsFor(count, width, height, shape);
  grid.style.setProperty("--columns", columns);
  grid.style.setProperty("--rows", Math.ceil(count / columns));
}
