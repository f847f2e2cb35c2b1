// The server's routes. Nothing else in the viewer knows an address.

export const FULL = 65535; // of a pixel: white
const BASE = new URL("..", import.meta.url);
/** @param {string} path */
const address = (path) => new URL(path, BASE);

// A refusal, in one sentence; `server` says by which run of the server, where the scan is not there.
export class Refusal extends Error {
  /** @param {number} status @param {{error?: string, server?: string}} answer */
  constructor(status, answer) {
    super(answer.error || `The server answered ${status}.`);
    this.status = status;
    this.server = answer.server;
  }
}

/** @param {Response} answer */
async function checked(answer) {
  if (answer.ok) return answer;
  throw new Refusal(answer.status, await answer.json().catch(() => ({})));
}

/** @param {string} path @param {RequestInit} options */
async function ask(path, options = {}) {
  return checked(await fetch(address(path), { cache: "no-store", ...options }));
}

/** @param {string} path @param {object} body @returns {Promise<Scan>} */
const post = async (path, body = {}) =>
  (await ask(path, { method: "POST", body: JSON.stringify(body), headers: { "Content-Type": "application/json" } })).json();

// `onShare` hears what share of the files has left, which fetch does not tell.
/**
 * @param {string} path @param {FileEntry[]} files @param {(share: number) => void} onShare
 * @param {AbortSignal} [signal] @returns {Promise<Scan>}
 */
function send(path, files, onShare = () => {}, signal = undefined) {
  const body = new FormData();
  for (const { file, path: name } of files) body.append("files", file, name);
  return new Promise((done, failed) => {
    const request = new XMLHttpRequest();
    request.open("POST", address(path));
    request.upload.onprogress = ({ loaded, total }) => onShare(loaded / (total || 1));
    request.upload.onload = () => onShare(1);
    request.onload = () =>
      checked(new Response(request.response, { status: request.status })).then((answer) => answer.json()).then(done, failed);
    request.onerror = () => failed(new Error("The connection was cut while the files were sent; open them again."));
    request.onabort = () => failed(new Error(""));
    signal?.addEventListener("abort", () => request.abort());
    request.send(body);
  });
}

/** @param {FileEntry[]} files @param {(share: number) => void} onShare @param {AbortSignal} signal */
export const open = (files, onShare, signal) => send("scans", files, onShare, signal);
/** @param {number} number */
export const openExample = (number) => post(`examples/${number}`);
/** @param {number} number */
export const examplePicture = (number) => address(`examples/${number}/thumbnail`).href;
/** @param {Scan} scan @param {number} number */
export const seriesPicture = ({ scan }, number) => address(`scans/${scan}/thumbnails/${number}`).href;
// The state once it is newer than `after`; at once when it is, else after 20 s at the latest.
/** @param {string} scan @param {number} after @param {AbortSignal} [signal] @returns {Promise<Scan>} */
export const poll = async (scan, after, signal) => (await ask(`scans/${scan}?after=${after}`, { signal })).json();
/** @param {Scan} scan @param {object} choices */
export const choose = ({ scan }, choices) => post(`scans/${scan}/choices`, choices);
/** @param {Scan} scan */
export const takeCompanion = ({ scan }) => post(`scans/${scan}/companion`);
/** @param {Scan} scan @param {FileEntry[]} files */
export const sendReal = ({ scan }, files) => send(`scans/${scan}/real`, files);
/** @param {Scan} scan @returns {Promise<Scan>} */
export const removeReal = async ({ scan }) => (await ask(`scans/${scan}/real`, { method: "DELETE" })).json();
/** @param {Scan} scan @param {FileEntry[]} files */
export const sendStyle = ({ scan }, files) => send(`scans/${scan}/style`, files);
/** @param {Scan} scan @param {number} index @param {AbortSignal} signal @returns {Promise<Findings>} */
export const findings = async ({ scan, key }, index, signal) =>
  (await ask(`scans/${scan}/findings/${key}/${index}`, { signal })).json();
/** @param {Scan} scan @param {{kind: string, index: number, windows: object}} order */
export const save = ({ scan }, order) => post(`scans/${scan}/save`, order);
/** @param {Scan} scan @param {string} name */
export const file = ({ scan }, name) => address(`scans/${scan}/files/${name}`).href;
// For good, at once; and when the page goes, which may only be reloaded.
/** @param {string} scan */
export const forget = (scan) => fetch(address(`scans/${scan}`), { method: "DELETE" }).catch(() => {});
/** @param {string} scan */
export const close = (scan) => navigator.sendBeacon(address(`scans/${scan}/close`));

// One image of one slice as uint16, row by row, FULL standing for 1.
/** @param {Scan} scan @param {string} name @param {number} index @param {AbortSignal} signal */
export async function image({ scan, key }, name, index, signal) {
  const answer = await ask(`scans/${scan}/images/${key}/${name}/${index}`, { signal });
  return new Uint16Array(await answer.arrayBuffer());
}
