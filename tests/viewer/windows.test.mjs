import assert from "node:assert/strict";
import { test } from "node:test";
import { FULL } from "../../cyclegan/viewer/api.js";
import { adjusted, byPreset, insideHead, inUnits, lookUp, MAPS, robust, windowWords } from "../../cyclegan/viewer/windows.js";

// Bright scalp around a brain that fades to the right, in air; `whole` its radius, 0.7 in the middle of a volume, less near its ends.
function head(size = 96, whole = 0.7) {
  const pixels = new Uint16Array(size * size);
  for (let y = 0; y < size; y++) {
    for (let x = 0; x < size; x++) {
      const [u, v] = [(2 * x) / size - 1, (2 * y) / size - 1];
      const radius = (Math.hypot(u, v) * 0.7) / whole;
      pixels[y * size + x] = FULL * (radius < 0.6 ? 0.3 + 0.1 * u : radius < 0.7 ? 0.95 : 0);
    }
  }
  return { pixels, width: size, height: size, aspect: 1 };
}

test("it opens at the brain: neither scalp nor air decide", () => {
  const image = head();
  const { source } = byPreset("brain", { source: image }, null, null);
  assert.ok(source.width > 0.09 && source.width < 0.14, String(source.width));
  assert.ok(source.center > 0.28 && source.center < 0.34);
  const values = insideHead(image).map((i) => image.pixels[i] / FULL);
  assert.ok(Math.max(...values) < 0.5 && Math.min(...values) > 0.2);
});

test("near the top of the head, too, air decides nothing", () => {
  const { source } = byPreset("brain", { source: head(96, 0.35) }, null, null);
  assert.ok(source.width < 0.1 && source.center > 0.26 && source.center < 0.34, JSON.stringify(source));
});

test("presets: the file's own for the original alone, the full range for both, too little to tell: as it was", () => {
  const images = { source: head(), target: head() };
  const own = { center: 0.4, width: 0.8 };
  assert.deepEqual(byPreset("file", images, own, null), { source: own });
  assert.deepEqual(byPreset("full", images, own, null).target, { center: 0.5, width: 1 });
  assert.equal(robust(images.source.pixels, [1, 2, 3], { from: 0, to: 1, beyond: 0 }), null);
  const part = byPreset("auto", images, null, [60, 20, 76, 76]).source; // the right, brighter side
  assert.ok(part.center > 0.31);
});

test("grey: black at the window's foot, white at its top, and the other way round", () => {
  const table = lookUp("source", { center: 0.5, width: 0.5 }, false);
  const grey = (value) => table[Math.round(value * FULL)] & 255;
  assert.deepEqual([grey(0), grey(0.25), grey(0.5), grey(0.75), grey(1)], [0, 0, 128, 255, 255]);
  assert.equal(lookUp("source", { center: 0.5, width: 0.5 }, true)[0] & 255, 255);
  assert.equal((table[FULL] >>> 24), 255); // opaque
});

test("the true error is black where there is none, blue below, orange above", () => {
  const table = lookUp("signed", MAPS.signed, true); // never inverted
  const rgb = (value) => [0, 8, 16].map((shift) => (table[Math.round(((value + 1) / 2) * FULL)] >> shift) & 255);
  assert.ok(Math.max(...rgb(0)) <= 2);
  assert.ok(rgb(-0.5)[2] > 200 && rgb(-0.5)[0] < 120);
  assert.ok(rgb(0.5)[0] > 200 && rgb(0.5)[2] < 80);
});

test("a map that lies over the anatomy lets it through where there is no error", () => {
  const table = lookUp("cycle", MAPS.cycle, false, true);
  const alpha = (value) => table[Math.round(value * FULL)] >>> 24;
  assert.equal(alpha(0), 0);
  assert.ok(alpha(0.05) > 40 && alpha(0.05) < 120);
  assert.equal(alpha(0.25), 255);
});

test("a drag widens within bounds; a map's bar begins at zero", () => {
  assert.deepEqual(adjusted("source", { center: 0.5, width: 1 }, 5, -5), { center: -0.5, width: 2 });
  assert.equal(adjusted("source", { center: 0.5, width: 0.03 }, -1, 0).width, 0.02);
  const { center, width } = adjusted("cycle", { center: 0.125, width: 0.25 }, 0.1, 0);
  assert.equal(center, width / 2);
  assert.equal(adjusted("signed", { center: 0, width: 1 }, -0.2, 0).center, 0);
});

test("numbers are in the file's units where it has some", () => {
  assert.equal(windowWords("source", { center: 0.4, width: 0.8 }, [0, 1000]), "W 800  L 400");
  assert.equal(windowWords("target", { center: 0.4, width: 0.8 }, [0, 1000]), "W 0.80  L 0.40");
  assert.equal(inUnits("source", 0.1, [-500, 500]), "−400");
});
