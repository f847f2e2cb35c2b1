// Window and level: presets, tables of grey and colour, what they are in the file's units, and the choice of them by
// preset, drag and key. One window for each group of images: original and reconstruction must look through the same, and
// so must synthetic and real image. But for the last part nothing here touches the page.

import { FULL } from "./api.js";
import { clamp, toImage } from "./geometry.js";
import { imageIn, isMap } from "./images.js";
import { activePanel, frontOf, geometry } from "./panels.js";
import { changed, openScan, unpanned, update, view } from "./state.js";

const GREY = { center: 0.5, width: 1 };
// Tops of the colour bars, in shares of the grey range. In heads of validation the prediction interval is 0.09 to
// 0.34, in the middle 0.17.
/** @type {Partial<Windows>} */
export const MAPS = {
  cycle: { center: 0.125, width: 0.25 }, uncertainty: { center: 0.175, width: 0.35 }, signed: { center: 0, width: 1 },
};
const NARROWEST = 0.02;
const WIDEST = 2;
const INNER = 0.72; // of the way from the head's centre to its rim: inside lies brain, no bright scalp or dark skull
const SAMPLED = 30_000; // pixels, at most
// Shares of the pixels that turn black and white, and how far the window reaches beyond, in widths; `below` where it
// reaches less far down, so that noise in the air stays black.
/** @typedef {{title: string, from?: number, to?: number, beyond?: number, below?: number}} Preset */
/** @type {Record<string, Preset>} */
export const PRESETS = {
  brain: { title: "Brain", from: 0.01, to: 0.995, beyond: 0.06, below: 0 },
  contrast: { title: "High contrast", from: 0.1, to: 0.9, beyond: 0.15 },
  full: { title: "Full range" },
  file: { title: "File's own" },
  auto: { title: "Region in view", from: 0.01, to: 0.99, beyond: 0.03 },
  hand: { title: "By hand" },
};

// ---------------------------------------------------------------- what pixels suggest

/** @typedef {{pixels: Uint16Array, width: number, height: number, aspect: number}} Sized */

// Indices of SAMPLED pixels at most, evenly spread over a rectangle.
/** @param {Sized} image @param {Box} rectangle */
function sampled({ width }, [left, top, right, bottom]) {
  const every = Math.max(1, Math.ceil(Math.sqrt(((right - left) * (bottom - top)) / SAMPLED)));
  const indices = [];
  for (let y = top; y < bottom; y += every) {
    for (let x = left; x < right; x += every) indices.push(y * width + x);
  }
  return indices;
}

// Half of the threshold that parts dark from bright best (Otsu 1979): what is below is air.
/** @param {number[]} pixels */
function air(pixels) {
  const counts = new Float64Array(256);
  for (const value of pixels) counts[value >> 8]++;
  const sum = counts.reduce((all, count, bin) => all + count * bin, 0);
  let [n, below, best, threshold] = [0, 0, 0, 0];
  counts.forEach((count, bin) => {
    n += count;
    below += count * bin;
    const apart = below / n - (sum - below) / (pixels.length - n);
    const between = n * (pixels.length - n) * apart * apart;
    if (between > best) [best, threshold] = [between, bin];
  });
  return (threshold + 1) * 128;
}

// Indices of pixels well inside the head, dark ones too: nearer to its centre than INNER of the way to its rim.
/** @param {Sized} image */
export function insideHead(image) {
  const { pixels, width, aspect } = image;
  const all = sampled(image, [0, 0, width, image.height]);
  const dark = air(all.map((i) => pixels[i]));
  const head = all.filter((i) => pixels[i] > dark);
  /** @param {(i: number) => number} of */
  const mean = (of) => head.reduce((sum, i) => sum + of(i), 0) / head.length;
  const [cx, cy] = [mean((i) => i % width), mean((i) => Math.floor(i / width))];
  /** @param {number} i */
  const polar = (i) => {
    const [x, y] = [(i % width) - cx, (Math.floor(i / width) - cy) * aspect];
    return [Math.floor((Math.atan2(y, x) / Math.PI + 1) * 35.999), Math.hypot(x, y)];
  };
  /** @type {number[][]} */
  const radii = Array.from({ length: 72 }, () => []);
  for (const i of head) {
    const [sector, radius] = polar(i);
    radii[sector].push(radius);
  }
  // Not the outermost: noise in the air reaches beyond the head.
  const rims = radii.map((each) => Float32Array.from(each).sort()[Math.floor(0.95 * each.length)] || 0);
  return all.filter((i) => {
    const [sector, radius] = polar(i);
    return radius < INNER * rims[sector];
  });
}

// Indices of the pixels in a rectangle, air aside.
/** @param {Sized} image @param {Box} rectangle */
function inRectangle(image, rectangle) {
  return sampled(image, rectangle).filter((i) => image.pixels[i] > 0.02 * FULL);
}

// The window in which all but the outermost shares of the pixels `inside` are grey; null for too few.
/** @param {Uint16Array} pixels @param {number[]} inside @param {Omit<Preset, "title">} preset */
export function robust(pixels, inside, { from = 0, to = 1, beyond = 0, below = beyond }) {
  if (inside.length < 64) return null;
  const values = Uint16Array.from(inside, (i) => pixels[i]).sort();
  /** @param {number} share */
  const at = (share) => values[Math.floor(share * (values.length - 1))] / FULL;
  const range = at(to) - at(from);
  const [low, high] = [at(from) - below * range, at(to) + beyond * range];
  return { center: (low + high) / 2, width: clamp(high - low, NARROWEST, WIDEST) };
}

// A grey window for each of `images` ({group: image}) by the preset `name`; what it does not say stays away.
// `own` is the file's window; the original's head decides which pixels count, or the rectangle in view.
/**
 * @param {string} name @param {{source: Sized, target?: Sized | null}} images @param {GreyWindow | null} own
 * @param {Box | null} rectangle @returns {Partial<Windows>}
 */
export function byPreset(name, images, own, rectangle) {
  const preset = PRESETS[name];
  const { source } = images;
  const inside = preset.from === undefined ? null : name === "auto" && rectangle ? inRectangle(source, rectangle) : insideHead(source);
  /** @type {Partial<Windows>} */
  const windows = {};
  for (const group of /** @type {const} */ (["source", "target"])) {
    const image = images[group];
    if (!image) continue;
    const ranged = inside && robust(image.pixels, inside, preset);
    if (ranged) windows[group] = ranged;
    else if (name === "file" && group === "source" && own) windows[group] = own;
    else if (name === "full" || name === "brain") windows[group] = GREY;
  }
  return windows;
}

// The window after a drag or a key: wider by `widen`, brighter or darker by `raise`, shares of the grey range.
/** @param {Group} group @param {GreyWindow} window @param {number} widen @param {number} raise */
export function adjusted(group, { center, width }, widen, raise) {
  if (!isMap(group)) {
    return { width: clamp(width + widen, NARROWEST, WIDEST), center: clamp(center + raise, -0.5, 1.5) };
  }
  const top = clamp(width + (widen + raise) / 2, NARROWEST, 1);
  return { width: top, center: group === "signed" ? 0 : top / 2 }; // an error map starts at zero
}

// ---------------------------------------------------------------- grey and colour

// Inferno's anchors (matplotlib): perceptually even, black where there is no error.
const INFERNO = [
  [0, 0, 4], [40, 11, 84], [101, 21, 110], [159, 42, 99], [212, 72, 66], [245, 125, 21], [250, 193, 39], [252, 255, 164],
];
const LEVELS = Array.from({ length: 256 }, (_, i) => i);
const GREYS = LEVELS.map((i) => [i, i, i]);
const ERRORS = LEVELS.map((i) => {
  const position = (i / 255) * (INFERNO.length - 1);
  const at = Math.min(Math.floor(position), INFERNO.length - 2);
  return INFERNO[at].map((low, c) => low + (INFERNO[at + 1][c] - low) * (position - at));
});
// Blue, black, orange: signs differ in hue, and no error is black as on the other map.
const SIGNED = LEVELS.map((i) => {
  const t = (i - 127.5) / 127.5;
  return (t < 0 ? [90, 170, 255] : [255, 160, 50]).map((c) => c * Math.min(1, Math.abs(t) * 1.1));
});
/** @type {Record<Group, number[][]>} */
const COLOURS = { source: GREYS, target: GREYS, cycle: ERRORS, uncertainty: ERRORS, signed: SIGNED };

// CSS colours from one end of the group's colour bar to the other.
/** @param {Group} group */
export function ramp(group) {
  return [0, 36, 73, 109, 146, 182, 219, 255].map((i) => `rgb(${COLOURS[group][i].map(Math.round).join(" ")})`);
}

// The canvas colour, 0xAABBGGRR, of each of the 65536 values. In "signed" 0 stands for -1 and 65535 for 1. A table that
// is `sheer` lets through what lies below where there is little to show.
/** @param {Group} group @param {GreyWindow} window @param {boolean} inverted @param {boolean} [sheer] */
export function lookUp(group, { center, width }, inverted, sheer = false) {
  const signed = group === "signed";
  const low = (signed ? (center - width / 2 + 1) / 2 : center - width / 2) * FULL;
  const scale = (255 / (width * FULL)) * (signed ? 2 : 1);
  /** @param {number} i */
  const alpha = (i) => (sheer ? Math.min(255, 1.6 * (signed ? 2 * Math.abs(i - 127.5) : i)) : 255);
  const packed = COLOURS[group].map(([r, g, b], i) => (alpha(i) << 24) | (b << 16) | (g << 8) | r);
  if (inverted && !isMap(group)) packed.reverse();
  const table = new Int32Array(FULL + 1);
  for (let value = 0; value <= FULL; value++) table[value] = packed[clamp(Math.round((value - low) * scale), 0, 255)];
  return table;
}

// ---------------------------------------------------------------- in words

// A share of the grey range as the file would say it; synthetic images have no units but this share.
/** @param {Group} group @param {number} share @param {[number, number] | null} units @param {number} [digits] */
export function inUnits(group, share, units, digits = 2, isWidth = false) {
  if (group !== "source" || !units) return share.toFixed(digits).replace("-", "−");
  const [low, high] = units;
  const value = share * (high - low) + (isWidth ? 0 : low);
  return value.toFixed(high - low >= 20 ? 0 : digits).replace("-", "−");
}

/** @param {Group} group @param {GreyWindow} window @param {[number, number] | null} units */
export function windowWords(group, { center, width }, units) {
  return `W ${inUnits(group, width, units, 2, true)}  L ${inUnits(group, center, units)}`;
}

// ---------------------------------------------------------------- of the images on screen

let opened = MAPS; // windows as the scan opened and its result came: what a reset goes back to

/** @param {Group} group */
export const windowOf = (group) => view.windows[group] ?? GREY;

// For a scan that was opened, or a result that is new: its windows are chosen as soon as its images are here.
/** @param {boolean} isScan */
export function openWindows(isScan) {
  /** @param {Partial<Windows>} windows */
  const others = ({ target: _, ...windows }) => (isScan ? MAPS : windows);
  opened = others(opened);
  view.windows = others(view.windows);
  if (isScan) view.inverted = false;
  if (isScan || ["hand", "auto"].includes(view.preset)) view.preset = "brain";
  changed();
}

/** @param {ImageName} name */
function withBox(name) {
  const { pixels, frame } = imageIn(name);
  return pixels && { ...frame, pixels };
}

// Choose the windows that wait for their images; called before each drawing.
export function settle() {
  const scan = openScan();
  const isWaiting = !view.windows.source || !view.windows.target;
  const source = isWaiting && withBox("original");
  const target = view.windows.target ? null : withBox("translated");
  if (!scan || !source || (view.windows.source && !target)) return; // what follows takes long
  const [brain, chosen] = ["brain", view.preset].map((preset) => byPreset(preset, { source, target }, scan.window, null));
  opened = { ...brain, ...opened };
  view.windows = { ...brain, ...chosen, ...view.windows };
}

/** @param {string} preset */
export function choosePreset(preset) {
  const scan = openScan();
  const source = withBox("original");
  if (preset === "hand" || !scan || !source) return;
  const windows = byPreset(preset, { source, target: withBox("translated") }, scan.window, rectangleInView());
  view.windows = { ...view.windows, ...windows };
  update({ preset }, `${PRESETS[preset].title}. ${windowWords("source", windowOf("source"), scan.units)}`);
}

// Of the active panel, in pixels of its slice.
/** @returns {Box} */
function rectangleInView() {
  const panel = activePanel();
  const { frame } = frontOf(panel);
  const g = geometry(panel);
  const corners = [...toImage(g, [0, 0]), ...toImage(g, [panel.canvas.width, panel.canvas.height])];
  const [left, top, right, bottom] = corners.map((at, i) => Math.round(clamp(at, 0, i % 2 ? frame.height : frame.width)));
  return [left, top, right, bottom];
}

/** @param {Panel} panel @param {number} widen @param {number} raise */
export function windowBy(panel, widen, raise) {
  const { group } = frontOf(panel);
  const window = adjusted(group, windowOf(group), widen, raise);
  const { center, width } = window;
  const windows = { ...view.windows, [group]: window };
  if (isMap(group)) return update({ windows }, `Colours up to ${(center + width / 2).toFixed(2)}`);
  const units = openScan()?.units ?? null;
  const [wide, level] = [inUnits(group, width, units, 2, true), inUnits(group, center, units)];
  update({ windows, preset: "hand" }, `Window ${wide}, level ${level}`);
}

export function invert() {
  update({ inverted: !view.inverted }, view.inverted ? "Not inverted" : "Inverted");
}

export function reset() {
  update({ windows: opened, preset: "brain", zoom: 1, pan: unpanned() }, "View reset");
}
