// The scan that is held on the server: opened, followed, closed; what the user chooses for it.

import * as api from "./api.js";
import { select } from "./files.js";
import { slices } from "./images.js";
import { arrange } from "./layout.js";
import { happen, openScan, may, page, view } from "./state.js";
import { say } from "./speech.js";
import { openWindows } from "./look.js";

const KEPT = "scan"; // this tab's token, for a reload
const RETRY_MS = 1000;
const REST_MS = 150; // at a slice, before the server is asked to translate it first
const POLL_MS = 40_000; // longer than the server waits
const CLAIM_MS = 150; // for another tab to say that a token is its own
const RESTARTED = "The server was restarted; open the file again.";
const FORGOTTEN = "The server does not hold this scan any more; open the file again.";

const pause = (time) => new Promise((done) => setTimeout(done, time));
let transfers = 0;
let sending = null; // aborts the files on their way
let following = null; // aborts the question that waits for news
let tell = () => {}; // Gradio's controls
let isUninvited = false; // the example that lies open when the page opens
let fetched = null; // the last file that was saved

export const isFirstSight = () => isUninvited && Boolean(openScan());

// ---------------------------------------------------------------- opening

// Of one upload; before Gradio has made the page, the server alone knows them.
const limits = () => JSON.parse(document.querySelector(".viewer")?.dataset.limits || "null") || { files: Infinity, bytes: Infinity };

export async function openFiles(files) {
  const number = ++transfers;
  sending?.abort();
  sending = new AbortController();
  happen({ type: "send", number });
  await receive(number, async () => {
    const { files: chosen, text } = await select(files, limits());
    const scan = await api.open(chosen, (share) => happen({ type: share < 1 ? "share" : "sent", number, share }), sending.signal);
    return { scan, text };
  });
}

export async function openExample(example, uninvited = false) {
  const number = ++transfers;
  sending?.abort();
  happen({ type: "send", number });
  happen({ type: "sent", number });
  return receive(number, async () => ({ scan: await api.openExample(example) }), uninvited);
}

async function receive(number, bring, uninvited = false) {
  try {
    const { scan, text } = await bring();
    const before = openScan();
    // Files that came later have replaced these.
    if (!happen({ type: "opened", number, scan, text })) return api.forget(scan.scan);
    following?.abort();
    isUninvited = uninvited;
    begin(scan);
    // Last: what is still being fetched of it would be answered by an error.
    if (before && before.scan !== scan.scan) api.forget(before.scan);
    return true;
  } catch (fault) {
    happen({ type: "refused", number, text: fault.message });
    return false;
  }
}

function begin(scan) {
  remember(isUninvited ? "" : scan.scan); // the example lies open anew
  slices.forgetOthers(scan.scan);
  newSeries(scan);
  tell(scan);
  follow(scan.scan);
}

function newSeries(scan) {
  Object.assign(view, {
    index: Math.floor(scan.slices / 2), cursor: null, point: null, steering: false, zoom: 1, planes: false, measures: [],
    pan: { axial: [0, 0], coronal: [0, 0], sagittal: [0, 0] }, blinked: false, mode: "", hatched: false, map: "",
  });
  arrange();
  openWindows(["source", "target"]);
  say(`${scan.name}${scan.slices > 1 ? `, slice ${view.index + 1} of ${scan.slices}` : ""}`);
}

// ---------------------------------------------------------------- following

async function follow(token) {
  following?.abort();
  const { signal } = (following = new AbortController());
  while (!signal.aborted && openScan()?.scan === token) {
    try {
      const after = page.state.below === "lost" ? -1 : openScan().version;
      take(await api.poll(token, after, AbortSignal.any([signal, AbortSignal.timeout(POLL_MS)])));
    } catch (fault) {
      if (signal.aborted) return;
      if (fault instanceof api.Refusal && [404, 410].includes(fault.status)) {
        const isOther = fault.server && fault.server !== openScan().server;
        happen({ type: "forgotten", text: isOther ? RESTARTED : FORGOTTEN });
        remember("");
        return;
      }
      if (!(fault.name === "TimeoutError")) happen({ type: "cut" });
      await pause(RETRY_MS);
    }
  }
}

// News of the scan.
function take(scan) {
  const before = openScan();
  const wasLost = page.state.below === "lost"; // and with it, perhaps, what the controls were told
  if (!before || before.scan !== scan.scan || !happen({ type: "update", scan })) return;
  if (before.chosen !== scan.chosen) newSeries(scan);
  else if (Boolean(before.real) !== Boolean(scan.real)) arrange();
  if (before.key !== scan.key) openWindows(["target"]);
  if (wasLost || controls(before) !== controls(scan)) tell(scan);
  if (scan.message && scan.message !== before.message) say(scan.message);
  saveFile(scan);
}

// What Gradio's controls show of a scan.
const controls = ({ scan, chosen, to, style, styles, real, companion, check }) =>
  JSON.stringify([scan, chosen, to, style, styles, real, companion, check?.switch_to]);

// ---------------------------------------------------------------- choosing

async function act(request) {
  if (!may(page.state, "choose")) return;
  try {
    take(await request(openScan()));
  } catch (fault) {
    if (fault instanceof api.Refusal) happen({ type: "update", scan: { ...openScan(), message: fault.message } });
    else happen({ type: "cut" });
  }
}

export const choose = (choices) => act((scan) => api.choose(scan, choices));
export const giveReal = (files) => act((scan) => api.sendReal(scan, files));
export const giveStyle = (files) => act((scan) => api.sendStyle(scan, files));

let resting = 0;

// The slice on screen is translated first.
export function restAt(index) {
  clearTimeout(resting);
  resting = setTimeout(() => {
    const scan = openScan();
    const isReady = scan?.ready.some(([first, last]) => first <= index && index <= last);
    if (scan && !isReady && !scan.halted && index === view.index) choose({ index });
  }, REST_MS);
}

// ---------------------------------------------------------------- saving

// Resolves once the file is here, or could not be made.
export function save(kind) {
  if (!may(page.state, "save")) return Promise.resolve();
  return act((scan) => api.save(scan, { kind, index: view.index, windows: { translated: view.windows.target } }));
}

function saveFile({ save: saving, ...scan }) {
  if (!saving?.file || saving.file === fetched) return;
  fetched = saving.file;
  const link = Object.assign(document.createElement("a"), { href: api.file(scan, saving.file), download: saving.name });
  link.click();
}

// ---------------------------------------------------------------- the tab

function remember(token) {
  try {
    if (token) sessionStorage.setItem(KEPT, token);
    else sessionStorage.removeItem(KEPT);
  } catch {
    // A reload then begins anew.
  }
}

// The token that this tab had before a reload, "" where another tab has it: a tab that was duplicated.
async function claimed() {
  let token = "";
  try {
    token = sessionStorage.getItem(KEPT) || "";
  } catch {
    return "";
  }
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
export async function start(teller) {
  tell = teller;
  addEventListener("offline", () => happen({ type: "cut" }));
  addEventListener("online", () => openScan() && page.state.below === "lost" && follow(openScan().scan));
  addEventListener("pagehide", () => openScan() && api.close(openScan().scan));
  const token = await claimed();
  if (transfers) return openScan() && tell(openScan()); // a file was quicker
  if (token) {
    try {
      const scan = await api.poll(token, -1);
      if (transfers) return;
      happen({ type: "opened", scan });
      begin(scan);
      return;
    } catch {
      remember("");
    }
  }
  while (!transfers || (!openScan() && page.state.phase === "empty")) {
    if (await openExample(0, true)) return;
    await pause(RETRY_MS);
  }
}
