import assert from "node:assert/strict";
import { test } from "node:test";
import { columnsFor, cut, frameOf, isInside, patientAxis, place, planeName, PLANES, positionWords, toCanvas, toImage, toPlane, toVoxel } from "../../cyclegan/viewer/geometry.js";

const SCAN = {
  width: 40, height: 60, slices: 10, aspect: 2, spacing: [5, 2, 1], directions: ["R", "L", "A", "P"], box: [5, 10, 35, 50],
  affine: [[-1, 0, 0, 20], [0, -2, 0, 30], [0, 0, 5, -25], [0, 0, 0, 1]], // columns left, rows back, slices up
};

test("letters of the planes come from the file, and from nowhere else", () => {
  assert.deepEqual(frameOf(SCAN, "axial").edges, ["R", "L", "A", "P"]);
  assert.deepEqual(frameOf(SCAN, "coronal").edges, ["R", "L", "S", "I"]);
  assert.deepEqual(frameOf(SCAN, "sagittal").edges, ["A", "P", "S", "I"]);
  const unknown = { ...SCAN, affine: null, directions: null, spacing: null };
  for (const plane of PLANES) assert.deepEqual(frameOf(unknown, plane).edges, ["", "", "", ""]);
  const down = { ...SCAN, affine: SCAN.affine.map((row, i) => (i === 2 ? [0, 0, -5, 20] : row)) };
  assert.deepEqual(frameOf(down, "coronal").edges, ["R", "L", "S", "I"]); // the head stays up
  assert.equal(frameOf(down, "coronal").flip, false);
});

test("slices of any orientation are called what they are", () => {
  assert.deepEqual(PLANES.map((plane) => planeName(SCAN, plane)), ["axial", "coronal", "sagittal"]);
  const coronal = { ...SCAN, affine: [[-1, 0, 0, 0], [0, 0, 5, 0], [0, -2, 0, 0], [0, 0, 0, 1]] };
  assert.equal(planeName(coronal, "axial"), "coronal");
  assert.equal(planeName({ ...SCAN, affine: null }, "axial"), "slice");
  assert.deepEqual(patientAxis(coronal.affine, 2), [1, true]);
});

test("a point of a plane and its voxel are each other's", () => {
  const voxel = [12.5, 33.5, 7.5];
  for (const plane of PLANES) {
    const frame = frameOf(SCAN, plane);
    assert.deepEqual(toVoxel(frame, toPlane(frame, voxel), voxel), voxel);
  }
  assert.deepEqual(toPlane(frameOf(SCAN, "sagittal"), voxel), [33.5, 2.5]);
});

test("a cut holds the line of each slice, the last on top, and says which are missing", () => {
  const at = (x, y, z) => 1000 * z + 10 * y + x;
  const slice = (z) => Uint16Array.from({ length: 2400 }, (_, i) => at(i % 40, Math.floor(i / 40), z));
  const missing = [];
  const coronal = frameOf(SCAN, "coronal");
  const pixels = cut(SCAN, coronal, 33, (z) => (z === 4 ? null : slice(z)), missing);
  assert.deepEqual(missing, [5]);
  assert.equal(pixels[0 * 40 + 7], at(7, 33, 9));
  const sagittal = cut(SCAN, frameOf(SCAN, "sagittal"), 12, slice, []);
  assert.equal(sagittal[9 * 60 + 20], at(12, 20, 0));
});

test("the head's box fills the panel, in true proportion, and zoom keeps its middle", () => {
  const frame = frameOf(SCAN, "axial");
  for (const canvas of [{ width: 300, height: 1000 }, { width: 1000, height: 300 }]) {
    const g = place(frame, canvas, 1, [0, 0]);
    assert.equal(g.y, 2 * g.x);
    const [left, right] = [5, 35].map((u) => g.left + u * g.x);
    const [top, bottom] = [10, 50].map((v) => g.top + v * g.y);
    assert.ok(left >= 0 && right <= canvas.width && top >= 0 && bottom <= canvas.height);
    assert.ok(right - left > 0.9 * canvas.width || bottom - top > 0.9 * canvas.height);
    const zoomed = place(frame, canvas, 3, [0, 0]);
    assert.ok(Math.abs(zoomed.left + 20 * zoomed.x - canvas.width / 2) < 1e-9);
  }
});

test("a place on the canvas and its point of the image are each other's", () => {
  const g = place(frameOf(SCAN, "axial"), { width: 300, height: 1000 }, 2, [3, -4]);
  assert.deepEqual(toCanvas(g, [0, 0]), [g.left, g.top]);
  toImage(g, toCanvas(g, [12.5, 33.5])).forEach((at, i) => {
    assert.ok(Math.abs(at - [12.5, 33.5][i]) < 1e-9);
  });
});

test("panels stand side by side where that shows the image largest, and leave no hole", () => {
  assert.equal(columnsFor(3, 1400, 800, 0.75), 3);
  assert.equal(columnsFor(2, 390, 640, 0.75), 1);
  assert.equal(columnsFor(4, 1400, 800, 0.75), 4);
  assert.equal(columnsFor(4, 800, 800, 1), 2);
  assert.equal(columnsFor(1, 800, 800, 1), 1);
  assert.equal(columnsFor(6, 1400, 800, 1), 3);
});

test("a position is in pixels, and in mm where the file tells", () => {
  assert.equal(positionWords(SCAN, [20.5, 15.5, 5.5]), "column 21, row 16 · R 0.0  A 0.0  S 0.0 mm");
  assert.equal(positionWords({ ...SCAN, affine: null }, [20.5, 15.5, 5.5]), "column 21, row 16");
  assert.equal(positionWords(SCAN, [40, 15.5, 5.5]), "");
  assert.ok(isInside(SCAN, [0, 0, 0]));
});
