// On request, hatched in the synthetic image: where the band around its value is wider than the contrast of a
// lesion, so that one could be there or not.

const HATCH = 7; // CSS pixels from line to line
let hatched = false;
const hatchMask = { image: document.createElement("canvas"), of: null }; // of the findings that it was made from
const hatching = document.createElement("canvas"); // as large as a panel

function toggleHatch() {
  hatched = !hatched;
  root.querySelector("[data-do=hatch]").setAttribute("aria-pressed", String(hatched));
  draw();
  backIntoView();
  say(hatched ? hatchWords() : "Not hatched");
}

function canHatch() {
  return Boolean(found && found.bandWords && found.pixels && found.lesionContrast);
}

// One pixel for each of the slice, opaque where it is to be hatched.
function makeHatchMask() {
  const { width, height } = shown;
  Object.assign(hatchMask.image, { width, height });
  const context = hatchMask.image.getContext("2d");
  const out = context.createImageData(width, height);
  const words = new Int32Array(out.data.buffer);
  const most = found.lesionContrast * FULL;
  found.pixels.forEach((band, i) => (words[i] = band > most ? -1 : 0));
  context.putImageData(out, 0, 0);
  hatchMask.of = found;
}

function drawHatch(context, g, density) {
  if (!hatched || !canHatch()) return;
  if (hatchMask.of !== found) makeHatchMask();
  const { width, height } = context.canvas;
  Object.assign(hatching, { width, height });
  const lines = hatching.getContext("2d");
  lines.drawImage(hatchMask.image, g.left, g.top, shown.width * g.x, shown.height * g.y);
  lines.globalCompositeOperation = "source-in";
  lines.strokeStyle = "#ffc46b";
  lines.lineWidth = density;
  lines.beginPath();
  for (let x = -height; x < width; x += HATCH * density) {
    lines.moveTo(x, height);
    lines.lineTo(x + height, 0);
  }
  lines.stroke();
  context.drawImage(hatching, 0, 0);
}

function hatchWords() {
  if (!canHatch()) return "Hatched, once the band is known";
  const head = found.pixels.filter((band) => band > 0);
  const wide = head.filter((band) => band > found.lesionContrast * FULL).length;
  return Math.round((100 * wide) / (head.length || 1)) + " % of the head hatched";
}

root.querySelector("[data-do=hatch]").addEventListener("click", toggleHatch);
