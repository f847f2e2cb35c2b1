// The panels: one per image, of one template; how an image lies in its panel, and what is written on it.

const ZOOM_LIMITS = [0.5, 20];
const LABELS = {
  original: "ORIGINAL", translated: "SYNTHETIC", reconstructed: "RECONSTRUCTED", difference: "CYCLE ERROR",
  truth: "REAL", trueDifference: "TRUE ERROR",
};
const MADE = ["translated", "reconstructed"]; // by the model
let view = null; // zoom, and the offset of the panel's centre from the image's centre in pixels

const panels = [...images.keys()].map((name) => {
  const figure = root.querySelector(".panel-template").content.firstElementChild.cloneNode(true);
  figure.dataset.panel = name;
  const caption = root.querySelector("[data-caption=" + name + "]");
  if (caption) {
    const holder = document.createElement("figcaption");
    holder.append(...caption.childNodes);
    figure.append(holder);
  }
  root.querySelector(".viewer-panels").append(figure);
  return { name, figure, canvas: figure.querySelector("canvas") };
});
root.querySelector(".map-captions").remove();

function resetView() {
  view = { zoom: 1, x: 0, y: 0 };
}

// The image that a panel shows: its own, or, while two are compared, the other.
function imageIn(panel) {
  return images.get(comparedIn(panel).front);
}

// What is said of the panel's image around it.
function describe(panel) {
  const { front, behind } = comparedIn(panel);
  const image = images.get(front);
  const { figure } = panel;
  const given = image.given;
  const titles = [titleOf(image), behind && titleOf(images.get(behind))].filter(Boolean);
  const uncertain = image.name === "difference" && map === "uncertainty";
  const worth = found && found.mapRank !== null ? "rank correlation with the true error " + found.mapRank.toFixed(2) : "";
  figure.querySelector("h3").textContent = titles.join(compare.mode === "swipe" ? " | " : " + ");
  figure.querySelector(".panel-sub").textContent = uncertain ? worth : given ? given.sub : "";
  figure.querySelector(".panel-note").textContent = (given && given.note) || "";
  figure.querySelector(".panel-empty").textContent = uncertain ? "Being computed" : image.emptyWords;
  const alt = given ? given.alt : image.emptyAlt;
  panel.canvas.setAttribute(
    "aria-label", uncertain ? "Map of the uncertainty of the synthetic image"
      : behind && images.get(behind).given ? alt + "; compared with: " + images.get(behind).given.alt : alt
  );
  figure.dataset.shows = front;
  figure.classList.toggle("filled", Boolean(image.pixels));
  const edges = (image.pixels && shown.directions) || ["", "", "", ""];
  ["left", "right", "top", "bottom"].forEach((side, i) => {
    figure.querySelector(".edge-" + side).textContent = edges[i];
  });
}

// ---------------------------------------------------------------- drawing

function geometry(panel) {
  // Canvas pixels per image pixel along x and y; `aspect` is row spacing over column spacing.
  const { width, height, aspect } = shown;
  const fit = Math.min(panel.canvas.width / width, panel.canvas.height / (height * aspect));
  const x = fit * view.zoom;
  const y = x * aspect;
  return {
    x,
    y,
    left: panel.canvas.width / 2 - (width / 2 + view.x) * x,
    top: panel.canvas.height / 2 - (height / 2 + view.y) * y,
  };
}

function drawPanel(panel) {
  const { canvas } = panel;
  const density = window.devicePixelRatio || 1;
  const side = [Math.round(canvas.clientWidth * density), Math.round(canvas.clientHeight * density)];
  if (canvas.width !== side[0] || canvas.height !== side[1]) [canvas.width, canvas.height] = side;
  const context = canvas.getContext("2d");
  context.fillStyle = "#000";
  context.fillRect(0, 0, canvas.width, canvas.height);
  label(panel);
  const { front, behind } = comparedIn(panel);
  const image = images.get(front);
  if (!image.pixels || !canvas.width) return;
  const g = geometry(panel);
  put(image);
  if (image.name === "translated") drawHatch(context, g, density);
  const other = behind && images.get(behind);
  if (other && other.pixels) {
    context.save();
    if (compare.mode === "overlay") context.globalAlpha = compare.opacity;
    else clipBeyondLine(context);
    put(other);
    context.restore();
  }
  if (behind && compare.mode === "swipe") drawLine(context, density);
  drawMeasures(context, panel, g, density);
  if (cursor) crosshair(context, g.left + cursor[0] * g.x, g.top + cursor[1] * g.y, density);
  drawLabels(context, panel, g, density);

  function put(each) {
    paint(each);
    context.imageSmoothingEnabled = true;
    context.imageSmoothingQuality = "high";
    context.drawImage(each.raster, g.left, g.top, shown.width * g.x, shown.height * g.y);
  }
}

// In the picture's own pixels, so that a screenshot or a saved canvas says what it is.
function drawLabels(context, panel, g, density) {
  const { front, behind } = comparedIn(panel);
  const swiped = behind && compare.mode === "swipe";
  const both = [front, ...(behind ? [behind] : [])].map((name) => [name, labelOf(name)]);
  if (behind && !swiped) {
    const share = Math.round(compare.opacity * 100);
    both[1][1] += " " + share + " %";
  }
  both.forEach(([name, words], i) => {
    const right = swiped && i;
    const y = (6 + (swiped ? 0 : i * 20)) * density;
    drawWords(context, words, MADE.includes(name), right ? -6 * density : 6 * density, y, density);
  });
}

// On a dark ground, readable on white tissue; a negative x counts from the right.
function drawWords(context, words, made, x, y, density) {
  context.font = "600 " + 12 * density + "px system-ui, sans-serif";
  context.textBaseline = "top";
  const width = context.measureText(words).width + 8 * density;
  const left = x < 0 ? context.canvas.width - width + x : x;
  context.fillStyle = "rgba(0, 0, 0, 0.75)";
  context.fillRect(left, y, width, 18 * density);
  context.fillStyle = made ? "#ffc46b" : "#c9d6e2";
  context.fillText(words, left + 4 * density, y + 3 * density);
}

function labelOf(name, ofCycle = false) {
  const { given } = images.get(name);
  if (name === "difference") return !ofCycle && map === "uncertainty" ? "UNCERTAINTY" : LABELS[name];
  // "Synthetic T2", "Real T2", "as T1", "T1 → T2 → T1": the contrast is the last word.
  const words = given ? (["translated", "truth"].includes(name) ? given.title : given.sub) : "";
  const contrast = (words.match(/T[12](?!.*T[12])/) || [""])[0];
  return (LABELS[name] + " " + (name === "trueDifference" ? "" : contrast)).trim();
}

function crosshair(context, x, y, density) {
  const gap = 4 * density;
  const arm = 11 * density;
  context.strokeStyle = "rgba(120, 200, 255, 0.9)";
  context.lineWidth = density;
  context.beginPath();
  for (const [dx, dy] of [[1, 0], [-1, 0], [0, 1], [0, -1]]) {
    context.moveTo(x + dx * gap, y + dy * gap);
    context.lineTo(x + dx * arm, y + dy * arm);
  }
  context.stroke();
}

function label(panel) {
  const image = imageIn(panel);
  const readout = image.pixels && !isMap(image.group) ? windowWords(image.group) : "";
  panel.figure.querySelector(".corner-window").textContent = readout;
  panel.figure.querySelector(".corner-value").textContent = valueAt(panel);
}

// The value under the cross-hair in words, "" outside the image.
function valueAt(panel) {
  if (!cursor) return "";
  const image = imageIn(panel);
  const [x, y] = cursor.map(Math.floor);
  const share = shareAt(image, x, y);
  if (share === null) return "";
  // The band in which 9 of 10 true values lay on validation.
  const band = image.name === "translated" && found && found.bandWords && found.pixels;
  if (!band) return inUnits(image.group, share, 3);
  return share.toFixed(2) + " ± " + (band[y * shown.width + x] / FULL).toFixed(2) + " (9 in 10)";
}

resetView();
