// Rulers and regions as the user draws, moves and takes them away. What they are is in measure.js.

import { frameOf } from "./geometry.js";
import { imageIn, offered, shareOf, titleOf } from "./images.js";
import { areaWords, distance, endAt, moved, regionOf, rulerWords } from "./measure.js";
import { depthOf, frontOf, measuresIn, measureWords, panels } from "./panels.js";
import { changed, openScan, view } from "./state.js";
import { say } from "./speech.js";
import { inUnits } from "./windows.js";

let next = 1;
const before = []; // lists of measures, for undo
export let anchored = null; // the id of the measure that the keys' cross-hair draws

function change(measures) {
  view.measures = measures;
  changed();
}

export function note() {
  before.push(view.measures);
}

export function begin(kind, panel, point) {
  note();
  const measure = { id: next++, kind, plane: panel.plane, at: depthOf(panel.plane), from: point, to: point };
  change([...view.measures, measure]);
  return measure.id;
}

export function move(id, end, point) {
  change(view.measures.map((each) => (each.id === id ? moved(each, end, point) : each)));
}

// The measure and its end under a point of the panel, {id, end}; null for none.
export function grip(panel, point, scale) {
  const hit = endAt(measuresIn(panel.plane), point, frontOf(panel).frame.aspect, scale);
  return hit && { id: hit[0].id, end: hit[1] };
}

// A press that drew nothing leaves nothing.
export function end(id) {
  const measure = view.measures.find((each) => each.id === id);
  if (!measure) return;
  if (measure.from.every((at, i) => Math.abs(at - measure.to[i]) < 0.5)) return undo();
  sayMeasure(measure);
}

export function undo() {
  if (!before.length) return false;
  change(before.pop());
}

// Take away the last measure of what is on screen, or all of the scan.
export function remove(isAll) {
  anchored = null;
  if (isAll) {
    note();
    return change([]);
  }
  const last = panels.filter(({ figure }) => !figure.hidden).flatMap(({ plane }) => measuresIn(plane)).at(-1);
  if (!last) return false;
  note();
  change(view.measures.filter(({ id }) => id !== last.id));
}

export function sayMeasure(measure) {
  const seen = panels.filter(({ figure, plane }) => !figure.hidden && plane === measure.plane).map(frontOf);
  if (measure.kind === "ruler") return say(`Ruler ${measureWords(measure, seen[0])}`);
  say(seen.filter(({ pixels }) => pixels).map((image) => `${titleOf(image.name)} ${measureWords(measure, image)}`).join(", "));
}

// ---------------------------------------------------------------- all of them

const DEPTHS = { axial: "slice", coronal: "row", sagittal: "column" };

// One line for each: what it is, where, and how large.
export function summaries() {
  return view.measures.map((measure) => {
    const frame = frameOf(openScan(), measure.plane);
    const size = measure.kind === "ruler" ? rulerWords(openScan(), frame, measure) : areaWords(openScan(), frame, areaOf(measure, frame));
    return { measure, kind: measure.kind === "ruler" ? "Ruler" : "Region", where: `${DEPTHS[measure.plane]} ${measure.at + 1}`, size };
  });
}

const areaOf = ({ from, to }, { aspect }) => (Math.PI * distance(from, to, aspect) ** 2) / aspect;

// A table for a spreadsheet: sizes, and mean and deviation of regions in the images that are here.
export function table() {
  const images = offered().filter((name) => ["original", "translated", "real"].includes(name));
  const head = ["kind", "where", "size", ...images.flatMap((name) => [`${titleOf(name)} mean`, `${titleOf(name)} deviation`])];
  const rows = summaries().map(({ measure, kind, where, size }) => [kind, where, size, ...images.flatMap((name) => {
    const image = measure.kind === "region" && measure.plane === "axial" && imageIn(name, "axial", measure.at);
    const region = image?.pixels && regionOf(measure, { ...image.frame, pixels: image.pixels, share: shareOf(image.group) });
    const { units } = openScan();
    return region ? [inUnits(image.group, region.mean, units, 4), inUnits(image.group, region.deviation, units, 4, true)] : ["", ""];
  })]);
  return [head, ...rows].map((row) => row.join("\t")).join("\n");
}

// ---------------------------------------------------------------- by key

// By key: begin a measure at the cross-hair, or leave it as it is.
export function anchor(kind, panel, point) {
  const open = view.measures.find(({ id }) => id === anchored);
  anchored = null;
  if (open?.kind === kind) return end(open.id);
  anchored = begin(kind, panel, point);
  say("Move the cross-hair to the other end");
}

export function follow(point) {
  if (anchored === null) return false;
  move(anchored, "to", point);
  sayMeasure(view.measures.find(({ id }) => id === anchored));
  return true;
}
