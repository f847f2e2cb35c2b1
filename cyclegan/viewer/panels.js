// The panels: their elements, what each shows, and where a point of the screen lies in it.

import { place, planeName, positionWords, toImage, toVoxel } from "./geometry.js";
import { altOf, imageIn, offered, titleOf } from "./images.js";
import { comparedIn, showImage, shownViews } from "./layout.js";
import { openScan, page, view } from "./state.js";

const MOST = 6;

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
  const options = choices.map((name) => `${name}:${titleOf(name)}`).join();
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
    if (select.dataset.options !== options) {
      select.dataset.options = options;
      select.replaceChildren(...choices.map((name) => new Option(titleOf(name), name)));
    }
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
