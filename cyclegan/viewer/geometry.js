// Where things lie: planes through a volume, an image in its panel, a pixel in the patient. Nothing is drawn here.
// A voxel is [column, row, slice] in pixels, 0.5 in the middle of the first; a point of a plane is [u, v].

const LETTERS = ["LR", "PA", "IS"]; // of RAS+ axes, towards which they fall and rise
/** @type {Plane[]} */
export const PLANES = ["axial", "coronal", "sagittal"];
export const NARROW = 600; // CSS pixels: a telephone
export const WIDE = 1100; // from here on three images stand side by side

/** @param {number} at @param {number} low @param {number} high */
export const clamp = (at, low, high) => Math.min(Math.max(at, low), high);

// The patient axis that runs along axis `i` (0 columns, 1 rows, 2 slices): [0 to 2, whether it rises]; null
// where the file does not tell.
/** @param {number[][] | null} affine @param {number} i @returns {[number, boolean] | null} */
export function patientAxis(affine, i) {
  if (!affine) return null;
  const along = affine.slice(0, 3).map((row) => row[i]);
  const axis = along.reduce((best, v, j) => (Math.abs(v) > Math.abs(along[best]) ? j : best), 0);
  return [axis, along[axis] > 0];
}

/** @param {number[][] | null} affine @param {number} i */
function ends(affine, i) {
  const axis = patientAxis(affine, i);
  if (!axis) return ["", ""];
  const [low, high] = LETTERS[axis[0]];
  return axis[1] ? [low, high] : [high, low];
}

// The matrix and the letters of a plane through the scan. "axial" is the acquired slice, whatever its name.
/** @param {Scan} scan @param {Plane} plane @returns {Frame} */
export function frameOf(scan, plane) {
  const { width, height, slices, aspect, directions, affine } = scan;
  const box = scan.box || [0, 0, width, height];
  if (plane === "axial") return { plane, width, height, aspect, edges: directions || ["", "", "", ""], box };
  const [thick, row, column] = scan.spacing || [1, aspect, 1];
  // Where the file tells that slices run from head to foot, the first is at the top.
  const top = patientAxis(affine, 2)?.[1] === false;
  const [foot, head] = ends(affine, 2);
  const across = plane === "coronal" ? 0 : 1;
  const sides = directions ? directions.slice(2 * across, 2 * across + 2) : ["", ""];
  return {
    plane, width: across ? height : width, height: slices, aspect: thick / (across ? row : column), flip: !top,
    edges: [...sides, ...(top ? [foot, head] : [head, foot])], box: [box[across], 0, box[across + 2], slices],
  };
}

/** @param {Frame} frame @param {Voxel} voxel @returns {Point} */
export function toPlane(frame, [x, y, z]) {
  const v = frame.flip ? frame.height - z : z;
  if (frame.plane === "axial") return [x, y];
  return [frame.plane === "coronal" ? x : y, v];
}

// The voxel at (u, v) of a plane that goes through a voxel.
/** @param {Frame} frame @param {Point} point @param {Voxel} through @returns {Voxel} */
export function toVoxel(frame, [u, v], [x, y, z]) {
  const across = frame.flip ? frame.height - v : v;
  if (frame.plane === "axial") return [u, v, z];
  return frame.plane === "coronal" ? [u, y, across] : [x, u, across];
}

// The pixels of a plane through row or column `at`: a line of each slice that is here; `missing` marks the others.
/**
 * @param {Scan} scan @param {Frame} frame @param {number} at @param {(z: number) => Uint16Array | undefined} imageAt
 * @param {number[]} missing
 */
export function cut(scan, frame, at, imageAt, missing) {
  const out = new Uint16Array(frame.width * frame.height);
  const [first, stride] = frame.plane === "coronal" ? [at * scan.width, 1] : [at, scan.width];
  for (let z = 0; z < scan.slices; z++) {
    const row = frame.flip ? scan.slices - 1 - z : z;
    const pixels = imageAt(z);
    if (!pixels) missing.push(row);
    else for (let i = 0, from = first; i < frame.width; i++, from += stride) out[row * frame.width + i] = pixels[from];
  }
  return out;
}

// ---------------------------------------------------------------- an image in its panel

const MARGIN = 0.03; // of the box that is fitted

// Canvas pixels per image pixel along x and y, and where the image's corner lies. At zoom 1 the frame's box fills
// the panel; what lies around it is shown as far as there is room.
/** @param {Frame} frame @param {{width: number, height: number}} canvas @param {number} zoom @param {Point} pan @returns {Placement} */
export function place(frame, canvas, zoom, [panX, panY]) {
  const [left, top, right, bottom] = frame.box;
  const fit = Math.min(canvas.width / (right - left), canvas.height / ((bottom - top) * frame.aspect)) / (1 + 2 * MARGIN);
  const x = fit * zoom;
  const y = x * frame.aspect;
  return {
    x, y,
    left: canvas.width / 2 - ((left + right) / 2 + panX) * x,
    top: canvas.height / 2 - ((top + bottom) / 2 + panY) * y,
  };
}

// A place in the image on the canvas, and the other way round. With `drawIn` these are all that places an image.
/** @param {Placement} g @param {Point} point @returns {Point} */
export const toCanvas = (g, [u, v]) => [g.left + u * g.x, g.top + v * g.y];
/** @param {Placement} g @param {Point} place @returns {Point} */
export const toImage = (g, [x, y]) => [(x - g.left) / g.x, (y - g.top) / g.y];

// Draw what has a pixel for each of the image's.
/** @param {CanvasRenderingContext2D | OffscreenCanvasRenderingContext2D} context @param {Placement} g @param {CanvasImageSource} raster */
export function drawIn(context, g, raster) {
  context.setTransform(g.x, 0, 0, g.y, g.left, g.top);
  context.drawImage(raster, 0, 0);
  context.resetTransform();
}

// How many columns show `count` panels largest in so many pixels, for an image of the given shape
// (width over height).
/** @param {number} count @param {number} width @param {number} height @param {number} shape */
export function columnsFor(count, width, height, shape) {
  /** @param {number} columns */
  const scale = (columns) => Math.min(width / columns / shape, height / Math.ceil(count / columns));
  const all = Array.from({ length: count }, (_, i) => i + 1).filter((c) => count % c === 0); // no hole
  return all.reduce((a, b) => (scale(b) > scale(a) + 0.5 ? b : a));
}

// ---------------------------------------------------------------- a pixel in the patient

/** @param {Scan} scan @param {Voxel} voxel */
export function isInside(scan, [x, y, z]) {
  return x >= 0 && y >= 0 && z >= 0 && x < scan.width && y < scan.height && z < scan.slices;
}

/** @param {Scan} scan @param {Voxel} voxel */
export function positionWords(scan, voxel) {
  if (!isInside(scan, voxel)) return "";
  const [column, row] = voxel.map((at) => Math.floor(at) + 1);
  const pixel = `column ${column}, row ${row}`;
  const { affine } = scan;
  if (!affine) return pixel;
  const index = [voxel[0] - 0.5, voxel[1] - 0.5, voxel[2] - 0.5, 1];
  const axes = LETTERS.map((letters, i) => {
    const mm = affine[i].reduce((sum, each, j) => sum + each * index[j], 0);
    return `${letters[mm < 0 ? 0 : 1]} ${Math.abs(mm).toFixed(1)}`;
  });
  return `${pixel} · ${axes.join("  ")} mm`;
}

// What the plane is called: by the patient where the file tells, else by the picture.
/** @param {Scan} scan @param {Plane} plane */
export function planeName(scan, plane) {
  const normal = { axial: 2, coronal: 1, sagittal: 0 }[plane];
  const axis = patientAxis(scan.affine, normal);
  return axis ? ["sagittal", "coronal", "axial"][axis[0]] : { axial: "slice", coronal: "front", sagittal: "side" }[plane];
}
