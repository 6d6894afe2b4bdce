// The line in words: getStats every two seconds, both directions, and what was measured.
// Also the proof that media arrived: frames and sound were decoded here.

import { Emitter } from "./emitter.js";
import { _ } from "./i18n.js";

/** @typedef {"good" | "weak"} Level */

const SAMPLE_EVERY_MS = 2000;
const PROOF_EVERY_MS = 400;
const WEAK_LOSS_PERCENT = 5;
const WEAK_RTT_MS = 500;
const SAMPLES_TO_CHANGE = 2;

/**
 * @typedef {object} Measure sent as `accanto:quality` on `document`
 * @property {Level} incoming
 * @property {Level} outgoing
 * @property {number} lossPercent of what should have arrived here, over the whole visit
 * @property {number} outgoingLossPercent as the other side last reported
 * @property {number} rttMs
 * @property {number} freezes of the picture, over the whole visit
 * @property {string} reason the same in words, ready for a report
 */

/** @typedef {Record<string, any>} Report one entry of an RTCStatsReport */
/** @typedef {{received: number, lost: number, freezes: number}} Counters */

/** @returns {Counters} */
const noCounters = () => ({ received: 0, lost: 0, freezes: 0 });

/** @param {Counters} counters */
const lossPercentOf = ({ received, lost }) => (lost > 0 ? (100 * lost) / (received + lost) : 0);

/** Turns only when several samples in a row agree. */
class Verdict {
  /** @type {Level} */
  level = "good";
  #against = 0;

  /** @param {boolean} isWeak */
  add(isWeak) {
    this.#against = isWeak === (this.level === "weak") ? 0 : this.#against + 1;
    if (this.#against < SAMPLES_TO_CHANGE) return this.level;
    this.#against = 0;
    this.level = isWeak ? "weak" : "good";
    return this.level;
  }
}

/** @param {Report[]} reports */
function countIncoming(reports) {
  const counters = noCounters();
  for (const report of reports.filter(({ type }) => type === "inbound-rtp")) {
    counters.received += report.packetsReceived ?? 0;
    counters.lost += Math.max(0, report.packetsLost ?? 0);
    counters.freezes += report.freezeCount ?? 0;
  }
  return counters;
}

/** @extends {Emitter<{measure: Measure, proven: {audio: boolean, video: boolean}}>} */
export class Quality extends Emitter {
  /** @type {{getStats: () => Promise<RTCStatsReport>} | null} */
  #source = null;
  #last = noCounters();
  #total = noCounters();
  #slowestRttMs = 0;
  #incoming = new Verdict();
  #outgoing = new Verdict();
  #isProven = { audio: false, video: false };
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  #timer;
  #sampledAt = 0;

  /** @param {{getStats: () => Promise<RTCStatsReport>}} source a new connection is measured anew */
  watch(source) {
    if (source === this.#source) return;
    this.#source = source;
    this.#last = noCounters();
    this.#sampledAt = Date.now();
    this.#isProven = { audio: false, video: false };
    this.#plan();
  }

  stop() {
    this.#source = null;
    clearTimeout(this.#timer);
  }

  #plan() {
    clearTimeout(this.#timer);
    const isAllProven = this.#isProven.audio && this.#isProven.video;
    const delay = isAllProven ? SAMPLE_EVERY_MS : PROOF_EVERY_MS;
    this.#timer = setTimeout(() => this.#sample(), delay);
  }

  async #sample() {
    const source = this.#source;
    const stats = await source?.getStats().catch(() => null);
    if (!stats || source !== this.#source) return;
    /** @type {Report[]} */
    const reports = [...stats.values()];
    this.#prove(reports);
    if (Date.now() - this.#sampledAt >= SAMPLE_EVERY_MS) this.#measure(reports);
    this.#plan();
  }

  /** @param {Report[]} reports */
  #prove(reports) {
    const inbound = reports.filter(({ type }) => type === "inbound-rtp");
    const audio = inbound.some(
      ({ kind, totalSamplesReceived = 0, packetsReceived = 0 }) =>
        kind === "audio" && totalSamplesReceived > 0 && packetsReceived > 0,
    );
    const video = inbound.some(({ kind, framesDecoded = 0 }) => kind === "video" && framesDecoded > 0);
    if (audio === this.#isProven.audio && video === this.#isProven.video) return;
    this.#isProven = { audio, video };
    this.emit("proven", { audio, video });
  }

  /** @param {Report[]} reports */
  #measure(reports) {
    this.#sampledAt = Date.now();
    const now = countIncoming(reports);
    const { received, lost, freezes } = this.#last;
    const window = {
      received: now.received - received,
      lost: Math.max(0, now.lost - lost),
      freezes: now.freezes - freezes,
    };
    this.#last = now;
    this.#total.received += window.received;
    this.#total.lost += window.lost;
    this.#total.freezes += window.freezes;
    const pair = reports.find(({ type, nominated }) => type === "candidate-pair" && nominated);
    const rttMs = Math.round(1000 * (pair?.currentRoundTripTime ?? 0));
    this.#slowestRttMs = Math.max(this.#slowestRttMs, rttMs);
    const reported = reports.filter(({ type }) => type === "remote-inbound-rtp");
    const outgoingLoss = 100 * Math.max(0, ...reported.map(({ fractionLost }) => fractionLost ?? 0));
    const isSlow = rttMs > WEAK_RTT_MS;
    const incoming = this.#incoming.add(
      isSlow || lossPercentOf(window) > WEAK_LOSS_PERCENT || window.freezes > 0,
    );
    const outgoing = this.#outgoing.add(isSlow || outgoingLoss > WEAK_LOSS_PERCENT);
    this.#publish(incoming, outgoing, rttMs, outgoingLoss);
  }

  /**
   * @param {Level} incoming
   * @param {Level} outgoing
   * @param {number} rttMs
   * @param {number} outgoingLoss
   */
  #publish(incoming, outgoing, rttMs, outgoingLoss) {
    const lossPercent = Math.round(10 * lossPercentOf(this.#total)) / 10;
    const outgoingLossPercent = Math.round(10 * outgoingLoss) / 10;
    const { freezes } = this.#total;
    const reason = _(
      "{loss}% of the data lost on arrival, {sent}% lost on the way out, slowest answer {rtt} ms, picture stopped {freezes} times",
      { loss: lossPercent, sent: outgoingLossPercent, rtt: this.#slowestRttMs, freezes },
    );
    const detail = { incoming, outgoing, lossPercent, outgoingLossPercent, rttMs, freezes, reason };
    this.emit("measure", detail);
    document.dispatchEvent(new CustomEvent("accanto:quality", { detail }));
  }
}
