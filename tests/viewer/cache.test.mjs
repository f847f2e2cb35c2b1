import assert from "node:assert/strict";
import { test } from "node:test";
import { Cache, fetchOrder } from "../../cyclegan/viewer/cache.js";

const NAMES = ["original", "translated", "reconstructed"];
const scan = (changes = {}) => ({ scan: "s", key: "0", chosen: 0, slices: 9, width: 4, height: 4, ready: [[3, 5]], real: null, ...changes });
const rested = async (rounds = 60) => {
  for (let i = 0; i < rounds; i++) await Promise.resolve();
};

test("the shown slice comes first, then originals outward, then what is translated", () => {
  const order = fetchOrder(scan(), 4, NAMES, 9);
  assert.deepEqual(order.slice(0, 3).map(([name, at]) => `${name}${at}`), ["original4", "translated4", "reconstructed4"]);
  assert.deepEqual(order.slice(3, 7).map(([name, at]) => name + at).sort(), ["original2", "original3", "original5", "original6"]);
  assert.equal(order.length, 9 + 3 + 3); // nothing that is not ready
  assert.deepEqual(new Set(fetchOrder(scan(), 4, ["original"], 2).map(([, at]) => at)), new Set([2, 3, 4, 5, 6]));
});

test("everything is fetched once, at most three at a time, and kept", async () => {
  const asked = [];
  let [running, most] = [0, 0];
  const fetch = async (_, name, index) => {
    asked.push(name + index);
    most = Math.max(most, ++running);
    await Promise.resolve();
    running--;
    return new Uint16Array(16).fill(index);
  };
  const slices = new Cache(fetch, () => {});
  slices.fetchAround(scan(), 4, NAMES);
  await rested();
  slices.fetchAround(scan(), 5, NAMES);
  await rested();
  assert.equal(asked.length, 15);
  assert.equal(new Set(asked).size, 15);
  assert.equal(most, 3);
  assert.equal(slices.get(scan(), "original", 7)[0], 7);
  assert.equal(slices.get(scan(), "translated", 8), undefined);
});

test("another direction keeps the original and forgets no slice of it; for another scan all are forgotten", async () => {
  const slices = new Cache(async (scan) => new Uint16Array(16).fill(Number(scan.key)), () => {});
  slices.fetchAround(scan(), 4, NAMES);
  await rested();
  const turned = scan({ key: "1", ready: [] });
  assert.ok(slices.get(turned, "original", 4));
  assert.equal(slices.get(turned, "translated", 4), undefined);
  slices.clear();
  assert.equal(slices.get(scan({ scan: "t" }), "original", 4), undefined);
  assert.equal(slices.bytes, 0);
});

test("memory is bounded: what is farthest from the shown slice goes", async () => {
  const slices = new Cache(async () => new Uint16Array(16), () => {}, 5 * 32);
  const long = scan({ slices: 100, ready: [] });
  for (const index of [0, 50, 99]) {
    slices.fetchAround(long, index, ["original"]);
    await rested();
    assert.ok(slices.bytes <= 5 * 32);
    assert.ok(slices.get(long, "original", index));
  }
  assert.equal(slices.get(long, "original", 0), undefined);
});

test("what another direction left goes before what is needed, and fetching comes to an end", async () => {
  let asked = 0;
  const slices = new Cache(async () => {
    asked++;
    return new Uint16Array(16);
  }, () => {}, 30 * 32);
  for (const key of ["0", "1", "2"]) {
    slices.fetchAround(scan({ key, ready: [[0, 8]] }), 4, NAMES);
    await rested(400);
  }
  assert.equal(asked, 9 + 3 * 18);
  assert.ok(slices.get(scan({ key: "2" }), "translated", 0));
});

test("a slice that cannot be fetched now is asked for again, without haste", async () => {
  let asked = 0;
  const slices = new Cache(async () => {
    asked++;
    throw new Error("409");
  }, () => {});
  slices.fetchAround(scan({ slices: 1, ready: [] }), 0, ["original"]);
  await rested();
  assert.equal(asked, 1);
  clearTimeout(slices.paused);
});

test("what another direction asked for is not fetched to its end", async () => {
  const signals = [];
  const slices = new Cache((...[, , , signal]) => {
    signals.push(signal);
    return new Promise(() => {});
  }, () => {});
  slices.fetchAround(scan(), 4, NAMES);
  slices.fetchAround(scan({ key: "1" }), 4, NAMES);
  assert.deepEqual(signals.map(({ aborted }) => aborted), [true, true, true, false, false, false]);
});

test("what is on its way of a scan that another replaces is given up, and not asked for again", async () => {
  const asked = [];
  const fetch = (scan, name, index, signal) =>
    new Promise((_, fail) => {
      asked.push(`${scan.scan} ${name}${index}`);
      signal.addEventListener("abort", () => fail(new Error("given up")));
    });
  const slices = new Cache(fetch, () => {});
  slices.fetchAround(scan(), 4, NAMES);
  await rested();
  assert.equal(asked.length, 3);
  slices.clear();
  await rested();
  assert.deepEqual([asked.length, slices.underway.size, slices.paused], [3, 0, 0]);
});
