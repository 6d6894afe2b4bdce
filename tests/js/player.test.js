import assert from "node:assert/strict";
import { test } from "node:test";

import { clockWords, correction, gapAt, gapsOf, trackAt } from "../../static/js/player-model.js";

const FIRST = { url: "/a", participant: "patient", offsetMs: 2_000, durationMs: 10_000, gaps: [] };
const SECOND = {
  url: "/b",
  participant: "patient",
  offsetMs: 15_000,
  durationMs: 5_000,
  gaps: [[1_000, 2_500, "paused"]],
};

test("the part of a moment is found, and none in between", () => {
  const at = (ms) => trackAt([FIRST, SECOND], ms)?.url;

  assert.deepEqual(
    [0, 1_999, 2_000, 11_999, 12_000, 15_000, 19_999, 20_000].map(at),
    [undefined, undefined, "/a", "/a", undefined, "/b", "/b", undefined],
  );
});

test("what is missing is told before, between, inside of and after the parts", () => {
  assert.deepEqual(gapsOf([SECOND, FIRST], 30_000), [
    { fromMs: 0, toMs: 2_000, reason: "not_there" },
    { fromMs: 12_000, toMs: 15_000, reason: "reconnected" },
    { fromMs: 16_000, toMs: 17_500, reason: "paused" },
    { fromMs: 20_000, toMs: 30_000, reason: "gone" },
  ]);
});

test("a moment is not worth a word", () => {
  const track = { ...FIRST, offsetMs: 250, durationMs: 9_600 };

  assert.deepEqual(gapsOf([track], 10_000), []);
});

test("who is in no part is never there", () => {
  assert.deepEqual(gapsOf([], 5_000), [{ fromMs: 0, toMs: 5_000, reason: "not_there" }]);
});

test("a gap ends where the next moment begins", () => {
  const gaps = gapsOf([FIRST, SECOND], 20_000);

  assert.equal(gapAt(gaps, 16_000)?.reason, "paused");
  assert.equal(gapAt(gaps, 17_499)?.reason, "paused");
  assert.equal(gapAt(gaps, 17_500), undefined);
});

test("a picture that is far off jumps, one that is a little off is led back", () => {
  assert.deepEqual(correction(900, 1), { jumps: true, rate: 1 });
  assert.deepEqual(correction(-900, 2), { jumps: true, rate: 2 });
  assert.ok(correction(100, 1).rate < 1);
  assert.ok(correction(-100, 1).rate > 1);
  assert.deepEqual(correction(10, 1.5), { jumps: false, rate: 1.5 });
});

test("times are read as on a clock", () => {
  assert.deepEqual(
    [0, 59_999, 60_000, 725_000, 3_607_000].map(clockWords),
    ["0:00", "0:59", "1:00", "12:05", "1:00:07"],
  );
});
