// For readers who use a screen reader or no mouse: what is said aloud, the cross-hair by key, and what
// Gradio's parts lack. Joined behind viewer.js into one function body, whose names it uses.

const spoken = root.querySelector(".viewer-spoken");
let speaking = 0;
let steering = false; // whether the arrow keys move the cross-hair

// Say where a change led to, once it has come to rest: holding a key must not queue up sentences.
function say(words) {
  clearTimeout(speaking);
  speaking = setTimeout(() => (spoken.textContent = words), 300);
}

function saySlice() {
  const translated = shown.panels.translated;
  if (shown.slices < 2) return;
  say(
    "Slice " + (shown.index + 1) + " of " + shown.slices + (translated ? ", " + translated.title : "")
  );
}

// ---------------------------------------------------------------- cross-hair

function steer(panel) {
  steering = !steering;
  anchored = null;
  cursor = steering ? [Math.floor(shown.width / 2) + 0.5, Math.floor(shown.height / 2) + 0.5] : null;
  draw();
  if (steering) sayValue(panel);
  else say("Cross-hair off");
}

function moveCursor(panel, dx, dy, far) {
  const step = far ? 10 : 1;
  cursor = [
    Math.min(Math.max(cursor[0] + dx * step, 0.5), shown.width - 0.5),
    Math.min(Math.max(cursor[1] + dy * step, 0.5), shown.height - 0.5),
  ];
  draw();
  if (anchored) measure(anchored.kind, anchored.from, [...cursor]);
  else sayValue(panel);
}

function sayValue(panel) {
  const [column, row] = cursor.map((at) => Math.floor(at) + 1);
  say("Column " + column + ", row " + row + ": " + valueAt(panel));
}

// ---------------------------------------------------------------- Gradio's parts

// Gradio makes some of these anew whenever a file comes, so they are looked after, not set once.
function complete() {
  const direction = document.querySelector("#direction");
  if (direction) {
    direction.setAttribute("role", "radiogroup");
    direction.setAttribute("aria-label", "Direction");
    // One group: the arrow keys go from one to the other.
    for (const radio of direction.querySelectorAll("input")) {
      if (radio.name !== "direction") radio.name = "direction";
    }
  }
  const uploads = { upload: "Upload a slice, volume or series", "truth-upload": "Upload the real image", "look-upload": "Upload a slice with the look" };
  for (const [id, words] of Object.entries(uploads)) {
    const button = document.querySelector("#" + id + " button.upload-container");
    if (button) button.setAttribute("aria-label", words);
    const input = document.querySelector("#" + id + " input[type=file]");
    if (input) input.setAttribute("aria-label", words);
  }
  for (const opener of document.querySelectorAll(":is(#truth, #look-area) > .label-wrap")) {
    const content = opener.nextElementSibling;
    opener.setAttribute("aria-expanded", String(content.style.display !== "none"));
  }
  // Gradio replaces the lines in these, and only what changes within a live region is announced.
  for (const id of ["status", "notice", "saved", "truth-status"]) {
    const line = document.querySelector("#" + id);
    if (line) line.setAttribute("aria-live", "polite");
  }
}

let completing = false;
new MutationObserver(() => {
  if (completing) return;
  completing = true;
  requestAnimationFrame(() => {
    completing = false;
    complete();
  });
}).observe(document.body, {
  childList: true, subtree: true, attributes: true, attributeFilter: ["style", "name"],
});
complete();
