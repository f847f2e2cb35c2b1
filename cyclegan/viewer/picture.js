// What is seen, as a PNG that says in its pixels and in its text what is synthetic in it.

import { openScan, view } from "./state.js";
import { withText } from "./png.js";
import { copyOf } from "./draw.js";
import { frontOf, geometry, panels } from "./panels.js";
import { say } from "./speech.js";

const FOOT = 24; // CSS pixels of the line below the images

// Save the panels on screen as they are, at the images' own resolution or better.
export async function savePicture() {
  const seen = panels.filter((panel) => !panel.figure.hidden && frontOf(panel).pixels);
  if (!seen.length) return false;
  const caveat = JSON.parse(document.querySelector(".viewer").dataset.caveat);
  const { cursor } = view;
  view.cursor = null; // it is no part of the picture
  const finest = Math.min(...seen.map((panel) => Math.min(geometry(panel).x, geometry(panel).y)));
  const factor = Math.max(1, Math.ceil(1 / finest));
  const density = (window.devicePixelRatio || 1) * factor;
  const boxes = seen.map(({ canvas }) => canvas.getBoundingClientRect());
  const [left, top] = [Math.min(...boxes.map((box) => box.left)), Math.min(...boxes.map((box) => box.top))];
  const [right, bottom] = [Math.max(...boxes.map((box) => box.right)), Math.max(...boxes.map((box) => box.bottom))];
  const picture = document.createElement("canvas");
  picture.width = Math.round((right - left) * density);
  picture.height = Math.round((bottom - top + FOOT) * density);
  const context = picture.getContext("2d");
  context.fillStyle = "#14171a";
  context.fillRect(0, 0, picture.width, picture.height);
  seen.forEach((panel, i) => {
    context.drawImage(copyOf(panel, factor), (boxes[i].left - left) * density, (boxes[i].top - top) * density);
  });
  view.cursor = cursor;
  context.fillStyle = "#e0b375";
  context.font = `${12 * density}px system-ui, sans-serif`;
  context.textBaseline = "middle";
  context.fillText(caveat, 8 * density, picture.height - (FOOT / 2) * density, picture.width - 16 * density);
  const blob = await new Promise((done) => picture.toBlob(done, "image/png"));
  const { to, slices } = openScan();
  const marked = withText(await blob.arrayBuffer(), { Caveat: caveat, Title: `Synthetic ${to} beside its source` });
  const link = Object.assign(document.createElement("a"), {
    href: URL.createObjectURL(marked), download: `synthetic_${to}_view${slices > 1 ? `_slice${view.index + 1}` : ""}.png`,
  });
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
  say("Picture saved");
}
