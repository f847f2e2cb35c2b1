// The images of the slice on screen, and how their values become grey or colour.

// Inferno's anchors (matplotlib): perceptually even, black where there is no error.
const INFERNO = [
  [0, 0, 4], [40, 11, 84], [101, 21, 110], [159, 42, 99], [212, 72, 66], [245, 125, 21],
  [250, 193, 39], [252, 255, 164],
];
// What each is called before it is there, and whose window it is seen through: original and reconstruction
// must share one, and so must synthetic and real image.
const IMAGES = {
  original: { title: "Original", empty: "Drop PNG, JPEG, TIFF, BMP, GIF, WebP, NIfTI or DICOM anywhere: files, folders or a zip; or pick an example", alt: "no image loaded", group: "source" },
  translated: { title: "Synthetic image", group: "target" },
  reconstructed: { title: "Cycle reconstruction", group: "source" },
  difference: { title: "Cycle error", alt: "not computed yet" },
  truth: { title: "Real image", empty: "Give the real image below", alt: "none given", group: "target" },
  trueDifference: { title: "True error", empty: "Give the real image below", alt: "no real image given", group: "signed" },
};

const images = new Map(
  Object.entries(IMAGES).map(([name, { title, empty, alt, group }]) => [name, {
    name,
    emptyTitle: title,
    emptyWords: empty || "Appears here",
    emptyAlt: title + ": " + (alt || "not computed yet"),
    get group() {
      return group || (map === "uncertainty" ? "uncertainty" : "map");
    },
    pixels: null, // uint16, as viewer.js tells
    given: null, // the words that came with them
    raster: document.createElement("canvas"), // native matrix, one canvas pixel per image pixel
    painted: null,
  }])
);

function titleOf(image) {
  if (image.name === "difference" && map === "uncertainty") return "Uncertainty";
  return image.given ? image.given.title : image.emptyTitle;
}

function isMap(group) {
  return !["source", "target"].includes(group);
}

function colour(t) {
  const position = Math.min(Math.max(t, 0), 1) * (INFERNO.length - 1);
  const i = Math.min(Math.floor(position), INFERNO.length - 2);
  return INFERNO[i].map((low, c) => low + (INFERNO[i + 1][c] - low) * (position - i));
}

const GREYS = Array.from({ length: 256 }, (_, i) => [i, i, i]);
const ERRORS = GREYS.map(([i]) => colour(i / 255));
// Blue, black, orange: signs differ in hue, and no error is black as on the other map.
const SIGNED = GREYS.map(([i]) => {
  const t = (i - 127.5) / 127.5;
  return (t < 0 ? [90, 170, 255] : [255, 160, 50]).map((c) => c * Math.min(1, Math.abs(t) * 1.1));
});
const COLOURS = { source: GREYS, target: GREYS, map: ERRORS, uncertainty: ERRORS, signed: SIGNED };

// The canvas colour, 0xAABBGGRR, of each of the 65536 values.
function lookUp(group) {
  const { center, width } = windows[group];
  const signed = group === "signed";
  const low = signed ? ((center - width / 2 + 1) / 2) * FULL : (center - width / 2) * FULL;
  const scale = (255 / (width * FULL)) * (signed ? 2 : 1);
  const packed = COLOURS[group].map(([r, g, b]) => (255 << 24) | (b << 16) | (g << 8) | r);
  if (inverted && !isMap(group)) packed.reverse();
  const table = new Int32Array(FULL + 1);
  for (let value = 0; value <= FULL; value++) {
    table[value] = packed[Math.min(Math.max(Math.round((value - low) * scale), 0), 255)];
  }
  return table;
}

const tables = new Map(); // group -> the last look

function tableOf(group) {
  const look = JSON.stringify([windows[group], inverted]);
  if (!tables.has(group) || tables.get(group).look !== look) {
    tables.set(group, { look, table: lookUp(group) });
  }
  return tables.get(group).table;
}

function paint(image) {
  const table = tableOf(image.group);
  const [pixels, painted] = image.painted || [];
  if (pixels === image.pixels && painted === table) return;
  image.painted = [image.pixels, table];
  const { width, height } = shown;
  const { pixels: values } = image;
  if (image.raster.width !== width || image.raster.height !== height) {
    Object.assign(image.raster, { width, height });
  }
  const context = image.raster.getContext("2d");
  const out = context.createImageData(width, height);
  const words = new Int32Array(out.data.buffer);
  for (let i = 0; i < words.length; i++) words[i] = table[values[i]];
  context.putImageData(out, 0, 0);
}

// The value at (column, row) in shares of the grey range, null outside the image.
function shareAt(image, x, y) {
  if (!image.pixels || x < 0 || y < 0 || x >= shown.width || y >= shown.height) return null;
  const share = image.pixels[y * shown.width + x] / FULL;
  return image.group === "signed" ? 2 * share - 1 : share;
}

function labelColourBars() {
  const { center, width } = windows[images.get("difference").group];
  const low = center - width / 2;
  write(".colour-ticks span", [low, low + width / 2, low + width]);
  root.querySelector(".colour-bar").setAttribute(
    "aria-label",
    "Colour bar: black is " + low.toFixed(2) + ", light yellow " + (low + width).toFixed(2) +
      " of the grey range"
  );
  const top = windows.signed.width / 2;
  write(".signed-ticks span", [-top, 0, top]);

  function write(selector, numbers) {
    const ticks = root.querySelectorAll(selector);
    numbers.forEach((v, i) => (ticks[i].textContent = String(Number(v.toFixed(3))).replace("-", "−")));
  }
}

function ramp(colours) {
  return "linear-gradient(to right, " + colours.map((c) => "rgb(" + c.map(Math.round).join(",") + ")").join(", ") + ")";
}

root.querySelector(".colour-ramp").style.background = ramp(INFERNO);
root.querySelector(".signed-ramp").style.background = ramp([0, 64, 127, 191, 255].map((i) => SIGNED[i]));
