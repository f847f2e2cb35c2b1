// What the reader can do with the panels: mouse, touch, wheel and keys. Joined behind viewer.js into
// one function body, whose names it uses.

function imagePoint(panel, event) {
  const box = panel.canvas.getBoundingClientRect();
  const density = panel.canvas.width / box.width;
  const g = geometry(panel);
  return [
    ((event.clientX - box.left) * density - g.left) / g.x,
    ((event.clientY - box.top) * density - g.top) / g.y,
  ];
}

function zoomBy(factor, at) {
  const before = view.zoom;
  view.zoom = Math.min(Math.max(before * factor, ZOOM_LIMITS[0]), ZOOM_LIMITS[1]);
  if (at) {
    // The point under the cursor stays under the cursor.
    const keep = 1 - before / view.zoom;
    view.x += (at[0] - shown.width / 2 - view.x) * keep;
    view.y += (at[1] - shown.height / 2 - view.y) * keep;
  }
  draw();
  say("Zoom " + Math.round(view.zoom * 100) + " %");
}

function panBy(panel, dx, dy) {
  const density = panel.canvas.width / panel.canvas.clientWidth;
  const g = geometry(panel);
  view.x -= (dx * density) / g.x;
  view.y -= (dy * density) / g.y;
  draw();
}

function windowBy(panel, widen, raise) {
  const target = windows[panel.group];
  if (LUTS[panel.group]) {
    const width = Math.min(Math.max(target.width + (widen + raise) / 2, 0.02), 1);
    target.width = width;
    if (panel.group !== "signed") target.center = width / 2; // an error map starts at zero
  } else {
    target.width = Math.min(Math.max(target.width + widen, 0.02), 2);
    target.center = Math.min(Math.max(target.center + raise, -0.5), 1.5);
  }
  draw();
  sayWindow(panel.group);
}

function reset() {
  resetView();
  draw();
  say("View reset");
}

function moveSlice(steps) {
  // The page's own slider is the one that knows the slice; it renders the last position only.
  const slider = document.querySelector("#slice input[type=range]");
  if (!slider || !shown || shown.slices < 2) return false;
  const wanted = Math.min(Math.max(Number(slider.value) + steps, Number(slider.min)), Number(slider.max));
  Object.getOwnPropertyDescriptor(HTMLInputElement.prototype, "value").set.call(slider, String(wanted));
  slider.dispatchEvent(new Event("input", { bubbles: true }));
  return true;
}

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
  w: (p) => windowBy(p, 0.05, 0),
  W: (p) => windowBy(p, -0.05, 0),
  l: (p) => windowBy(p, 0, 0.05),
  L: (p) => windowBy(p, 0, -0.05),
  c: steer,
  C: steer,
  Escape: (p) => steering && steer(p),
};

function arrow(panel, event, dx, dy) {
  if (steering) return moveCursor(panel, dx, dy, event.shiftKey);
  if (event.shiftKey) return panBy(panel, -20 * dx, -20 * dy);
  return dy ? moveSlice(dy) : false;
}

function listen(panel) {
  const { canvas } = panel;
  const pointers = new Map();
  let wheelTravel = 0;

  canvas.addEventListener("pointerdown", (event) => {
    if (!panel.pixels) return;
    pointers.set(event.pointerId, [event.clientX, event.clientY]);
    canvas.setPointerCapture(event.pointerId);
    canvas.focus({ preventScroll: true });
    event.preventDefault(); // the middle button would start the browser's own scrolling
  });

  canvas.addEventListener("pointermove", (event) => {
    if (!panel.pixels) return;
    cursor = imagePoint(panel, event);
    const from = pointers.get(event.pointerId);
    if (from) {
      const dx = event.clientX - from[0];
      const dy = event.clientY - from[1];
      const others = [...pointers].filter(([id]) => id !== event.pointerId).map(([, at]) => at);
      pointers.set(event.pointerId, [event.clientX, event.clientY]);
      if (others.length) {
        const [ox, oy] = others[0];
        const before = Math.hypot(from[0] - ox, from[1] - oy) || 1;
        zoomBy(Math.hypot(event.clientX - ox, event.clientY - oy) / before);
        panBy(panel, dx / 2, dy / 2);
      } else if (tool === "pan" || event.shiftKey || event.buttons & 4) {
        panBy(panel, dx, dy);
      } else {
        windowBy(panel, dx / canvas.clientWidth, -dy / canvas.clientHeight);
      }
    }
    draw();
  });

  const release = (event) => pointers.delete(event.pointerId);
  canvas.addEventListener("pointerup", release);
  canvas.addEventListener("pointercancel", release);
  canvas.addEventListener("pointerleave", () => {
    cursor = null;
    draw();
  });

  canvas.addEventListener("blur", () => {
    if (!steering) return;
    steering = false;
    cursor = null;
    draw();
  });

  canvas.addEventListener("dblclick", () => panel.pixels && reset());

  canvas.addEventListener(
    "wheel",
    (event) => {
      if (!panel.pixels) return;
      if (event.ctrlKey || event.metaKey) {
        event.preventDefault();
        zoomBy(Math.exp(-event.deltaY / 300), imagePoint(panel, event));
      } else if (shown.slices > 1) {
        event.preventDefault();
        // A mouse notch is one slice; a trackpad's small steps add up to one.
        wheelTravel += event.deltaMode === 0 ? event.deltaY / 50 : event.deltaY;
        const steps = Math.trunc(wheelTravel);
        if (!steps) return;
        moveSlice(Math.sign(steps));
        wheelTravel = 0;
      }
    },
    { passive: false }
  );

  canvas.addEventListener("keydown", (event) => {
    const act = KEYS[event.key];
    if (!act || !panel.pixels || event.ctrlKey || event.metaKey || event.altKey) return;
    // Keys that do nothing here (arrows on a single slice) keep their meaning for the page.
    if (act(panel, event) !== false) event.preventDefault();
  });

  new ResizeObserver(draw).observe(canvas);
}

function chooseTool(name) {
  tool = name;
  root.dataset.tool = name;
  for (const button of root.querySelectorAll("[data-tool]")) {
    button.setAttribute("aria-pressed", String(button.dataset.tool === name));
  }
}

const ACTIONS = { zoomIn: () => zoomBy(1.2), zoomOut: () => zoomBy(1 / 1.2), reset };

root.querySelector(".viewer-tools").addEventListener("click", (event) => {
  const button = event.target.closest("button");
  if (!button) return;
  if (button.dataset.tool) chooseTool(button.dataset.tool);
  else if (shown) ACTIONS[button.dataset.do]();
});

panels.forEach(listen);
watch("value", () => receive(props.value));
receive(props.value);
draw();
root.dataset.ready = "true"; // before this, clicks would be lost
