// The state of the page, in one place: what the server says of the scan, and what this user sees of it. Of the scan
// there are two facts: how it stands with the server (`link`), and the files on their way to replace it (`transfer`).

/**
 * @typedef {{link: "empty" | "open" | "lost" | "gone", transfer: {number: number, share: number} | null,
 *   scan: Scan | null, message: string, isWrong: boolean}} PageState
 * `link`: no scan; the server has it; the server does not answer; it does not have it any more, and what is seen stays.
 * `scan`: the server's state of it; the last one, once it is gone. `message`: one sentence about the last files, or about
 * the connection; `isWrong`: whether it speaks of something that failed.
 * @typedef {{type: string, number?: number, scan?: any, text?: string, share?: number}} PageEvent
 */

/** @type {PageState} */
export const EMPTY = { link: "empty", transfer: null, scan: null, message: "", isWrong: false };

// The state after `event`: the same object where the event has no place in it, or belongs to files that others have
// replaced. `number` counts the files that were sent.
/** @param {PageState} state @param {PageEvent} event @returns {PageState} */
export function step(state, event) {
  const { link, transfer } = state;
  const { type, number, scan, text = "", share = 1 } = event;
  if (type === "send") return { ...state, transfer: { number: number ?? 0, share: 0 }, message: "", isWrong: false };
  if (number !== undefined && number !== transfer?.number) return state;
  if (type === "opened") return { link: "open", transfer: null, scan, message: text, isWrong: false };
  if (type === "sent") return transfer ? { ...state, transfer: { ...transfer, share } } : state;
  if (type === "refused") return transfer ? { ...state, transfer: null, message: text, isWrong: true } : state;
  // News of the scan; while files are on their way they have the status line.
  if (link !== "open" && link !== "lost") return state;
  /** @param {string} message */
  const sentence = (message) => (transfer ? {} : { message, isWrong: Boolean(message) });
  if (type === "update") return { ...state, link: "open", scan: newer(state.scan, scan), ...(link === "lost" && sentence("")) };
  if (type === "cut") return { ...state, link: "lost", ...sentence("The connection is lost; trying again. The images stay.") };
  return { ...state, link: "gone", ...sentence(text) }; // "forgotten"
}

/** @param {PageState} state */
export const phaseOf = ({ link, transfer }) => (!transfer ? link : transfer.share < 1 ? "sending" : "reading");

// Answers may overtake each other.
/** @param {Scan | null} before @param {Scan} scan */
function newer(before, scan) {
  return before && before.scan === scan.scan && before.version > scan.version ? before : scan;
}

// Whether the user may choose and save: the server has the scan, and no files are on their way to replace it. In the
// other phases what is on screen can be viewed.
/** @param {PageState} state */
export const isOpen = (state) => phaseOf(state) === "open";

// ---------------------------------------------------------------- what is seen

/** @type {Viewed} */
export const view = {
  index: 0,
  cursor: null,
  point: null,
  steering: false,
  zoom: 1,
  pan: unpanned(),
  tool: "window",
  count: 3,
  slots: [],
  enlarged: null,
  active: "translated",
  planes: false,
  mode: "",
  blinked: false,
  line: 0.5,
  opacity: 0.5,
  hatched: false,
  map: "",
  mapOpacity: 0.7,
  inverted: false,
  preset: "brain",
  windows: {},
  measures: [],
};

/** @returns {Record<Plane, Point>} */
export function unpanned() {
  return { axial: [0, 0], coronal: [0, 0], sagittal: [0, 0] };
}

// `busy`: what the server is asked to do with the open scan just now; `refusal`: why it did not do the last thing. Not
// in the server's state of the scan, whose next version would take the sentence away before it is read.
export const page = { state: EMPTY, busy: "", refusal: "" };

/** @type {(() => void)[]} */
const listeners = [];
let isPending = false;

/** @param {() => void} listener */
export function onChange(listener) {
  listeners.push(listener);
}

// Draw the page anew in the next frame.
export function changed() {
  if (isPending) return;
  isPending = true;
  requestAnimationFrame(() => {
    isPending = false;
    for (const listener of listeners) listener();
  });
}

// Change what is seen; `words` tell where that led to.
/** @param {Partial<Viewed>} changes @param {string} [words] */
export function update(changes, words) {
  Object.assign(view, changes);
  if (words) say(words);
  changed();
}

/** @param {PageEvent} event */
export function happen(event) {
  const before = page.state;
  page.state = step(before, event);
  if (page.state !== before) changed();
  return page.state !== before;
}

/** @param {number} ms */
export const pause = (ms) => new Promise((done) => setTimeout(done, ms));

// What the server says of the scan that is open, null without one.
export const openScan = () => page.state.scan;

// The slice, row or column that a plane shows.
/** @param {Plane} plane */
export function depthOf(plane) {
  return plane === "axial" || !view.point ? view.index : Math.floor(view.point[plane === "coronal" ? 1 : 0]);
}

let speaking = 0;

// Have a screen reader say where a change led to, once it has come to rest: holding a key must not queue up sentences.
/** @param {string} words */
export function say(words) {
  clearTimeout(speaking);
  speaking = setTimeout(() => {
    const line = document.querySelector(".viewer-spoken");
    if (line) line.textContent = words;
  }, 300);
}

// ---------------------------------------------------------------- what this browser remembers, if it does

/** @param {"localStorage" | "sessionStorage"} store @param {string} name */
export function recall(store, name) {
  try {
    return window[store].getItem(name) || "";
  } catch {
    return "";
  }
}

/** @param {"localStorage" | "sessionStorage"} store @param {string} name @param {string} text "" forgets it */
export function remember(store, name, text) {
  try {
    if (text) window[store].setItem(name, text);
    else window[store].removeItem(name);
  } catch {
    // It goes for this page alone.
  }
}
