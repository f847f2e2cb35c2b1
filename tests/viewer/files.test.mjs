import assert from "node:assert/strict";
import { test } from "node:test";
import { header, rank, select } from "../../cyclegan/viewer/files.js";

// A DICOM file of explicit VR with a sequence of unknown length before the series.
function dicom({ title, series, modality = "MR", bytes = 1000 }) {
  const out = [...new Array(128).fill(0), ..."DICM"].map((each) => (typeof each === "string" ? each.charCodeAt(0) : each));
  const word = (n) => [n & 255, n >> 8];
  const element = (group, item, vr, text) => {
    const value = [...text, ...(text.length % 2 ? [" "] : [])].map((c) => c.charCodeAt(0));
    out.push(...word(group), ...word(item), ...[...vr].map((c) => c.charCodeAt(0)), ...word(value.length), ...value);
  };
  element(2, 0x10, "UI", "1.2.840.10008.1.2.1");
  element(8, 0x60, "CS", modality);
  element(8, 0x103e, "LO", title);
  out.push(...word(8), ...word(0x1140), ..."SQ".split("").map((c) => c.charCodeAt(0)), 0, 0, 255, 255, 255, 255);
  out.push(...word(0xfffe), ...word(0xe000), 255, 255, 255, 255);
  element(8, 0x103e, "LO", "inside");
  out.push(...word(0xfffe), ...word(0xe00d), 0, 0, 0, 0, ...word(0xfffe), ...word(0xe0dd), 0, 0, 0, 0);
  element(0x20, 0x0e, "UI", series);
  element(0x20, 0x11, "IS", "7");
  while (out.length < bytes) out.push(0);
  return new Uint8Array(out).buffer;
}
const entry = (path, buffer) => ({ path, file: new Blob([buffer]) });

test("a header gives modality, description and series, not those of a sequence within", () => {
  assert.deepEqual(header(dicom({ title: "AX T1 SE", series: "1.2.3" })), { modality: "MR", title: "AX T1 SE", series: "1.2.3" });
  assert.equal(header(new Uint8Array(500).buffer), null);
  assert.equal(header(new Uint8Array(3).buffer), null);
});

test("of a CD that is too large the T1 and T2 series are sent whole, and the rest is named", async () => {
  const files = [entry("CD/AUTORUN.INF", new Uint8Array(9)), entry("CD/viewer.exe", new Uint8Array(9))];
  for (const [title, slices] of [["T2 FLAIR", 5], ["AX T1 SE", 3], ["CT head", 2]]) {
    for (let i = 0; i < slices; i++) {
      files.push(entry(`CD/${title}/${i}`, dicom({ title, series: title, modality: title.startsWith("CT") ? "CT" : "MR" })));
    }
  }
  const { files: sent, text } = await select(files, { files: 1000, bytes: 4500 });
  assert.deepEqual(sent.map(({ path }) => path), ["CD/AX T1 SE/0", "CD/AX T1 SE/1", "CD/AX T1 SE/2"]);
  assert.equal(text, "Too much to send at once, left out: T2 FLAIR.");
  const all = await select(files, { files: 1000, bytes: 1e9 });
  assert.equal(all.files.length, 10); // all but what is no image
});

test("one file goes whatever it is, and the server says what it thinks of it", async () => {
  const files = [entry("report.txt", new Uint8Array(9))];
  assert.deepEqual(await select(files, { files: 10, bytes: 5 }), { files, text: "" });
});

test("descriptions rank", () => {
  assert.deepEqual(["T2 FLAIR", "AX T1 SE", "unnamed", "T1 post gad"].map(rank), [2, 0, 1, 2]);
});
