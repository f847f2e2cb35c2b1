// The panels: which images are on screen and how (one to four, one enlarged, the planes; two of them in one place; a map
// over them), their elements, and where a point of the screen lies in them.

import { clamp, columnsFor, NARROW, place, planeName, PLANES, positionWords, toImage, toVoxel, WIDE } from "./geometry.js";
import { altOf, imageIn, IMAGES, isMap, offered, titleOf } from "./images.js";
import { changed, openScan, page, recall, remember, say, update, view } from "./state.js";

const MOST = 6; // panels
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
function shownViews() {
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
function showImage(name, instead) {
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

/** @param {number} to */
export function setOpacity(to) {
  const opacity = clamp(to, 0, 1);
  update({ opacity }, `Opacity ${Math.round(100 * opacity)} %`);
}

/** @param {number} to */
export function moveLine(to) {
  const line = clamp(to, 0, 1);
  update({ line }, `Line at ${Math.round(100 * line)} %`);
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

// ---------------------------------------------------------------- their elements

/** @type {Panel[]} */
export const panels = [];

/** @param {Element} grid @param {HTMLTemplateElement} template */
export function makePanels(grid, template) {
  for (let i = 0; i < MOST; i++) {
    const figure = /** @type {HTMLElement} */ (/** @type {Element} */ (template.content.firstElementChild).cloneNode(true));
    grid.append(figure);
    /** @param {string} selector */
    const part = (selector) => /** @type {any} */ (figure.querySelector(selector));
    /** @type {Panel} */
    const panel = {
      figure, canvas: part("canvas"), select: part("select"), empty: part(".panel-empty"), name: "original", plane: "axial",
      rasters: [0, 1, 2].map(() => document.createElement("canvas")),
    };
    panel.select.addEventListener("change", () => showImage(/** @type {ImageName} */ (panel.select.value), panel.name));
    panels.push(panel);
  }
}

export const shownPanels = () => panels.filter(({ figure }) => !figure.hidden);

export function activePanel() {
  const shown = shownPanels();
  return shown.find(({ name }) => name === view.active) || shown[shown.length - 1];
}

export const focusImage = () => activePanel()?.canvas.focus({ preventScroll: true });

// ---------------------------------------------------------------- what is where

/** @param {Panel} panel */
export const frontOf = (panel) => imageIn(comparedIn(panel.name).front, panel.plane);

/** @param {Panel} panel @param {Picture} image */
export function geometry(panel, image = frontOf(panel)) {
  return place(image.frame, panel.canvas, view.zoom, view.pan[panel.plane]);
}

// Where an event is on the panel's image.
/** @param {Panel} panel @param {MouseEvent} event @returns {Point} */
export function pointAt(panel, event) {
  const box = panel.canvas.getBoundingClientRect();
  const density = panel.canvas.width / box.width;
  return toImage(geometry(panel), [(event.clientX - box.left) * density, (event.clientY - box.top) * density]);
}

/** @param {Panel} panel @param {MouseEvent} event */
export const voxelAt = (panel, event) =>
  toVoxel(frontOf(panel).frame, pointAt(panel, event), view.point || [0, 0, view.index + 0.5]);

// ---------------------------------------------------------------- around the canvas

// Change an element's content only where it differs: what is announced, or pointed at, stays as it is.
/** @param {HTMLElement} node @param {unknown} content @param {() => (string | Node)[]} build */
export function fill(node, content, build) {
  const key = JSON.stringify(content);
  if (node.dataset.content === key) return;
  node.dataset.content = key;
  node.replaceChildren(...build());
}

/** @template {object} T @param {T} node @param {keyof T} property @param {any} value */
function write(node, property, value) {
  if (node[property] !== value) node[property] = value;
}

/** @param {ImageName} name */
function emptyWords(name) {
  const scan = openScan();
  if (!scan) return !page.state.transfer ? "Drop a scan here, or click to choose one" : "";
  if (name === "original") return "Loading";
  if (page.state.link === "gone") return "Not translated";
  if (name === "uncertainty" || scan.ready.some(([a, b]) => a <= view.index && view.index <= b)) return "Loading";
  return scan.halted ? "Not translated" : "Translating";
}

// Bring the panels' elements in line with the state.
export function describe() {
  const views = shownViews();
  const choices = offered();
  panels.forEach((panel, i) => {
    const { figure, canvas, select, empty } = panel;
    write(figure, "hidden", i >= views.length);
    if (figure.hidden) return;
    [panel.name, panel.plane] = views[i];
    const { front, behind } = comparedIn(panel.name);
    const isFilled = Boolean(imageIn(front, panel.plane).pixels);
    Object.assign(figure.dataset, { panel: panel.name, shows: front, plane: panel.plane });
    figure.classList.toggle("filled", isFilled);
    write(/** @type {Element} */ (empty.firstElementChild), "textContent", isFilled ? "" : emptyWords(front));
    fill(select, choices.map(titleOf), () => choices.map((name) => new Option(titleOf(name), name)));
    write(select, "value", panel.name);
    write(select, "hidden", view.planes || !openScan());
    write(select, "ariaLabel", `Image ${i + 1}`);
    write(canvas, "ariaLabel", wordsOf(front, behind, panel.plane));
  });
}

/** @param {ImageName} front @param {ImageName | null} behind @param {Plane} plane */
function wordsOf(front, behind, plane) {
  const scan = openScan();
  if (!scan) return `${titleOf(front)}: no image loaded`;
  const title = behind ? `${altOf(front)}; compared with: ${altOf(behind)}` : altOf(front);
  if (view.point && plane !== "axial") return `${title}, ${planeName(scan, plane)} plane, ${positionWords(scan, view.point)}`;
  return scan.slices > 1 ? `${title}, ${planeName(scan, plane)} slice ${view.index + 1} of ${scan.slices}` : title;
}
