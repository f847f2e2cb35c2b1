// The bar and its menus: what is open, its series, saving, measurements, how far to trust it, help; and the status line.

import * as api from "./api.js";
import { pick } from "./files.js";
import { comparedIn, fill, focusImage, panels } from "./panels.js";
import * as measures from "./measures.js";
import { goTo } from "./navigation.js";
import { choose, isFirstSight, isIdle, openExample, openFiles, save } from "./scan.js";
import { isOpen, openScan, page, say, view } from "./state.js";
import { HELP } from "./keys.js";
import { picture, TOOLS } from "./tools.js";
import { findingsOf, trust } from "./trust.js";

const CHEVRON = "M4 6.5l4 4 4-4";
const FIRST_SIGHT = "Open a T1 or T2 brain scan to see its other contrast. On screen: a simulated example";

/** @param {string} selector @returns {any} */
const by = (selector) => document.querySelector(selector);
/** @param {string} tag @param {object} properties @param {(string | Node)[]} children */
const make = (tag, properties = {}, ...children) => {
  const node = Object.assign(document.createElement(tag), properties);
  node.append(...children);
  return node;
};

// An entry of a menu: a picture, if any, a name and a word about it.
/** @param {string} name @param {string} words @param {() => unknown} act @param {string} [src] */
function entry(name, words, act, src) {
  const button = make("button", { type: "button", className: "entry" });
  if (src) button.append(make("img", { src, alt: "", loading: "lazy" }));
  button.append(make("span", {}, make("strong", { textContent: name }), make("small", { textContent: words })));
  button.addEventListener("click", act);
  return button;
}

// ---------------------------------------------------------------- menus

/** @type {Record<string, (button: HTMLButtonElement) => unknown>} */
const ACTIONS = {
  skip: focusImage,
  open: () => pick(false, openFiles),
  folder: () => pick(true, openFiles),
  copyReport: (button) => copy(button, findingsOf(view.index)?.report ?? "", "Report copied"),
  copyMeasures: (button) => copy(button, measures.table(), "Measurements copied"),
  undo: measures.undo,
  save: (button) => save(button.dataset.save ?? ""),
  removeAll: () => measures.remove(true),
};

export function listenToMenus() {
  for (const menu of /** @type {NodeListOf<HTMLElement>} */ (document.querySelectorAll(".menu"))) {
    menu.addEventListener("beforetoggle", () => {
      for (const button of menu.querySelectorAll("[data-words]")) button.textContent = button.getAttribute("data-words");
    });
    menu.addEventListener("click", ({ target }) => {
      if (/** @type {Element} */ (target).closest(".entry:not(.measures *)")) menu.hidePopover();
    });
  }
  for (const button of document.querySelectorAll("[data-do]")) {
    const act = ACTIONS[button.getAttribute("data-do") ?? ""];
    button.addEventListener("click", () => act(/** @type {HTMLButtonElement} */ (button)));
  }
  by(".split .more").append(picture(CHEVRON));
  const keys = Object.values(TOOLS).flat().map(({ key, title }) => [key, title.split(":")[0].toLowerCase()]);
  const rows = [...keys.filter(([key]) => key), ...Object.entries(HELP)];
  by(".help .keys").append(...rows.map(([key, words]) =>
    make("div", {}, make("dt", {}, make("kbd", { textContent: key })), make("dd", { textContent: words }))));
  by(".examples").append(...settings.examples.map((name, i) => entry(name, "", () => openExample(i), api.examplePicture(i))));
}

/** @param {HTMLButtonElement} button @param {string} text @param {string} words */
async function copy(button, text, words) {
  try {
    await navigator.clipboard.writeText(text);
  } catch {
    // Without TLS there is no clipboard but this one.
    const area = Object.assign(document.createElement("textarea"), { value: text });
    by(".viewer").append(area);
    area.select();
    document.execCommand("copy");
    area.remove();
  }
  button.dataset.words ??= button.textContent ?? "";
  button.textContent = "Copied";
  say(words);
}

// ---------------------------------------------------------------- what is open

/** @param {SeriesLabel} series */
const sizeWords = ({ contrast, plane, slices }) =>
  [contrast, plane, slices && `${slices} slice${slices === 1 ? "" : "s"}`].filter(Boolean).join(" · ");

/** @param {Scan | null} scan */
function showName(scan) {
  const series = scan?.series ?? [];
  const several = series.length > 1;
  const [name, button] = [by(".scan-name"), by(".series")];
  name.hidden = several;
  button.hidden = !several;
  name.title = name.textContent = !scan ? "" : isFirstSight() ? FIRST_SIGHT : scan.name;
  by(".split").classList.toggle("primary", isIdle());
  if (!scan || !several) return;
  const { label } = series[scan.chosen];
  fill(button, [label, series.length], () => [
    make("span", { textContent: label }), make("small", { textContent: `${scan.chosen + 1} of ${series.length} series` }), picture(CHEVRON),
  ]);
  fill(by("#menu-series"), [scan.scan, scan.chosen, series], () => series.map((each) => {
    const { number } = each;
    const button = entry(each.label, sizeWords(each), () => choose({ series: number }), api.seriesPicture(scan, number));
    button.setAttribute("aria-pressed", String(number === scan.chosen));
    return button;
  }));
}

/** @param {Scan | null} scan */
function showSave(scan) {
  by("[popovertarget=menu-save]").disabled = !isOpen(page.state) || !scan?.ready.length;
  by("[data-save=dicom]").hidden = !scan?.dicom;
}

function showMeasures() {
  const rows = openScan() ? measures.summaries() : [];
  fill(by(".measures"), rows, () => rows.map(({ measure, kind, where, size }) =>
    entry(`${kind} ${size}`, where, () => measure.plane === "axial" && goTo(measure.at))));
}

// ---------------------------------------------------------------- at the image

// The word at the synthetic image, and what can be done where there is none.
/** @param {Scan | null} scan */
function showAtImages(scan) {
  const verdict = trust();
  const first = findingsOf(view.index)?.numbers[0];
  let isShown = false;
  for (const { figure, name, plane, empty } of panels) {
    const isSynthetic = !figure.hidden && comparedIn(name).front === "translated";
    const isFilled = figure.classList.contains("filled");
    const chip = /** @type {HTMLElement} */ (figure.querySelector(".trust"));
    chip.hidden = !(isSynthetic && verdict && !isShown && plane === "axial" && isFilled);
    if (verdict && !chip.hidden) {
      isShown = true;
      const number = first ? ` · ${first.title.toLowerCase()} ${first.value.toFixed(2)}` : "";
      chip.dataset.grade = verdict.grade;
      chip.title = verdict.sentence + (first ? ` ${first.title} ${first.short}.` : "");
      fill(chip, verdict.word + number, () => [
        make("strong", { textContent: verdict.word[0].toUpperCase() + verdict.word.slice(1) }), make("span", { textContent: number }),
      ]);
    }
    const halted = isSynthetic && !isFilled && scan?.halted;
    const other = scan?.check?.switch_to;
    fill(/** @type {HTMLElement} */ (empty.lastElementChild), halted && [halted, other], () => !halted ? [] : [
      make("p", { textContent: halted }),
      ...(other ? [offer(`Switch to ${other === "T2" ? "T1 → T2" : "T2 → T1"}`, { to: other })] : []),
      offer("Translate anyway", { translate: true }),
    ]);
  }
}

/** @param {string} words @param {object} choices */
function offer(words, choices) {
  const button = make("button", { type: "button", textContent: words });
  button.addEventListener("click", () => choose({ ...choices, index: view.index }));
  return button;
}

/** @param {Scan | null} scan */
function showTrust(scan) {
  const findings = findingsOf(view.index);
  const verdict = trust();
  by("[data-do=copyReport]").disabled = !findings;
  by(".trust-sentence").textContent = verdict?.sentence ?? "Being checked";
  fill(by(".trust-numbers"), findings?.numbers, () => (findings?.numbers ?? []).map(({ title, text, worth, unusual }) => make(
    "div", { className: unusual ? "unusual" : "" }, make("dt", { textContent: title }), make("dd", { textContent: text }),
    ...(worth ? [make("dd", { className: "small", textContent: worth })] : []),
  )));
  const { true_error: error, true_warning: warning } = findings ?? {};
  const real = scan?.real;
  fill(by(".trust-true"), [real, error, warning], () => !real ? [] : [
    make("h2", { textContent: `Against the real ${scan.to}` }),
    ...[real.warning, warning].filter(Boolean).map((textContent) => make("p", { className: "warn", textContent })),
    make("p", { textContent: error ? `SSIM ${error.ssim.toFixed(3)} · PSNR ${error.psnr.toFixed(1)} dB · MAE ${error.mae.toFixed(3)}, in the head` : "Being measured" }),
    ...real.notes.map((textContent) => make("p", { className: "small", textContent })),
  ]);
  by(".trust-more").textContent = scan?.notes.join(" ") ?? "";
}

// ---------------------------------------------------------------- the status line

/** @typedef {{text: string, share?: number | null, isWrong?: boolean}} Status `share`: 0 to 1, null for unknown */

/** @param {typeof page.state} state @param {string} busy @param {string} refusal @returns {Status} */
function statusOf({ transfer, message, isWrong, scan }, busy, refusal) {
  if (transfer && transfer.share < 1) return { text: `Sending the files: ${Math.floor(100 * transfer.share)} %`, share: transfer.share };
  if (transfer) return { text: "Reading the files", share: null };
  if (isWrong || !scan) return { text: message, isWrong };
  if (busy) return { text: busy, share: null };
  if (refusal) return { text: refusal, isWrong: true };
  const saving = scan.save;
  if (saving?.error) return { text: saving.error, isWrong: true };
  if (saving && !saving.file) return { text: `Preparing the file: ${saving.done} of ${saving.of}`, share: saving.done / (saving.of || 1) };
  if (scan.message) return { text: scan.message, isWrong: true };
  if (scan.translating) {
    const done = scan.ready.reduce((sum, [first, last]) => sum + last - first + 1, 0);
    const wait = scan.place ? `, ${scan.place} before you` : "";
    const time = scan.seconds && scan.seconds >= 1 ? `, about ${Math.ceil(scan.seconds)} s` : "";
    if (scan.slices === 1) return { text: `Translating${wait}${time}`, share: null };
    return { text: `Translating: ${done} of ${scan.slices} slices${wait}${time}`, share: done / scan.slices };
  }
  if (saving?.removed?.length) return { text: `Saved ${saving.name}. Removed: ${saving.removed.join(", ")}.` };
  return { text: message || matrixWords(scan) };
}

/** @param {Scan} scan */
function matrixWords({ width, height, spacing, slices, drawn, directions }) {
  const [thick, row, column] = spacing || [];
  const voxel = slices > 1 ? [column, row, thick] : [column, row];
  const size = spacing ? ` of ${voxel.map((mm) => mm?.toFixed(2)).join(" × ")} mm` : "";
  const unknown = [!spacing && "size", !directions && "orientation"].filter(Boolean).join(" and ");
  return `${drawn ? "Simulated. " : ""}${width} × ${height} pixels${size}${unknown && `, ${unknown} unknown`}`;
}

function showStatus() {
  const { text, share, isWrong } = statusOf(page.state, page.busy, page.refusal);
  const [line, bar] = [by(".line .status"), by(".line progress")];
  if (line.textContent !== text) line.title = line.textContent = text;
  line.classList.toggle("wrong", Boolean(isWrong));
  bar.hidden = share === undefined;
  if (share === null) bar.removeAttribute("value");
  else if (share !== undefined) bar.value = share;
}

export function showBar() {
  const scan = openScan();
  showName(scan);
  showSave(scan);
  showMeasures();
  showAtImages(scan);
  showTrust(scan);
  showStatus();
}
