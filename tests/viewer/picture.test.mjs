import assert from "node:assert/strict";
import { test } from "node:test";
import { crc, withText } from "../../cyclegan/viewer/picture.js";

test("texts stand behind a PNG's header, each with its checksum", async () => {
  assert.equal(crc(new TextEncoder().encode("IEND")), 0xae426082); // as in every PNG
  const png = new Uint8Array(60).fill(7);
  const marked = new Uint8Array(await withText(png, { Caveat: "made by a model – not acquired" }).arrayBuffer());
  const view = new DataView(marked.buffer);
  const length = view.getUint32(33);
  const chunk = marked.slice(37, 37 + 4 + length);
  assert.equal(new TextDecoder().decode(chunk), "iTXtCaveat\0\0\0\0\0made by a model – not acquired");
  assert.equal(view.getUint32(37 + 4 + length), crc(chunk));
  assert.deepEqual(marked.slice(0, 33), png.slice(0, 33));
  assert.deepEqual(marked.slice(37 + 8 + length), png.slice(33));
});
