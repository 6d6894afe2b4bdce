// The figures of a few seconds of a call, from two readings of getStats. Pure; no address enters.

import { voiceScore } from "./emodel.js";

/** @typedef {Record<string, any>} Report one entry of an RTCStatsReport */
/** @typedef {"direct" | "relay" | "relay_udp" | "relay_tcp" | "relay_tls"} Path `relay`: the other side's */

/**
 * @typedef {object} Sound what one side hears, counted since the connection began
 * @property {number} packets
 * @property {number} lost
 * @property {number} samples
 * @property {number} concealed heard gaps; silence that was filled with silence is none
 * @property {number} bufferedSeconds
 * @property {number} buffered
 */

/**
 * @typedef {object} Reading one getStats, added up
 * @property {number} atMs
 * @property {Sound} sound
 * @property {{packets: number, lost: number, frames: number, frozenSeconds: number}} picture
 * @property {number} receivedBytes
 * @property {{packets: number, voicePackets: number, frames: number, bytes: number}} sent
 * @property {{lossPercent: number, voiceLossPercent: number, jitterMs: number}} reported by the other side
 * @property {number} jitterMs of what is heard here
 * @property {number} rttMs
 * @property {number | null} availableKbps
 * @property {Path} path
 */

/**
 * @typedef {object} Sample one direction of a few seconds
 * @property {number} seconds
 * @property {number} packets
 * @property {number} lossPercent of the voice; of the picture where no voice is sent
 * @property {number} rttMs
 * @property {number} jitterMs
 * @property {number} concealedPercent
 * @property {number} frozenMs
 * @property {number} framesPerSecond
 * @property {number} kbps
 * @property {Path} path
 * @property {number | null} score of the voice; null where none is sent
 */

const FEWEST_PACKETS = 10;
const USUAL_BUFFER_MS = 40;

/**
 * @param {number} value
 * @param {number} [digits]
 */
const rounded = (value, digits = 0) => Math.round(value * 10 ** digits) / 10 ** digits;

/**
 * @param {readonly Report[]} reports
 * @param {string} field
 */
const total = (reports, field) =>
  reports.reduce((sum, report) => sum + Math.max(0, report[field] ?? 0), 0);

/**
 * @param {readonly Report[]} reports
 * @param {string} field
 */
const worst = (reports, field) => Math.max(0, ...reports.map((report) => report[field] ?? 0));

/**
 * A counter that is smaller than before began again: a new connection, or a new source.
 * @param {number} before
 * @param {number} now
 */
const grown = (before, now) => (now >= before ? now - before : now);

/**
 * @param {number} part
 * @param {number} whole
 */
const percent = (part, whole) => (whole > 0 ? Math.min(100, (100 * part) / whole) : 0);

/**
 * Chromium names the pair in use in `transport`, Firefox marks it.
 * @param {readonly Report[]} reports
 * @returns {Report}
 */
function pairInUse(reports) {
  const chosen = reports.find(({ selectedCandidatePairId }) => selectedCandidatePairId);
  const pairs = reports.filter(({ type }) => type === "candidate-pair");
  return (
    pairs.find(({ id }) => id === chosen?.selectedCandidatePairId) ??
    pairs.find(({ selected }) => selected) ??
    pairs.find(({ nominated, state }) => nominated && state === "succeeded") ??
    {}
  );
}

/**
 * @param {readonly Report[]} reports
 * @param {Report} pair
 * @returns {Path}
 */
function pathOf(reports, pair) {
  const local = reports.find(({ id }) => id === pair.localCandidateId);
  const remote = reports.find(({ id }) => id === pair.remoteCandidateId);
  if (local?.candidateType === "relay") {
    if (local.relayProtocol === "tls") return "relay_tls";
    return local.relayProtocol === "tcp" ? "relay_tcp" : "relay_udp";
  }
  return remote?.candidateType === "relay" ? "relay" : "direct";
}

/**
 * @param {readonly Report[]} heard
 * @returns {Sound}
 */
const soundOf = (heard) => ({
  packets: total(heard, "packetsReceived"),
  lost: total(heard, "packetsLost"),
  samples: total(heard, "totalSamplesReceived"),
  concealed: Math.max(0, total(heard, "concealedSamples") - total(heard, "silentConcealedSamples")),
  bufferedSeconds: total(heard, "jitterBufferDelay"),
  buffered: total(heard, "jitterBufferEmittedCount"),
});

/**
 * @param {readonly Report[]} reports
 * @param {number} atMs
 * @returns {Reading}
 */
export function read(reports, atMs) {
  /** @type {(type: string, kind?: string) => Report[]} */
  const all = (type, kind) =>
    reports.filter((report) => report.type === type && (!kind || report.kind === kind));
  const [heard, seen] = [all("inbound-rtp", "audio"), all("inbound-rtp", "video")];
  const [sent, remote] = [all("outbound-rtp"), all("remote-inbound-rtp")];
  const remoteVoice = all("remote-inbound-rtp", "audio");
  const pair = pairInUse(reports);
  const rttSeconds = pair.currentRoundTripTime ?? worst(remote, "roundTripTime");
  const available = pair.availableOutgoingBitrate;
  return {
    atMs,
    sound: soundOf(heard),
    picture: {
      packets: total(seen, "packetsReceived"),
      lost: total(seen, "packetsLost"),
      frames: total(seen, "framesDecoded"),
      frozenSeconds: total(seen, "totalFreezesDuration"),
    },
    receivedBytes: total([...heard, ...seen], "bytesReceived"),
    sent: {
      packets: total(sent, "packetsSent"),
      voicePackets: total(all("outbound-rtp", "audio"), "packetsSent"),
      frames: total(sent, "framesEncoded"),
      bytes: total(sent, "bytesSent"),
    },
    reported: {
      lossPercent: 100 * worst(remote, "fractionLost"),
      voiceLossPercent: 100 * worst(remoteVoice, "fractionLost"),
      jitterMs: 1000 * worst(remoteVoice.length > 0 ? remoteVoice : remote, "jitter"),
    },
    jitterMs: 1000 * worst(heard.length > 0 ? heard : seen, "jitter"),
    rttMs: 1000 * rttSeconds,
    availableKbps: available > 0 ? available / 1000 : null,
    path: pathOf(reports, pair),
  };
}

/**
 * @param {Reading} before
 * @param {Reading} now
 * @returns {{incoming: Sample, outgoing: Sample}}
 */
export function compare(before, now) {
  const seconds = Math.max((now.atMs - before.atMs) / 1000, 0.001);
  return { incoming: incomingOf(before, now, seconds), outgoing: outgoingOf(before, now, seconds) };
}

/**
 * @param {Reading} before
 * @param {Reading} now
 * @param {number} seconds
 * @returns {Sample}
 */
function incomingOf(before, now, seconds) {
  const voice = difference(before.sound, now.sound);
  const picture = difference(before.picture, now.picture);
  const hasVoice = voice.packets + voice.lost >= FEWEST_PACKETS;
  const counted = hasVoice ? voice : picture;
  const lossPercent = percent(counted.lost, counted.packets + counted.lost);
  const bufferMs =
    voice.buffered > 0 ? (1000 * voice.bufferedSeconds) / voice.buffered : USUAL_BUFFER_MS;
  return {
    ...common(now, seconds, lossPercent),
    packets: voice.packets + picture.packets,
    jitterMs: rounded(now.jitterMs),
    concealedPercent: rounded(percent(voice.concealed, voice.samples), 1),
    frozenMs: Math.min(rounded(1000 * picture.frozenSeconds), rounded(1000 * seconds)),
    framesPerSecond: rounded(picture.frames / seconds, 1),
    kbps: rounded((8 * grown(before.receivedBytes, now.receivedBytes)) / seconds / 1000),
    score: hasVoice ? voiceScore({ lossPercent, rttMs: now.rttMs, bufferMs }) : null,
  };
}

/**
 * What the other side says of it, and what was sent; its gaps and freezes only it can tell.
 * @param {Reading} before
 * @param {Reading} now
 * @param {number} seconds
 * @returns {Sample}
 */
function outgoingOf(before, now, seconds) {
  const sent = difference(before.sent, now.sent);
  const hasVoice = sent.voicePackets >= FEWEST_PACKETS;
  const { lossPercent: anyLoss, voiceLossPercent, jitterMs } = now.reported;
  const lossPercent = hasVoice ? voiceLossPercent : anyLoss;
  return {
    ...common(now, seconds, lossPercent),
    packets: sent.packets,
    jitterMs: rounded(jitterMs),
    concealedPercent: 0,
    frozenMs: 0,
    framesPerSecond: rounded(sent.frames / seconds, 1),
    kbps: rounded((8 * sent.bytes) / seconds / 1000),
    score: hasVoice
      ? voiceScore({ lossPercent, rttMs: now.rttMs, bufferMs: USUAL_BUFFER_MS })
      : null,
  };
}

/**
 * @param {Reading} now
 * @param {number} seconds
 * @param {number} lossPercent
 */
const common = (now, seconds, lossPercent) => ({
  seconds: rounded(seconds, 2),
  lossPercent: rounded(lossPercent, 1),
  rttMs: rounded(now.rttMs),
  path: now.path,
});

/**
 * @template {Record<string, number>} T
 * @param {T} before
 * @param {T} now
 * @returns {T}
 */
function difference(before, now) {
  const entries = Object.entries(now).map(([name, value]) => [name, grown(before[name] ?? 0, value)]);
  return Object.fromEntries(entries);
}
