import assert from "node:assert/strict";
import { test } from "node:test";

import { voiceScore } from "../../static/js/emodel.js";

const CLEAN = { lossPercent: 0, rttMs: 2, bufferMs: 40 };

test("a clean line sounds as good as a telephone can", () => {
  assert.ok(Math.abs(voiceScore(CLEAN) - 4.38) < 0.03);
});

// Figures measured with the same formula over an impaired line.
for (const [line, expected] of /** @type {[object, number][]} */ ([
  [{ lossPercent: 1.2 }, 4.08],
  [{ lossPercent: 11.5 }, 2.11],
  [{ rttMs: 500 }, 3.56],
])) {
  test(`${JSON.stringify(line)} is about ${expected}`, () => {
    assert.ok(Math.abs(voiceScore({ ...CLEAN, ...line }) - expected) < 0.1, String(voiceScore({ ...CLEAN, ...line })));
  });
}

test("more loss or more delay never sounds better, and the scale is kept", () => {
  for (const field of /** @type {const} */ (["lossPercent", "rttMs", "bufferMs"])) {
    let before = Infinity;
    for (let value = 0; value <= 100; value++) {
      const score = voiceScore({ ...CLEAN, [field]: field === "lossPercent" ? value : 50 * value });
      assert.ok(score <= before && score >= 1 && score <= 4.5);
      before = score;
    }
  }
});
