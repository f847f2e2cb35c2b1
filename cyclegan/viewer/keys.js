// Keys on an image or on a button beside it, and what the buttons do. The last of the files: it starts the
// viewer.

const KEYS = {
  ArrowUp: (p, e) => arrow(p, e, 0, -1),
  ArrowDown: (p, e) => arrow(p, e, 0, 1),
  ArrowLeft: (p, e) => arrow(p, e, -1, 0),
  ArrowRight: (p, e) => arrow(p, e, 1, 0),
  Home: () => moveSlice(-Infinity),
  End: () => moveSlice(Infinity),
  PageUp: () => moveSlice(-1),
  PageDown: () => moveSlice(1),
  "+": () => zoomBy(1.2),
  "=": () => zoomBy(1.2),
  "-": () => zoomBy(1 / 1.2),
  0: reset,
  1: () => chooseLayout(1),
  2: () => chooseLayout(2),
  4: () => chooseLayout(4),
  Enter: (p) => enlarge(p),
  w: (p) => windowBy(p, 0.05, 0),
  W: (p) => windowBy(p, -0.05, 0),
  l: (p) => windowBy(p, 0, 0.05),
  L: (p) => windowBy(p, 0, -0.05),
  a: () => choosePreset("auto"),
  i: invert,
  h: toggleHatch,
  b: pressBlink,
  s: () => chooseMode("swipe"),
  o: () => chooseMode("overlay"),
  "[": () => moveCompared(-0.05),
  "]": () => moveCompared(0.05),
  f: fullScreen,
  p: togglePlanes,
  " ": playOrStop,
  m: () => anchor("ruler"),
  r: () => anchor("region"),
  Delete: clearMeasures,
  Backspace: clearMeasures,
  c: steer,
  Escape: (p) => (steering ? steer(p) : false),
};

function arrow(panel, event, dx, dy) {
  if (steering) return moveCursor(panel, dx, dy, event.shiftKey);
  if (event.shiftKey) return panBy(panel, -20 * dx, -20 * dy);
  return dy ? moveSlice(dy) : false;
}

for (const panel of panels) {
  panel.canvas.addEventListener("keydown", (event) => press(panel, event));
}
lightbox.addEventListener("keydown", (event) => {
  // On a button these keys are the button's.
  if (event.target.matches("button") && !["Enter", " "].includes(event.key)) press(activePanel(), event);
});
lightbox.addEventListener("keyup", (event) => event.key.toLowerCase() === "b" && releaseBlink());
lightbox.addEventListener("focusout", releaseBlink);

function press(panel, event) {
  const act = KEYS[event.key] || KEYS[event.key.toLowerCase()];
  if (!act || !imageIn(panel).pixels || event.ctrlKey || event.metaKey || event.altKey) return;
  // Keys that do nothing here (arrows on a single slice) keep their meaning for the page.
  if (act(panel, event) !== false) event.preventDefault();
}

const ACTIONS = {
  zoomIn: () => zoomBy(1.2), zoomOut: () => zoomBy(1 / 1.2), reset, invert, fullScreen,
  auto: () => choosePreset("auto"),
};

root.querySelector(".viewer-bar").addEventListener("click", ({ target }) => {
  const button = target.closest("button");
  if (!button) return;
  if (button.dataset.tool) chooseTool(button.dataset.tool);
  else if (shown && ACTIONS[button.dataset.do]) ACTIONS[button.dataset.do]();
});

watch("value", () => {
  receive(props.value);
  window.connection.received();
});
receive(props.value);
arrange();
root.dataset.ready = "true"; // before this, clicks would be lost
