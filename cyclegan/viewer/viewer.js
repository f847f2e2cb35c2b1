// The linked viewer: the slice on screen. Together with the files that app.py joins behind it, it runs once,
// as the body of a function that Gradio calls with `element` (this component's root), `props` (props.value is
// the last answer of a handler) and `watch`. Each of these files is one idea, and they share their names.
//
// props.value: {key, token, run, index, slices, width, height, aspect, spacing, affine, units, window,
//   directions, caption, notes, provenance, saw, panels: {original|translated|reconstructed|truth|
//   trueDifference: {title, sub, note, alt, data}}}, where data is base64 of little-endian uint16, row by
//   row, 65535 standing for 1.0 (in trueDifference 0 stands for -1 and 65535 for 1). A panel that is missing
//   is shown empty. window is the file's own, {center, width} in shares of 1, or null; units says what 0 and
//   1 are in the file, [low, high]; spacing is mm, [slice, row, column], or null; affine takes (column,
//   row, slice, 1) to RAS+ mm, or is null. The cycle error is computed here.
// A second answer adds to the slice on screen, in findings.js. Other slices are fetched ahead in slices.js.

const root = element.querySelector(".viewer");
const FULL = 65535;

let shown = null; // the value on screen
let cursor = null; // [x, y] in image pixels, shared by all panels
let drawPending = false;
let found = null; // the second answer for the slice on screen, once it is there
let map = "cycle"; // what the map of errors is of, or "uncertainty"

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
  for (const image of images.values()) {
    const given = value.panels[image.name];
    image.pixels = (given && given.data) || null;
    image.given = given || null;
  }
  found = null;
  showMap();
  const isNew = !before || value.key !== before.key;
  if (isNew) {
    resetView();
    window.connection.opened();
  }
  if (isNew || value.run !== before.run) openWindows(isNew);
  arrangeFor(before, value);
  showFindings();
  root.querySelector(".viewer-caption").textContent = value.caption;
  root.querySelector(".viewer-notes").textContent = value.notes;
  root.querySelector(".viewer-provenance").textContent = value.provenance;
  root.querySelector(".viewer-saw").textContent = value.saw;
  root.dataset.index = value.index;
  root.dataset.key = value.key;
  showScrubber();
  draw();
  if (isNew) bringIntoView();
  else if (value.run !== before.run || Boolean(value.panels.truth) !== Boolean(before.panels.truth)) backIntoView();
  else if (before.index !== value.index) saySlice();
}

function draw() {
  if (drawPending) return;
  drawPending = true;
  requestAnimationFrame(() => {
    drawPending = false;
    const begun = performance.now();
    if (layout.planes) planes.views.forEach(drawPlane);
    else shownPanels().forEach(drawPanel);
    labelColourBars();
    showPosition();
    // Read by the download buttons, which burn the label in at the shown window.
    root.dataset.window = JSON.stringify(windows.target);
    root.dataset.drawn = (performance.now() - begun).toFixed(1);
  });
}
