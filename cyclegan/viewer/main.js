// Starts the page once Gradio has made its parts, and draws it anew whenever something has changed.

import { listenToMenus, showBar } from "./bar.js";
import { draw } from "./draw.js";
import { dropped, pick } from "./files.js";
import { positionWords } from "./geometry.js";
import { fetchAhead } from "./images.js";
import { listenToKeys } from "./keys.js";
import { arrange, describe, fill, fit, makePanels, startCount } from "./panels.js";
import { goTo, isPlaying, playOrStop, showScrubber } from "./navigation.js";
import { listenAll } from "./pointer.js";
import { choose, compareWith, compareWithCompanion, openFiles, register, removeReal, start, useStyle } from "./scan.js";
import { changed, onChange, openScan, page, phaseOf, view } from "./state.js";
import { makeTools, picture, showTools } from "./tools.js";
import { measureRested } from "./trust.js";
import { openWindows, settle } from "./windows.js";

const PARTS = ["viewer", "bar"];
const PLAY = "|M5 3l8 5-8 5z";
const PAUSE = "|M4 3h3v10H4zM9 3h3v10H9z";
/** @type {Record<string, {element: HTMLElement, tell: (scan: string) => void}>} */
const parts = {}; // what Gradio has made so far

// A part of the page is there. `tell(scan)` has Gradio's controls follow the scan of that token.
/** @param {string} name @param {HTMLElement} element @param {(scan: string) => void} tell */
export function mount(name, element, tell) {
  parts[name] = { element, tell };
  if (PARTS.every((each) => parts[each])) begin(parts.viewer);
}

// What Gradio's controls ask for.
export const chooseReal = () => pick(false, compareWith);
export const chooseStyle = () => pick(false, useStyle);
export { choose, compareWithCompanion, register, removeReal };

/** @param {typeof parts.viewer} viewer */
function begin({ element, tell }) {
  /** @param {string} selector @returns {any} */
  const part = (selector) => element.querySelector(selector);
  const [root, grid, scrubber, cine] = [".viewer", ".grid", ".scrubber", ".cine"].map(part);
  makePanels(grid, part(".panel-template"));
  makeTools(part(".tools"));
  listenAll();
  listenToKeys(part(".help input"));
  listenToMenus();
  part(".scrubber input").addEventListener("input", (/** @type {any} */ { target }) => goTo(Number(target.value) - 1));
  cine.addEventListener("click", playOrStop);
  startCount();
  arrange();
  openWindows(true);
  onChange(() => {
    settle();
    fit(grid);
    describe();
    draw();
    showScrubber(scrubber);
    showCine(cine);
    showTools();
    showBar();
    part(".position").textContent = positionOf();
    mark(root);
    fetchAhead();
    measureRested();
  });
  addEventListener("resize", changed);
  document.addEventListener("fullscreenchange", changed);
  new ResizeObserver(changed).observe(grid);
  changed();
  start(({ scan }) => tell(scan));
}

/** @param {HTMLElement} cine */
function showCine(cine) {
  cine.ariaPressed = String(isPlaying());
  fill(cine, isPlaying(), () => [picture(isPlaying() ? PAUSE : PLAY)]);
}

function positionOf() {
  const at = view.cursor || (view.planes && view.point);
  const scan = openScan();
  return at && scan ? positionWords(scan, at) : "";
}

// What style and tests see.
/** @param {HTMLElement} root */
function mark(root) {
  Object.assign(root.dataset, { phase: phaseOf(page.state), index: view.index, key: openScan()?.key ?? "", drag: view.tool, ready: "true" });
  document.body.classList.toggle("arriving", Boolean(page.state.transfer && openScan()));
}

// ---------------------------------------------------------------- drops

/** @param {DragEvent} event */
const hasFiles = (event) => [...(event.dataTransfer?.types || [])].includes("Files");

// Files may be dropped anywhere; those on the real image's or the style's place are that.
function listenToDrops() {
  addEventListener("dragover", (event) => document.body.classList.toggle("dropping", hasFiles(event)), true);
  for (const name of /** @type {const} */ (["dragleave", "dragend", "drop"])) {
    addEventListener(name, (event) => {
      if (name !== "dragleave" || !event.relatedTarget) document.body.classList.remove("dropping");
    }, true);
  }
  // `drops` in the page's head, which is there before this module, has the files of each.
  const take = async () => {
    for (const { target, ...drop } of drops.splice(0)) {
      /** @param {string} selector */
      const isOn = (selector) => target instanceof Element && target.closest(selector);
      const use = isOn("#real") ? compareWith : isOn("#style-area") ? useStyle : openFiles;
      use(await dropped(drop));
    }
  };
  addEventListener("drop", take, true);
  take();
}

listenToDrops();
