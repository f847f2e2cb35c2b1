// Images of the open scan that this browser holds, so that each slice is on screen at once. They live in the
// page's memory only. Fetched ahead of need, the original first and what is near to the shown slice first.

const AT_ONCE = 3; // requests; a browser opens six connections, and some wait for news
const PAUSE_MS = 500; // after one that failed
export const BUDGET = 256 * 2 ** 20; // bytes
// How much later the images of a slice are fetched than the original beside it, in slices.
const LATER = { original: 0, translated: 4, reconstructed: 6, real: 6 };

// The images of a scan that can be fetched, those needed first at the front: [name, index].
export function fetchOrder(scan, index, names, room) {
  const order = [];
  for (const name of names) {
    for (let at = 0; at < scan.slices; at++) {
      const distance = Math.abs(at - index);
      if (distance > room || !isReady(scan, name, at)) continue;
      order.push([name, at, distance === 0 ? -1 : distance + LATER[name]]);
    }
  }
  return order.sort((a, b) => a[2] - b[2]).map(([name, at]) => [name, at]);
}

export function isReady(scan, name, index) {
  if (name === "original") return true;
  if (name === "real") return Boolean(scan.real);
  return scan.ready.some(([first, last]) => first <= index && index <= last);
}

export class Slices {
  // fetch(scan, name, index, signal) gives a Uint16Array; `arrived` is called after each.
  constructor(fetch, arrived, budget = BUDGET) {
    Object.assign(this, { fetch, arrived, budget, bytes: 0 });
    this.images = new Map(); // id -> {name, index, data}
    this.underway = new Map(); // id -> {abort, token, key}
    this.paused = 0; // the timer after a failure
  }

  id(scan, name, index) {
    const scope = name === "original" ? `${scan.chosen}` : scan.key;
    return [scan.scan, scope, name, index].join("/");
  }

  get(scan, name, index) {
    return this.images.get(this.id(scan, name, index))?.data;
  }

  // Have the images around `index`; called whenever something has changed.
  want(scan, index, names) {
    Object.assign(this, { scan, index });
    const each = 2 * scan.width * scan.height;
    const room = Math.max(0, Math.floor((this.budget / (each * names.length) - 1) / 2));
    this.order = fetchOrder(scan, index, names, room);
    for (const [id, { abort, token, key }] of this.underway) {
      if (token !== scan.scan || key !== scan.key) {
        abort.abort();
        this.underway.delete(id);
      }
    }
    this.work();
  }

  work() {
    if (this.paused) return;
    while (this.underway.size < AT_ONCE) {
      const next = this.order.find(([name, index]) => {
        const id = this.id(this.scan, name, index);
        return !this.images.has(id) && !this.underway.has(id);
      });
      if (!next) return;
      this.bring(...next);
    }
  }

  async bring(name, index) {
    const { scan } = this;
    const id = this.id(scan, name, index);
    const entry = { abort: new AbortController(), token: scan.scan, key: scan.key };
    this.underway.set(id, entry);
    try {
      this.keep(id, name, index, await this.fetch(scan, name, index, entry.abort.signal));
      this.arrived(name, index);
    } catch {
      // Not ready yet, not held any more, or no connection: what the server says next decides.
      if (!entry.abort.signal.aborted) {
        this.paused ||= setTimeout(() => {
          this.paused = 0;
          this.work();
        }, PAUSE_MS);
      }
    } finally {
      if (this.underway.get(id) === entry) this.underway.delete(id);
      this.work();
    }
  }

  keep(id, name, index, data) {
    this.images.set(id, { name, index, data });
    this.bytes += data.byteLength;
    // What belongs to another scan, or direction, goes first, then what is farthest.
    const worth = ([other, image]) =>
      other === this.id(this.scan, image.name, image.index) ? Math.abs(image.index - this.index) : Infinity;
    while (this.bytes > this.budget && this.images.size > 1) {
      const [far, image] = [...this.images].reduce((a, b) => (worth(b) > worth(a) ? b : a));
      if (far === id) break;
      this.images.delete(far);
      this.bytes -= image.data.byteLength;
    }
  }

  // Every image of other scans, those on their way, too.
  forgetOthers(scan) {
    if (this.scan?.scan !== scan) this.order = []; // or what is given up would be begun anew
    for (const [id, { abort, token }] of this.underway) {
      if (token === scan) continue;
      abort.abort();
      this.underway.delete(id);
    }
    for (const [id, { data }] of this.images) {
      if (id.startsWith(`${scan}/`)) continue;
      this.images.delete(id);
      this.bytes -= data.byteLength;
    }
  }
}
