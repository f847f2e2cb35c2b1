// Mouse, pen and touch on the panels. A finger that only passes changes nothing: it scrolls the page; two
// fingers zoom and pan, one that rests sets the window.

const LONG_PRESS_MS = 450;
const SLACK = 8; // CSS pixels that a resting finger may move
let tool = null;

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

function reset() {
  resetView();
  resetWindows();
  clearMeasures();
  say("View reset");
}

function chooseTool(name) {
  tool = name;
  root.dataset.tool = name;
  for (const button of root.querySelectorAll("[data-tool]")) {
    button.setAttribute("aria-pressed", String(button.dataset.tool === name));
  }
}

// What a drag that begins like this one does.
function actOf(event) {
  if (compare.mode === "swipe" && event.button === 0 && !event.shiftKey) return "line";
  if (event.button === 2) return "zoom";
  if (event.button === 1 || event.shiftKey) return "pan";
  return tool;
}

const DRAGS = {
  window: (panel, from, to) => {
    const { clientWidth, clientHeight } = panel.canvas;
    windowBy(panel, (to.clientX - from[0]) / clientWidth, (from[1] - to.clientY) / clientHeight);
  },
  pan: (panel, from, to) => panBy(panel, to.clientX - from[0], to.clientY - from[1]),
  zoom: (panel, from, to, begun) => zoomBy(Math.exp((from[1] - to.clientY) / 150), begun),
  line: (panel, from, to) => lineFollows(panel, to),
  ruler: (panel, from, to, begun) => measure("ruler", begun, imagePoint(panel, to)),
  region: (panel, from, to, begun) => measure("region", begun, imagePoint(panel, to)),
};

function listen(panel) {
  const { canvas } = panel;
  const pointers = new Map(); // id -> {at, act, begun}
  let wheelTravel = 0;
  let resting = 0;

  canvas.addEventListener("pointerdown", (event) => {
    layout.active = panel.name;
    if (!imageIn(panel).pixels) return;
    const touched = event.pointerType === "touch";
    clearTimeout(resting);
    const pointer = { at: [event.clientX, event.clientY], begun: imagePoint(panel, event), act: actOf(event) };
    if (touched && pointer.act === "window") {
      pointer.act = "rest";
      resting = setTimeout(() => {
        pointer.act = "window";
        say("Drag changes the window");
      }, LONG_PRESS_MS);
    }
    pointers.set(event.pointerId, pointer);
    if (pointers.size > 1) clearTimeout(resting); // two fingers zoom
    if (!touched || pointer.act !== "rest") canvas.setPointerCapture(event.pointerId);
    canvas.focus({ preventScroll: true });
    event.preventDefault(); // the middle button would start the browser's own scrolling
  });

  canvas.addEventListener("pointermove", (event) => {
    if (!imageIn(panel).pixels) return;
    const pointer = pointers.get(event.pointerId);
    if (event.pointerType !== "touch" || (pointer && pointer.act !== "rest")) cursor = imagePoint(panel, event);
    if (compare.mode === "swipe" && event.pointerType === "mouse" && !event.buttons) lineFollows(panel, event);
    if (pointer) drag(pointer, event);
    draw();
  });

  function drag(pointer, event) {
    const { at } = pointer;
    const others = [...pointers.values()].filter((each) => each !== pointer);
    if (others.length) {
      const [ox, oy] = others[0].at;
      const before = Math.hypot(at[0] - ox, at[1] - oy) || 1;
      zoomBy(Math.hypot(event.clientX - ox, event.clientY - oy) / before);
      panBy(panel, (event.clientX - at[0]) / 2, (event.clientY - at[1]) / 2);
    } else if (pointer.act === "rest") {
      if (Math.hypot(event.clientX - at[0], event.clientY - at[1]) > SLACK) clearTimeout(resting);
      return; // `at` stays where the finger came down
    } else {
      DRAGS[pointer.act](panel, at, event, pointer.begun);
    }
    pointer.at = [event.clientX, event.clientY];
  }

  // The browser scrolls with one finger, unless that finger is at work here, or another joins it.
  canvas.addEventListener("touchmove", (event) => {
    const busy = [...pointers.values()].some(({ act }) => act !== "rest");
    if (event.cancelable && (busy || event.touches.length > 1)) event.preventDefault();
  }, { passive: false });

  const release = (event) => {
    clearTimeout(resting);
    pointers.delete(event.pointerId);
    if (event.pointerType === "touch") cursor = null;
  };
  // A mouse that comes to an image brings the keys along, unless they are at work elsewhere.
  canvas.addEventListener("pointerenter", ({ pointerType, buttons }) => {
    const { activeElement: has } = document;
    const idle = has === document.body || has.matches("button, input[type=file], input[type=radio]");
    if (pointerType !== "mouse" || buttons || !idle || !imageIn(panel).pixels) return;
    activePanel().canvas.focus({ preventScroll: true });
  });
  canvas.addEventListener("pointerup", release);
  canvas.addEventListener("pointercancel", release);
  canvas.addEventListener("pointerleave", () => {
    if (steering) return;
    cursor = null;
    draw();
  });
  canvas.addEventListener("contextmenu", (event) => event.preventDefault()); // the right button zooms
  canvas.addEventListener("dblclick", () => imageIn(panel).pixels && enlarge(panel));

  canvas.addEventListener("focus", () => (layout.active = panel.name));
  canvas.addEventListener("blur", () => {
    if (!steering) return;
    steering = false;
    cursor = null;
    draw();
  });

  canvas.addEventListener(
    "wheel",
    (event) => {
      if (!imageIn(panel).pixels) return;
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

  new ResizeObserver(draw).observe(canvas);
}

panels.forEach(listen);
chooseTool("window");
