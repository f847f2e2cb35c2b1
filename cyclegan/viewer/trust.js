// How far to trust the slice on screen: what the server measures of it once it has rested, and the hatching.

import * as api from "./api.js";
import { FULL } from "./api.js";
import { isReady } from "./cache.js";
import { drawIn } from "./geometry.js";
import { changed, isOpen, openScan, page, pause, update, view } from "./state.js";

const REST_MS = 200;
const RETRY_MS = 1000;
const MOST = 48; // slices whose findings stay
const HATCH = 7; // CSS pixels from line to line
const AMBER = "#ffc46b";
/** @type {Map<string, Findings>} */
const cache = new Map(); // by scan, key and index
let asked = ""; // the id of the last
let asking = new AbortController();

/** @param {Scan} scan @param {number} index */
const idOf = (scan, index) => [scan.scan, scan.key, index].join("/");

/** @param {number} index */
export function findingsOf(index) {
  const scan = openScan();
  return scan ? cache.get(idOf(scan, index)) : undefined;
}

// Ask for the findings of the slice on screen, once it is translated and rests.
export function measureRested() {
  const scan = openScan();
  const isMeasurable = scan && isReady(scan, "translated", view.index) && isOpen(page.state);
  const id = isMeasurable ? idOf(scan, view.index) : "";
  if (asked === id) return;
  asking.abort();
  asking = new AbortController();
  asked = id;
  if (scan && id && !cache.get(id)?.isWhole) bring(scan, view.index, id, asking.signal);
}

/** @param {Scan} scan @param {number} index @param {string} id @param {AbortSignal} signal */
async function bring(scan, index, id, signal) {
  await pause(REST_MS);
  if (signal.aborted) return;
  try {
    const findings = await api.findings(scan, index, signal);
    cache.set(id, findings);
    if (cache.size > MOST) cache.delete([...cache.keys()][0]);
    changed();
    if (findings.map || findings.interval_words) findings.pixels = await api.image(scan, "uncertainty", index, signal);
    findings.isWhole = true;
  } catch {
    await pause(RETRY_MS);
    if (!signal.aborted) asked = "";
  }
  changed();
}

/** @type {Record<string, string>} */
const GRADES = { fits: "good", doubtful: "warn" };

// The one word at the image.
export function trust() {
  const verdict = findingsOf(view.index)?.fits || openScan()?.check;
  return verdict?.word ? { word: verdict.word, sentence: verdict.sentence, grade: GRADES[verdict.word] || "bad" } : null;
}

// ---------------------------------------------------------------- hatching

// Half of each pixel's interval, and the contrast of a lesion, of the slice on screen; null where they are not known.
export function interval() {
  const { interval_words: isKnown, pixels, lesion_contrast: contrast } = findingsOf(view.index) ?? {};
  return isKnown && pixels && contrast ? { pixels, contrast } : null;
}

export function toggleHatch() {
  update({ hatched: !view.hatched }, view.hatched ? "Not hatched" : hatchedWords());
}

function hatchedWords() {
  const known = interval();
  if (!known) return "Hatched, once the interval is known";
  const head = known.pixels.filter((half) => half > 0);
  const wide = head.filter((half) => half > known.contrast * FULL);
  return `${Math.round((100 * wide.length) / (head.length || 1))} % of the head hatched`;
}

// Hatch the synthetic image where its interval is wider than the contrast of a lesion: one could be there or not.
/** @param {CanvasRenderingContext2D} context @param {Placement} g @param {number} density */
export function hatch(context, g, density) {
  const known = interval();
  const scan = openScan();
  if (!view.hatched || !known || !scan) return false;
  const mask = new ImageData(scan.width, scan.height);
  const words = new Int32Array(mask.data.buffer);
  known.pixels.forEach((half, i) => {
    words[i] = half > known.contrast * FULL ? -1 : 0;
  });
  const raster = new OffscreenCanvas(scan.width, scan.height);
  raster.getContext("2d")?.putImageData(mask, 0, 0);
  const { width, height } = context.canvas;
  const lines = new OffscreenCanvas(width, height);
  const pen = /** @type {OffscreenCanvasRenderingContext2D} */ (lines.getContext("2d"));
  drawIn(pen, g, raster);
  pen.globalCompositeOperation = "source-in";
  pen.strokeStyle = AMBER;
  pen.lineWidth = density;
  pen.beginPath();
  for (let x = -height; x < width; x += HATCH * density) {
    pen.moveTo(x, height);
    pen.lineTo(x + height, 0);
  }
  pen.stroke();
  context.drawImage(lines, 0, 0);
  return true;
}
