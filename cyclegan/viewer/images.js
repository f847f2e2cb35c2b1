// The images of the shown slice: what each is called, whose window it is seen through, and its pixels.

import * as api from "./api.js";
import { FULL } from "./api.js";
import { Cache } from "./cache.js";
import { cut, frameOf } from "./geometry.js";
import { changed, depthOf, openScan, page, view } from "./state.js";
import { findingsOf } from "./trust.js";

/** @type {Record<ImageName, {group: Group, title: string, alt: string, isSynthetic?: boolean}>} */
export const IMAGES = {
  original: { group: "source", title: "Original", alt: "Original slice" },
  translated: { group: "target", title: "Synthetic", alt: "Synthetic $to made from the original", isSynthetic: true },
  reconstructed: {
    group: "source", title: "Cycle reconstruction", alt: "Reconstruction of the original from the synthetic $to", isSynthetic: true,
  },
  cycleError: {
    group: "cycle", title: "Cycle error",
    alt: "Map of the absolute difference between original and reconstruction; cycle error, not translation error",
  },
  uncertainty: { group: "uncertainty", title: "Uncertainty", alt: "Map of the uncertainty of the synthetic image" },
  real: { group: "target", title: "Real", alt: "Acquired $to" },
  trueError: { group: "signed", title: "True error", alt: "Map of the true error: synthetic minus real image" },
};
/** @param {Group} group */
export const isMap = (group) => !["source", "target"].includes(group);
/** @type {Partial<Record<ImageName, ImageName[]>>} */
const NEEDS = { cycleError: ["original", "reconstructed"], trueError: ["translated", "real"] };
const NAMES = /** @type {ImageName[]} */ (Object.keys(IMAGES));

// Most of what arrives is for later.
export const slices = new Cache(api.image, (index) => {
  if (index === view.index || view.planes) changed();
});

/** @param {Contrast} contrast */
export const other = (contrast) => (contrast === "T1" ? "T2" : "T1");

// Names of what can be shown of the scan, in the order in which they are offered.
/** @returns {ImageName[]} */
export function offered() {
  const scan = openScan();
  if (!scan) return ["original", "translated", "reconstructed"];
  const isKnown = findingsOf(view.index)?.map !== null; // until that is known it keeps its place
  return NAMES.filter((name) => (["real", "trueError"].includes(name) ? scan.real : name !== "uncertainty" || isKnown));
}

/** @param {Scan} scan @param {ImageName} name */
function contrastOf({ to, check, real }, name) {
  if (name === "translated") return to;
  if (name === "real") return real?.warning ? "" : to; // it looks like something else
  if (name === "reconstructed") return other(to);
  // Of an original that does not look like what the direction takes, the page does not say that it is.
  return name === "original" && !check?.switch_to && check?.word !== "not what it learnt" ? other(to) : "";
}

/** @param {ImageName} name */
export function titleOf(name) {
  const scan = openScan();
  const { title } = IMAGES[name];
  if (!scan) return title;
  const contrast = contrastOf(scan, name);
  return name === "real" && !contrast && scan.real ? scan.real.title.replace("c", "C") : `${title} ${contrast}`.trim();
}

// As it stands in the picture's own pixels.
/** @param {ImageName} name */
export const labelOf = (name) => titleOf(name).replace("Cycle reconstruction", "Reconstructed").toUpperCase();

// What a screen reader hears of a panel's image.
/** @param {ImageName} name */
export const altOf = (name) => IMAGES[name].alt.replace("$to", openScan()?.to ?? "");

// ---------------------------------------------------------------- pixels

/** @type {WeakMap<Uint16Array, Record<string, [Uint16Array, Uint16Array]>>} */
const derived = new WeakMap(); // first source -> {name: [second source, pixels]}
/** @type {Record<string, {sources: unknown[], missing: number[], pixels: Uint16Array}>} */
const cuts = {}; // by name and plane

/** @param {string} name @param {Uint16Array} a @param {Uint16Array} b @param {(v: number, i: number) => number} pixel */
function derive(name, a, b, pixel) {
  const made = derived.get(a) || {};
  derived.set(a, made);
  if (made[name]?.[0] !== b) made[name] = [b, a.map(pixel)];
  return made[name][1];
}

// An acquired slice of an image as uint16, undefined while it is not here.
/** @param {Scan} scan @param {ImageName} name @param {number} index */
function sliceOf(scan, name, index) {
  if (name === "uncertainty") return findingsOf(index)?.pixels;
  const needed = NEEDS[name];
  if (!needed) return slices.get(scan, name, index);
  const [a, b] = needed.map((each) => slices.get(scan, each, index));
  if (!a || !b) return undefined;
  if (name === "cycleError") return derive(name, a, b, (v, i) => Math.abs(v - b[i]));
  const zero = Math.round(FULL / 2); // where the real image has nothing to compare with
  return derive(name, a, b, (v, i) => (b[i] ? zero + Math.round((v - b[i]) / 2) : zero));
}

/** @type {Frame} */
const NO_FRAME = { plane: "axial", width: 1, height: 1, aspect: 1, edges: [], box: [0, 0, 1, 1] };

// What a panel shows: slice, row or column `at` of an image. Pixels are null while they are not here.
/** @param {ImageName} name @param {Plane} plane @param {number} at @returns {Picture} */
export function imageIn(name, plane = "axial", at = depthOf(plane)) {
  const scan = openScan();
  const { group } = IMAGES[name];
  if (!scan) return { name, group, frame: NO_FRAME, pixels: null, missing: [] };
  const frame = frameOf(scan, plane);
  if (plane === "axial") return { name, group, frame, pixels: sliceOf(scan, name, at) || null, missing: [] };
  const here = Array.from({ length: scan.slices }, (_, z) => sliceOf(scan, name, z));
  const sources = [at, ...here];
  const id = `${name} ${plane}`;
  const before = cuts[id]?.sources ?? [];
  if (before.length !== sources.length || before.some((each, i) => each !== sources[i])) {
    /** @type {number[]} */
    const missing = [];
    cuts[id] = { sources, missing, pixels: cut(scan, frame, at, (z) => here[z], missing) };
  }
  const { pixels, missing } = cuts[id];
  return { name, group, frame, pixels: missing.length < scan.slices ? pixels : null, missing };
}

/** @param {Group} group @returns {(value: number) => number} */
export const shareOf = (group) => (group === "signed" ? (v) => (2 * v) / FULL - 1 : (v) => v / FULL);

// The value at a point of an image in shares of the grey range, null outside.
/** @param {Picture} image @param {Point} point */
export function valueAt({ pixels, frame, group, missing }, [u, v]) {
  const [x, y] = [Math.floor(u), Math.floor(v)];
  if (!pixels || x < 0 || y < 0 || x >= frame.width || y >= frame.height || missing.includes(y)) return null;
  return shareOf(group)(pixels[y * frame.width + x]);
}

// Have what is seen, and what is near to it, fetched.
export function fetchAhead() {
  const scan = openScan();
  if (!scan || page.state.link === "gone") return;
  slices.fetchAround(scan, view.index, ["original", "translated", "reconstructed", ...(scan.real ? ["real"] : [])]);
}
