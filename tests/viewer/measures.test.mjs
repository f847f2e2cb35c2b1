import assert from "node:assert/strict";
import { test } from "node:test";
import { frameOf } from "../../cyclegan/viewer/geometry.js";
import { areaWords, endAt, moved, regionOf, rulerWords } from "../../cyclegan/viewer/measures.js";

const SCAN = { width: 40, height: 60, slices: 10, aspect: 2, spacing: [5, 2, 1], directions: null, affine: null, box: null };
const axial = frameOf(SCAN, "axial");

test("a ruler is in mm along rows, columns and slices, and in pixels where the file tells no size", () => {
  assert.equal(rulerWords(SCAN, axial, { from: [0, 0], to: [30, 20] }), "50.0 mm");
  assert.equal(rulerWords(SCAN, frameOf(SCAN, "coronal"), { from: [0, 0], to: [12, 1] }), "13.0 mm");
  assert.equal(rulerWords(SCAN, frameOf(SCAN, "sagittal"), { from: [0, 0], to: [6, 1] }), "13.0 mm");
  const bare = { ...SCAN, spacing: null, aspect: 1 };
  assert.equal(rulerWords(bare, frameOf(bare, "axial"), { from: [0, 0], to: [3, 4] }), "5.0 pixels");
});

test("a region counts the pixels whose centres lie in it, with mean, deviation and area", () => {
  const pixels = Uint16Array.from({ length: 2400 }, (_, i) => (i % 40 < 20 ? 100 : 300));
  const region = regionOf({ from: [20, 30], to: [30, 30] }, { ...axial, pixels, share: (v) => v });
  assert.equal(region.mean, 200);
  assert.equal(region.deviation, 100);
  assert.ok(Math.abs(region.n * 2 - Math.PI * 100) < 15); // pixels are two high
  assert.equal(areaWords(SCAN, axial, 10), "20 mm²");
  assert.equal(areaWords({ ...SCAN, spacing: null }, axial, 10), "10 pixels");
  assert.equal(regionOf({ from: [-50, 0], to: [-49, 0] }, { ...axial, pixels, share: (v) => v }), null);
});

test("ends are hit and moved; a region's centre takes its rim along", () => {
  const ruler = { id: 1, kind: "ruler", from: [1, 1], to: [9, 1] };
  const region = { id: 2, kind: "region", from: [20, 20], to: [24, 20] };
  assert.deepEqual(endAt([ruler, region], [9.5, 1], 1, 4), { id: 1, end: "to" });
  assert.equal(endAt([ruler, region], [15, 10], 1, 4), null);
  assert.deepEqual(moved(ruler, "from", [2, 2]), { ...ruler, from: [2, 2] });
  assert.deepEqual(moved(region, "from", [21, 22]), { ...region, from: [21, 22], to: [25, 22] });
  assert.deepEqual(moved(region, "to", [30, 20]).from, [20, 20]);
});
