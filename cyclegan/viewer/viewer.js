// The linked viewer: data and drawing. Together with findings.js, slices.js, assist.js and controls.js it runs
// once, as the body of a function that Gradio calls with `element` (this component's root), `props` (props.value is the last
// answer of a handler) and `watch`.
//
// props.value: {key, token, run, index, slices, width, height, aspect, window, directions, caption, notes,
//   provenance, saw, panels: {original|translated|reconstructed|truth|trueDifference: {title, sub, note,
//   alt, data}}}, where data is base64 of little-endian uint16, row by row, 65535 standing for 1.0 (in
//   trueDifference 0 stands for -1 and 65535 for 1). A panel that is missing is shown empty. window is
//   {center, width} in shares of 1 to open with, or null. The cycle error is computed here from original
//   and reconstruction.
// A second answer adds to the slice on screen, in findings.js. Other slices are fetched ahead in slices.js.

const root = element.querySelector(".viewer");
const FULL = 65535;
const GREY = { center: 0.5, width: 1 };
const MAP_TOP = 0.25; // default top of the colour bar: a quarter of the grey range
const UNCERTAINTY_TOP = 0.15;
const SIGNED_TOP = 0.5; // of the colours to either side of zero
const ZOOM_LIMITS = [0.5, 20];
// Inferno's anchors (matplotlib): perceptually even, black where there is no error.
const INFERNO = [
  [0, 0, 4], [40, 11, 84], [101, 21, 110], [159, 42, 99], [212, 72, 66], [245, 125, 21],
  [250, 193, 39], [252, 255, 164],
];

let shown = null; // the value on screen
let view = null; // zoom, and the offset of the panel's centre from the image's centre in pixels
let cursor = null; // [x, y] in image pixels, shared by all panels
let tool = "window";
let windows = null; // one per contrast: original and reconstruction must look through the same
let drawPending = false;
let found = null; // the second answer for the slice on screen, once it is there
let map = "cycle"; // what the fourth panel shows, or "uncertainty"

function resetView() {
  view = { zoom: 1, x: 0, y: 0 };
  // The file's own window belongs to the original's grey values; the synthetic image has all of its own.
  const source = { ...((shown && shown.window) || GREY) };
  windows = {
    source,
    target: { ...GREY },
    map: { center: MAP_TOP / 2, width: MAP_TOP },
    uncertainty: { center: UNCERTAINTY_TOP / 2, width: UNCERTAINTY_TOP },
    signed: { center: 0, width: 2 * SIGNED_TOP },
  };
}

const GROUPS = {
  translated: () => "target",
  truth: () => "target",
  trueDifference: () => "signed",
  difference: () => (map === "uncertainty" ? "uncertainty" : "map"),
};

const panels = [...root.querySelectorAll(".panel")].map((figure) => {
  const name = figure.dataset.panel;
  return {
    name,
    figure,
    get group() {
      return GROUPS[name] ? GROUPS[name]() : "source";
    },
    canvas: figure.querySelector("canvas"),
    image: document.createElement("canvas"), // native matrix, one canvas pixel per image pixel
    pixels: null,
    emptyLabel: figure.querySelector("canvas").getAttribute("aria-label"),
    emptyTitle: figure.querySelector("h3").textContent,
  };
});

// ---------------------------------------------------------------- data

function decode(base64) {
  const text = atob(base64);
  const bytes = new Uint8Array(text.length);
  for (let i = 0; i < text.length; i++) bytes[i] = text.charCodeAt(i);
  return new Uint16Array(bytes.buffer);
}

// An answer of the server.
function receive(value) {
  if (value && value.findings) return acceptFindings(value);
  if (!value || !value.panels) return;
  // An answer about a file that has been replaced meanwhile comes too late.
  if (shown && value.key < shown.key) return;
  // Gradio's value is not to be changed; a copy holds the decoded images.
  const entries = Object.entries(value.panels).map(([name, panel]) => [
    name, panel.data ? { ...panel, data: decode(panel.data) } : panel,
  ]);
  const given = { ...value, panels: Object.fromEntries(entries) };
  const another = isAnotherSlice(given);
  if (!another) forgetKept();
  // The reader may have gone on meanwhile to a slice that was here already.
  if (!another || given.index === wanted() || !kept.has(wanted())) accept(given);
  keep(given);
  fetchAhead();
}

// Put a slice on screen, its images decoded.
function accept(value) {
  const before = shown;
  shown = value;
  if (!before || value.key !== before.key) {
    resetView();
    window.connection.opened();
  } else if (value.run !== before.run) resetWindowsOfResult();
  for (const panel of panels) {
    const given = value.panels[panel.name];
    panel.pixels = (given && given.data) || null;
    describe(panel, given);
  }
  found = null;
  showMap();
  showFindings();
  const edges = value.directions || ["", "", "", ""];
  for (const panel of panels) {
    ["left", "right", "top", "bottom"].forEach((side, i) => {
      panel.figure.querySelector(".edge-" + side).textContent = panel.pixels ? edges[i] : "";
    });
    panel.figure.classList.toggle("filled", Boolean(panel.pixels));
  }
  root.querySelector(".viewer-caption").textContent = value.caption;
  root.querySelector(".viewer-notes").textContent = value.notes;
  root.querySelector(".viewer-provenance").textContent = value.provenance;
  root.querySelector(".viewer-saw").textContent = value.saw;
  root.dataset.index = value.index;
  root.dataset.key = value.key;
  draw();
  if (before && before.key === value.key && before.index !== value.index) saySlice();
}

function resetWindowsOfResult() {
  const source = windows.source;
  const { zoom, x, y } = view;
  resetView();
  view = { zoom, x, y };
  windows.source = source;
}

function describe(panel, given) {
  panel.figure.querySelector("h3").textContent = given ? given.title : panel.emptyTitle;
  panel.figure.querySelector(".panel-sub").textContent = given ? given.sub : "";
  panel.canvas.setAttribute("aria-label", given ? given.alt : panel.emptyLabel);
  if (!panel.name.endsWith("ifference")) {
    panel.figure.querySelector("figcaption").textContent = given ? given.note : "";
  }
}

// ---------------------------------------------------------------- drawing

function draw() {
  if (drawPending) return;
  drawPending = true;
  requestAnimationFrame(() => {
    drawPending = false;
    panels.forEach(drawPanel);
    labelColourBar();
    // Read by the download button, which burns the label in at the shown window.
    root.dataset.window = JSON.stringify(windows.target);
  });
}

function colour(t) {
  const position = Math.min(Math.max(t, 0), 1) * (INFERNO.length - 1);
  const i = Math.min(Math.floor(position), INFERNO.length - 2);
  return INFERNO[i].map((low, c) => low + (INFERNO[i + 1][c] - low) * (position - i));
}

const MAP_LUT = Array.from({ length: 256 }, (_, i) => colour(i / 255));
// Blue, black, orange: signs differ in hue, and no error is black as on the other map.
const SIGNED_LUT = Array.from({ length: 256 }, (_, i) => {
  const t = (i - 127.5) / 127.5;
  return (t < 0 ? [90, 170, 255] : [255, 160, 50]).map((c) => c * Math.min(1, Math.abs(t) * 1.1));
});
const LUTS = { map: MAP_LUT, uncertainty: MAP_LUT, signed: SIGNED_LUT };

function paint(panel) {
  const { width, height } = shown;
  const { center, width: range } = windows[panel.group];
  const [pixels, ...look] = panel.painted || [];
  if (pixels === panel.pixels && String(look) === String([panel.group, center, range])) return;
  panel.painted = [panel.pixels, panel.group, center, range];
  panel.image.width = width;
  panel.image.height = height;
  const context = panel.image.getContext("2d");
  const out = context.createImageData(width, height);
  const signed = panel.group === "signed";
  const low = signed ? ((center - range / 2 + 1) / 2) * FULL : (center - range / 2) * FULL;
  const scale = 255 / (range * FULL) * (signed ? 2 : 1);
  const lut = LUTS[panel.group];
  for (let i = 0, o = 0; i < panel.pixels.length; i++, o += 4) {
    const level = Math.min(Math.max((panel.pixels[i] - low) * scale, 0), 255);
    if (lut) {
      const rgb = lut[Math.round(level)];
      out.data[o] = rgb[0];
      out.data[o + 1] = rgb[1];
      out.data[o + 2] = rgb[2];
    } else {
      out.data[o] = out.data[o + 1] = out.data[o + 2] = level;
    }
    out.data[o + 3] = 255;
  }
  context.putImageData(out, 0, 0);
}

function geometry(panel) {
  // Canvas pixels per image pixel along x and y; `aspect` is row spacing over column spacing.
  const { width, height, aspect } = shown;
  const fit = Math.min(panel.canvas.width / width, panel.canvas.height / (height * aspect));
  const x = fit * view.zoom;
  const y = x * aspect;
  return {
    x,
    y,
    left: panel.canvas.width / 2 - (width / 2 + view.x) * x,
    top: panel.canvas.height / 2 - (height / 2 + view.y) * y,
  };
}

function drawPanel(panel) {
  const { canvas } = panel;
  const density = window.devicePixelRatio || 1;
  const side = [Math.round(canvas.clientWidth * density), Math.round(canvas.clientHeight * density)];
  if (canvas.width !== side[0] || canvas.height !== side[1]) [canvas.width, canvas.height] = side;
  const context = canvas.getContext("2d");
  context.fillStyle = "#000";
  context.fillRect(0, 0, canvas.width, canvas.height);
  label(panel);
  if (!panel.pixels || !canvas.width) return;
  paint(panel);
  const g = geometry(panel);
  context.imageSmoothingEnabled = true;
  context.imageSmoothingQuality = "high";
  context.drawImage(panel.image, g.left, g.top, shown.width * g.x, shown.height * g.y);
  if (cursor) crosshair(context, g.left + cursor[0] * g.x, g.top + cursor[1] * g.y, density);
}

function crosshair(context, x, y, density) {
  const gap = 4 * density;
  const arm = 11 * density;
  context.strokeStyle = "rgba(120, 200, 255, 0.9)";
  context.lineWidth = density;
  context.beginPath();
  for (const [dx, dy] of [[1, 0], [-1, 0], [0, 1], [0, -1]]) {
    context.moveTo(x + dx * gap, y + dy * gap);
    context.lineTo(x + dx * arm, y + dy * arm);
  }
  context.stroke();
}

function label(panel) {
  const readout = panel.figure.querySelector(".corner-window");
  const { center, width } = windows[panel.group];
  if (readout) {
    readout.textContent = panel.pixels ? "W " + width.toFixed(2) + "  L " + center.toFixed(2) : "";
  }
  panel.figure.querySelector(".corner-value").textContent = valueAt(panel);
}

// The value under the cross-hair in words, "" outside the image.
function valueAt(panel) {
  if (!panel.pixels || !cursor) return "";
  const [x, y] = cursor.map(Math.floor);
  if (x < 0 || y < 0 || x >= shown.width || y >= shown.height) return "";
  const share = panel.pixels[y * shown.width + x] / FULL;
  return (panel.group === "signed" ? 2 * share - 1 : share).toFixed(3);
}

function labelColourBar() {
  const { center, width } = windows[map === "uncertainty" ? "uncertainty" : "map"];
  const low = center - width / 2;
  write(".colour-ticks span", [low, low + width / 2, low + width]);
  root.querySelector(".colour-bar").setAttribute(
    "aria-label",
    "Colour bar: black is " + low.toFixed(2) + ", light yellow " + (low + width).toFixed(2) +
      " of the grey range"
  );
  const top = windows.signed.width / 2;
  write(".signed-ticks span", [-top, 0, top]);
}

function write(selector, numbers) {
  const ticks = root.querySelectorAll(selector);
  numbers.forEach((v, i) => (ticks[i].textContent = String(Number(v.toFixed(3))).replace("-", "−")));
}

root.querySelector(".colour-ramp").style.background =
  "linear-gradient(to right, " + INFERNO.map((c) => "rgb(" + c.join(",") + ")").join(", ") + ")";
root.querySelector(".signed-ramp").style.background =
  "linear-gradient(to right, " +
  [0, 64, 127, 191, 255].map((i) => "rgb(" + SIGNED_LUT[i].map(Math.round).join(",") + ")").join(", ") +
  ")";

resetView();
