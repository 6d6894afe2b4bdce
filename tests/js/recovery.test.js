import assert from "node:assert/strict";
import { test } from "node:test";

import { NOTHING_KNOWN, nextStep, troubleOf } from "../../static/js/recovery.js";

const line = (changes = {}) => ({
  state: "connected",
  ageMs: 60_000,
  silentMs: 0,
  isMediaExpected: true,
  isJustBack: false,
  arrivals: NOTHING_KNOWN,
  ...changes,
});

const plight = (changes = {}) => ({
  trouble: "line",
  troubleMs: 2000,
  isInCharge: true,
  isReachable: true,
  isAnswered: true,
  canRestart: true,
  restarts: 0,
  renewals: 0,
  sinceStepMs: 60_000,
  answerTookMs: 50,
  ...changes,
});

test("a connected line that brings something is in no trouble", () => {
  assert.equal(troubleOf(line()), "none");
  assert.equal(troubleOf(line({ arrivals: { hears: true, sees: true, isHeard: true, isSeen: null } })), "none");
});

test("a line is in trouble when ICE says so, or when it is silent though media is due", () => {
  assert.equal(troubleOf(line({ state: "disconnected" })), "line");
  assert.equal(troubleOf(line({ state: "failed" })), "line");
  assert.equal(troubleOf(line({ silentMs: 1600 })), "line");
  assert.equal(troubleOf(line({ silentMs: 1600, isMediaExpected: false })), "none");
  assert.equal(troubleOf(line({ silentMs: 4100, isMediaExpected: false })), "line");
});

test("a side that has just come back is missed sooner", () => {
  assert.equal(troubleOf(line({ silentMs: 700 })), "none");
  assert.equal(troubleOf(line({ silentMs: 700, isJustBack: true })), "line");
});

test("a young connection is given time, an old one that never came up is in trouble", () => {
  assert.equal(troubleOf(line({ state: "connecting", ageMs: 3000, silentMs: 3000 })), "none");
  assert.equal(troubleOf(line({ state: "connecting", ageMs: 9000 })), "line");
});

test("one dead direction is trouble on either side; what is not known is none", () => {
  for (const direction of ["hears", "sees", "isHeard", "isSeen"]) {
    assert.equal(troubleOf(line({ arrivals: { ...NOTHING_KNOWN, [direction]: false } })), "one_way");
  }
});

test("nothing is tried without trouble, and not into a dead line", () => {
  assert.equal(nextStep(plight({ trouble: "none" })), "wait");
  assert.equal(nextStep(plight({ isReachable: false, troubleMs: 600_000 })), "wait");
});

test("a dead line is restarted four times, then it gets a new connection", () => {
  assert.equal(nextStep(plight()), "restart");
  for (const restarts of [1, 2, 3]) {
    assert.equal(nextStep(plight({ restarts, sinceStepMs: 700 })), "wait");
    assert.equal(nextStep(plight({ restarts, sinceStepMs: 750 })), "restart");
  }
  assert.equal(nextStep(plight({ restarts: 4, sinceStepMs: 3900 })), "wait");
  assert.equal(nextStep(plight({ restarts: 4, sinceStepMs: 4000 })), "renew");
});

test("on a slow line a restart is given the time that its answer took, twice", () => {
  const slow = { restarts: 1, answerTookMs: 1200 };
  assert.equal(nextStep(plight({ ...slow, sinceStepMs: 3500 })), "wait");
  assert.equal(nextStep(plight({ ...slow, sinceStepMs: 3600 })), "restart");
});

test("one dead direction is restarted once, then it gets a new connection", () => {
  const oneWay = { trouble: "one_way" };
  assert.equal(nextStep(plight(oneWay)), "restart");
  assert.equal(nextStep(plight({ ...oneWay, restarts: 1, sinceStepMs: 3900 })), "wait");
  assert.equal(nextStep(plight({ ...oneWay, restarts: 1, sinceStepMs: 4000 })), "renew");
});

test("an offer waits for somebody without a line, and not for ever", () => {
  const unanswered = { restarts: 1, isAnswered: false };
  assert.equal(nextStep(plight({ ...unanswered, sinceStepMs: 30_000 })), "wait");
  assert.equal(nextStep(plight({ ...unanswered, sinceStepMs: 35_000 })), "renew");
});

test("only one side is in charge; the other renews as a last resort", () => {
  const other = { isInCharge: false };
  assert.equal(nextStep(plight({ ...other, troubleMs: 19_000 })), "wait");
  assert.equal(nextStep(plight({ ...other, troubleMs: 20_000 })), "renew");
  assert.equal(nextStep(plight({ ...other, troubleMs: 90_000, sinceStepMs: 5000 })), "wait");
});

test("new connections come ever more slowly, at most once a minute", () => {
  const waits = [1, 2, 3, 4, 10].map((renewals) => {
    let sinceStepMs = 0;
    while (nextStep(plight({ restarts: 4, renewals, sinceStepMs })) === "wait") sinceStepMs += 1000;
    return sinceStepMs / 1000;
  });

  assert.deepEqual(waits, [8, 16, 32, 60, 60]);
});

test("what three new connections have not healed in one direction is left to the words", () => {
  assert.equal(nextStep(plight({ trouble: "one_way", restarts: 1, renewals: 2 })), "renew");
  assert.equal(nextStep(plight({ trouble: "one_way", restarts: 1, renewals: 3 })), "wait");
});

test("one dead direction is not acted on before the line has settled", () => {
  const oneWay = { trouble: "one_way" };
  assert.equal(nextStep(plight({ ...oneWay, sinceStepMs: 1400 })), "wait");
  assert.equal(nextStep(plight({ ...oneWay, sinceStepMs: 1500 })), "restart");
});

test("where an ICE restart does not help a new connection is made, then with patience", () => {
  const firefox = { canRestart: false };
  assert.equal(nextStep(plight({ ...firefox, sinceStepMs: 100 })), "renew");
  assert.equal(nextStep(plight({ ...firefox, isInCharge: false, sinceStepMs: 100 })), "wait");
  assert.equal(nextStep(plight({ ...firefox, renewals: 1, sinceStepMs: 7900 })), "wait");
  assert.equal(nextStep(plight({ ...firefox, renewals: 1, sinceStepMs: 8000 })), "renew");
});
