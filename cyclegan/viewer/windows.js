// Window and level: what they open with, presets, and what they are in the file's units. One for each
// contrast: original and reconstruction must look through the same, and so must synthetic and real.

const GREY = { center: 0.5, width: 1 };
const MAP_TOP = 0.25; // default top of the colour bar: a quarter of the grey range
const UNCERTAINTY_TOP = 0.35; // in heads of validation the band is 0.09 to 0.34, in the middle 0.17
const SIGNED_TOP = 0.5; // of the colours to either side of zero
const NARROWEST = 0.02; // web/panels.py has the same
const WIDEST = 2;
// Of the way from the head's centre to its rim: inside lies brain, and no bright scalp or dark skull.
const INNER = 0.72;
const SAMPLED = 200_000; // pixels looked at
// Shares of the pixels that turn black and white, and how far the window reaches beyond, in widths.
const PRESETS = {
  brain: { title: "Brain", from: 0.005, to: 0.995, beyond: 0.06 },
  contrast: { title: "High contrast", from: 0.1, to: 0.9, beyond: 0.15 },
  full: { title: "Full range" },
  file: { title: "File's own" },
  auto: { title: "Region in view", from: 0.01, to: 0.99, beyond: 0.03 },
  hand: { title: "By hand" },
};

let windows = null; // by group: {center, width} in shares of the grey range
let opened = null; // the same, as the scan opened and its result came: what a reset goes back to
let inverted = false;
let preset = "brain"; // what the grey windows are set by

const presetSelect = root.querySelector("[data-do=preset]");
for (const [name, { title }] of Object.entries(PRESETS)) presetSelect.append(new Option(title, name));

// For a scan that was opened, or, not `isNew`, for a result that has come.
function openWindows(isNew) {
  const maps = {
    map: { center: MAP_TOP / 2, width: MAP_TOP },
    uncertainty: { center: UNCERTAINTY_TOP / 2, width: UNCERTAINTY_TOP },
    signed: { center: 0, width: 2 * SIGNED_TOP },
  };
  const source = isNew ? GREY : windows.source;
  windows = { source: { ...source }, target: { ...GREY }, ...maps };
  if (!shown) return;
  const groups = isNew ? ["source", "target"] : ["target"];
  setWindows("brain", groups);
  opened = structuredClone(isNew ? windows : { ...opened, target: windows.target });
  if (isNew || ["hand", "auto"].includes(preset)) return showPreset("brain");
  setWindows(preset, groups);
  showPreset(preset);
}

// As the scan opened, whichever slice is in view.
function resetWindows() {
  if (opened) windows = structuredClone(opened);
  showPreset("brain");
}

function setWindows(name, groups) {
  const chosen = PRESETS[name];
  const inside = name === "auto" ? pixelsInView() : chosen.from && pixelsInside();
  for (const group of groups) {
    const image = ["original", "translated"].map((each) => images.get(each)).find((each) => each.group === group);
    const ranged = chosen.from && image.pixels && robust(image.pixels, inside, chosen);
    const own = name === "file" && group === "source" ? shown.window : null;
    if (ranged || own || name === "full" || name === "brain") windows[group] = { ...(ranged || own || GREY) };
  }
}

function choosePreset(name) {
  if (name === "hand") return;
  setWindows(name, ["source", "target"]);
  showPreset(name);
  draw();
  say(PRESETS[name].title + ". " + windowWords("source"));
}

function showPreset(name) {
  preset = name;
  presetSelect.value = name;
  presetSelect.querySelector("[value=file]").disabled = !(shown && shown.window);
}

// The window in which all but the outermost shares of the pixels `inside` are grey; null for too few.
function robust(pixels, inside, { from, to, beyond }) {
  const counts = new Uint32Array(1024);
  let total = 0;
  for (const i of inside) {
    counts[pixels[i] >> 6]++;
    total++;
  }
  if (total < 64) return null;
  const at = (share) => {
    let seen = 0;
    for (let bin = 0; bin < counts.length; bin++) {
      seen += counts[bin];
      if (seen > share * total) return (bin + 0.5) / counts.length;
    }
    return 1;
  };
  const [low, high] = [at(from), at(to)];
  const width = Math.min(Math.max((high - low) * (1 + 2 * beyond), NARROWEST), WIDEST);
  return { center: (low + high) / 2, width };
}

// Indices of some 200,000 pixels at most, evenly spread over a rectangle of the slice.
function sampled(left = 0, top = 0, right = shown.width, bottom = shown.height) {
  const every = Math.max(1, Math.ceil(Math.sqrt(((right - left) * (bottom - top)) / SAMPLED)));
  const found = [];
  for (let y = top; y < bottom; y += every) {
    for (let x = left; x < right; x += every) found.push(y * shown.width + x);
  }
  return found;
}

// Of these, the ones well inside the head: nearer to its centre than INNER of the way to its rim.
function pixelsInside() {
  const { width, aspect } = shown;
  const pixels = images.get("original").pixels;
  const all = sampled();
  const air = darkest(all.map((i) => pixels[i]));
  const head = all.filter((i) => pixels[i] > air);
  const mean = (of) => head.reduce((sum, i) => sum + of(i), 0) / head.length;
  const [cx, cy] = [mean((i) => i % width), mean((i) => Math.floor(i / width))];
  const polar = (i) => {
    const [x, y] = [(i % width) - cx, (Math.floor(i / width) - cy) * aspect];
    return [Math.floor((Math.atan2(y, x) / Math.PI + 1) * 35.999), Math.hypot(x, y)];
  };
  const radii = Array.from({ length: 72 }, () => []);
  for (const i of head) {
    const [sector, radius] = polar(i);
    radii[sector].push(radius);
  }
  // Not the outermost: noise in the air reaches beyond the head.
  const rims = radii.map((each) => Float32Array.from(each).sort()[Math.floor(0.95 * each.length)] || 0);
  return head.filter((i) => {
    const [sector, radius] = polar(i);
    return radius < INNER * rims[sector];
  });
}

// Half of the threshold that parts dark from bright best (Otsu 1979): what is below is air.
function darkest(pixels) {
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

// Indices of the pixels in the active panel, air aside.
function pixelsInView() {
  const panel = activePanel();
  const g = geometry(panel);
  const clamp = (at, most) => Math.min(Math.max(at, 0), most);
  const [left, right] = [-g.left / g.x, (panel.canvas.width - g.left) / g.x].map((at) => Math.round(clamp(at, shown.width)));
  const [top, bottom] = [-g.top / g.y, (panel.canvas.height - g.top) / g.y].map((at) => Math.round(clamp(at, shown.height)));
  const pixels = images.get("original").pixels;
  return sampled(left, top, right, bottom).filter((i) => pixels[i] > 0.02 * FULL);
}

function windowBy(panel, widen, raise) {
  const { group } = imageIn(panel);
  const target = windows[group];
  if (isMap(group)) {
    const width = Math.min(Math.max(target.width + (widen + raise) / 2, NARROWEST), 1);
    target.width = width;
    if (group !== "signed") target.center = width / 2; // an error map starts at zero
  } else {
    target.width = Math.min(Math.max(target.width + widen, NARROWEST), WIDEST);
    target.center = Math.min(Math.max(target.center + raise, -0.5), 1.5);
    showPreset("hand");
  }
  draw();
  sayWindow(group);
}

function invert() {
  inverted = !inverted;
  root.querySelector("[data-do=invert]").setAttribute("aria-pressed", String(inverted));
  draw();
  say(inverted ? "Inverted" : "Not inverted");
}

// ---------------------------------------------------------------- in words

// A share of the grey range as the file would say it; synthetic images have no units but this share.
function inUnits(group, share, digits = 2, isWidth = false) {
  if (group !== "source" || !shown || !shown.units) return share.toFixed(digits);
  const [low, high] = shown.units;
  const value = share * (high - low) + (isWidth ? 0 : low);
  return value.toFixed(high - low >= 20 ? 0 : digits).replace("-", "−");
}

function windowWords(group) {
  const { center, width } = windows[group];
  const own = preset === "file" && group === "source" ? "  file's own" : "";
  return "W " + inUnits(group, width, 2, true) + "  L " + inUnits(group, center) + own;
}

function sayWindow(group) {
  const { center, width } = windows[group];
  say(
    isMap(group)
      ? "Colours up to " + (center + width / 2).toFixed(2)
      : "Window " + inUnits(group, width, 2, true) + ", level " + inUnits(group, center)
  );
}

presetSelect.addEventListener("change", () => (shown ? choosePreset(presetSelect.value) : showPreset("brain")));
openWindows(true);
showPreset("brain");
