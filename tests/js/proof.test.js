import assert from "node:assert/strict";
import { test } from "node:test";

import { Proof } from "../../static/js/proof.js";

const BOTH = { audio: true, video: true };

const reports = ({ bytes = 0, packets = 0, samples = 0, concealed = 0, frames = 0 }) => [
  { type: "transport", bytesReceived: bytes },
  {
    type: "inbound-rtp",
    kind: "audio",
    packetsReceived: packets,
    totalSamplesReceived: samples,
    concealedSamples: concealed,
  },
  { type: "inbound-rtp", kind: "video", framesDecoded: frames },
  { type: "outbound-rtp", kind: "video", framesDecoded: 99 },
];

test("frames and sound that were decoded are a proof", () => {
  const proof = new Proof(0);
  assert.deepEqual(proof.decoded, { audio: false, video: false });

  proof.add(reports({ bytes: 9, packets: 3, samples: 2880, frames: 2 }), 100);

  assert.deepEqual(proof.decoded, { audio: true, video: true });
});

test("sound that the browser invented is no proof, nor is sound without packets", () => {
  const proof = new Proof(0);

  proof.add(reports({ packets: 1, samples: 960, concealed: 960 }), 100);
  assert.equal(proof.decoded.audio, false);

  const silent = new Proof(0);
  silent.add(reports({ samples: 960 }), 100);
  assert.equal(silent.decoded.audio, false);
});

test("a reconnect voids the proof until something new is decoded", () => {
  const proof = new Proof(0);
  const before = { bytes: 9, packets: 3, samples: 2880, frames: 2 };
  proof.add(reports(before), 100);

  proof.begin(200);
  proof.add(reports(before), 300);
  assert.deepEqual(proof.decoded, { audio: false, video: false });

  proof.add(reports({ ...before, frames: 3 }), 400);
  assert.deepEqual(proof.decoded, { audio: false, video: true });
});

test("a direction is unknown at first, alive when it grows, dead when it does not", () => {
  const proof = new Proof(0);
  assert.deepEqual(proof.arrivals(BOTH, 1000), { hears: null, sees: null });

  proof.add(reports({ packets: 3, frames: 2 }), 1100);
  assert.deepEqual(proof.arrivals(BOTH, 1200), { hears: true, sees: true });
  assert.deepEqual(proof.arrivals(BOTH, 4100), { hears: false, sees: true });
  assert.deepEqual(proof.arrivals(BOTH, 9100), { hears: false, sees: false });
});

test("nothing is missed that is not due", () => {
  const proof = new Proof(0);

  assert.deepEqual(proof.arrivals({ audio: false, video: false }, 60_000), { hears: null, sees: null });
});

test("counters that begin anew are no growth, and then count on", () => {
  const proof = new Proof(0);
  proof.add(reports({ bytes: 500, frames: 100 }), 100);
  proof.begin(150);

  proof.add(reports({ bytes: 5, frames: 1 }), 200);
  assert.equal(proof.decoded.video, false);

  proof.add(reports({ bytes: 6, frames: 2 }), 300);
  assert.equal(proof.decoded.video, true);
});

test("a page that stood still takes it for no silence", () => {
  const proof = new Proof(0);
  proof.add(reports({ bytes: 5 }), 100);

  proof.excuse(60_000);

  assert.equal(proof.heardAt, 60_000);
  assert.deepEqual(proof.arrivals(BOTH, 60_500), { hears: null, sees: null });
});
