// The scan that the server holds: opened, followed, closed; what the user chooses for it.

import * as api from "./api.js";
import { select } from "./files.js";
import { slices } from "./images.js";
import { arrange, focusImage } from "./panels.js";
import { happen, openScan, page, pause, recall, remember, say, unpanned, update, view } from "./state.js";
import { openWindows } from "./windows.js";

const TAB = "scan"; // this tab's token, for a reload
const RETRY_MS = 1000;
const REST_MS = 150; // at a slice, before the server is asked to translate it first
const POLL_MS = 40_000; // longer than the server waits
const CLAIM_MS = 400; // for another tab to say that a token is its own
const RESTARTED = "The server was restarted; open the file again.";
const FORGOTTEN = "The server does not have this scan any more; open the file again.";

let transfers = 0;
let sending = new AbortController(); // ends the transfer of files
let following = new AbortController(); // ends the request that waits for news
/** @type {(scan: Scan) => void} */
let tell = () => {}; // Gradio's controls
let isUninvited = false; // the example that lies open when the page opens
let downloaded = ""; // the last file that was saved

export const isFirstSight = () => isUninvited && Boolean(openScan());
// Whether there is nothing of the user's that could be worked with.
export const isIdle = () => !openScan() || isFirstSight() || page.state.link === "gone";

// ---------------------------------------------------------------- opening

/** @param {FileEntry[]} files */
export async function openFiles(files) {
  const { number, signal } = begin();
  await receive(number, async () => {
    const { files: chosen, text } = await select(files, settings.limits);
    const scan = await api.open(chosen, (share) => happen({ type: "sent", number, share }), signal);
    return { scan, text };
  });
}

// Open what the server has already.
/** @param {() => Promise<Scan>} ask @param {boolean} uninvited */
function openThere(ask, uninvited = false) {
  const { number } = begin();
  happen({ type: "sent", number });
  return receive(number, async () => ({ scan: await ask(), text: "" }), uninvited);
}

/** @param {number} example */
export const openExample = (example) => openThere(() => api.openExample(example));

// A transfer that takes the place of the one that may be on its way.
function begin() {
  const number = ++transfers;
  sending.abort();
  sending = new AbortController();
  page.refusal = "";
  happen({ type: "send", number });
  return { number, signal: sending.signal };
}

/** @param {number} number @param {() => Promise<{scan: Scan, text: string}>} transfer @param {boolean} uninvited */
async function receive(number, transfer, uninvited = false) {
  try {
    const { scan, text } = await transfer();
    const before = openScan();
    // Files that came later have replaced these.
    if (!happen({ type: "opened", number, scan, text })) return api.forget(scan.scan);
    following.abort();
    isUninvited = uninvited;
    take(scan);
    // Last: what is still being fetched of it would be answered by an error.
    if (before && before.scan !== scan.scan) api.forget(before.scan);
    return true;
  } catch (fault) {
    happen({ type: "refused", number, text: /** @type {Error} */ (fault).message });
    return false;
  }
}

/** @param {Scan} scan */
function take(scan) {
  remember("sessionStorage", TAB, isUninvited ? "" : scan.scan); // the example lies open anew
  slices.clear();
  showSeries(scan);
  tell(scan);
  follow(scan.scan);
  // The keys are the images' from now on; whatever else has them was pressed to open this.
  if (!isUninvited) requestAnimationFrame(focusImage);
}

/** @param {Scan} scan */
function showSeries({ name, slices: count }) {
  const index = Math.floor(count / 2);
  arrange();
  openWindows(true);
  update({
    index, cursor: null, point: null, steering: false, zoom: 1, pan: unpanned(), planes: false, measures: [],
    blinked: false, mode: "", hatched: false, map: "",
  }, `${name}${count > 1 ? `, slice ${index + 1} of ${count}` : ""}`);
}

// ---------------------------------------------------------------- following

/** @param {string} token */
async function follow(token) {
  following.abort();
  following = new AbortController();
  const { signal } = following;
  while (!signal.aborted && openScan()?.scan === token) {
    try {
      const after = page.state.link === "lost" ? -1 : /** @type {Scan} */ (openScan()).version;
      hear(await api.poll(token, after, AbortSignal.any([signal, AbortSignal.timeout(POLL_MS)])));
    } catch (fault) {
      if (signal.aborted) return;
      if (fault instanceof api.Refusal && [404, 410].includes(fault.status)) {
        const isOther = fault.server && fault.server !== openScan()?.server;
        happen({ type: "forgotten", text: isOther ? RESTARTED : FORGOTTEN });
        remember("sessionStorage", TAB, "");
        return;
      }
      if (/** @type {Error} */ (fault).name !== "TimeoutError") happen({ type: "cut" });
      await pause(RETRY_MS);
    }
  }
}

// News of the scan.
/** @param {Scan} scan */
function hear(scan) {
  const before = openScan();
  const wasLost = page.state.link === "lost"; // and with it, perhaps, what the controls were told
  if (!before || before.scan !== scan.scan || !happen({ type: "update", scan })) return;
  if (before.chosen !== scan.chosen) showSeries(scan);
  else if (Boolean(before.real) !== Boolean(scan.real)) arrange();
  if (before.key !== scan.key) openWindows(false);
  if (wasLost || controls(before) !== controls(scan)) tell(scan);
  if (scan.message && scan.message !== before.message) say(scan.message);
  download(scan);
}

// What Gradio's controls show of a scan.
/** @param {Scan} scan */
const controls = ({ scan, chosen, to, style, styles, real, companion, check }) =>
  JSON.stringify([scan, chosen, to, style, styles, real, companion, check?.switch_to]);

// ---------------------------------------------------------------- choosing

// Ask the server for something; `words` stand in the status line meanwhile.
/** @param {(scan: Scan) => Promise<Scan>} request @param {string} words */
async function act(request, words = "") {
  const scan = openScan();
  if (!scan || page.state.link !== "open") return;
  page.refusal = "";
  if (words) {
    page.busy = words;
    update({}, words);
  }
  try {
    hear(await request(scan));
  } catch (fault) {
    if (fault instanceof api.Refusal) {
      page.refusal = fault.message;
      say(page.refusal);
      tell(scan); // the control shows what was asked for
    } else happen({ type: "cut" });
  }
  if (words) page.busy = "";
  update({});
}

/** @param {object} choices */
export const choose = (choices) => act((scan) => api.choose(scan, choices));
const REGISTERING = "Reading the real image and registering it onto the scan";
/** @param {FileEntry[]} files */
export const compareWith = (files) => act((scan) => api.sendReal(scan, files), REGISTERING);
export const compareWithCompanion = () => act(api.takeCompanion, REGISTERING);
export const removeReal = () => act(api.removeReal);
/** @param {boolean} isOn */
export const register = (isOn) =>
  act((scan) => api.choose(scan, { register: isOn }), isOn ? REGISTERING : "Taking the real image as it is");
/** @param {FileEntry[]} files */
export const useStyle = (files) => act((scan) => api.sendStyle(scan, files), "Reading the slice for its style");

let resting = 0;

// The slice on screen is translated first.
/** @param {number} index */
export function restAt(index) {
  clearTimeout(resting);
  resting = setTimeout(() => {
    const scan = openScan();
    const isReady = scan?.ready.some(([first, last]) => first <= index && index <= last);
    if (scan && !isReady && !scan.halted && index === view.index) choose({ index });
  }, REST_MS);
}

// ---------------------------------------------------------------- saving

/** @param {string} kind */
export function save(kind) {
  const { index, windows } = view;
  const shown = { original: windows.source, translated: windows.target };
  act((scan) => api.save(scan, { kind, index, windows: shown }));
}

/** @param {Scan} scan */
function download(scan) {
  const { file, name } = scan.save ?? {};
  if (!file || file === downloaded) return;
  downloaded = file;
  Object.assign(document.createElement("a"), { href: api.file(scan, file), download: name }).click();
}

// ---------------------------------------------------------------- the tab

// The token that this tab had before a reload, "" where another tab has it: a tab that was duplicated.
async function claimed() {
  const token = recall("sessionStorage", TAB);
  const channel = new BroadcastChannel("scans");
  let isTaken = false;
  channel.onmessage = ({ data }) => {
    if (data.ask && data.ask === openScan()?.scan) channel.postMessage({ has: data.ask });
    else if (data.has === token) isTaken = true;
  };
  if (!token) return "";
  channel.postMessage({ ask: token });
  await pause(CLAIM_MS);
  return isTaken ? "" : token;
}

// The scan from before a reload, or the example; `teller` hears what Gradio's controls should show.
/** @param {(scan: Scan) => void} teller */
export async function start(teller) {
  tell = teller;
  addEventListener("offline", () => happen({ type: "cut" }));
  addEventListener("online", () => {
    const scan = openScan();
    if (scan && page.state.link === "lost") follow(scan.scan);
  });
  addEventListener("pagehide", () => {
    const scan = openScan();
    if (scan) api.close(scan.scan);
  });
  const early = openScan();
  if (early) tell(early);
  const token = await claimed();
  if (transfers) return; // a file was quicker
  if (token && (await openThere(() => api.poll(token, -1)))) return;
  while (!openScan() && !page.state.transfer) {
    if (await openThere(() => api.openExample(0), true)) return;
    await pause(RETRY_MS);
  }
}
