// Which images are on screen, and how large: one, two or four; one enlarged; full screen; the scrubber.

const DEFAULT = ["original", "translated", "reconstructed", "difference"];
const WITH_TRUTH = ["translated", "truth", "original", "trueDifference"];
const NARROW = 600; // CSS pixels: a telephone
const lightbox = root.querySelector(".lightbox");
const lightboxBody = root.querySelector(".lightbox-body");
const scrubber = root.querySelector(".scrubber");
// `slots` in the order of the screen, of which the first `count` are seen, unless one is enlarged.
const layout = { count: 2, slots: [...DEFAULT], enlarged: null, active: "translated", planes: false };

function shownNames() {
  return layout.enlarged ? [layout.enlarged] : layout.slots.slice(0, layout.count);
}

function shownPanels() {
  const names = shownNames();
  return names.map((name) => panels.find((panel) => panel.name === name));
}

function activePanel() {
  const seen = shownPanels();
  return seen.find(({ name }) => name === layout.active) || seen[seen.length - 1];
}

// A scan, or a real image for it, came or went: begin with what belongs side by side.
function arrangeFor(before, value) {
  const [had, has] = [before, value].map((each) => Boolean(each && each.panels.truth));
  if (!before || before.key !== value.key || had !== has) {
    layout.slots = [...(has ? WITH_TRUTH : DEFAULT)];
    layout.active = layout.slots[1];
    layout.enlarged = null;
  }
  if (!before || before.key !== value.key) {
    planes.at = null;
    layout.planes = false;
    if (playing) playOrStop();
    clearMeasures();
  }
  arrange();
}

function arrange() {
  const names = shownNames();
  const focused = document.activeElement;
  root.querySelector(".viewer-planes").hidden = !layout.planes;
  root.querySelector(".viewer-panels").hidden = layout.planes;
  const planesButton = root.querySelector("[data-do=planes]");
  planesButton.hidden = !shown || shown.slices < 2;
  planesButton.setAttribute("aria-pressed", String(layout.planes));
  for (const panel of panels) {
    const at = names.indexOf(panel.name);
    panel.figure.hidden = at < 0;
    panel.figure.style.order = at;
    describe(panel);
  }
  root.dataset.layout = names.length;
  for (const button of root.querySelectorAll("[data-layout]")) {
    button.setAttribute("aria-pressed", String(!layout.planes && Number(button.dataset.layout) === names.length));
  }
  for (const button of root.querySelectorAll("[data-show]")) showView(button, names);
  // The keys stay with the images when the one that had them goes.
  if (focused.matches(".viewer canvas") && !focused.checkVisibility()) {
    (layout.planes ? planes.views[0] : activePanel()).canvas.focus({ preventScroll: true });
  }
  fit();
  draw();
}

function showView(button, names) {
  const { show, map: which } = button.dataset;
  const of = shown ? shown.panels : {};
  const isTrue = show.startsWith("tru");
  if (isTrue) button.hidden = !of[show];
  if (which === "uncertainty") button.hidden = !of.difference || mapless;
  const pressed = !layout.planes && names.includes(show) && (!which || which === map);
  button.setAttribute("aria-pressed", String(pressed));
  if (["translated", "truth"].includes(show) && of[show]) button.textContent = of[show].title;
}

// Put an image on screen, in place of the active one; a map that is there already changes its kind.
function showImage(name, which) {
  layout.planes = false;
  if (which && map !== which) {
    map = which;
    showMap();
  }
  if (layout.enlarged) {
    layout.enlarged = name;
  } else if (!shownNames().includes(name)) {
    const place = Math.max(shownNames().indexOf(activePanel().name), 0);
    const hidden = layout.slots.indexOf(name);
    if (hidden >= 0) layout.slots[hidden] = layout.slots[place];
    layout.slots[place] = name;
  }
  layout.active = name;
  arrange();
  say(shownPanels().map((panel) => panel.figure.querySelector("h3").textContent).join(" beside "));
}

function chooseLayout(count) {
  layout.planes = false;
  if (count === 1) {
    layout.enlarged = activePanel().name;
  } else {
    layout.enlarged = null;
    layout.count = count;
  }
  arrange();
  say(["", "One image", "Two images", "", "Four images"][count]);
}

// One image alone, and back.
function enlarge(panel) {
  layout.active = panel.name;
  if (layout.enlarged) chooseLayout(layout.count);
  else chooseLayout(1);
  activePanel().canvas.focus({ preventScroll: true });
}

// ---------------------------------------------------------------- size

// As large as the window allows without scrolling; where too little is left below the controls, as on a
// telephone, as large as the window, which is then scrolled to it.
function fit() {
  const above = lightbox.getBoundingClientRect().top + window.scrollY;
  const room = window.innerHeight - above;
  const alone = room < 0.7 * window.innerHeight || window.innerWidth < NARROW;
  root.classList.toggle("alone", alone);
  root.style.setProperty("--room", (alone ? window.innerHeight : room) - 8 + "px");
  const box = root.querySelector(".viewer-panels").getBoundingClientRect();
  const count = shownNames().length;
  const side = (columns) => Math.min(box.width / columns, box.height / Math.ceil(count / columns));
  const columns = [1, 2, 4].filter((each) => each <= count).reduce((a, b) => (side(b) > side(a) ? b : a));
  root.style.setProperty("--columns", columns);
  root.style.setProperty("--rows", Math.ceil(count / columns));
}

function bringIntoView() {
  fit();
  if (!root.classList.contains("alone")) return;
  window.scrollTo({ top: lightbox.getBoundingClientRect().top + window.scrollY });
}

// What the reader changed below has changed the images: not out of sight, as on a telephone.
function backIntoView() {
  const { top, bottom, height } = lightboxBody.getBoundingClientRect();
  const seen = Math.min(bottom, window.innerHeight) - Math.max(top, 0);
  if (seen < height / 2) lightbox.scrollIntoView();
}

async function fullScreen() {
  if (document.fullscreenElement) await document.exitFullscreen();
  else await lightbox.requestFullscreen?.(); // telephones have none
}

document.addEventListener("fullscreenchange", () => {
  root.querySelector("[data-do=fullScreen]").setAttribute("aria-pressed", String(Boolean(document.fullscreenElement)));
});

// ---------------------------------------------------------------- slices

function showScrubber() {
  scrubber.hidden = shown.slices < 2;
  const [slider, number] = ["input", "output"].map((part) => scrubber.querySelector(part));
  slider.max = shown.slices;
  slider.value = shown.index + 1;
  slider.setAttribute("aria-valuetext", "slice " + (shown.index + 1) + " of " + shown.slices);
  number.textContent = shown.index + 1 + "/" + shown.slices;
}

// The page's own slider is the one that knows the slice; it renders the last position only.
function goToSlice(position) {
  const slider = document.querySelector("#slice input[type=range]");
  if (!slider || !shown || shown.slices < 2) return false;
  const to = Math.min(Math.max(position, 1), shown.slices);
  Object.getOwnPropertyDescriptor(HTMLInputElement.prototype, "value").set.call(slider, String(to));
  slider.dispatchEvent(new Event("input", { bubbles: true }));
  scrubber.querySelector("input").value = to;
  return true;
}

function moveSlice(steps) {
  return goToSlice(wanted() + 1 + steps);
}

scrubber.querySelector("input").addEventListener("input", ({ target }) => goToSlice(Number(target.value)));
root.querySelector(".viewer-views").addEventListener("click", ({ target }) => {
  const button = target.closest("button");
  if (button) showImage(button.dataset.show, button.dataset.map);
});
root.querySelector(".viewer-layouts").addEventListener("click", ({ target }) => {
  const button = target.closest("button[data-layout]");
  if (button) chooseLayout(Number(button.dataset.layout));
});
window.addEventListener("resize", fit);
new ResizeObserver(fit).observe(document.body);
new ResizeObserver(fit).observe(lightboxBody);
