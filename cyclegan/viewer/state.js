// The state of the page, in one place: what the server says of the scan, and what this user sees of it.
// `step` is the only way from one phase to another; TABLE says what may happen in which.

// What happens between page and server, and the phase that follows. "below" is the phase that the files
// on their way have interrupted: what was on screen then is on screen still.
//   empty: no scan · open: one is held · sending, reading: files are on their way to become the next one
//   lost: the server does not answer · gone: it does not hold the scan any more; what is seen stays
export const TABLE = {
  empty: { send: "sending", opened: "open" },
  open: { send: "sending", opened: "open", update: "open", cut: "lost", forgotten: "gone" },
  lost: { send: "sending", opened: "open", update: "open", cut: "lost", forgotten: "gone" },
  gone: { send: "sending", opened: "open" },
  sending: { send: "sending", share: "sending", sent: "reading", opened: "open", refused: "below" },
  reading: { send: "sending", opened: "open", refused: "below" },
};
const LINK = ["update", "cut", "forgotten"]; // of the scan that is held, also while files are on their way

// What the user may do in which phase. `look`: all that this browser does alone.
export const MAY = {
  open: ["open", "look", "choose", "save"],
  lost: ["open", "look"],
  gone: ["open", "look"],
  empty: ["open"],
  sending: ["open", "look"],
  reading: ["open", "look"],
};

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
export function step(state, event) {
  const after = next(state, event);
  return after === state || isInTransit(after) ? after : { ...after, below: after.phase };
}

const isInTransit = ({ phase }) => ["sending", "reading"].includes(phase);

function next(state, event) {
  const { type, number, scan, text = "", share = 0 } = event;
  if (isInTransit(state) && LINK.includes(type)) {
    const below = TABLE[state.below][type];
    return below ? { ...state, below, scan: type === "update" ? newer(state.scan, scan) : state.scan } : state;
  }
  const to = TABLE[state.phase][type];
  if (!to) return state;
  const isOfTransfer = ["share", "sent", "refused", "opened"].includes(type);
  if (isOfTransfer && number !== undefined && number !== state.transfer?.number) return state;
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
function newer(before, scan) {
  return before && before.scan === scan.scan && before.version > scan.version ? before : scan;
}

export function may(state, action) {
  return MAY[state.phase].includes(action) && (action === "open" || state.scan !== null);
}

// ---------------------------------------------------------------- what is seen

export const view = {
  index: 0, // of the slice
  cursor: null, // [column, row, slice] under the pointer or the keys' cross-hair, in pixels
  point: null, // the same, where the planes meet
  steering: false, // whether the arrow keys move the cross-hair
  zoom: 1,
  pan: { axial: [0, 0], coronal: [0, 0], sagittal: [0, 0] }, // of the panel's centre from the image's, in pixels
  tool: "window", // what a drag does
  count: 3, // images on screen, unless one is enlarged
  slots: [], // names of images, in the order of the screen
  enlarged: null, // the name of an image alone
  active: "translated",
  planes: false,
  mode: "", // "swipe" or "overlay"
  blinked: false,
  line: 0.5, // of the swipe, in shares of the panel
  opacity: 0.5, // of the overlay
  hatched: false,
  map: "", // the map of errors that lies over original and synthetic image
  mapOpacity: 0.7,
  inverted: false,
  preset: "brain",
  windows: null, // by group: {center, width} in shares of the grey range
  measures: [], // see measure.js
};

export const page = { state: initial() };

const listeners = [];
let isPending = false;

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

export function happen(event) {
  const before = page.state;
  page.state = step(before, event);
  if (page.state !== before) changed();
  return page.state !== before;
}

// What the server says of the scan that is open, null without one.
export const openScan = () => page.state.scan;
