// The server's routes. Nothing else in the viewer knows an address.

const BASE = new URL("..", import.meta.url);
const address = (path) => new URL(path, BASE);

// An answer that says no, in one sentence; `isGone`: the scan is not held, `server` says by which server.
export class Refusal extends Error {
  constructor(status, answer) {
    super(answer.error || `The server answered ${status}.`);
    this.status = status;
    this.server = answer.server;
  }
}

async function checked(answer) {
  if (answer.ok) return answer;
  throw new Refusal(answer.status, await answer.json().catch(() => ({})));
}

async function ask(path, options = {}) {
  return checked(await fetch(address(path), { cache: "no-store", ...options }));
}

const post = async (path, body) =>
  (await ask(path, {
    method: "POST", body: JSON.stringify(body ?? {}), headers: { "Content-Type": "application/json" },
  })).json();

// Files as [{file, path}]; `onShare` hears what share has left, which fetch cannot tell.
function send(path, files, onShare = () => {}, signal = null) {
  const body = new FormData();
  for (const { file, path: name } of files) body.append("files", file, name);
  return new Promise((done, failed) => {
    const request = new XMLHttpRequest();
    request.open("POST", address(path));
    request.upload.onprogress = ({ loaded, total }) => onShare(loaded / (total || 1));
    request.upload.onload = () => onShare(1);
    request.onload = () => checked(new Response(request.response, { status: request.status }))
      .then((answer) => answer.json()).then(done, failed);
    request.onerror = () => failed(new Error("The connection was cut while the files were sent; open them again."));
    request.onabort = () => failed(new Error(""));
    signal?.addEventListener("abort", () => request.abort());
    request.send(body);
  });
}

export const open = (files, onShare, signal) => send("scans", files, onShare, signal);
export const openExample = (number) => post(`examples/${number}`);
export const examplePicture = (number) => address(`examples/${number}/thumbnail`).href;
export const seriesPicture = ({ scan }, number) => address(`scans/${scan}/thumbnails/${number}`).href;
// The state once it is newer than `after`; at once when it is, else after 20 s at the latest.
export const poll = async (scan, after, signal) => (await ask(`scans/${scan}?after=${after}`, { signal })).json();
export const choose = ({ scan }, choices) => post(`scans/${scan}/choices`, choices);
export const sendReal = ({ scan }, files, onShare) => send(`scans/${scan}/real`, files, onShare);
export const sendStyle = ({ scan }, files, onShare) => send(`scans/${scan}/style`, files, onShare);
export const findings = async ({ scan, key }, index, signal) =>
  (await ask(`scans/${scan}/findings/${key}/${index}`, { signal })).json();
export const save = ({ scan }, wish) => post(`scans/${scan}/save`, wish);
export const file = ({ scan }, name) => address(`scans/${scan}/files/${name}`).href;
// For good, at once; and when the page goes, which may only be reloaded.
export const forget = (scan) => fetch(address(`scans/${scan}`), { method: "DELETE" }).catch(() => {});
export const close = (scan) => navigator.sendBeacon(address(`scans/${scan}/close`));

// One image of one slice as uint16, row by row, 65535 standing for 1.
export async function image({ scan, key }, name, index, signal) {
  const answer = await ask(`scans/${scan}/images/${key}/${name}/${index}`, { signal });
  return new Uint16Array(await answer.arrayBuffer());
}
