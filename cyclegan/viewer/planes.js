// Coronal and sagittal planes through the slices that are here, so that what jumps from slice to slice can
// be seen; and cine. Shown in place of the panels. A click, a drag or the arrow keys move the cross-hair.

const CINE_MS = 100;
const planesArea = root.querySelector(".viewer-planes");
const planes = { at: null, views: [] }; // `at`: [column, row] of the cross-hair
let playing = 0; // the timer of the cine
let forth = 1; // its direction

for (const kind of ["coronal", "sagittal"]) {
  for (const name of ["original", "translated", "difference"]) {
    const canvas = document.createElement("canvas");
    canvas.tabIndex = 0;
    canvas.dataset.plane = kind + " " + name;
    canvas.setAttribute("role", "application");
    canvas.setAttribute("aria-roledescription", "image");
    canvas.setAttribute("aria-describedby", "viewer-keys");
    planesArea.append(canvas);
    const plane = { kind, name, canvas, raster: document.createElement("canvas") };
    planes.views.push(plane);
    listenToPlane(plane);
  }
}

function togglePlanes() {
  if (!shown || shown.slices < 2) return;
  layout.planes = !layout.planes;
  planes.at ||= [Math.floor(shown.width / 2) + 0.5, Math.floor(shown.height / 2) + 0.5];
  arrange();
  say(layout.planes ? "Coronal and sagittal planes" : "Axial slices");
}

// Values of one line of a slice: row `at` in a coronal plane, column `at` in a sagittal one.
function lineOf(value, { kind, name }, at) {
  const { width, height } = shown;
  const sides = name === "difference" ? ["original", "reconstructed"] : [name];
  const data = sides.map((each) => value.panels[each] && value.panels[each].data);
  if (data.some((each) => !each)) return null;
  const count = kind === "coronal" ? width : height;
  const [first, step] = kind === "coronal" ? [at[1] * width, 1] : [at[0], width];
  const line = new Uint16Array(count);
  for (let i = 0, j = first; i < count; i++, j += step) {
    line[i] = data.length > 1 ? Math.abs(data[0][j] - data[1][j]) : data[0][j];
  }
  return line;
}

function drawPlane(plane) {
  const { canvas, raster, kind, name } = plane;
  const density = window.devicePixelRatio || 1;
  Object.assign(canvas, {
    width: Math.round(canvas.clientWidth * density), height: Math.round(canvas.clientHeight * density),
  });
  const context = canvas.getContext("2d");
  context.fillStyle = "#000";
  context.fillRect(0, 0, canvas.width, canvas.height);
  const across = kind === "coronal" ? shown.width : shown.height;
  Object.assign(raster, { width: across, height: shown.slices });
  const out = raster.getContext("2d").createImageData(across, shown.slices);
  const words = new Int32Array(out.data.buffer).fill(0xff3a2f28 | 0); // a slice that is not here yet
  const table = tableOf(name === "difference" ? "map" : images.get(name).group);
  const at = planes.at.map(Math.floor);
  for (let z = 0; z < shown.slices; z++) {
    const value = z === shown.index ? shown : kept.get(z);
    const line = value && lineOf(value, plane, at);
    // Slices run from foot to head; the last is at the top.
    if (line) line.forEach((level, i) => (words[(shown.slices - 1 - z) * across + i] = table[level]));
  }
  raster.getContext("2d").putImageData(out, 0, 0);
  const g = planeGeometry(plane);
  context.imageSmoothingQuality = "high";
  context.drawImage(raster, g.left, g.top, across * g.x, shown.slices * g.y);
  const [u, v] = planePoint(plane);
  context.strokeStyle = "rgba(120, 200, 255, 0.7)";
  context.lineWidth = density;
  context.strokeRect(g.left + u * g.x, -1, 0, canvas.height + 2);
  context.strokeRect(-1, g.top + v * g.y, canvas.width + 2, 0);
  drawWords(context, labelOf(name, true) + ", " + kind.toUpperCase(), MADE.includes(name), 6 * density, 6 * density, density);
  canvas.setAttribute("aria-label", titleOf(images.get(name)) + ", " + kind + " plane, " + positionWords(...planes.at));
}

// Isotropic: a slice is as high as it is thick, where the file tells; else it counts as one pixel.
function planeGeometry({ canvas, kind }) {
  const { spacing, aspect, slices } = shown;
  const [thick, row, column] = spacing || [1, aspect, 1];
  const [across, side] = kind === "coronal" ? [shown.width, column] : [shown.height, row];
  const fit = Math.min(canvas.width / (across * side), canvas.height / (slices * thick));
  const [x, y] = [fit * side, fit * thick];
  return { x, y, left: (canvas.width - across * x) / 2, top: (canvas.height - slices * y) / 2 };
}

// The cross-hair in pixels of the plane.
function planePoint({ kind }) {
  return [planes.at[kind === "coronal" ? 0 : 1], shown.slices - shown.index - 0.5];
}

function movePlanes({ kind }, u, v) {
  const axis = kind === "coronal" ? 0 : 1;
  planes.at[axis] = Math.min(Math.max(u, 0.5), [shown.width, shown.height][axis] - 0.5);
  const slice = Math.min(Math.max(Math.ceil(shown.slices - v), 1), shown.slices);
  if (slice !== shown.index + 1) goToSlice(slice);
  draw();
  say(positionWords(...planes.at));
}

function listenToPlane(plane) {
  const { canvas } = plane;
  const follow = (event) => {
    if (!event.buttons) return;
    const box = canvas.getBoundingClientRect();
    const density = canvas.width / box.width;
    const g = planeGeometry(plane);
    movePlanes(
      plane, ((event.clientX - box.left) * density - g.left) / g.x, ((event.clientY - box.top) * density - g.top) / g.y
    );
  };
  canvas.addEventListener("pointerdown", (event) => {
    canvas.setPointerCapture(event.pointerId);
    follow(event);
  });
  canvas.addEventListener("pointermove", follow);
  canvas.addEventListener("contextmenu", (event) => event.preventDefault());
  canvas.addEventListener("dblclick", togglePlanes);
  const steps = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
  canvas.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const step = steps[event.key];
    const far = event.shiftKey ? 10 : 1;
    const [u, v] = planePoint(plane);
    if (step) movePlanes(plane, u + far * step[0], v + far * step[1]);
    else if (event.key.toLowerCase() === "p") togglePlanes();
    else if (["1", "2", "4"].includes(event.key)) chooseLayout(Number(event.key));
    else return;
    event.preventDefault();
  });
  new ResizeObserver(draw).observe(canvas);
}

// ---------------------------------------------------------------- cine

// Back and forth through the slices that are here.
function playOrStop() {
  const button = root.querySelector("[data-do=cine]");
  if (playing) {
    clearInterval(playing);
    playing = 0;
    goToSlice(shown.index + 1); // the page does not follow each step
  } else if (shown && kept.size > 1) {
    playing = setInterval(playNext, CINE_MS);
  }
  button.setAttribute("aria-pressed", String(Boolean(playing)));
  say(playing ? "Playing" : "Stopped");
}

function playNext() {
  for (const turn of [forth, -forth]) {
    const next = shown.index + turn;
    if (kept.has(next)) {
      forth = turn;
      root.showKept(next + 1);
      return;
    }
  }
  playOrStop();
}

root.querySelector("[data-do=cine]").addEventListener("click", playOrStop);
root.querySelector("[data-do=planes]").addEventListener("click", togglePlanes);
