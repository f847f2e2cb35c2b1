// Rulers and round regions. Each belongs to a slice, or to the row or column of a plane, and stays with it. The first
// part touches neither page nor state.

import { frameOf } from "./geometry.js";
import { imageIn, offered, shareOf, titleOf } from "./images.js";
import { frontOf, shownPanels } from "./panels.js";
import { changed, depthOf, openScan, say, view } from "./state.js";
import { inUnits } from "./windows.js";

const REACH = 9; // CSS pixels around a handle

/** @param {Point} a @param {Point} b @param {number} aspect */
export const distance = ([x, y], [u, v], aspect) => Math.hypot(u - x, (v - y) * aspect);

// mm of a pixel's width in a plane; null where the file does not tell.
/** @param {Scan} scan @param {Frame} frame */
const millimetres = (scan, frame) => scan.spacing?.[frame.plane === "sagittal" ? 1 : 2] ?? null;

/** @param {Scan} scan @param {Frame} frame @param {Measure} measure */
export function rulerWords(scan, frame, { from, to }) {
  const length = distance(from, to, frame.aspect);
  const mm = millimetres(scan, frame);
  return mm ? `${(length * mm).toFixed(1)} mm` : `${length.toFixed(1)} pixels`;
}

// Mean and standard deviation of the pixels whose centres lie in the circle, in shares, and how many they are.
/**
 * @param {Pick<Measure, "from" | "to">} region
 * @param {{pixels: Uint16Array, width: number, height: number, aspect: number, share: (value: number) => number}} image
 */
export function regionOf({ from, to }, { pixels, width, height, aspect, share }) {
  const [cx, cy] = from;
  const radius = distance(from, to, aspect);
  const high = radius / aspect;
  let [n, sum, squares] = [0, 0, 0];
  for (let y = Math.max(Math.floor(cy - high), 0); y <= Math.min(cy + high, height - 1); y++) {
    for (let x = Math.max(Math.floor(cx - radius), 0); x <= Math.min(cx + radius, width - 1); x++) {
      if (distance(from, [x + 0.5, y + 0.5], aspect) > radius) continue;
      const value = share(pixels[y * width + x]);
      n++;
      sum += value;
      squares += value * value;
    }
  }
  if (!n) return null;
  const mean = sum / n;
  return { n, mean, deviation: Math.sqrt(Math.max(squares / n - mean * mean, 0)) };
}

/** @param {Scan} scan @param {Frame} frame @param {number} n pixels */
export function areaWords(scan, frame, n) {
  const mm = millimetres(scan, frame);
  return mm ? `${(n * mm * mm * frame.aspect).toFixed(0)} mm²` : `${n.toFixed(0)} pixels`;
}

// The measure one of whose ends lies under a point, and which. `scale` is CSS pixels per image pixel along x.
/**
 * @param {Measure[]} measures @param {Point} point @param {number} aspect @param {number} scale
 * @returns {{id: number, end: "from" | "to"} | null}
 */
export function endAt(measures, point, aspect, scale) {
  for (const each of [...measures].reverse()) {
    for (const end of /** @type {const} */ (["to", "from"])) {
      if (distance(each[end], point, aspect) * scale <= REACH) return { id: each.id, end };
    }
  }
  return null;
}

// The measure whose end was moved to `point`. A region's centre takes the circle along.
/** @param {Measure} measure @param {"from" | "to"} end @param {Point} point @returns {Measure} */
export function moved(measure, end, point) {
  if (measure.kind === "ruler" || end === "to") return { ...measure, [end]: point };
  const [x, y] = [0, 1].map((i) => measure.to[i] + point[i] - measure.from[i]);
  return { ...measure, from: point, to: [x, y] };
}

// ---------------------------------------------------------------- drawn, moved, undone, removed

let next = 1;
/** @type {Measure[][]} */
const before = []; // lists of measures, for undo
/** @type {number | null} */
let anchored = null; // the id of the measure that the keys' cross-hair draws

/** @param {Measure[]} measures */
function change(measures) {
  view.measures = measures;
  changed();
}

// What comes now can be undone.
export const note = () => before.push(view.measures);

/** @param {Plane} plane */
export const measuresIn = (plane) => view.measures.filter((each) => each.plane === plane && each.at === depthOf(plane));

/** @param {"ruler" | "region"} kind @param {Plane} plane @param {Point} point */
export function begin(kind, plane, point) {
  note();
  const measure = { id: next++, kind, plane, at: depthOf(plane), from: point, to: point };
  change([...view.measures, measure]);
  return measure.id;
}

/** @param {number} id @param {"from" | "to"} end @param {Point} point */
export function move(id, end, point) {
  change(view.measures.map((each) => (each.id === id ? moved(each, end, point) : each)));
}

// A press that drew nothing leaves nothing.
/** @param {number} id */
export function end(id) {
  const measure = view.measures.find((each) => each.id === id);
  if (!measure) return;
  if (measure.from.every((at, i) => Math.abs(at - measure.to[i]) < 0.5)) undo();
  else sayMeasure(measure);
}

export function undo() {
  const measures = before.pop();
  if (!measures) return false;
  change(measures);
}

// Remove the last measure of what is on screen, or all of the scan.
/** @param {boolean} isAll */
export function remove(isAll) {
  anchored = null;
  const last = shownPanels().flatMap(({ plane }) => measuresIn(plane)).at(-1);
  if (!isAll && !last) return false;
  note();
  change(isAll ? [] : view.measures.filter((each) => each !== last));
}

// By key: begin a measure at the cross-hair, or leave it as it is.
/** @param {"ruler" | "region"} kind @param {Plane} plane @param {Point} point */
export function anchor(kind, plane, point) {
  const open = view.measures.find(({ id }) => id === anchored);
  anchored = null;
  if (open?.kind === kind) return end(open.id);
  anchored = begin(kind, plane, point);
  say("Move the cross-hair to the other end");
}

/** @param {Point} point */
export function follow(point) {
  const measure = view.measures.find(({ id }) => id === anchored);
  if (!measure) return false;
  move(measure.id, "to", point);
  sayMeasure({ ...measure, to: point });
  return true;
}

// ---------------------------------------------------------------- in words

/** @param {Measure} measure @param {Picture} image */
const regionIn = (measure, { pixels, frame, group }) => pixels && regionOf(measure, { ...frame, pixels, share: shareOf(group) });

/** @param {Measure} measure @param {Picture} image */
export function measureWords(measure, image) {
  const scan = /** @type {Scan} */ (openScan());
  if (measure.kind === "ruler") return rulerWords(scan, image.frame, measure);
  const region = regionIn(measure, image);
  if (!region) return "";
  const [mean, deviation] = [region.mean, region.deviation].map((value, i) => inUnits(image.group, value, scan.units, 3, i === 1));
  return `${mean} ± ${deviation}, ${areaWords(scan, image.frame, region.n)}`;
}

/** @param {Measure} measure */
function sayMeasure(measure) {
  const images = shownPanels().filter(({ plane }) => plane === measure.plane).map(frontOf);
  if (measure.kind === "ruler") return say(`Ruler ${measureWords(measure, images[0])}`);
  say(images.filter(({ pixels }) => pixels).map((image) => `${titleOf(image.name)} ${measureWords(measure, image)}`).join(", "));
}

const DEPTHS = { axial: "slice", coronal: "row", sagittal: "column" };

// One entry for each: what it is, where, and how large.
export function summaries() {
  const scan = /** @type {Scan} */ (openScan());
  return view.measures.map((measure) => {
    const { kind, plane, at, from, to } = measure;
    const frame = frameOf(scan, plane);
    const area = (Math.PI * distance(from, to, frame.aspect) ** 2) / frame.aspect;
    return {
      measure, kind: kind === "ruler" ? "Ruler" : "Region", where: `${DEPTHS[plane]} ${at + 1}`,
      size: kind === "ruler" ? rulerWords(scan, frame, measure) : areaWords(scan, frame, area),
    };
  });
}

// A table for a spreadsheet: sizes, and mean and deviation of regions in the images that are here.
export function table() {
  const scan = /** @type {Scan} */ (openScan());
  const images = offered().filter((name) => ["original", "translated", "real"].includes(name));
  const head = ["kind", "where", "size", ...images.flatMap((name) => [`${titleOf(name)} mean`, `${titleOf(name)} deviation`])];
  const rows = summaries().map(({ measure, kind, where, size }) => [kind, where, size, ...images.flatMap((name) => {
    const image = imageIn(name, measure.plane, measure.at);
    const region = measure.kind === "region" && regionIn(measure, image);
    if (!region) return ["", ""];
    return [inUnits(image.group, region.mean, scan.units, 4), inUnits(image.group, region.deviation, scan.units, 4, true)];
  })]);
  return [head, ...rows].map((row) => row.join("\t")).join("\n");
}
