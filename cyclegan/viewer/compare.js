// Two images in one place: blinked, swiped or laid over each other.

// What each is compared with where more or fewer than two are on screen.
const PARTNERS = {
  original: "translated", translated: "original", reconstructed: "original", difference: "original",
  truth: "translated", trueDifference: "translated",
};
// A press shorter than this changes over for good; a longer one until it ends.
const TAP_MS = 300;
const compare = { mode: "", blinked: false, line: 0.5, opacity: 0.5 };
const opacity = root.querySelector(".opacity");

// The two on screen; of one alone, also the one that was beside it; of four, the active one and its partner.
function pair() {
  const two = layout.slots.slice(0, 2);
  const active = activePanel().name;
  if (layout.count === 2 && (!layout.enlarged || two.includes(active))) return two;
  const truth = shown && shown.panels.truth;
  return [active, active === "translated" && truth ? "truth" : PARTNERS[active]];
}

// What the panel shows in front, and what, if anything, is laid over it.
function comparedIn(panel) {
  const both = compare.mode || compare.blinked ? pair() : [];
  if (!both.includes(panel.name)) return { front: panel.name, behind: null };
  const other = both[1 - both.indexOf(panel.name)];
  const [front, behind] = compare.blinked ? [other, panel.name] : [panel.name, other];
  return { front, behind: compare.mode ? behind : null };
}

function chooseMode(mode) {
  compare.mode = compare.mode === mode ? "" : mode;
  opacity.hidden = compare.mode !== "overlay";
  showCompared(compare.mode ? { swipe: "Swipe: ", overlay: "Overlay: " }[mode] : "Side by side: ");
}

function blink(on) {
  compare.blinked = on;
  showCompared("");
}

function showCompared(words) {
  for (const button of root.querySelectorAll("[data-compare]")) {
    const { compare: name } = button.dataset;
    button.setAttribute("aria-pressed", String(name === "blink" ? compare.blinked : name === compare.mode));
  }
  arrange();
  say(words + activePanel().figure.querySelector("h3").textContent);
}

// Keys: the line, or the opacity.
function moveCompared(by) {
  if (compare.mode === "overlay") setOpacity(compare.opacity + by);
  else if (compare.mode === "swipe") compare.line = Math.min(Math.max(compare.line + by, 0), 1);
  else return false;
  draw();
  if (compare.mode === "swipe") say("Line at " + Math.round(compare.line * 100) + " %");
}

function setOpacity(to) {
  compare.opacity = Math.min(Math.max(to, 0), 1);
  opacity.value = Math.round(compare.opacity * 100);
  draw();
  say("Opacity " + opacity.value + " %");
}

// ---------------------------------------------------------------- the line

function clipBeyondLine(context) {
  const x = lineAt(context.canvas);
  context.beginPath();
  context.rect(x, 0, context.canvas.width - x, context.canvas.height);
  context.clip();
}

function lineAt(canvas) {
  return compare.line * canvas.width;
}

function drawLine(context, density) {
  const x = lineAt(context.canvas);
  context.fillStyle = "rgba(120, 200, 255, 0.9)";
  context.fillRect(x - density, 0, 2 * density, context.canvas.height);
}

function lineFollows(panel, event) {
  const box = panel.canvas.getBoundingClientRect();
  compare.line = Math.min(Math.max((event.clientX - box.left) / box.width, 0), 1);
}

// ---------------------------------------------------------------- holding

let pressedAt = null; // when the reader pressed, null: not pressed
let wasBlinked = false;

function pressBlink() {
  if (pressedAt !== null || !shown) return; // keys repeat
  pressedAt = performance.now();
  wasBlinked = compare.blinked;
  blink(!wasBlinked);
}

function releaseBlink() {
  if (pressedAt === null) return;
  const held = performance.now() - pressedAt >= TAP_MS;
  pressedAt = null;
  if (held) blink(wasBlinked);
}

const blinkButton = root.querySelector("[data-compare=blink]");
blinkButton.addEventListener("pointerdown", (event) => {
  blinkButton.setPointerCapture(event.pointerId);
  pressBlink();
});
for (const end of ["pointerup", "pointercancel", "blur"]) blinkButton.addEventListener(end, releaseBlink);
for (const [kind, act] of [["keydown", pressBlink], ["keyup", releaseBlink]]) {
  blinkButton.addEventListener(kind, (event) => {
    if (![" ", "Enter"].includes(event.key)) return;
    event.preventDefault(); // no click besides
    act();
  });
}
// What a screen reader does to a button has no pointer and no key.
blinkButton.addEventListener("click", ({ detail }) => shown && detail === 0 && blink(!compare.blinked));
root.querySelector(".viewer-compare").addEventListener("click", ({ target }) => {
  const name = target.dataset.compare;
  if (shown && name && name !== "blink") chooseMode(name);
});
opacity.addEventListener("input", () => setOpacity(Number(opacity.value) / 100));
