// Images of the open scan that this browser has, so that each slice is on screen at once. They live in the page's
// memory only. Fetched ahead of need, the original first and what is near to the shown slice first.

const AT_ONCE = 3; // requests; a browser opens six connections, and some wait for news
const PAUSE_MS = 500; // after one that failed
const BUDGET = 256 * 2 ** 20; // bytes
// How much later the images of a slice are fetched than the original beside it, in slices.
/** @type {Record<string, number>} */
const LATER = { original: 0, translated: 4, reconstructed: 6, real: 6 };

/** @typedef {{name: string, index: number, data: Uint16Array}} Cached */
/** @typedef {(scan: Scan, name: string, index: number, signal: AbortSignal) => Promise<Uint16Array>} Fetch */

// The images of a scan that can be fetched, those needed first at the front.
/** @param {Scan} scan @param {number} index @param {string[]} names @param {number} reach @returns {[string, number][]} */
export function fetchOrder(scan, index, names, reach) {
  /** @type {[string, number, number][]} */
  const order = [];
  for (const name of names) {
    for (let at = 0; at < scan.slices; at++) {
      const distance = Math.abs(at - index);
      if (distance > reach || !isReady(scan, name, at)) continue;
      order.push([name, at, distance === 0 ? -1 : distance + LATER[name]]);
    }
  }
  return order.sort((a, b) => a[2] - b[2]).map(([name, at]) => [name, at]);
}

/** @param {Scan} scan @param {string} name @param {number} index */
export function isReady(scan, name, index) {
  if (name === "original") return true;
  if (name === "real") return Boolean(scan.real);
  return scan.ready.some(([first, last]) => first <= index && index <= last);
}

export class Cache {
  bytes = 0;
  /** @type {Map<string, Cached>} */
  images = new Map();
  /** @type {Set<string>} */
  underway = new Set();
  abort = new AbortController(); // ends them all
  paused = 0; // the timer after a failure
  /** @type {Scan | null} */
  scan = null;
  index = 0;
  /** @type {[string, number][]} */
  order = []; // what is still to be fetched, the first last

  // `arrived` is called with the index of each slice that has come.
  /** @param {Fetch} fetch @param {(index: number) => void} arrived */
  constructor(fetch, arrived, budget = BUDGET) {
    this.fetch = fetch;
    this.arrived = arrived;
    this.budget = budget;
  }

  // For another scan: forget all images, and give up those on their way.
  clear() {
    this.giveUp();
    this.images.clear();
    Object.assign(this, { bytes: 0, scan: null, order: [] });
  }

  giveUp() {
    this.abort.abort();
    this.abort = new AbortController();
    this.underway.clear();
  }

  /** @param {Scan} scan @param {string} name @param {number} index */
  id(scan, name, index) {
    return [name === "original" ? scan.chosen : scan.key, name, index].join("/");
  }

  /** @param {Scan} scan @param {string} name @param {number} index */
  get(scan, name, index) {
    return this.images.get(this.id(scan, name, index))?.data;
  }

  // Have the images around `index`; called whenever something has changed.
  /** @param {Scan} scan @param {number} index @param {string[]} names */
  fetchAround(scan, index, names) {
    if (scan !== this.scan || index !== this.index) {
      if (scan.key !== this.scan?.key) this.giveUp();
      const each = 2 * scan.width * scan.height;
      const reach = Math.max(0, Math.floor((this.budget / (each * names.length) - 1) / 2));
      Object.assign(this, { scan, index, order: fetchOrder(scan, index, names, reach).reverse() });
    }
    this.work();
  }

  work() {
    while (this.scan && !this.paused && this.underway.size < AT_ONCE) {
      const next = this.order.pop();
      if (!next) return;
      const id = this.id(this.scan, ...next);
      if (!this.images.has(id) && !this.underway.has(id)) this.bring(this.scan, id, ...next);
    }
  }

  /** @param {Scan} scan @param {string} id @param {string} name @param {number} index */
  async bring(scan, id, name, index) {
    const { signal } = this.abort;
    this.underway.add(id);
    try {
      const data = await this.fetch(scan, name, index, signal);
      if (signal.aborted) return;
      this.store(id, name, index, data);
      this.arrived(index);
    } catch {
      if (signal.aborted) return;
      // Not ready yet, not there any more, or no connection: what the server says next decides.
      this.order.push([name, index]);
      this.paused ||= setTimeout(() => {
        this.paused = 0;
        this.work();
      }, PAUSE_MS);
    }
    this.underway.delete(id);
    this.work();
  }

  /** @param {string} id @param {string} name @param {number} index @param {Uint16Array} data */
  store(id, name, index, data) {
    this.images.set(id, { name, index, data });
    this.bytes += data.byteLength;
    // What belongs to another direction goes first, then what is farthest.
    /** @param {[string, Cached]} entry */
    const worth = ([other, image]) =>
      this.scan && other === this.id(this.scan, image.name, image.index) ? Math.abs(image.index - this.index) : Infinity;
    while (this.bytes > this.budget && this.images.size > 1) {
      const [far, image] = [...this.images].reduce((a, b) => (worth(b) > worth(a) ? b : a));
      if (far === id) break;
      this.images.delete(far);
      this.bytes -= image.data.byteLength;
    }
  }
}
