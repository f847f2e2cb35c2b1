// The line of tools: one table of what there is, with its key, picture and use; keys.js reads it, too.

import { imageIn, titleOf } from "./images.js";
import {
  chooseLayout, chooseMap, chooseMode, fill, focusImage, fullScreen, maps, nextMap, pressBlink, releaseBlink,
  setMapOpacity, setOpacity, shownNames, togglePlanes,
} from "./panels.js";
import { zoomBy } from "./navigation.js";
import { savePicture } from "./picture.js";
import { openScan, update, view } from "./state.js";
import { interval, findingsOf, toggleHatch } from "./trust.js";
import { choosePreset, invert, PRESETS, reset } from "./windows.js";

const isVolume = () => (openScan()?.slices ?? 1) > 1;
const isTranslated = () => Boolean(imageIn("translated").pixels);
const isOpen = () => Boolean(imageIn("original").pixels);
/** @param {string} selector @returns {any} */
const part = (selector) => document.querySelector(selector);

/** @param {number} count @param {string} title @param {string} icon @returns {Tool} */
const layout = (count, title, icon) => ({
  id: `layout${count}`, title, key: String(count), icon, act: () => chooseLayout(count),
  pressed: () => !view.planes && shownNames().length === count,
});
/** @param {typeof view.tool} tool @param {string} title @param {string} icon @returns {Tool} */
const drag = (tool, title, icon) => ({
  id: tool, title, icon, act: () => update({ tool }, title), pressed: () => view.tool === tool,
});

/** @type {Record<string, Tool[]>} */
export const TOOLS = {
  Layout: [
    layout(1, "One image", "M4 2h8v12H4z"),
    layout(2, "Two images", "M2 2h12v12H2zM8 2v12"),
    layout(3, "Three images", "M1 2h14v12H1zM5.7 2v12M10.3 2v12"),
    layout(4, "Four images", "M2 2h12v12H2zM8 2v12M2 8h12"),
    { id: "planes", title: "Planes", key: "P", icon: "M8 1.5l6 3v7l-6 3-6-3v-7zM2 4.5l6 3 6-3M8 7.5v7", act: togglePlanes, pressed: () => view.planes, needs: isVolume },
  ],
  Drag: [
    drag("window", "Adjust window: drag sets window and level", "M8 5a3 3 0 1 0 0 6 3 3 0 0 0 0-6zM8 1v2M8 13v2M1 8h2M13 8h2M3 3l1.5 1.5M11.5 11.5L13 13M3 13l1.5-1.5M11.5 4.5L13 3"),
    drag("pan", "Pan: drag moves all images", "M8 1.5v13M1.5 8h13M6 3.5l2-2 2 2M6 12.5l2 2 2-2M3.5 6l-2 2 2 2M12.5 6l2 2-2 2"),
    drag("ruler", "Ruler: drag measures a distance", "M1.5 11.5l10-10 3 3-10 10zM4.5 8.5L6 10M6.5 6.5L8 8M8.5 4.5L10 6"),
    drag("region", "Region: drag draws a circle; mean and standard deviation in each image", "M8 2a6 6 0 1 0 0 12A6 6 0 0 0 8 2zM8 7.2v1.6M7.2 8h1.6"),
    { id: "measures", title: "Measurements", icon: "M2 4h2M6.5 4H14M2 8h2M6.5 8H14M2 12h2M6.5 12H14", menu: "menu-measures", needs: () => view.measures.length > 0 },
  ],
  "Grey values": [
    { id: "auto", title: "Auto window: fits window and level to what is in view", key: "A", icon: "M4 13L8 3l4 10M5.5 9.5h5", act: () => choosePreset("auto") },
    { id: "invert", title: "Invert", key: "I", icon: "M8 2a6 6 0 1 0 0 12A6 6 0 0 0 8 2z|M8 2a6 6 0 0 1 0 12z", act: invert, pressed: () => view.inverted },
  ],
  Zoom: [
    { id: "zoomOut", title: "Zoom out", key: "−", icon: "M7 2.5a4.5 4.5 0 1 0 0 9 4.5 4.5 0 0 0 0-9zM10.3 10.3L14 14M5 7h4", act: () => zoomBy(1 / 1.2) },
    { id: "zoomIn", title: "Zoom in", key: "+", icon: "M7 2.5a4.5 4.5 0 1 0 0 9 4.5 4.5 0 0 0 0-9zM10.3 10.3L14 14M5 7h4M7 5v4", act: () => zoomBy(1.2) },
    { id: "reset", title: "Reset zoom and window", key: "0", icon: "M3.2 6.5A5.2 5.2 0 1 1 3 9.5M3 2.8v3.7h3.7", act: reset },
  ],
  Compare: [
    { id: "hatch", title: "Hatch where a lesion could hide", key: "H", icon: "M2 2h12v12H2zM2 8l6-6M2 14L14 2M8 14l6-6", act: toggleHatch, pressed: () => view.hatched, needs: () => Boolean(interval()) || view.hatched || !findingsOf(view.index) },
    { id: "blink", title: "Blink: hold to see the other image, tap to switch to it", key: "B", icon: "M2 5.5h10L9.5 3M14 10.5H4L6.5 13", act: pressBlink, release: releaseBlink, pressed: () => view.blinked, needs: isTranslated },
    { id: "swipe", title: "Swipe: a line that follows the pointer", key: "S", icon: "M2 3h12v10H2zM8 1v14M5.8 6.2L4 8l1.8 1.8M10.2 6.2L12 8l-1.8 1.8", act: () => chooseMode("swipe"), pressed: () => view.mode === "swipe", needs: isTranslated },
    { id: "overlay", title: "Overlay: one over the other", key: "O", icon: "M2 2h8v8H2zM6 6h8v8H6z", act: () => chooseMode("overlay"), pressed: () => view.mode === "overlay", needs: isTranslated },
  ],
  Maps: [
    { id: "map", title: "Error or uncertainty map over the images", key: "E", icon: "M2 13V3M2 13h12M4.5 11V8M7.5 11V5.5M10.5 11V7M13 11V4", act: nextMap, pressed: () => Boolean(view.map), needs: isTranslated },
  ],
  Screen: [
    { id: "picture", title: "Save a picture of the view", key: "V", icon: "M2 5h3l1-1.8h4L11 5h3v8H2zM8 6.7a2.3 2.3 0 1 0 0 4.6 2.3 2.3 0 0 0 0-4.6z", act: savePicture, needs: isTranslated },
    { id: "fullScreen", title: "Full screen", key: "F", icon: "M2 6V2h4M10 2h4v4M14 10v4h-4M6 14H2v-4", act: fullScreen, pressed: () => Boolean(document.fullscreenElement), needs: () => document.fullscreenEnabled },
    { id: "help", title: "Help", key: "?", icon: "M5.7 5.8a2.3 2.3 0 1 1 3.4 2c-.8.5-1.1.9-1.1 1.8M8 12.2v.4", menu: "menu-help", act: () => part("[popovertarget=menu-help]").click(), isAlways: true },
  ],
};
const ALL = Object.values(TOOLS).flat();
export const toolOfKey = new Map(ALL.filter(({ key }) => key).map((tool) => [tool.key?.replace("−", "-").toLowerCase(), tool]));
/** @param {Tool} tool */
export const isThere = (tool) => tool.isAlways || (isOpen() && (!tool.needs || tool.needs()));

const SVG = "http://www.w3.org/2000/svg";

/** @param {string} paths */
export function picture(paths) {
  const svg = document.createElementNS(SVG, "svg");
  svg.setAttribute("viewBox", "0 0 16 16");
  svg.setAttribute("aria-hidden", "true");
  paths.split("|").forEach((d, i) => {
    const path = document.createElementNS(SVG, "path");
    path.setAttribute("d", d);
    if (i) path.setAttribute("class", "solid");
    svg.append(path);
  });
  return svg;
}

/** @param {Tool} tool */
function buttonOf(tool) {
  const { id, icon, key, title, menu, act, release } = tool;
  const button = Object.assign(document.createElement("button"), { type: "button", title: title + (key ? ` (${key})` : "") });
  button.dataset.tool = id;
  button.append(picture(icon));
  button.setAttribute("aria-label", title.split(":")[0]);
  if (menu) button.setAttribute("popovertarget", menu);
  else if (act && release) hold(button, act, release);
  else if (act) button.addEventListener("click", act);
  return button;
}

// A button that acts while it is pressed.
/** @param {HTMLElement} button @param {() => unknown} act @param {() => void} release */
function hold(button, act, release) {
  button.addEventListener("pointerdown", (event) => {
    button.setPointerCapture(event.pointerId);
    act();
  });
  for (const end of ["pointerup", "pointercancel", "blur"]) button.addEventListener(end, release);
  for (const [kind, change] of /** @type {const} */ ([["keydown", act], ["keyup", release]])) {
    button.addEventListener(kind, (event) => {
      if (![" ", "Enter"].includes(event.key)) return;
      event.preventDefault(); // no click besides
      change();
    });
  }
  // What a screen reader does to a button has no pointer and no key.
  button.addEventListener("click", ({ detail }) => {
    if (detail) return;
    act();
    release();
  });
}

/** @type {HTMLElement} */
let bar;
/** @type {Record<string, HTMLElement>} */
const buttons = {};
const presets = choice("presets", "Window preset", choosePreset);
const mapChoice = choice("maps", "Which map", (name) => chooseMap(/** @type {ImageName | ""} */ (name)));
const opacity = slider("opacity", "Opacity of the overlay", setOpacity);
const mapOpacity = slider("map-opacity", "Opacity of the map", setMapOpacity);

/** @param {HTMLElement} element */
export function makeTools(element) {
  bar = element;
  presets.append(...Object.entries(PRESETS).map(([name, { title }]) => new Option(title, name)));
  /** @type {Record<string, HTMLElement[]>} */
  const beside = { Compare: [opacity], Maps: [mapChoice, mapOpacity] };
  for (const [label, tools] of Object.entries(TOOLS)) {
    const group = Object.assign(document.createElement("div"), { className: "group", role: "group", ariaLabel: label });
    for (const tool of tools) {
      buttons[tool.id] = buttonOf(tool);
      group.append(buttons[tool.id]);
    }
    group.append(...(beside[label] ?? []));
    if (label === "Grey values") group.prepend(presets);
    bar.append(group);
  }
}

/** @param {string} className @param {string} ariaLabel @param {(value: string) => void} choose */
function choice(className, ariaLabel, choose) {
  const select = Object.assign(document.createElement("select"), { className, ariaLabel, title: ariaLabel });
  let isByKey = false;
  for (const kind of ["pointerdown", "keydown"]) {
    select.addEventListener(kind, () => {
      isByKey = kind === "keydown";
    });
  }
  select.addEventListener("change", () => {
    choose(select.value);
    if (!isByKey) focusImage(); // the keys are the images' again
  });
  return select;
}

/** @param {string} className @param {string} ariaLabel @param {(share: number) => void} set */
function slider(className, ariaLabel, set) {
  const input = Object.assign(document.createElement("input"), { type: "range", className, max: 100, ariaLabel, title: ariaLabel });
  input.addEventListener("input", () => set(Number(input.value) / 100));
  return input;
}

export function showTools() {
  for (const tool of ALL) {
    const button = buttons[tool.id];
    button.hidden = !isThere(tool);
    if (tool.pressed) button.setAttribute("aria-pressed", String(tool.pressed()));
  }
  presets.hidden = !isOpen();
  presets.value = view.preset;
  part(".presets [value=file]").disabled = !openScan()?.window;
  part(".presets [value=hand]").disabled = view.preset !== "hand";
  opacity.hidden = view.mode !== "overlay";
  opacity.value = String(Math.round(100 * view.opacity));
  mapOpacity.hidden = mapChoice.hidden = !view.map;
  mapOpacity.value = String(Math.round(100 * view.mapOpacity));
  fill(mapChoice, maps(), () => [new Option("No map", ""), ...maps().map((name) => new Option(titleOf(name), name))]);
  mapChoice.value = view.map;
  for (const group of bar.children) {
    const isEmpty = [...group.children].every((each) => /** @type {HTMLElement} */ (each).hidden);
    /** @type {HTMLElement} */ (group).hidden = isEmpty;
  }
}
