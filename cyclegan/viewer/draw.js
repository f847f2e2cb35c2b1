// What is drawn in the panels: images, and in their pixels what they are, so that a picture of it says so.

import { clamp, drawIn, isInside, planeName, toCanvas, toPlane } from "./geometry.js";
import { imageIn, IMAGES, isMap, labelOf, shareOf, titleOf, valueAt } from "./images.js";
import { comparedIn, frontOf, geometry, shownPanels } from "./panels.js";
import { measuresIn, measureWords } from "./measures.js";
import { openScan, view } from "./state.js";
import { hatch, interval } from "./trust.js";
import { inUnits, lookUp, ramp, windowOf, windowWords } from "./windows.js";

/** @typedef {{context: CanvasRenderingContext2D, density: number, canvas: HTMLCanvasElement}} Pen */

const INK = { synthetic: "#ffc46b", plain: "#c9d6e2", value: "#9fcdf0", measure: "#ffe14d", line: "rgb(120 200 255 / 90%)" };
const NOT_HERE = 0xff2f2620 | 0; // a slice of a cut that is not here yet

/** @type {Map<string, [string, Int32Array]>} */
const tables = new Map(); // by group, and whether it is sheer: what it was made of, and the table

/** @param {Group} group @param {boolean} sheer */
function tableOf(group, sheer) {
  const window = windowOf(group);
  const source = JSON.stringify([window, view.inverted]);
  const before = tables.get(group + sheer);
  if (before?.[0] === source) return before[1];
  const table = lookUp(group, window, view.inverted, sheer);
  tables.set(group + sheer, [source, table]);
  return table;
}

// The image's values as colours, one canvas pixel for each of its own.
/** @param {Raster} raster @param {Picture} image @param {boolean} sheer */
function paint(raster, { group, pixels, missing, frame: { width, height } }, sheer) {
  const table = tableOf(group, sheer);
  if (!pixels || (raster.painted?.[0] === pixels && raster.painted[1] === table)) return;
  raster.painted = [pixels, table];
  if (raster.width !== width || raster.height !== height) Object.assign(raster, { width, height });
  const context = /** @type {CanvasRenderingContext2D} */ (raster.getContext("2d"));
  const out = context.createImageData(width, height);
  const packed = new Int32Array(out.data.buffer);
  for (let i = 0; i < packed.length; i++) packed[i] = table[pixels[i]];
  for (const row of missing) packed.fill(sheer ? 0 : NOT_HERE, row * width, (row + 1) * width);
  context.putImageData(out, 0, 0);
}

export function draw() {
  const density = window.devicePixelRatio || 1;
  for (const panel of shownPanels()) {
    const { canvas } = panel;
    const [width, height] = [canvas.clientWidth, canvas.clientHeight].map((side) => Math.round(side * density));
    if (canvas.width !== width || canvas.height !== height) Object.assign(canvas, { width, height });
    if (width && height) drawPanel(panel, density);
  }
}

// What the panel shows, drawn into another canvas of `factor` times the size.
/** @param {Panel} panel @param {number} factor */
export function copyOf(panel, factor) {
  const canvas = document.createElement("canvas");
  Object.assign(canvas, { width: panel.canvas.width * factor, height: panel.canvas.height * factor });
  const figure = document.createElement("figure"); // whose style nobody sees
  drawPanel({ ...panel, canvas, figure }, (window.devicePixelRatio || 1) * factor);
  return canvas;
}

/** @param {Panel} panel @param {number} density */
function drawPanel(panel, density) {
  const { canvas } = panel;
  const context = /** @type {CanvasRenderingContext2D} */ (canvas.getContext("2d", { alpha: false }));
  const pen = { context, density, canvas };
  context.fillStyle = "#000";
  context.fillRect(0, 0, canvas.width, canvas.height);
  const { front, behind } = comparedIn(panel.name);
  const image = imageIn(front, panel.plane);
  if (image.pixels) drawImages(pen, panel, image, behind);
  const label = drawLabels(pen, panel, front, behind);
  if (image.pixels) drawEdges(pen, image, label);
}

/** @param {Pen} pen @param {Panel} panel @param {Picture} image @param {ImageName | null} behind */
function drawImages(pen, panel, image, behind) {
  const { context, density, canvas } = pen;
  const { name } = image;
  const g = geometry(panel, image);
  put(context, panel.rasters[0], image, g);
  const isHatched = name === "translated" && panel.plane === "axial" && hatch(context, g, density);
  const over = behind && imageIn(behind, panel.plane);
  if (over?.pixels) {
    context.save();
    if (view.mode === "overlay") context.globalAlpha = view.opacity;
    else clipBeyondLine(context);
    put(context, panel.rasters[1], over, g);
    context.restore();
  }
  const map = view.map && ["original", "translated"].includes(name) ? imageIn(view.map, panel.plane) : null;
  if (map?.pixels) {
    context.globalAlpha = view.mapOpacity;
    put(context, panel.rasters[2], map, g, true);
    context.globalAlpha = 1;
    drawColourBar(pen, map);
  }
  if (behind && view.mode === "swipe") {
    context.fillStyle = INK.line;
    context.fillRect(view.line * canvas.width - density, 0, 2 * density, canvas.height);
  }
  drawMeasures(pen, panel, image, g);
  drawCrosshair(pen, image, g);
  drawCorners(pen, panel, image);
  if (isHatched) text(pen, "Hatched: a lesion could hide", [8, -30], INK.synthetic);
}

/** @param {CanvasRenderingContext2D} context @param {Raster} raster @param {Picture} image @param {Placement} g @param {boolean} sheer */
function put(context, raster, image, g, sheer = false) {
  paint(raster, image, sheer);
  context.imageSmoothingEnabled = true;
  context.imageSmoothingQuality = g.x < 1 ? "high" : "low"; // linear where it is enlarged: four times as fast
  drawIn(context, g, raster);
}

/** @param {CanvasRenderingContext2D} context */
function clipBeyondLine(context) {
  const x = view.line * context.canvas.width;
  context.beginPath();
  context.rect(x, 0, context.canvas.width - x, context.canvas.height);
  context.clip();
}

// ---------------------------------------------------------------- texts

// On a dark ground, readable on white tissue. `at` is in CSS pixels from the left and top, or, negative, from the
// right and bottom; null centres. Returns its width.
/** @param {Pen} pen @param {string} content @param {(number | null)[]} at @param {string} ink @param {string} weight */
function text({ context, density, canvas }, content, [x, y], ink, weight = "") {
  if (!content) return 0;
  context.font = `${weight} ${12 * density}px system-ui, sans-serif`;
  context.textBaseline = "middle";
  const width = Math.min(context.measureText(content).width + 8 * density, canvas.width); // or it is set narrower
  const height = 18 * density;
  /** @param {number | null} at @param {number} most @param {number} size */
  const corner = (at, most, size) => {
    const from = at === null ? (most - size) / 2 : at < 0 ? most - size + at * density : at * density;
    return clamp(from, 0, most - size);
  };
  const [left, top] = [corner(x, canvas.width, width), corner(y, canvas.height, height)];
  context.fillStyle = "rgb(0 0 0 / 70%)";
  context.fillRect(left, top, width, height);
  context.fillStyle = ink;
  context.fillText(content, left + 4 * density, top + height / 2, width - 8 * density);
  return width / density;
}

// Returns the width of the first.
/** @param {Pen} pen @param {Panel} panel @param {ImageName} front @param {ImageName | null} behind */
function drawLabels(pen, panel, front, behind) {
  const scan = openScan();
  const plane = panel.plane === "axial" || !scan ? "" : `, ${planeName(scan, panel.plane).toUpperCase()}`;
  /** @param {ImageName} name @param {number[]} at */
  const label = (name, at, share = "") =>
    text(pen, labelOf(name) + plane + share, at, IMAGES[name].isSynthetic ? INK.synthetic : INK.plain, "600");
  const width = label(front, [8, 8]);
  if (behind && view.mode === "swipe") label(behind, [-8, 36]);
  else if (behind) label(behind, [8, 28], ` ${Math.round(100 * view.opacity)} %`);
  panel.figure.style.setProperty("--label", `${Math.round(width)}px`);
  return width;
}

// The letter on top makes room for a long label.
/** @param {Pen} pen @param {Picture} image @param {number} label */
function drawEdges(pen, { frame: { edges } }, label) {
  const top = label + 40 > pen.canvas.width / pen.density / 2 ? 34 : 8;
  [[8, null], [-8, null], [null, top], [null, -8]].forEach((at, i) => {
    text(pen, edges[i], at, INK.plain);
  });
}

/** @param {Pen} pen @param {Panel} panel @param {Picture} image */
function drawCorners(pen, panel, image) {
  const { group } = image;
  const own = view.preset === "file" && group === "source" ? "  file's own" : "";
  const readout = isMap(group) ? "" : windowWords(group, windowOf(group), openScan()?.units ?? null) + own;
  const value = valueWords(panel, image);
  text(pen, readout, [8, -8], INK.plain);
  text(pen, value, [-8, -8], INK.value);
  Object.assign(panel.canvas.dataset, { window: readout, value });
  if (isMap(group)) drawColourBar(pen, image);
}

/** @param {Pen} pen @param {Picture} image */
function drawColourBar(pen, { name, group }) {
  const { context, density, canvas } = pen;
  const { center, width } = windowOf(group);
  const height = Math.min(160, canvas.height / density / 3);
  const [x, y] = [canvas.width - 20 * density, 36 * density];
  const colours = context.createLinearGradient(0, y + height * density, 0, y);
  ramp(group).forEach((colour, i, all) => {
    colours.addColorStop(i / (all.length - 1), colour);
  });
  context.fillStyle = colours;
  context.fillRect(x, y, 10 * density, height * density);
  context.strokeStyle = INK.plain;
  context.lineWidth = density;
  context.strokeRect(x, y, 10 * density, height * density);
  for (const share of [1, 0.5, 0]) {
    const value = Number((center + (share - 0.5) * width).toFixed(3));
    text(pen, String(value).replace("-", "−"), [-24, 36 + (1 - share) * height - 9], INK.plain);
  }
  const units = canvas.width > 300 * density ? ", of the grey range" : "";
  text(pen, titleOf(name) + units, [-8, 44 + height], INK.plain);
}

// The value under the cross-hair, "" outside the image.
/** @param {Panel} panel @param {Picture} image @param {Voxel | null} voxel */
export function valueWords(panel, image = frontOf(panel), voxel = view.cursor) {
  const scan = openScan();
  if (!scan || !voxel || !isInside(scan, voxel)) return "";
  const [u, v] = toPlane(image.frame, voxel);
  const value = valueAt(image, [u, v]);
  if (value === null) return "";
  const known = image.name === "translated" && panel.plane === "axial" && interval();
  if (!known) return inUnits(image.group, value, scan.units, 3);
  const half = known.pixels[Math.floor(v) * image.frame.width + Math.floor(u)];
  return `${value.toFixed(2)} ± ${shareOf("target")(half).toFixed(2)} (9 in 10)`;
}

// ---------------------------------------------------------------- lines

/** @param {Pen} pen @param {Picture} image @param {Placement} g */
function drawCrosshair({ context, density, canvas }, { frame }, g) {
  const voxel = view.planes ? view.point : view.cursor;
  if (!voxel) return;
  const [x, y] = toCanvas(g, toPlane(frame, voxel));
  // Lines through a plane; over a slice, four short ones around the pixel.
  const [from, to] = view.planes ? [0, Math.max(canvas.width, canvas.height)] : [4 * density, 11 * density];
  context.strokeStyle = INK.line;
  context.lineWidth = density;
  context.beginPath();
  for (const [dx, dy] of [[1, 0], [-1, 0], [0, 1], [0, -1]]) {
    context.moveTo(x + dx * from, y + dy * from);
    context.lineTo(x + dx * to, y + dy * to);
  }
  context.stroke();
}

/** @param {Pen} pen @param {Panel} panel @param {Picture} image @param {Placement} g */
function drawMeasures(pen, panel, image, g) {
  const { context, density } = pen;
  for (const measure of measuresIn(panel.plane)) {
    const [from, to] = [toCanvas(g, measure.from), toCanvas(g, measure.to)];
    context.strokeStyle = context.fillStyle = INK.measure;
    context.lineWidth = 1.5 * density;
    context.beginPath();
    if (measure.kind === "ruler") {
      context.moveTo(...from);
      context.lineTo(...to);
    } else {
      context.arc(...from, Math.hypot(to[0] - from[0], to[1] - from[1]), 0, 2 * Math.PI);
    }
    context.stroke();
    for (const [x, y] of [from, to]) context.fillRect(x - 2 * density, y - 2 * density, 4 * density, 4 * density);
    text(pen, measureWords(measure, image), to.map((each) => Math.max(each / density + 7, 0)), INK.measure);
  }
}
