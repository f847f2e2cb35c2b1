// What is seen, as a PNG that says in its pixels and in its text what is synthetic in it.

import { copyOf } from "./draw.js";
import { frontOf, geometry, shownPanels } from "./panels.js";
import { openScan, say, view } from "./state.js";

const FOOT = 24; // CSS pixels of the line below the images

// Save the panels on screen as they are, at the images' own resolution or better.
export async function savePicture() {
  const panels = shownPanels().filter((panel) => frontOf(panel).pixels);
  const scan = openScan();
  if (!panels.length || !scan) return false;
  const { caveat } = settings;
  const finest = Math.min(...panels.flatMap((panel) => [geometry(panel).x, geometry(panel).y]));
  const factor = Math.max(1, Math.ceil(1 / finest));
  const density = (window.devicePixelRatio || 1) * factor;
  const { left, top, width, height } = /** @type {Element} */ (document.querySelector(".grid")).getBoundingClientRect();
  const picture = document.createElement("canvas");
  picture.width = Math.round(width * density);
  picture.height = Math.round((height + FOOT) * density);
  const context = /** @type {CanvasRenderingContext2D} */ (picture.getContext("2d"));
  context.fillStyle = "#14171a";
  context.fillRect(0, 0, picture.width, picture.height);
  const { cursor } = view;
  view.cursor = null; // it is no part of the picture
  for (const panel of panels) {
    const box = panel.canvas.getBoundingClientRect();
    context.drawImage(copyOf(panel, factor), (box.left - left) * density, (box.top - top) * density);
  }
  view.cursor = cursor;
  context.fillStyle = "#e0b375";
  context.font = `${12 * density}px system-ui, sans-serif`;
  context.textBaseline = "middle";
  context.fillText(caveat, 8 * density, picture.height - (FOOT / 2) * density, picture.width - 16 * density);
  /** @type {Blob} */
  const blob = await new Promise((done) => picture.toBlob((each) => each && done(each), "image/png"));
  const marked = withText(await blob.arrayBuffer(), { Caveat: caveat, Title: `Synthetic ${scan.to} beside its source` });
  const link = Object.assign(document.createElement("a"), {
    href: URL.createObjectURL(marked), download: `synthetic_${scan.to}_view${scan.slices > 1 ? `_slice${view.index + 1}` : ""}.png`,
  });
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
  say("Picture saved");
}

// ---------------------------------------------------------------- texts in a PNG, for machines (ISO/IEC 15948, 11.3.4.5)

// CRC of chunks (annex D).
const CRC = Uint32Array.from({ length: 256 }, (_, n) => {
  for (let bit = 0; bit < 8; bit++) n = n & 1 ? 0xedb88320 ^ (n >>> 1) : n >>> 1;
  return n >>> 0;
});

/** @param {Uint8Array} bytes */
export function crc(bytes) {
  let c = 0xffffffff;
  for (const byte of bytes) c = CRC[(c ^ byte) & 255] ^ (c >>> 8);
  return (c ^ 0xffffffff) >>> 0;
}

// The PNG with texts by their keywords, as iTXt chunks behind its header.
/** @param {ArrayBuffer} png @param {Record<string, string>} texts */
export function withText(png, texts) {
  const HEADER = 33; // signature and IHDR
  const chunks = Object.entries(texts).map(([keyword, words]) => {
    const data = new TextEncoder().encode(`iTXt${keyword}\0\0\0\0\0${words}`);
    const chunk = new Uint8Array(data.length + 8);
    const numbers = new DataView(chunk.buffer);
    numbers.setUint32(0, data.length - 4);
    chunk.set(data, 4);
    numbers.setUint32(data.length + 4, crc(data));
    return chunk;
  });
  return new Blob([png.slice(0, HEADER), ...chunks, png.slice(HEADER)], { type: "image/png" });
}
