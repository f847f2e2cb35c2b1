// How far to trust the slice on screen: what the server works out of it once it has rested, and the hatching.

import * as api from "./api.js";
import { isReady } from "./slices.js";
import { changed, openScan, page, view } from "./state.js";
import { say } from "./speech.js";
import { FULL } from "./windows.js";

const REST_MS = 200;
const MOST = 48; // slices whose findings stay
const HATCH = 7; // CSS pixels from line to line
const cache = new Map(); // scan, key and index -> the server's findings, with the map's pixels
let asked = null; // {id, abort}

const idOf = (scan, index) => [scan.scan, scan.key, index].join("/");

export function findingsOf(index) {
  return openScan() && cache.get(idOf(openScan(), index));
}

// Ask for the findings of the slice on screen, once it is translated and rests.
export function lookCloser() {
  const scan = openScan();
  const id = scan && isReady(scan, "translated", view.index) && page.state.phase === "open" ? idOf(scan, view.index) : null;
  if (asked?.id === id) return;
  asked?.abort.abort();
  clearTimeout(asked?.timer);
  asked = null;
  if (!id || cache.get(id)?.isWhole) return;
  const abort = new AbortController();
  asked = { id, abort, timer: setTimeout(() => bring(scan, view.index, id, abort.signal), REST_MS) };
}

async function bring(scan, index, id, signal) {
  try {
    const findings = await api.findings(scan, index, signal);
    cache.set(id, findings);
    if (cache.size > MOST) cache.delete(cache.keys().next().value);
    changed();
    if (findings.map || findings.interval_words) findings.pixels = await api.image(scan, "uncertainty", index, signal);
    findings.isWhole = true;
  } catch {
    if (!signal.aborted) setTimeout(() => (asked = null), 1000); // asked for again with the next change
  }
  changed();
}

// ---------------------------------------------------------------- words

const GRADES = { fits: "good", doubtful: "warn" };

// The one word at the image: {word, grade, sentence}.
export function trust() {
  const scan = openScan();
  const verdict = findingsOf(view.index)?.fits || scan?.check;
  if (!verdict?.word) return null;
  return { word: verdict.word, sentence: verdict.sentence, grade: GRADES[verdict.word] || "bad" };
}

export async function copy(words) {
  try {
    await navigator.clipboard.writeText(words);
  } catch {
    // Without TLS there is no clipboard but this one.
    const area = Object.assign(document.createElement("textarea"), { value: words });
    document.querySelector(".viewer").append(area);
    area.select();
    document.execCommand("copy");
    area.remove();
  }
}

// ---------------------------------------------------------------- hatching

let mask = null; // a canvas with one pixel for each of the slice
let maskOf = null; // the findings that it was made from
let lines = null; // a canvas as large as a panel

// Whether it is known how far off each value may be, and how much a lesion stands out.
export function canHatch() {
  const findings = findingsOf(view.index);
  return Boolean(findings?.interval_words && findings.pixels && findings.lesion_contrast);
}

export function toggleHatch() {
  view.hatched = !view.hatched;
  const words = canHatch() ? `${share()} % of the head hatched` : "Hatched, once the interval is known";
  say(view.hatched ? words : "Not hatched");
  changed();
}

function share() {
  const { pixels, lesion_contrast: contrast } = findingsOf(view.index);
  const head = pixels.filter((half) => half > 0);
  return Math.round((100 * head.filter((half) => half > contrast * FULL).length) / (head.length || 1));
}

// Hatch the synthetic image where its interval is wider than the contrast of a lesion: one could be there or not.
export function hatch(context, g, density) {
  if (!view.hatched || !canHatch()) return false;
  const findings = findingsOf(view.index);
  const { width, height } = openScan();
  mask ??= document.createElement("canvas");
  lines ??= document.createElement("canvas");
  if (maskOf !== findings) {
    Object.assign(mask, { width, height });
    const out = mask.getContext("2d").createImageData(width, height);
    const words = new Int32Array(out.data.buffer);
    findings.pixels.forEach((half, i) => (words[i] = half > findings.lesion_contrast * FULL ? -1 : 0));
    mask.getContext("2d").putImageData(out, 0, 0);
    maskOf = findings;
  }
  const { width: across, height: down } = context.canvas;
  Object.assign(lines, { width: across, height: down });
  const pen = lines.getContext("2d");
  pen.drawImage(mask, g.left, g.top, width * g.x, height * g.y);
  pen.globalCompositeOperation = "source-in";
  pen.strokeStyle = "#ffc46b";
  pen.lineWidth = density;
  pen.beginPath();
  for (let x = -down; x < across; x += HATCH * density) {
    pen.moveTo(x, down);
    pen.lineTo(x + down, 0);
  }
  pen.stroke();
  context.drawImage(lines, 0, 0);
  return true;
}
