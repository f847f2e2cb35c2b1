// What is drawn in the panels: images, and in their pixels what they are, so that a picture of it says so.

import { comparedIn } from "./compare.js";
import { canHatch, findingsOf, hatch } from "./findings.js";
import { isInside, planeName, toPlane } from "./geometry.js";
import { imageIn, IMAGES, labelOf, shareOf, titleOf, valueAt } from "./images.js";
import { frontOf, geometry, measuresIn, measureWords, panels } from "./panels.js";
import { openScan, view } from "./state.js";
import { inUnits, isMap, lookUp, ramp, windowWords } from "./windows.js";

const INK = { made: "#ffc46b", plain: "#c9d6e2", value: "#9fcdf0", measure: "#ffe14d", line: "rgb(120 200 255 / 90%)" };
const NOT_HERE = 0xff2f2620 | 0; // a slice of a cut that is not here yet

const tables = new Map(); // group, and whether it is sheer -> [what it was made of, table]

function tableOf(group, sheer) {
  const made = JSON.stringify([view.windows[group], view.inverted]);
  const name = group + sheer;
  if (tables.get(name)?.[0] !== made) tables.set(name, [made, lookUp(group, view.windows[group], view.inverted, sheer)]);
  return tables.get(name)[1];
}

// The image's values as colours, one canvas pixel for each of its own.
function paint(raster, image, sheer) {
  const table = tableOf(image.group, sheer);
  const { pixels, missing, frame: { width, height } } = image;
  const [before, with_] = raster.painted || [];
  if (before === pixels && with_ === table) return;
  raster.painted = [pixels, table];
  if (raster.width !== width || raster.height !== height) Object.assign(raster, { width, height });
  const context = raster.getContext("2d");
  const out = context.createImageData(width, height);
  const packed = new Int32Array(out.data.buffer);
  for (let i = 0; i < packed.length; i++) packed[i] = table[pixels[i]];
  for (const row of missing) packed.fill(sheer ? 0 : NOT_HERE, row * width, (row + 1) * width);
  context.putImageData(out, 0, 0);
}

export function draw() {
  const density = window.devicePixelRatio || 1;
  for (const panel of panels) {
    if (panel.figure.hidden) continue;
    const { canvas } = panel;
    const [width, height] = [canvas.clientWidth, canvas.clientHeight].map((side) => Math.round(side * density));
    if (canvas.width !== width || canvas.height !== height) Object.assign(canvas, { width, height });
    if (width && height) drawPanel(panel, canvas.getContext("2d", { alpha: false }), density);
  }
}

// What the panel shows, drawn into another canvas of `factor` times the size.
export function copyOf(panel, factor) {
  const canvas = document.createElement("canvas");
  Object.assign(canvas, { width: panel.canvas.width * factor, height: panel.canvas.height * factor });
  const figure = document.createElement("figure"); // whose style nobody looks at
  drawPanel({ ...panel, canvas, figure }, canvas.getContext("2d"), (window.devicePixelRatio || 1) * factor);
  return canvas;
}

function drawPanel(panel, context, density) {
  const { canvas } = context;
  context.fillStyle = "#000";
  context.fillRect(0, 0, canvas.width, canvas.height);
  const { front, behind } = comparedIn(panel.name);
  const image = imageIn(front, panel.plane);
  const pen = { context, density, canvas };
  if (image.pixels) {
    const g = geometry(panel, image);
    put(context, panel.rasters[0], image, g);
    if (front === "translated" && panel.plane === "axial" && hatch(context, g, density)) {
      text(pen, "Hatched: a lesion could hide", [8, -30], INK.made);
    }
    const over = behind && imageIn(behind, panel.plane);
    if (over?.pixels) {
      context.save();
      if (view.mode === "overlay") context.globalAlpha = view.opacity;
      else clipBeyondLine(context);
      put(context, panel.rasters[1], over, g);
      context.restore();
    }
    const map = view.map && ["original", "translated"].includes(front) ? imageIn(view.map, panel.plane) : null;
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
    drawCrosshair(pen, panel, image, g);
    drawCorners(pen, panel, image);
  }
  const label = drawLabels(pen, panel, front, behind);
  if (image.pixels) drawEdges(pen, image, label);
}

function put(context, raster, image, g, sheer = false) {
  paint(raster, image, sheer);
  context.imageSmoothingEnabled = true;
  context.imageSmoothingQuality = g.x < 1 ? "high" : "low"; // linear where it is enlarged: four times as fast
  context.drawImage(raster, g.left, g.top, image.frame.width * g.x, image.frame.height * g.y);
}

function clipBeyondLine(context) {
  const x = view.line * context.canvas.width;
  context.beginPath();
  context.rect(x, 0, context.canvas.width - x, context.canvas.height);
  context.clip();
}

// On a dark ground, readable on white tissue. `at` is in CSS pixels from the left and top, or, negative, from the
// right and bottom; null centres. Returns its width.
function text({ context, density, canvas }, content, [x, y], ink, weight = "") {
  if (!content) return 0;
  context.font = `${weight} ${12 * density}px system-ui, sans-serif`;
  context.textBaseline = "middle";
  const [width, height] = [context.measureText(content).width + 8 * density, 18 * density];
  const from = (at, room, size) => {
    if (at === null) return (room - size) / 2;
    return Object.is(at, -0) || at < 0 ? room - size + at * density : at * density;
  };
  const within = (at, room, size) => Math.min(Math.max(from(at, room, size), 0), room - size);
  const [left, top] = [within(x, canvas.width, width), within(y, canvas.height, height)];
  context.fillStyle = "rgb(0 0 0 / 70%)";
  context.fillRect(left, top, width, height);
  context.fillStyle = ink;
  context.fillText(content, left + 4 * density, top + height / 2);
  return width / density;
}

// Returns the width of the first.
function drawLabels(pen, panel, front, behind) {
  let first = 0;
  const both = [front, behind].filter(Boolean);
  const isSwiped = behind && view.mode === "swipe";
  both.forEach((name, i) => {
    const ink = IMAGES[name].made ? INK.made : INK.plain;
    const plane = panel.plane === "axial" || !openScan() ? "" : `, ${planeName(openScan(), panel.plane).toUpperCase()}`;
    const share = i && !isSwiped ? ` ${Math.round(100 * view.opacity)} %` : "";
    const label = (openScan() ? labelOf(name) : IMAGES[name].label) + plane + share;
    const width = text(pen, label, [isSwiped && i ? -8 : 8, i ? (isSwiped ? 36 : 28) : 8], ink, "600");
    first ||= width;
  });
  panel.figure.style.setProperty("--label", `${Math.round(first)}px`);
  return first;
}

// The letter on top makes room for a long label.
function drawEdges(pen, { frame: { edges } }, label) {
  const top = label + 40 > pen.canvas.width / pen.density / 2 ? 34 : 8;
  [[8, null], [-8, null], [null, top], [null, -8]].forEach((at, i) => text(pen, edges[i], at, INK.plain));
}

function drawCorners(pen, panel, image) {
  const { group } = image;
  const { units } = openScan();
  const own = view.preset === "file" && group === "source" ? "  file's own" : "";
  const readout = isMap(group) ? "" : windowWords(group, view.windows[group], units) + own;
  const value = valueWords(panel, image);
  text(pen, readout, [8, -8], INK.plain);
  text(pen, value, [-8, -8], INK.value);
  Object.assign(panel.canvas.dataset, { window: readout, value });
  if (isMap(group)) drawColourBar(pen, image);
}

function drawColourBar(pen, { name, group }) {
  const { context, density, canvas } = pen;
  const { center, width } = view.windows[group];
  const height = Math.min(160, canvas.height / density / 3);
  const [x, y] = [canvas.width - 20 * density, 36 * density];
  const colours = context.createLinearGradient(0, y + height * density, 0, y);
  const stops = ramp(group);
  stops.forEach((colour, i) => colours.addColorStop(i / (stops.length - 1), colour));
  context.fillStyle = colours;
  context.fillRect(x, y, 10 * density, height * density);
  context.strokeStyle = INK.plain;
  context.lineWidth = density;
  context.strokeRect(x, y, 10 * density, height * density);
  [1, 0.5, 0].forEach((share) => {
    const value = Number((center + (share - 0.5) * width).toFixed(3));
    text(pen, String(value).replace("-", "−"), [-24, 36 + (1 - share) * height - 9], INK.plain);
  });
  text(pen, `${titleOf(name)}, of the grey range`, [-8, 44 + height], INK.plain);
}

// The value under the cross-hair, "" outside the image.
export function valueWords(panel, image = frontOf(panel), voxel = view.cursor) {
  if (!voxel || !isInside(openScan(), voxel)) return "";
  const [u, v] = toPlane(image.frame, voxel);
  const value = valueAt(image, [u, v]);
  if (value === null) return "";
  const isKnown = image.name === "translated" && panel.plane === "axial" && canHatch();
  if (!isKnown) return inUnits(image.group, value, openScan().units, 3);
  const half = findingsOf(view.index).pixels[Math.floor(v) * image.frame.width + Math.floor(u)];
  return `${value.toFixed(2)} ± ${shareOf("target")(half).toFixed(2)} (9 in 10)`;
}

function drawCrosshair({ context, density, canvas }, panel, { frame }, g) {
  context.strokeStyle = INK.line;
  context.lineWidth = density;
  const on = (voxel) => {
    const [u, v] = toPlane(frame, voxel);
    return [g.left + u * g.x, g.top + v * g.y];
  };
  context.beginPath();
  if (view.planes) {
    const [x, y] = on(view.point);
    for (const [a, b] of [[[x, 0], [x, canvas.height]], [[0, y], [canvas.width, y]]]) {
      context.moveTo(...a);
      context.lineTo(...b);
    }
  } else if (view.cursor) {
    const [x, y] = on(view.cursor);
    for (const [dx, dy] of [[1, 0], [-1, 0], [0, 1], [0, -1]]) {
      context.moveTo(x + dx * 4 * density, y + dy * 4 * density);
      context.lineTo(x + dx * 11 * density, y + dy * 11 * density);
    }
  }
  context.stroke();
}

function drawMeasures(pen, panel, image, g) {
  const { context, density, canvas } = pen;
  const at = ([u, v]) => [g.left + u * g.x, g.top + v * g.y];
  for (const measure of measuresIn(panel.plane)) {
    const [from, to] = [at(measure.from), at(measure.to)];
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
    const words = measureWords(measure, image);
    text(pen, words, to.map((at) => Math.max(at / density + 7, 0)), INK.measure);
  }
}
