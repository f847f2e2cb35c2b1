// Where the pointer is, how far it is from here to there, and what a round region holds in each image.

const MEASURES = ["ruler", "region"];
const measured = { ruler: null, region: null }; // [from, to] in image pixels
let anchored = null; // by key: {kind, from} while the cross-hair draws a measure

function measure(kind, from, to) {
  measured[kind] = [from, to];
  draw();
  sayMeasure(kind);
}

function clearMeasures() {
  for (const kind of MEASURES) measured[kind] = null;
  anchored = null;
  draw();
}

// Begin a measure at the cross-hair, or leave it as it is.
function anchor(kind) {
  if (!steering) return false;
  anchored = anchored && anchored.kind === kind ? null : { kind, from: [...cursor] };
  if (anchored) say("Move the cross-hair to the other end");
  else sayMeasure(kind);
}

function sayMeasure(kind) {
  if (kind === "ruler") return say("Ruler " + rulerWords());
  say(shownPanels().map((panel) => imageIn(panel)).filter((image) => image.pixels)
    .map((image) => titleOf(image) + " " + regionWords(image)).join(", "));
}

// In units of a pixel's width, which `aspect` gives its height in.
function distance2d([x, y], [u, v]) {
  return Math.hypot(u - x, (v - y) * shown.aspect);
}

function rulerWords() {
  const length = distance2d(...measured.ruler);
  return shown.spacing ? (length * shown.spacing[2]).toFixed(1) + " mm" : length.toFixed(1) + " pixels";
}

// Mean and standard deviation of the pixels whose centres lie in the circle.
function regionWords(image) {
  const [[cx, cy], to] = measured.region;
  const radius = distance2d([cx, cy], to);
  let [n, sum, squares] = [0, 0, 0];
  const high = radius / shown.aspect;
  for (let y = Math.max(Math.floor(cy - high), 0); y <= Math.min(cy + high, shown.height - 1); y++) {
    for (let x = Math.max(Math.floor(cx - radius), 0); x <= Math.min(cx + radius, shown.width - 1); x++) {
      if (distance2d([cx, cy], [x + 0.5, y + 0.5]) > radius) continue;
      const share = shareAt(image, x, y);
      n++;
      sum += share;
      squares += share * share;
    }
  }
  if (!n) return "";
  const mean = sum / n;
  const deviation = Math.sqrt(Math.max(squares / n - mean * mean, 0));
  return inUnits(image.group, mean, 3) + " ± " + inUnits(image.group, deviation, 3, true) + ", " + n + " pixels";
}

function drawMeasures(context, panel, g, density) {
  const at = ([x, y]) => [g.left + x * g.x, g.top + y * g.y];
  context.strokeStyle = context.fillStyle = "#ffe14d";
  context.lineWidth = 1.5 * density;
  if (measured.ruler) {
    const [from, to] = measured.ruler.map(at);
    context.beginPath();
    context.moveTo(...from);
    context.lineTo(...to);
    context.stroke();
    for (const [x, y] of [from, to]) context.fillRect(x - 2 * density, y - 2 * density, 4 * density, 4 * density);
    note(rulerWords(), to);
  }
  if (measured.region) {
    const [centre, to] = measured.region;
    const radius = distance2d(centre, to) * g.x;
    context.beginPath();
    context.arc(...at(centre), radius, 0, 2 * Math.PI);
    context.stroke();
    note(regionWords(imageIn(panel)), [at(centre)[0] + radius, at(centre)[1]]);
  }

  function note(words, [x, y]) {
    if (!words) return;
    context.font = 12 * density + "px system-ui, sans-serif";
    context.textBaseline = "top";
    const width = context.measureText(words).width + 8 * density;
    const left = Math.min(Math.max(x + 6 * density, 0), context.canvas.width - width);
    context.fillStyle = "rgba(0, 0, 0, 0.75)";
    context.fillRect(left, y, width, 18 * density);
    context.fillStyle = "#ffe14d";
    context.fillText(words, left + 4 * density, y + 3 * density);
  }
}

// ---------------------------------------------------------------- position

function showPosition() {
  const at = cursor || (layout.planes ? planes.at : null);
  root.querySelector(".viewer-position").textContent = at && shown ? positionWords(...at) : "";
}

function positionWords(x, y) {
  const [column, row] = [x, y].map(Math.floor);
  if (column < 0 || row < 0 || column >= shown.width || row >= shown.height) return "";
  const pixel = "column " + (column + 1) + ", row " + (row + 1);
  if (!shown.affine) return pixel;
  const index = [x - 0.5, y - 0.5, shown.index, 1];
  const axes = ["LR", "PA", "IS"].map((letters, i) => {
    const mm = shown.affine[i].reduce((sum, each, j) => sum + each * index[j], 0);
    return letters[mm < 0 ? 0 : 1] + " " + Math.abs(mm).toFixed(1);
  });
  return pixel + " · " + axes.join("  ") + " mm";
}
