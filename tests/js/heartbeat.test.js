import assert from "node:assert/strict";
import { test } from "node:test";

import { Heartbeat } from "../../static/js/heartbeat.js";

/**
 * Asks whenever the rule says so.
 * @returns {{asked: number[], lostAt: number}} in milliseconds from the last sign of life
 */
function fallSilent(heartbeat, from) {
  const asked = [];
  for (let now = from; ; now += 50) {
    const verdict = heartbeat.judge(now);
    if (verdict === "lost") return { asked, lostAt: now - from };
    if (verdict === "ask") {
      asked.push(now - from);
      heartbeat.ask(now);
    }
  }
}

/** @param {number} tookMs of each of the answers before */
function usual(tookMs) {
  const heartbeat = new Heartbeat(0);
  let now = 0;
  for (let turn = 0; turn < 20; turn += 1) {
    heartbeat.ask(now);
    now += tookMs;
    heartbeat.hear(now, true);
  }
  return { heartbeat, now };
}

test("a dead socket is found in two to three seconds, after two questions", () => {
  const { heartbeat, now } = usual(50);

  assert.deepEqual(fallSilent(heartbeat, now), { asked: [1500, 2000], lostAt: 2500 });
});

test("a slow mobile line is given the time that its answers take", () => {
  const { heartbeat, now } = usual(900);

  const { lostAt } = fallSilent(heartbeat, now);

  assert.ok(lostAt >= 5000 && lostAt <= 5500, `${lostAt}`);
});

test("whatever is heard counts as life", () => {
  const heartbeat = new Heartbeat(0);
  heartbeat.ask(1500);
  heartbeat.hear(2400, false);

  assert.equal(heartbeat.judge(2600), "rest");
});

test("a doubt makes the answer urgent", () => {
  const { heartbeat, now } = usual(50);

  heartbeat.doubt(now + 100);

  assert.equal(heartbeat.judge(now + 650), "ask");
  assert.equal(heartbeat.judge(now + 700), "lost");
});

test("a doubt repeated does not put off the end", () => {
  const { heartbeat, now } = usual(50);
  for (let later = 0; later < 600; later += 100) heartbeat.doubt(now + later);

  assert.equal(heartbeat.judge(now + 600), "lost");
});

test("after an answer the urgency is over", () => {
  const { heartbeat, now } = usual(50);
  heartbeat.doubt(now);
  heartbeat.hear(now + 50, true);

  assert.deepEqual(fallSilent(heartbeat, now + 50).lostAt, 2500);
});
