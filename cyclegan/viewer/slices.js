// Slices that the browser holds of the open scan, so that scrolling shows them without asking. Joined
// behind viewer.js into one function body. They live in this page's memory only, up to KEPT_BYTES, and
// are dropped when another file, direction or truth comes. (The server's side is in web/slices.py.)

const KEPT_BYTES = 128 * 2 ** 20;
const AHEAD_OF_TRANSLATION = 8; // originals alone are soon replaced
const kept = new Map(); // index -> value as in viewer.js, with decoded images
let edition = null; // aborted when what is kept is out of date
let fetching = false;
let fetchAgain = false;

function bytesOf(value) {
  return Object.values(value.panels).reduce((sum, { data }) => sum + (data ? data.byteLength : 0), 0);
}

function farthest() {
  return [...kept.keys()].reduce((a, b) => (distance(a) > distance(b) ? a : b));
}

function distance(index) {
  return Math.abs(index - shown.index);
}

function keep(value) {
  kept.set(value.index, value);
  let bytes = [...kept.values()].reduce((sum, each) => sum + bytesOf(each), 0);
  while (bytes > KEPT_BYTES && kept.size > 1) {
    const far = farthest();
    bytes -= bytesOf(kept.get(far));
    kept.delete(far);
  }
}

// An answer through Gradio is one more slice, or begins anew: a scan, a translation, another direction
// and a real image always come that way.
function isAnotherSlice(value) {
  return shown && shown.index !== value.index &&
    ["key", "run"].every((part) => shown[part] === value[part]) &&
    String(Object.keys(shown.panels)) === String(Object.keys(value.panels)) &&
    (shown.panels.truth || {}).note === (value.panels.truth || {}).note;
}

function forgetKept() {
  kept.clear();
  if (edition) edition.abort();
  edition = new AbortController();
}

// The slice at the slider.
function wanted() {
  return Number(document.querySelector("#slice input[type=range]")?.value) - 1;
}

// Packed as pack() in web/slices.py says.
function unpack(buffer) {
  const length = new DataView(buffer).getUint32(0, true);
  const value = JSON.parse(new TextDecoder().decode(new Uint8Array(buffer, 4, length)));
  const size = value.width * value.height;
  for (const panel of Object.values(value.panels)) {
    if (panel.data === undefined) continue;
    panel.data = new Uint16Array(buffer, 4 + length + 2 * size * panel.data, size);
  }
  return value;
}

async function ask(path, signal) {
  const base = new URL(window.gradio_config.root).pathname.replace(/[/]+$/, "");
  const answer = await fetch(base + "/slices/" + path, { signal, cache: "no-store" });
  if (!answer.ok) throw new Error("gone");
  return answer;
}

// Fetch what is translated, the nearest to the slice on screen first, one by one.
async function fetchAhead() {
  fetchAgain = true;
  if (fetching || !shown || shown.slices < 2) return;
  fetching = true;
  try {
    while (fetchAgain) {
      fetchAgain = false;
      const { signal } = edition;
      const { token, key, run } = shown;
      const ready = await (await ask(token, signal)).json();
      while (!signal.aborted) {
        const room = Math.floor(KEPT_BYTES / bytesOf(kept.get(shown.index) || shown));
        const reach = shown.panels.translated ? (room - 1) / 2 : AHEAD_OF_TRANSLATION;
        const next = ready
          .filter((index) => !kept.has(index) && distance(index) <= reach)
          .sort((a, b) => distance(a) - distance(b))[0];
        if (next === undefined) break;
        const value = unpack(await (await ask(token + "/" + next, signal)).arrayBuffer());
        // The reader may have begun another translation, of which no answer has come yet.
        if (signal.aborted || value.key !== key || value.run !== run) break;
        keep(value);
      }
    }
  } catch {
    // Aborted, or gone from the server: slices then come one by one through Gradio.
  } finally {
    fetching = false;
    if (fetchAgain && edition.signal.aborted === false && shown) setTimeout(fetchAhead, 0);
  }
}

root.keeps = (position) => kept.has(Number(position) - 1);

// Show the slice at the slider's position if it is here; the page asks, and then it need not be sent.
root.showKept = (position) => {
  const value = kept.get(Number(position) - 1);
  if (value && value.index !== shown.index) accept(value);
  return Boolean(value);
};

document.addEventListener("input", ({ target }) => {
  if (target.closest && target.closest("#slice")) root.showKept(target.value);
});

// Each step of a volume's translation changes the status line, which Gradio may place after this runs.
new MutationObserver((changes) => {
  const ofStatus = ({ target }) => (target.closest ? target : target.parentElement)?.closest("#status");
  if (changes.some(ofStatus)) fetchAhead();
}).observe(document.body, { childList: true, subtree: true, characterData: true });
