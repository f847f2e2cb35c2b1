// The panels: their elements, what each shows, and where a point of the screen lies in it.

import { comparedIn } from "./compare.js";
import { place, planeName, positionWords, toVoxel } from "./geometry.js";
import { altOf, imageIn, offered, shareOf, titleOf } from "./images.js";
import { showImage, shownViews } from "./layout.js";
import { areaWords, regionOf, rulerWords } from "./measure.js";
import { openScan, page, view } from "./state.js";
import { inUnits } from "./windows.js";

const MOST = 6;

export const panels = [];

export function makePanels(grid, template) {
  for (let i = 0; i < MOST; i++) {
    const figure = template.content.firstElementChild.cloneNode(true);
    grid.append(figure);
    const part = (selector) => figure.querySelector(selector);
    const panel = {
      figure, canvas: part("canvas"), select: part("select"), empty: part(".panel-empty"), name: "original", plane: "axial",
      rasters: [0, 1, 2].map(() => document.createElement("canvas")),
    };
    panel.select.addEventListener("change", () => showImage(panel.select.value, panel.name));
    panels.push(panel);
  }
}

export const activePanel = () => {
  const seen = panels.filter(({ figure }) => !figure.hidden);
  return seen.find(({ name }) => name === view.active) || seen.at(-1);
};

// ---------------------------------------------------------------- what is where

export function geometry(panel, image = frontOf(panel)) {
  return place(image.frame, panel.canvas, view.zoom, view.pan[panel.plane]);
}

export const frontOf = (panel) => imageIn(comparedIn(panel.name).front, panel.plane);

// Where an event is on the panel's image, [u, v].
export function pointAt(panel, event) {
  const box = panel.canvas.getBoundingClientRect();
  const density = panel.canvas.width / box.width;
  const g = geometry(panel);
  return [((event.clientX - box.left) * density - g.left) / g.x, ((event.clientY - box.top) * density - g.top) / g.y];
}

export const voxelAt = (panel, event) =>
  toVoxel(frontOf(panel).frame, pointAt(panel, event), view.point || [0, 0, view.index + 0.5]);

// ---------------------------------------------------------------- around the canvas

function write(node, property, value) {
  if (node[property] !== value) node[property] = value;
}

function emptyWords(name) {
  const scan = openScan();
  const { phase, below } = page.state;
  if (!scan) return phase === "empty" ? "Drop a scan here, or click to choose one" : "";
  if (name === "original") return "Loading";
  if (below === "gone") return "Not translated";
  if (name === "uncertainty" || scan.ready.some(([a, b]) => a <= view.index && view.index <= b)) return "Loading";
  return scan.halted ? "Not translated" : "Translating";
}

// Bring the panels' elements in line with the state.
export function describe() {
  const views = shownViews();
  panels.forEach((panel, i) => {
    const { figure, canvas, select, empty } = panel;
    figure.hidden = i >= views.length;
    if (figure.hidden) return;
    [panel.name, panel.plane] = views[i];
    const { front, behind } = comparedIn(panel.name);
    const image = imageIn(front, panel.plane);
    Object.assign(figure.dataset, { panel: panel.name, shows: front, plane: panel.plane });
    figure.classList.toggle("filled", Boolean(image.pixels));
    write(empty.firstElementChild, "textContent", image.pixels ? "" : emptyWords(front));
    const choices = offered();
    const options = choices.map((name) => `${name}:${titleOf(name)}`).join();
    if (select.dataset.options !== options) {
      select.dataset.options = options;
      select.replaceChildren(...choices.map((name) => new Option(titleOf(name), name)));
    }
    write(select, "value", panel.name);
    write(select, "hidden", view.planes || !openScan());
    write(select, "ariaLabel", `Image ${i + 1}`);
    write(canvas, "ariaLabel", words(front, behind, panel.plane));
  });
}

function words(front, behind, plane) {
  const scan = openScan();
  if (!scan) return `${titleOf(front)}: no image loaded`;
  const title = behind ? `${altOf(front)}; compared with: ${altOf(behind)}` : altOf(front);
  if (plane !== "axial") return `${title}, ${planeName(scan, plane)} plane, ${positionWords(scan, view.point)}`;
  return scan.slices > 1 ? `${title}, ${planeName(scan, plane)} slice ${view.index + 1} of ${scan.slices}` : title;
}

// ---------------------------------------------------------------- measures

export const depthOf = (plane) =>
  plane === "axial" ? view.index : Math.floor(view.point[plane === "coronal" ? 1 : 0]);

export const measuresIn = (plane) =>
  view.measures.filter((each) => each.plane === plane && each.at === depthOf(plane));

export function measureWords(measure, image) {
  const { frame, group } = image;
  if (measure.kind === "ruler") return rulerWords(openScan(), frame, measure);
  const region = image.pixels && regionOf(measure, { ...frame, pixels: image.pixels, share: shareOf(group) });
  if (!region) return "";
  const { units } = openScan();
  return `${inUnits(group, region.mean, units, 3)} ± ${inUnits(group, region.deviation, units, 3, true)}, ${areaWords(openScan(), frame, region.n)}`;
}
