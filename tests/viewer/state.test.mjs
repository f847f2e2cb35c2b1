import assert from "node:assert/strict";
import { test } from "node:test";
import { EMPTY, isOpen, phaseOf, step } from "../../cyclegan/viewer/state.js";

const scan = (name, version = 1) => ({ scan: name, version });
const EVENTS = ["send", "sending", "sent", "refused", "opened", "update", "cut", "forgotten"];
// An event as the page would send it in a state.
const event = (type, state, name = "a") => ({
  type: type === "sending" ? "sent" : type, scan: scan(type === "update" ? state.scan?.scan ?? name : name), text: `${type}.`,
  share: type === "sending" ? 0.5 : 1,
  number: type === "send" ? (state.transfer?.number ?? 0) + 1 : state.transfer?.number,
});

test("whatever happens, in any order, what is on screen stays until another scan takes its place", () => {
  let states = [EMPTY];
  const seen = new Set();
  for (let length = 0; length < 6; length++) {
    const next = new Map();
    for (const state of states) {
      for (const type of EVENTS) {
        const after = step(state, event(type, state));
        const words = `${JSON.stringify(state)} ${type}`;
        if (type !== "opened" && type !== "update") assert.equal(after.scan, state.scan, words);
        if (state.scan) assert.ok(after.scan, words);
        assert.equal(after.link === "empty", after.scan === null, words);
        if (type === "send") assert.equal(phaseOf(after), "sending", words);
        if (["cut", "update"].includes(type) && ["empty", "gone"].includes(state.link)) assert.equal(after, state, words);
        if (isOpen(after)) assert.ok(after.scan, words);
        seen.add(phaseOf(after));
        next.set(JSON.stringify(after), after);
      }
    }
    states = [...next.values()];
  }
  assert.deepEqual([...seen].sort(), ["empty", "gone", "lost", "open", "reading", "sending"]);
});

test("of files sent quickly one after the other the last count, however late the others answer", () => {
  let state = step(EMPTY, { type: "opened", scan: scan("example") });
  for (const number of [1, 2, 3]) state = step(state, { type: "send", number });
  state = step(state, { type: "refused", number: 1, text: "a zip without images" });
  assert.equal(phaseOf(state), "sending");
  assert.equal(state.message, "");
  state = step(state, { type: "opened", number: 3, scan: scan("good") });
  const late = step(state, { type: "opened", number: 2, scan: scan("large") });
  assert.equal(late.scan.scan, "good");
  assert.deepEqual(step(state, { type: "refused", number: 2, text: "no" }), state);
});

test("files that are refused leave what was there, and say why", () => {
  let state = step(EMPTY, { type: "opened", scan: scan("a") });
  state = step(step(state, { type: "send", number: 1 }), { type: "refused", number: 1, text: "report.txt: no image." });
  assert.deepEqual([phaseOf(state), state.scan.scan, state.message, state.isWrong], ["open", "a", "report.txt: no image.", true]);
});

test("a scan that is lost, or gone, while files are on their way is known to be so when they are refused", () => {
  const open = step(EMPTY, { type: "opened", scan: scan("a") });
  for (const [type, phase] of [["cut", "lost"], ["forgotten", "gone"]]) {
    let state = step(open, { type: "send", number: 1 });
    state = step(state, { type, text: "restarted" });
    assert.deepEqual([phaseOf(state), state.message], ["sending", ""]);
    assert.equal(phaseOf(step(state, { type: "refused", number: 1, text: "no" })), phase);
  }
});

test("an answer that was overtaken does not turn the state back", () => {
  let state = step(EMPTY, { type: "opened", scan: scan("a", 5) });
  state = step(state, { type: "update", scan: scan("a", 7) });
  assert.equal(step(state, { type: "update", scan: scan("a", 6) }).scan.version, 7);
});
