// Where things lie: planes through a volume, an image in its panel, a pixel in the patient. Nothing is drawn here.
// A voxel is [column, row, slice] in pixels, 0.5 in the middle of the first; a point of a plane is [u, v].

const LETTERS = ["LR", "PA", "IS"]; // of RAS+ axes, towards which they fall and rise
export const PLANES = ["axial", "coronal", "sagittal"];
export const NARROW = 600; // CSS pixels: a telephone
export const WIDE = 1100; // from here on three images stand side by side

// The patient axis that runs along axis `i` (0 columns, 1 rows, 2 slices): [0 to 2, whether it rises]; null
// where the file does not tell.
export function patientAxis(affine, i) {
  if (!affine) return null;
  const along = affine.slice(0, 3).map((row) => row[i]);
  const axis = along.reduce((best, v, j) => (Math.abs(v) > Math.abs(along[best]) ? j : best), 0);
  return [axis, along[axis] > 0];
}

function ends(affine, i) {
  const axis = patientAxis(affine, i);
  if (!axis) return ["", ""];
  const [low, high] = LETTERS[axis[0]];
  return axis[1] ? [low, high] : [high, low];
}

// The matrix and the letters of a plane through the scan. "axial" is the acquired slice, whatever its name.
export function frameOf(scan, plane) {
  const [thick, row, column] = scan.spacing || [1, scan.aspect, 1];
  // Where the file tells that slices run from head to foot, the first is at the top.
  const top = patientAxis(scan.affine, 2)?.[1] === false;
  const [foot, head] = ends(scan.affine, 2);
  const across = { coronal: 0, sagittal: 1 }[plane];
  if (across === undefined) {
    const edges = scan.directions || ["", "", "", ""];
    return { plane, width: scan.width, height: scan.height, aspect: scan.aspect, edges, box: scan.box || [0, 0, scan.width, scan.height] };
  }
  const width = [scan.width, scan.height][across];
  const sides = scan.directions ? scan.directions.slice(2 * across, 2 * across + 2) : ["", ""];
  const box = scan.box || [0, 0, scan.width, scan.height];
  return {
    plane, width, height: scan.slices, aspect: thick / (across ? row : column), flip: !top,
    edges: [...sides, ...(top ? [foot, head] : [head, foot])], box: [box[across], 0, box[across + 2], scan.slices],
  };
}

export function toPlane(frame, [x, y, z]) {
  const v = frame.flip ? frame.height - z : z;
  return { axial: [x, y], coronal: [x, v], sagittal: [y, v] }[frame.plane];
}

// The voxel at (u, v) of a plane that goes through `point`.
export function toVoxel(frame, [u, v], [x, y, z]) {
  const across = frame.flip ? frame.height - v : v;
  return { axial: [u, v, z], coronal: [u, y, across], sagittal: [x, u, across] }[frame.plane];
}

// The pixels of a plane: for each slice that is here its line through `point`; `missing` marks the others.
export function cut(scan, frame, point, imageAt, missing) {
  const out = new Uint16Array(frame.width * frame.height);
  const [x, y] = point.map(Math.floor);
  const [first, stride] = frame.plane === "coronal" ? [y * scan.width, 1] : [x, scan.width];
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

// How many columns show `count` panels largest in a room of so many pixels, for an image of the given shape
// (width over height).
export function columnsFor(count, width, height, shape) {
  const scale = (columns) => Math.min(width / columns / shape, height / Math.ceil(count / columns));
  const all = Array.from({ length: count }, (_, i) => i + 1).filter((c) => count % c === 0); // no hole
  return all.reduce((a, b) => (scale(b) > scale(a) + 0.5 ? b : a));
}

// ---------------------------------------------------------------- a pixel in the patient

export function isInside(scan, [x, y, z = 0.5]) {
  return x >= 0 && y >= 0 && z >= 0 && x < scan.width && y < scan.height && z < scan.slices;
}

export function positionWords(scan, voxel) {
  if (!isInside(scan, voxel)) return "";
  const [column, row] = voxel.map((at) => Math.floor(at) + 1);
  const pixel = `column ${column}, row ${row}`;
  if (!scan.affine) return pixel;
  const index = [voxel[0] - 0.5, voxel[1] - 0.5, voxel[2] - 0.5, 1];
  const axes = LETTERS.map((letters, i) => {
    const mm = scan.affine[i].reduce((sum, each, j) => sum + each * index[j], 0);
    return `${letters[mm < 0 ? 0 : 1]} ${Math.abs(mm).toFixed(1)}`;
  });
  return `${pixel} · ${axes.join("  ")} mm`;
}

// What the plane is called: by the patient where the file tells, else by the picture.
export function planeName(scan, plane) {
  const normal = { axial: 2, coronal: 1, sagittal: 0 }[plane];
  const axis = patientAxis(scan.affine, normal);
  return axis ? ["sagittal", "coronal", "axial"][axis[0]] : { axial: "slice", coronal: "front", sagittal: "side" }[plane];
}
