import assert from "node:assert/strict";
import { test } from "node:test";

import {
  RUNGS,
  choose,
  isPhoneBetter,
  limitsOf,
  rungOf,
  settleAgain,
  startLadder,
  step,
  strictestOf,
} from "../../static/js/ladder.js";

/** @typedef {import("../../static/js/ladder.js").Ladder} Ladder */
/** @typedef {import("../../static/js/ladder.js").Seen} Seen */

const GOOD = {
  isArriving: true,
  availableKbps: 3000,
  lossPercent: 0,
  rttMs: 40,
  concealedPercent: 0,
  heardConcealedPercent: 0,
};

/**
 * Runs the ladder second by second over a line that may depend on what is sent.
 * @param {number} seconds
 * @param {(second: number, ladder: Ladder) => Partial<Seen>} line
 * @param {Ladder} [ladder]
 */
function run(seconds, line, ladder = startLadder(1000)) {
  /** @type {{second: number, from: string, to: string}[]} */
  const changes = [];
  const first = ladder.changedAtMs;
  for (let second = 1; second <= seconds; second++) {
    const next = step(ladder, { ...GOOD, ...line(second, ladder), atMs: first + 1000 * second });
    if (next.rung !== ladder.rung) changes.push({ second, from: ladder.rung, to: next.rung });
    ladder = next;
  }
  return { ladder, changes };
}

/** A repeatable source of numbers in [0, 1). */
function randomFrom(/** @type {number} */ seed) {
  let state = seed;
  return () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return state / 2 ** 32;
  };
}

const place = (/** @type {string} */ rung) => RUNGS.indexOf(/** @type {any} */ (rung));

test("a good line climbs to the best picture and stays there", () => {
  const { ladder, changes } = run(600, () => ({}));

  assert.equal(ladder.rung, "hd");
  assert.deepEqual(changes.map(({ to }) => to), ["hd"]);
});

for (const [kbps, expected] of /** @type {[number, string][]} */ ([
  [2000, "hd"], [500, "sd"], [200, "low"], [100, "slow"], [40, "voice"],
])) {
  test(`an uplink of ${kbps} kbit/s ends at ${expected}, at most a rung above for a trial`, () => {
    const { ladder, changes } = run(1800, () => ({ availableKbps: kbps }));
    const trials = changes.filter(({ second }) => second > 600);

    assert.ok(place(ladder.rung) >= place(expected) - 1);
    assert.ok(changes.some(({ to }) => to === expected) || expected === "sd");
    assert.ok(trials.length <= 16, `${trials.length} changes in 20 minutes`);
  });
}

/** @param {Partial<Seen>} seen of every second from the 61st on */
const breakDown = (seen) =>
  run(90, (second) => (second > 60 ? seen : {})).changes.filter(({ second }) => second > 60);

test("a line that breaks down under the voice is followed within four seconds, as far as needed", () => {
  const [down] = breakDown({ availableKbps: 90, concealedPercent: 20 });

  assert.ok(down && down.second <= 64);
  assert.equal(down.to, "slow");
});

test("a small estimate alone costs a small picture at once, and more only when it lasts", () => {
  const [first, second] = breakDown({ availableKbps: 90 });

  assert.ok(first && first.second <= 64);
  assert.equal(first.to, "low");
  assert.equal(second?.to, "slow");
  assert.ok(second.second - first.second >= 10);
});

test("an estimate that recovers from an outage within seconds leaves a moving picture", () => {
  const { ladder, changes } = run(90, (second) => {
    if (second > 30 && second <= 50) return { isArriving: false };
    return second > 50 && second <= 58 ? { availableKbps: 30 + 12 * (second - 50) } : {};
  });

  assert.equal(ladder.rung, "hd");
  assert.ok(changes.every(({ to }) => place(to) <= place("low")), JSON.stringify(changes));
});

test("a voice with gaps costs the picture step by step until the voice is alone", () => {
  const { ladder } = run(60, () => ({ concealedPercent: 20 }));

  assert.equal(ladder.rung, "voice");
});

test("loss alone keeps a small picture: below nothing is won for the voice", () => {
  const { ladder } = run(60, () => ({ lossPercent: 25 }));

  assert.equal(ladder.rung, "low");
});

test("ten per cent of loss, as reports jump about it, costs no step", () => {
  const random = randomFrom(7);
  const { changes } = run(600, () => ({ lossPercent: 6 + 8 * random() }));

  assert.deepEqual(changes.map(({ to }) => to), ["hd"]);
});

test("a long way is no queue, a way that grows is", () => {
  assert.equal(run(60, () => ({ rttMs: 900 })).ladder.rung, "hd");
  assert.equal(run(60, (second) => ({ rttMs: second < 20 ? 60 : 900 })).ladder.rung, "voice");
});

test("while nothing arrives nothing is known: the rung is held", () => {
  const { changes } = run(60, (second) => (second > 20 ? { isArriving: false, availableKbps: 10 } : {}));

  assert.deepEqual(changes.map(({ to }) => to), ["hd"]);
});

test("it never flaps: on any line a step up waits, and waits longer after it failed", () => {
  for (let seed = 1; seed <= 300; seed++) {
    const random = randomFrom(seed);
    let kbps = 2000;
    const { changes } = run(900, (second) => {
      if (second % Math.ceil(1 + 40 * random()) === 0) kbps = 20 + 2500 * random() ** 3;
      return { availableKbps: kbps * (0.7 + 0.6 * random()), lossPercent: 20 * random() ** 2 };
    });
    let lastChange = 0;
    for (const { second, from, to } of changes) {
      assert.ok(RUNGS.includes(/** @type {any} */ (to)));
      const isUp = place(to) < place(from);
      if (isUp) assert.equal(place(to), place(from) - 1, `seed ${seed}: up is one step`);
      const least = isUp && lastChange > 0 ? 5 : 2;
      assert.ok(second - lastChange >= least, `seed ${seed}: ${second - lastChange} s after a change`);
      lastChange = second;
    }
    const ups = changes.filter(({ from, to }) => place(to) < place(from)).length;
    assert.ok(ups <= 900 / 10 + 2, `seed ${seed}: ${ups} steps up`);
  }
});

test("a trial that always fails is tried less and less: the waits double", () => {
  const { changes } = run(1200, (_second, { rung }) => ({ availableKbps: rung === "slow" ? 90 : 80 }));
  const ups = changes.filter(({ from, to }) => place(to) < place(from)).map(({ second }) => second);
  const waits = ups.slice(1).map((second, index) => second - (ups[index] ?? 0));

  assert.ok(ups.length <= 10, `${ups.length} trials in 20 minutes`);
  waits.slice(1).forEach((wait, index) => assert.ok(wait >= (waits[index] ?? 0), waits.join(" ")));
});

test("a person's choice is a ceiling; given back, the picture starts small", () => {
  const good = run(60, () => ({})).ladder;
  const voice = choose(good, "voice", 70_000);
  const back = choose(voice, "automatic", 80_000);

  assert.equal(rungOf(good), "hd");
  assert.equal(rungOf(voice), "voice");
  assert.equal(rungOf(choose(good, "small", 70_000)), "low");
  assert.equal(rungOf(back), "sd");
  assert.equal(rungOf(run(60, () => ({}), voice).ladder), "voice");
  assert.equal(choose(good, "automatic", 70_000), good);
  assert.equal(strictestOf("small", "voice"), "voice");
  assert.equal(strictestOf("automatic", "small"), "small");
});

test("a new connection starts small and keeps what is worse", () => {
  assert.equal(settleAgain(run(60, () => ({})).ladder, 0).rung, "sd");
  assert.equal(settleAgain(run(60, () => ({ concealedPercent: 50 })).ladder, 0).rung, "voice");
});

test("the telephone is offered when the voice is bad for long, here or there, and taken back", () => {
  for (const bad of [{ concealedPercent: 30 }, { heardConcealedPercent: 30 }, { isArriving: false }]) {
    const { ladder } = run(16, () => bad);
    assert.equal(isPhoneBetter(ladder, ladder.voiceBadSinceMs + 14_000), false);
    assert.equal(isPhoneBetter(ladder, ladder.voiceBadSinceMs + 15_000), true);
    assert.equal(isPhoneBetter(step(ladder, { ...GOOD, atMs: 99_000 }), 99_000), false);
  }
});

test("the voice comes first on every rung, and is paid before the picture", () => {
  for (const rung of RUNGS) {
    const [voice, picture] = [limitsOf("audio", rung), limitsOf("video", rung)];
    assert.equal(voice.priority, "high");
    assert.equal(voice.networkPriority, "high");
    assert.equal(picture.priority, "low");
    assert.ok((voice.maxBitrate ?? 0) >= 24_000);
    assert.equal(picture.active, rung !== "voice");
  }
  assert.equal(limitsOf("video", "slow").maxFramerate, 1);
});
