// Starts the page once Gradio has made its parts, and draws it anew whenever something has changed.

import { listenToMenus, showBar } from "./bar.js";
import { dropped, pick } from "./files.js";
import { lookCloser } from "./findings.js";
import { positionWords } from "./geometry.js";
import { fetchAhead } from "./images.js";
import { arrange, fit, startCount } from "./layout.js";
import { openWindows, settle } from "./look.js";
import { listenToKeys } from "./keys.js";
import { draw } from "./draw.js";
import { describe, makePanels } from "./panels.js";
import { listenAll } from "./pointer.js";
import { giveReal, giveStyle, openFiles, start } from "./scan.js";
import { goTo, isPlaying, playOrStop, showScrubber } from "./scroll.js";
import { changed, openScan, onChange, page, view } from "./state.js";
import { makeTools, picture, showTools } from "./tools.js";

const PARTS = ["viewer", "bar", "save"];
const PLAY = "|M5 3l8 5-8 5z";
const PAUSE = "|M4 3h3v10H4zM9 3h3v10H9z";
const parts = {}; // what Gradio has made so far: name -> {element, tell}

// A part of the page is there. `tell(scan)` has Gradio's controls follow the scan of that token.
export function mount(name, element, tell) {
  parts[name] = { element, tell };
  if (PARTS.every((each) => parts[each])) begin();
}

export const chooseReal = () => pick(false, giveReal);
export const chooseStyle = () => pick(false, giveStyle);

function begin() {
  const { element, tell } = parts.viewer;
  const root = element.querySelector(".viewer");
  const grid = root.querySelector(".grid");
  makePanels(grid, root.querySelector(".panel-template"));
  makeTools(root.querySelector(".tools"));
  listenAll();
  listenToKeys();
  listenToMenus();
  const scrubber = root.querySelector(".scrubber");
  scrubber.querySelector("input").addEventListener("input", ({ target }) => goTo(Number(target.value) - 1));
  const cine = scrubber.querySelector(".cine");
  cine.addEventListener("click", playOrStop);
  startCount();
  arrange();
  openWindows(["source", "target"]);
  onChange(() => {
    settle();
    fit(grid);
    describe();
    draw();
    showScrubber(scrubber);
    show(cine, isPlaying());
    showTools();
    showBar();
    root.querySelector(".position").textContent = positionOf();
    mark(root);
    fetchAhead();
    lookCloser();
  });
  addEventListener("resize", changed);
  document.addEventListener("fullscreenchange", changed);
  new ResizeObserver(changed).observe(grid);
  changed();
  start(({ scan }) => tell(scan));
}

function show(cine, isOn) {
  cine.setAttribute("aria-pressed", String(isOn));
  cine.ariaLabel = "Play";
  cine.title = "Play the slices (Space)";
  if (cine.dataset.on === String(isOn)) return;
  cine.dataset.on = String(isOn);
  cine.replaceChildren(picture(isOn ? PAUSE : PLAY));
}

function positionOf() {
  const at = view.cursor || (view.planes && view.point);
  return at && openScan() ? positionWords(openScan(), at) : "";
}

// What style and tests look at.
function mark(root) {
  const { phase } = page.state;
  Object.assign(root.dataset, { phase, index: view.index, key: openScan()?.key ?? "", drag: view.tool, ready: "true" });
  document.body.classList.toggle("arriving", ["sending", "reading"].includes(phase) && Boolean(openScan()));
}

// ---------------------------------------------------------------- drops

const hasFiles = (event) => [...(event.dataTransfer?.types || [])].includes("Files");

// Files may be dropped anywhere; those on the real image's or the style's place are that.
function listenToDrops() {
  addEventListener("dragover", (event) => {
    if (!hasFiles(event)) return;
    event.preventDefault();
    document.body.classList.add("dropping");
  }, true);
  for (const name of ["dragleave", "dragend", "drop"]) {
    addEventListener(name, (event) => {
      if (name !== "dragleave" || !event.relatedTarget) document.body.classList.remove("dropping");
    }, true);
  }
  addEventListener("drop", async (event) => {
    if (!hasFiles(event)) return;
    event.preventDefault();
    event.stopPropagation();
    const take = event.target.closest?.("#real") ? giveReal : event.target.closest?.("#style-area") ? giveStyle : openFiles;
    take(await dropped(event.dataTransfer));
  }, true);
}

// At once, also before Gradio has made its parts: else the browser would leave the page for the file.
listenToDrops();
