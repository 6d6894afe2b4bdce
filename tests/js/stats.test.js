import assert from "node:assert/strict";
import { test } from "node:test";

import { compare, read } from "../../static/js/stats.js";

/** @param {Record<string, any>} [changes] by type and kind, over a call of ten seconds */
function reportsOf(changes = {}) {
  const reports = [
    { type: "inbound-rtp", kind: "audio", packetsReceived: 500, packetsLost: 0, bytesReceived: 40_000,
      totalSamplesReceived: 480_000, concealedSamples: 0, silentConcealedSamples: 0, jitter: 0.004,
      jitterBufferDelay: 20_000, jitterBufferEmittedCount: 480_000 },
    { type: "inbound-rtp", kind: "video", packetsReceived: 900, packetsLost: 0, bytesReceived: 900_000,
      framesDecoded: 240, totalFreezesDuration: 0, jitter: 0.01 },
    { type: "outbound-rtp", kind: "audio", packetsSent: 500, bytesSent: 40_000 },
    { type: "outbound-rtp", kind: "video", packetsSent: 900, bytesSent: 900_000, framesEncoded: 240 },
    { type: "remote-inbound-rtp", kind: "audio", fractionLost: 0.02, jitter: 0.006, roundTripTime: 0.07 },
    { type: "remote-inbound-rtp", kind: "video", fractionLost: 0.04, jitter: 0.02, roundTripTime: 0.07 },
    { type: "transport", kind: "", selectedCandidatePairId: "P" },
    { id: "P", type: "candidate-pair", localCandidateId: "L", remoteCandidateId: "R",
      currentRoundTripTime: 0.05, availableOutgoingBitrate: 1_500_000 },
    { id: "L", type: "local-candidate", candidateType: "host", address: "10.1.2.3" },
    { id: "R", type: "remote-candidate", candidateType: "host", address: "10.4.5.6" },
  ];
  return reports.map((report) => {
    const name = [report.type, report.kind].filter(Boolean).join(" ");
    return { ...report, ...changes[name] };
  });
}

const before = read(reportsOf(), 0);
/** @param {Record<string, any>} changes */
const after = (changes) => compare(before, read(reportsOf(changes), 5000));

test("a direction is what grew in between, not what was counted since the start", () => {
  const { incoming, outgoing } = after({
    "inbound-rtp audio": { packetsReceived: 740, packetsLost: 10, bytesReceived: 60_000,
      totalSamplesReceived: 720_000, concealedSamples: 14_400, silentConcealedSamples: 2400 },
    "inbound-rtp video": { packetsReceived: 1400, bytesReceived: 1_505_000, framesDecoded: 360,
      totalFreezesDuration: 0.8 },
    "outbound-rtp audio": { packetsSent: 750, bytesSent: 60_000 },
    "outbound-rtp video": { packetsSent: 1500, bytesSent: 1_400_000, framesEncoded: 365 },
  });

  assert.equal(incoming.lossPercent, 4);
  assert.equal(incoming.concealedPercent, 5);
  assert.equal(incoming.frozenMs, 800);
  assert.equal(incoming.framesPerSecond, 24);
  assert.equal(incoming.kbps, 1000);
  assert.equal(incoming.rttMs, 50);
  assert.equal(incoming.jitterMs, 4);
  assert.equal(incoming.seconds, 5);
  assert.equal(outgoing.lossPercent, 2);
  assert.equal(outgoing.framesPerSecond, 25);
  assert.equal(outgoing.kbps, 832);
  assert.ok((incoming.score ?? 0) < (outgoing.score ?? 0));
});

test("counters that begin again are a new connection, not a negative figure", () => {
  const { incoming, outgoing } = after({
    "inbound-rtp audio": { packetsReceived: 100, totalSamplesReceived: 96_000, bytesReceived: 8000 },
    "inbound-rtp video": { packetsReceived: 150, framesDecoded: 50, bytesReceived: 150_000 },
    "outbound-rtp audio": { packetsSent: 90, bytesSent: 7200 },
    "outbound-rtp video": { packetsSent: 150, bytesSent: 100_000, framesEncoded: 45 },
  });

  assert.equal(incoming.packets, 250);
  assert.equal(incoming.framesPerSecond, 10);
  assert.equal(outgoing.framesPerSecond, 9);
  for (const sample of [incoming, outgoing]) {
    for (const value of Object.values(sample)) assert.ok(typeof value !== "number" || value >= 0);
  }
});

test("a freeze that began before the window is no longer than the window", () => {
  const { incoming } = after({ "inbound-rtp video": { totalFreezesDuration: 20 } });

  assert.equal(incoming.frozenMs, 5000);
});

test("without a voice the loss of the picture counts, and no voice is scored", () => {
  const { incoming, outgoing } = after({
    "inbound-rtp video": { packetsReceived: 990, packetsLost: 10 },
    "outbound-rtp video": { packetsSent: 1000 },
  });

  assert.equal(incoming.lossPercent, 10);
  assert.equal(incoming.score, null);
  assert.equal(outgoing.lossPercent, 4);
  assert.equal(outgoing.score, null);
});

for (const [local, remote, path] of [
  [{ candidateType: "srflx" }, { candidateType: "host" }, "direct"],
  [{ candidateType: "relay", relayProtocol: "udp" }, {}, "relay_udp"],
  [{ candidateType: "relay", relayProtocol: "tcp" }, {}, "relay_tcp"],
  [{ candidateType: "relay", relayProtocol: "tls" }, {}, "relay_tls"],
  [{ candidateType: "host" }, { candidateType: "relay" }, "relay"],
]) {
  test(`the path is ${path}, and no address is kept`, () => {
    const reading = read(reportsOf({ "local-candidate": local, "remote-candidate": remote }), 0);

    assert.equal(reading.path, path);
    assert.doesNotMatch(JSON.stringify(reading), /10\.\d/);
  });
}

test("Firefox marks the pair itself and estimates nothing", () => {
  const reports = reportsOf({
    transport: { selectedCandidatePairId: undefined },
    "candidate-pair": { selected: true, availableOutgoingBitrate: undefined },
  });

  const reading = read(reports, 0);

  assert.equal(reading.rttMs, 50);
  assert.equal(reading.availableKbps, null);
});

test("an empty answer of the browser is all noughts", () => {
  const { incoming } = compare(read([], 0), read([], 5000));

  assert.equal(incoming.packets, 0);
  assert.equal(incoming.lossPercent, 0);
  assert.equal(incoming.path, "direct");
});
