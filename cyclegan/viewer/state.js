// The state of the page, in one place: what the server says of the scan, and what this user sees of it.
// `step` is the only way from one phase to another; TABLE says what may happen in which.

// What happens between page and server, and the phase that follows. "below" is the phase that the files
// on their way have interrupted: what was on screen then is on screen still.
//   empty: no scan · open: one is held · sending, reading: files are on their way to become the next one
//   lost: the server does not answer · gone: it does not hold the scan any more; what is seen stays
/** @type {Record<string, Record<string, string>>} */
export const TABLE = {
  empty: { send: "sending", opened: "open" },
  open: { send: "sending", opened: "open", update: "open", cut: "lost", forgotten: "gone" },
  lost: { send: "sending", opened: "open", update: "open", cut: "lost", forgotten: "gone" },
  gone: { send: "sending", opened: "open" },
  sending: { send: "sending", share: "sending", sent: "reading", opened: "open", refused: "below" },
  reading: { send: "sending", opened: "open", refused: "below" },
};
const LINK = ["update", "cut", "forgotten"]; // of the scan that is held, also while files are on their way

/**
 * @typedef {{phase: string, below: string, scan: Scan | null, transfer: {number: number, share: number} | null,
 *   message: string, isWrong: boolean}} PageState
 * @typedef {{type: string, number?: number, scan?: any, text?: string, share?: number}} PageEvent
 */

/** @returns {PageState} */
export function initial() {
  return {
    phase: "empty",
    below: "empty", // the phase but for files on their way
    scan: null, // the server's state of it; the last one, once it is gone
    transfer: null, // {number, share} of the files on their way
    message: "", // one sentence about the last files, or about the connection
    isWrong: false, // whether that sentence speaks of something that failed
  };
}

// The state after `event`: {type, ...}, the same object when the event has no place in the phase, or belongs to
// files that others have replaced. `number` counts the files that were sent.
/** @param {PageState} state @param {PageEvent} event @returns {PageState} */
export function step(state, event) {
  const after = next(state, event);
  return after === state || isInTransit(after) ? after : { ...after, below: after.phase };
}

/** @param {PageState} state */
const isInTransit = ({ phase }) => ["sending", "reading"].includes(phase);

/** @param {PageState} state @param {PageEvent} event @returns {PageState} */
function next(state, event) {
  const { type, number = 0, scan, text = "", share = 0 } = event;
  if (isInTransit(state) && LINK.includes(type)) {
    const below = TABLE[state.below][type];
    return below ? { ...state, below, scan: type === "update" ? newer(state.scan, scan) : state.scan } : state;
  }
  const to = TABLE[state.phase][type];
  if (!to) return state;
  const isOfTransfer = ["share", "sent", "refused", "opened"].includes(type);
  if (isOfTransfer && event.number !== undefined && number !== state.transfer?.number) return state;
  const phase = to === "below" ? state.below : to;
  switch (type) {
    case "send":
      return { ...state, phase, transfer: { number, share: 0 }, message: "", isWrong: false };
    case "share":
      return { ...state, phase, transfer: { number, share } };
    case "sent":
      return { ...state, phase, transfer: { number, share: 1 } };
    case "refused":
      return { ...state, phase, transfer: null, message: text, isWrong: true };
    case "opened":
      return { ...state, phase, scan, transfer: null, message: text, isWrong: false };
    case "update":
      return { ...state, phase, scan: newer(state.scan, scan), ...(state.phase === "lost" ? { message: "", isWrong: false } : {}) };
    case "cut":
      return { ...state, phase, message: "The connection is lost; trying again. The images stay.", isWrong: true };
    default: // forgotten
      return { ...state, phase, message: text, isWrong: true };
  }
}

// Answers may overtake each other.
/** @param {Scan | null} before @param {Scan} scan */
function newer(before, scan) {
  return before && before.scan === scan.scan && before.version > scan.version ? before : scan;
}

// Whether the user may choose and save: the server has the scan, and no files are on their way to replace it. In the
// other phases what is on screen can be viewed.
/** @param {PageState} state */
export const isOpen = ({ phase }) => phase === "open";

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
  windows: null,
  measures: [],
};

/** @returns {Record<Plane, Point>} */
export function unpanned() {
  return { axial: [0, 0], coronal: [0, 0], sagittal: [0, 0] };
}

// `busy`: what the server is asked to do with the open scan just now; `refusal`: why it did not do the last thing. Not
// in the server's state of the scan, whose next version would take the sentence away before it is read.
export const page = { state: initial(), busy: "", refusal: "" };

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
