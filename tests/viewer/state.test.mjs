import assert from "node:assert/strict";
import { test } from "node:test";
import { initial, MAY, may, step, TABLE } from "../../cyclegan/viewer/state.js";

const scan = (name, version = 1) => ({ scan: name, version });
const EVENTS = ["send", "share", "sent", "refused", "opened", "update", "cut", "forgotten"];
// An event as the page would send it in a state.
const event = (type, state, name = "a") => ({
  type, scan: scan(type === "update" ? state.scan?.scan ?? name : name), text: `${type}.`, share: 0.5,
  number: type === "send" ? (state.transfer?.number ?? 0) + 1 : state.transfer?.number,
});

test("every phase has its row, leads to phases that there are, and can take files", () => {
  assert.deepEqual(Object.keys(TABLE).sort(), Object.keys(MAY).sort());
  for (const [phase, row] of Object.entries(TABLE)) {
    assert.ok(Object.values(row).every((to) => to === "below" || to in TABLE), phase);
    assert.equal(row.send, "sending");
    assert.ok(MAY[phase].includes("open"));
  }
});

test("whatever happens, in any order, the page is in a phase of the table and keeps its scan", () => {
  let states = [initial()];
  const seen = new Set();
  for (let length = 0; length < 6; length++) {
    const next = new Map();
    for (const state of states) {
      for (const type of EVENTS) {
        const after = step(state, event(type, state));
        const words = `${state.phase}/${state.below} ${type}`;
        const isLink = ["update", "cut", "forgotten"].includes(type) && ["sending", "reading"].includes(state.phase);
        const row = TABLE[isLink ? state.below : state.phase];
        if (!(type in row)) assert.equal(after, state, words);
        else if (!isLink) assert.equal(after.phase, row[type] === "below" ? state.below : row[type], words);
        // What was on screen stays, unless another scan takes its place.
        if (type !== "opened" && type !== "update") assert.equal(after.scan, state.scan, words);
        if (state.scan) assert.ok(after.scan, words);
        assert.equal(["sending", "reading"].includes(after.phase), after.transfer !== null, words);
        if (["choose", "save"].some((action) => may(after, action))) assert.equal(after.phase, "open", words);
        if (may(after, "view")) assert.ok(after.scan, words);
        seen.add(after.phase);
        next.set(JSON.stringify(after), after);
      }
    }
    states = [...next.values()];
  }
  assert.deepEqual([...seen].sort(), Object.keys(TABLE).sort());
});

test("of files sent quickly one after the other the last count, however late the others answer", () => {
  let state = step(initial(), { type: "opened", scan: scan("example") });
  for (const number of [1, 2, 3]) state = step(state, { type: "send", number });
  state = step(state, { type: "refused", number: 1, text: "a zip without images" });
  assert.equal(state.phase, "sending");
  assert.equal(state.message, "");
  state = step(state, { type: "opened", number: 3, scan: scan("good") });
  const late = step(state, { type: "opened", number: 2, scan: scan("large") });
  assert.equal(late.scan.scan, "good");
  assert.deepEqual(step(state, { type: "refused", number: 2, text: "no" }), state);
});

test("files that are refused leave what was there, and say why", () => {
  let state = step(initial(), { type: "opened", scan: scan("a") });
  state = step(step(state, { type: "send", number: 1 }), { type: "refused", number: 1, text: "report.txt: no image." });
  assert.deepEqual([state.phase, state.scan.scan, state.message, state.isWrong], ["open", "a", "report.txt: no image.", true]);
});

test("a scan that is lost, or gone, while files are on their way is known to be so when they are refused", () => {
  const open = step(initial(), { type: "opened", scan: scan("a") });
  for (const [type, phase] of [["cut", "lost"], ["forgotten", "gone"]]) {
    let state = step(open, { type: "send", number: 1 });
    state = step(state, { type, text: "restarted" });
    assert.equal(state.phase, "sending");
    assert.equal(step(state, { type: "refused", number: 1, text: "no" }).phase, phase);
  }
});

test("an answer that was overtaken does not turn the state back", () => {
  let state = step(initial(), { type: "opened", scan: scan("a", 5) });
  state = step(state, { type: "update", scan: scan("a", 7) });
  assert.equal(step(state, { type: "update", scan: scan("a", 6) }).scan.version, 7);
});
