// The images of the shown slice: what each is called, whose window it is seen through, and its pixels.

import { findingsOf } from "./findings.js";
import { cut, frameOf } from "./geometry.js";
import * as api from "./api.js";
import { changed, openScan, page, view } from "./state.js";
import { Slices } from "./slices.js";
import { FULL } from "./windows.js";

export const IMAGES = {
  original: { group: "source", title: "Original", label: "ORIGINAL" },
  translated: { group: "target", title: "Synthetic", label: "SYNTHETIC", made: true },
  reconstructed: { group: "source", title: "Cycle reconstruction", label: "RECONSTRUCTED", made: true },
  cycleError: { group: "cycle", title: "Cycle error", label: "CYCLE ERROR" },
  uncertainty: { group: "uncertainty", title: "Uncertainty", label: "UNCERTAINTY" },
  real: { group: "target", title: "Real", label: "REAL" },
  trueError: { group: "signed", title: "True error", label: "TRUE ERROR" },
};
const NEEDS = { cycleError: ["original", "reconstructed"], trueError: ["translated", "real"] };

// Most of what arrives is for later.
export const slices = new Slices(api.image, (_, index) => (index === view.index || view.planes) && changed());

export const other = (contrast) => (contrast === "T1" ? "T2" : "T1");

// Names of what can be shown of the scan, in the order in which they are offered.
export function offered() {
  const scan = openScan();
  if (!scan) return ["original", "translated", "reconstructed"];
  const isKnown = findingsOf(view.index)?.map !== null; // until that is known it keeps its place
  return Object.keys(IMAGES).filter((name) =>
    ["real", "trueError"].includes(name) ? scan.real : name !== "uncertainty" || isKnown
  );
}

// What stands side by side when a scan is opened, or a real image comes or goes.
export function startingSlots(scan) {
  if (!scan?.real) return ["original", "translated", "reconstructed", "cycleError"];
  const pair = ["translated", "real"];
  return view.count < 3 ? [...pair, "original", "trueError"] : ["original", ...pair, "trueError"];
}

function contrastOf(name) {
  const { to, check, real } = openScan();
  if (name === "translated") return to;
  if (name === "real") return real?.warning && real.contrast && real.contrast !== to ? "" : to;
  if (name === "reconstructed") return other(to);
  // Of an original that does not look like what the direction takes, the page does not say that it is.
  return name === "original" && !check?.switch_to && check?.word !== "not what it learnt" ? other(to) : "";
}

export function titleOf(name) {
  if (!openScan()) return IMAGES[name].title;
  if (name === "real" && !contrastOf(name)) return `Given image, looks like ${openScan().real.contrast}`;
  return `${IMAGES[name].title} ${contrastOf(name)}`.trim();
}

// As it stands in the picture's own pixels.
export function labelOf(name) {
  if (name === "real" && !contrastOf(name)) return titleOf(name).toUpperCase();
  return `${IMAGES[name].label} ${contrastOf(name)}`.trim();
}

// What a screen reader is told of a panel's image.
export function altOf(name) {
  const scan = openScan();
  const words = {
    original: "Original slice",
    translated: `Synthetic ${scan.to} made from the original`,
    reconstructed: `Reconstruction of the original from the synthetic ${scan.to}`,
    cycleError: "Map of the absolute difference between original and reconstruction; cycle error, not translation error",
    uncertainty: "Map of the uncertainty of the synthetic image",
    real: `Acquired ${scan.to}`,
    trueError: "Map of the true error: synthetic minus real image",
  };
  return words[name];
}

// ---------------------------------------------------------------- pixels

const derived = new WeakMap(); // first source -> {name: [second source, pixels]}
const cuts = {}; // name and plane -> [sources, pixels]

function derive(name, a, b, make) {
  const made = derived.get(a) || {};
  derived.set(a, made);
  if (made[name]?.[0] !== b) made[name] = [b, make()];
  return made[name][1];
}

// The acquired slice `index` of an image as uint16, undefined while it is not here.
function sliceOf(name, index) {
  const scan = openScan();
  if (!scan) return undefined;
  if (name === "uncertainty") return findingsOf(index)?.pixels;
  const needed = NEEDS[name];
  if (!needed) return slices.get(scan, name, index);
  const [a, b] = needed.map((each) => slices.get(scan, each, index));
  if (!a || !b) return undefined;
  if (name === "cycleError") return derive(name, a, b, () => a.map((v, i) => Math.abs(v - b[i])));
  const zero = Math.round(FULL / 2); // where the real image has nothing to compare with
  return derive(name, a, b, () => a.map((v, i) => (b[i] ? zero + Math.round((v - b[i]) / 2) : zero)));
}

// What a panel shows: {name, group, frame, pixels, missing}; pixels null while they are not here, missing the rows
// of a cut whose slice is not.
export function imageIn(name, plane = "axial", index = view.index) {
  const scan = openScan();
  const { group } = IMAGES[name];
  if (!scan) return { name, group, frame: null, pixels: null, missing: [] };
  const frame = frameOf(scan, plane);
  if (plane === "axial") return { name, group, frame, pixels: sliceOf(name, index) || null, missing: [] };
  const here = Array.from({ length: scan.slices }, (_, z) => sliceOf(name, z));
  const sources = [Math.floor(view.point[plane === "coronal" ? 1 : 0]), ...here];
  const made = `${name} ${plane}`;
  if (cuts[made]?.sources.length !== sources.length || cuts[made].sources.some((each, i) => each !== sources[i])) {
    const missing = [];
    cuts[made] = { sources, missing, pixels: cut(scan, frame, view.point, (z) => here[z], missing) };
  }
  const { pixels, missing } = cuts[made];
  return { name, group, frame, pixels: missing.length < scan.slices ? pixels : null, missing };
}

export const shareOf = (group) => (group === "signed" ? (v) => (2 * v) / FULL - 1 : (v) => v / FULL);

// The value at [u, v] of an image in shares of the grey range, null outside.
export function valueAt({ pixels, frame, group, missing }, [u, v]) {
  const [x, y] = [Math.floor(u), Math.floor(v)];
  if (!pixels || x < 0 || y < 0 || x >= frame.width || y >= frame.height || missing.includes(y)) return null;
  return shareOf(group)(pixels[y * frame.width + x]);
}

// Have what is seen, and what is near to it, fetched.
export function fetchAhead() {
  const scan = openScan();
  if (!scan || page.state.below === "gone") return;
  slices.want(scan, view.index, ["original", "translated", "reconstructed", ...(scan.real ? ["real"] : [])]);
}
