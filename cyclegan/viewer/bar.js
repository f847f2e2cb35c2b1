// The bar and its menus: what is open, its series, saving, how far to trust it, help.

import * as api from "./api.js";
import { pick } from "./files.js";
import { copy, findingsOf, trust } from "./findings.js";
import { panels } from "./panels.js";
import { comparedIn } from "./compare.js";
import { choose, isFirstSight, openExample, openFiles, save } from "./scan.js";
import { openScan, may, page, view } from "./state.js";
import { say } from "./speech.js";
import { picture, TOOLS } from "./tools.js";
import * as measures from "./measures.js";
import { goTo } from "./scroll.js";

const CHEVRON = "M4 6.5l4 4 4-4";
const SAVES = {
  png: ["PNG", "this slice, labelled as synthetic"],
  nifti: ["NIfTI", "the synthetic volume"],
  dicom: ["DICOM", "a derived series for a PACS"],
  everything: ["Everything", "all of it in a zip, with pictures and a table"],
};
const OTHER_KEYS = {
  "↑ ↓": "slice; Home, End: first, last; Space: play", "W, L": "window wider, level up; with Shift the other way",
  "Shift + arrows": "pan", "[ ]": "swipe line, opacity", Enter: "one image alone, and back",
  C: "cross-hair, moved by the arrows, with Shift by ten pixels", "M, R": "ruler or region from there",
  "Delete, Z": "remove the last measure (with Shift all), undo",
};

const FIRST_SIGHT = "Open a T1 or T2 brain scan, see the other contrast. Shown: a drawn example";

const by = (selector) => document.querySelector(selector);
const make = (tag, properties = {}, ...children) => {
  const node = Object.assign(document.createElement(tag), properties);
  node.append(...children);
  return node;
};

// Change an element only where it differs: what is announced, or pointed at, stays as it is.
function fill(node, key, build) {
  if (!node || node.dataset.made === key) return;
  node.dataset.made = key;
  node.replaceChildren(...build());
}

// ---------------------------------------------------------------- menus

let opener = null; // the button whose menu opens

export function listenToMenus() {
  document.addEventListener("click", ({ target }) => (opener = target.closest?.("[popovertarget]")), true);
  for (const menu of document.querySelectorAll(".menu")) {
    menu.addEventListener("beforetoggle", ({ newState }) => newState === "open" && opener && below(menu, opener));
    menu.addEventListener("click", ({ target }) => target.closest("[data-closes]") && menu.hidePopover());
  }
  by(".bar [data-do=open]").addEventListener("click", () => pick(false, openFiles));
  by("[data-do=folder]").addEventListener("click", () => pick(true, openFiles));
  by("[data-do=folder]").dataset.closes = "";
  by(".split .more").append(picture(CHEVRON));
  by("[data-do=copyReport]").addEventListener("click", async ({ target }) => {
    await copy(findingsOf(view.index).report);
    target.textContent = "Copied";
    say("Report copied");
  });
  by("#menu-trust").addEventListener("beforetoggle", () => (by("[data-do=copyReport]").textContent = "Copy report"));
  by("[data-do=copyMeasures]").addEventListener("click", async ({ target }) => {
    await copy(measures.table());
    target.textContent = "Copied";
    say("Measurements copied");
  });
  by("[data-do=undo]").addEventListener("click", measures.undo);
  by("[data-do=removeAll]").addEventListener("click", () => measures.remove(true));
  const keys = Object.values(TOOLS).flat().filter(({ key }) => key).map(({ key, title }) => [key, title.split(":")[0].toLowerCase()]);
  by(".help .keys").append(...[...keys, ...Object.entries(OTHER_KEYS)].map(([key, words]) =>
    make("div", {}, make("dt", {}, make("kbd", { textContent: key })), make("dd", { textContent: words }))));
  const examples = JSON.parse(by(".viewer").dataset.examples || "[]");
  by(".examples").append(...examples.map((label, number) => {
    const button = make("button", { type: "button" }, make("img", { src: api.examplePicture(number), alt: "", loading: "lazy" }), label);
    button.addEventListener("click", () => openExample(number));
    button.dataset.closes = "";
    return button;
  }));
}

// Under its button, within the window.
function below(menu, button) {
  const box = button.getBoundingClientRect();
  const isRight = box.left > innerWidth / 2;
  Object.assign(menu.style, {
    top: `${Math.min(box.bottom + 4, innerHeight - 80)}px`,
    left: isRight ? "auto" : `${Math.max(8, box.left)}px`,
    right: isRight ? `${Math.max(8, innerWidth - box.right)}px` : "auto",
  });
}

// ---------------------------------------------------------------- what is open

const sizeWords = ({ contrast, plane, slices }) =>
  [contrast, plane, slices && `${slices} slice${slices === 1 ? "" : "s"}`].filter(Boolean).join(" · ");

function showName() {
  const scan = openScan();
  const several = scan?.series?.length > 1;
  const name = by(".scan-name");
  const button = by(".series");
  name.hidden = several;
  button.hidden = !several;
  const words = !scan ? "" : isFirstSight() ? FIRST_SIGHT : scan.name;
  fill(name, words, () => [words]);
  name.title = words;
  if (!several) return;
  const one = scan.series[scan.chosen];
  fill(button, `${one.label}/${scan.series.length}`, () => [
    make("span", { textContent: one.label }), make("small", { textContent: `${scan.chosen + 1} of ${scan.series.length} series` }), picture(CHEVRON),
  ]);
  fill(by("#menu-series"), JSON.stringify([scan.scan, scan.chosen, scan.series]), () => scan.series.map((each) => {
    const entry = make(
      "button", { type: "button", className: "entry" },
      make("img", { src: api.seriesPicture(scan, each.number), alt: "", loading: "lazy" }),
      make("span", {}, make("strong", { textContent: each.label }), make("small", { textContent: sizeWords(each) })),
    );
    entry.setAttribute("aria-pressed", String(each.number === scan.chosen));
    entry.dataset.closes = "";
    entry.addEventListener("click", () => choose({ series: each.number }));
    return entry;
  }));
}

function showMeasures() {
  const rows = measures.summaries();
  const [list, key] = [by(".measures"), JSON.stringify(rows)];
  if (list.dataset.made !== key) by("[data-do=copyMeasures]").textContent = "Copy as a table";
  fill(list, key, () => rows.map(({ measure, kind, where, size }) => {
    const entry = make("button", { type: "button", className: "entry" }, make("span", {}, make("strong", { textContent: `${kind} ${size}` }), make("small", { textContent: where })));
    entry.addEventListener("click", () => measure.plane === "axial" && goTo(measure.at));
    return entry;
  }));
}

function showSave() {
  const scan = openScan();
  const isReady = may(page.state, "save") && scan.ready.length > 0;
  by(".save [popovertarget]").disabled = !isReady;
  fill(by("#menu-save"), String(Boolean(scan?.dicom)), () =>
    Object.entries(SAVES).filter(([kind]) => kind !== "dicom" || scan?.dicom).map(([kind, [name, words]]) => {
      const entry = make("button", { type: "button", className: "entry" }, make("span", {}, make("strong", { textContent: name }), make("small", { textContent: words })));
      Object.assign(entry.dataset, { closes: "", save: kind });
      entry.addEventListener("click", () => save(kind));
      return entry;
    }));
}

// ---------------------------------------------------------------- at the image

const sentences = (text) => text.replace(/\s+/g, " ").trim();

// The word at the synthetic image, and what can be done where there is none.
function showAtImages() {
  const scan = openScan();
  const verdict = trust();
  const findings = findingsOf(view.index);
  const first = findings?.numbers?.[0];
  let isShown = false;
  for (const { figure, name, plane, empty } of panels) {
    const front = comparedIn(name).front;
    const chip = figure.querySelector(".trust");
    const isHere = !figure.hidden && verdict && front === "translated" && !isShown && plane === "axial" && figure.classList.contains("filled");
    chip.hidden = !isHere;
    if (isHere) {
      isShown = true;
      chip.dataset.grade = verdict.grade;
      chip.title = sentences(`${verdict.sentence} ${first ? `${first.title} ${first.short}.` : ""}`);
      const number = first ? ` · ${first.title.toLowerCase()} ${first.value.toFixed(2)}` : "";
      fill(chip, verdict.word + number, () => [
        make("strong", { textContent: verdict.word[0].toUpperCase() + verdict.word.slice(1) }), make("span", { textContent: number }),
      ]);
    }
    const isHalted = !figure.hidden && scan?.halted && front === "translated" && !figure.classList.contains("filled");
    const other = scan?.check?.switch_to;
    fill(empty.querySelector(".panel-offers"), isHalted ? scan.halted + other : "", () => !isHalted ? [] : [
      make("p", { textContent: scan.halted }),
      ...(other ? [offer(`Switch to ${other === "T2" ? "T1 → T2" : "T2 → T1"}`, { to: other })] : []),
      offer("Translate anyway", { translate: true }),
    ]);
  }
}

function offer(words, choices) {
  const button = make("button", { type: "button", textContent: words });
  button.addEventListener("click", () => choose({ ...choices, index: view.index }));
  return button;
}

function showTrust() {
  const scan = openScan();
  const findings = findingsOf(view.index);
  const verdict = trust();
  by("[data-do=copyReport]").disabled = !findings;
  fill(by(".trust-sentence"), verdict?.sentence ?? "", () => [verdict?.sentence ?? "Being looked at"]);
  fill(by(".trust-numbers"), JSON.stringify(findings?.numbers ?? 0), () => (findings?.numbers ?? []).map(({ title, text, worth, unusual }) =>
    make("div", { className: unusual ? "unusual" : "" }, make("dt", { textContent: title }), make("dd", { textContent: text }), ...(worth ? [make("dd", { className: "small", textContent: worth })] : []))));
  const error = findings?.true_error;
  fill(by(".trust-true"), JSON.stringify([scan?.real, error, findings?.true_warning]), () => !scan?.real ? [] : [
    make("h2", { textContent: `Against the real ${scan.to}` }),
    ...[scan.real.warning, findings?.true_warning].filter(Boolean).map((text) => make("p", { className: "warn", textContent: text })),
    make("p", { textContent: error ? `SSIM ${error.ssim.toFixed(3)} · PSNR ${error.psnr.toFixed(1)} dB · MAE ${error.mae.toFixed(3)}, in the head` : "Being measured" }),
    ...scan.real.notes.map((text) => make("p", { className: "small", textContent: text })),
  ]);
  const notes = scan ? scan.notes.join(" ") : "";
  fill(by(".trust-more"), notes, () => [notes]);
}

// ---------------------------------------------------------------- the one place that tells of waiting

// {text, share: 0 to 1, null for unknown or undefined for none, isWrong}
export function statusOf({ phase, transfer, message, isWrong, scan }, index) {
  if (phase === "sending") return { text: `Sending the files: ${Math.floor(100 * transfer.share)} %`, share: transfer.share };
  if (phase === "reading") return { text: "Reading the files", share: null };
  if (phase === "lost" || phase === "gone") return { text: message, isWrong: true };
  if (isWrong) return { text: message, isWrong };
  if (!scan) return { text: message };
  const saving = scan.save;
  if (saving?.error) return { text: saving.error, isWrong: true };
  if (saving && !saving.file) return { text: `Preparing the file: ${saving.done} of ${saving.of}`, share: saving.done / (saving.of || 1) };
  if (scan.message) return { text: scan.message, isWrong: true };
  if (scan.translating) {
    const done = scan.ready.reduce((sum, [first, last]) => sum + last - first + 1, 0);
    const wait = scan.place ? `, ${scan.place} before you` : "";
    const time = scan.seconds >= 1 ? `, about ${Math.ceil(scan.seconds)} s` : "";
    if (scan.slices === 1) return { text: `Translating${wait}${time}`, share: null };
    return { text: `Translating: ${done} of ${scan.slices} slices${wait}${time}`, share: done / scan.slices };
  }
  if (saving?.removed?.length) return { text: `Saved ${saving.name}. Removed: ${saving.removed.join(", ")}.` };
  return { text: message || matrixWords(scan) };
}

function matrixWords({ width, height, spacing, slices, drawn }) {
  const [thick, row, column] = spacing || [];
  const size = spacing ? ` of ${column.toFixed(2)} × ${row.toFixed(2)} mm` : ", size unknown";
  const apart = spacing && slices > 1 ? `, slices ${thick.toFixed(2)} mm apart` : "";
  return `${drawn ? "Drawn, not a person. " : ""}${width} × ${height} pixels${size}${apart}`;
}

function showStatus() {
  const { text, share, isWrong } = statusOf(page.state, view.index);
  const line = by(".line .status");
  if (line.textContent !== text) line.textContent = text;
  line.title = text;
  line.classList.toggle("wrong", Boolean(isWrong));
  const bar = by(".line progress");
  bar.hidden = share === undefined;
  if (share === null) bar.removeAttribute("value");
  else if (share !== undefined) bar.value = share;
}

export function showBar() {
  showName();
  showSave();
  showMeasures();
  showAtImages();
  showTrust();
  showStatus();
}
