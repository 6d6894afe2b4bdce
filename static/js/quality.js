// Reads the peer connection: each second for the ladder, every five for the record. It decides and
// draws nothing.

import { Emitter } from "./emitter.js";
import { compare, read } from "./stats.js";

/** @typedef {import("./stats.js").Reading} Reading */
/** @typedef {import("./stats.js").Sample} Sample */

/**
 * @typedef {object} Second
 * @property {number} atMs
 * @property {Sample | null} incoming null while nothing can be read
 * @property {Sample | null} outgoing
 * @property {number | null} availableKbps
 * @property {number} worstLossPercent of voice and picture sent, as the other side reports
 */

/** @typedef {{beganAtMs: number, incoming: Sample, outgoing: Sample}} Interval */
/** @typedef {{getStats: () => Promise<RTCStatsReport>}} Source */

const SECOND_MS = 1000;
const INTERVAL_MS = 5000;

/** @extends {Emitter<{second: Second, interval: Interval}>} */
export class Quality extends Emitter {
  /** @type {Source | null} */
  #source = null;
  /** @type {Reading | null} */
  #lastSecond = null;
  /** @type {Reading | null} */
  #lastInterval = null;
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  #timer;

  /** @param {Source} source a new connection is measured anew */
  watch(source) {
    if (source === this.#source) return;
    this.#source = source;
    this.#lastSecond = this.#lastInterval = null;
    this.#plan();
  }

  stop() {
    this.#source = null;
    clearTimeout(this.#timer);
  }

  #plan() {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.#look(), SECOND_MS);
  }

  async #look() {
    const source = this.#source;
    const stats = await source?.getStats().catch(() => null);
    if (!source || source !== this.#source) return;
    this.#plan();
    const atMs = Date.now();
    this.#measure(stats ? read([...stats.values()], atMs) : null, atMs);
  }

  /**
   * @param {Reading | null} now
   * @param {number} atMs
   */
  #measure(now, atMs) {
    const before = this.#lastSecond;
    this.#lastSecond = now;
    const compared = before && now ? compare(before, now) : null;
    this.emit("second", {
      atMs,
      incoming: compared?.incoming ?? null,
      outgoing: compared?.outgoing ?? null,
      availableKbps: now?.availableKbps ?? null,
      worstLossPercent: now?.reported.lossPercent ?? 0,
    });
    if (now) this.#record(now);
  }

  /** @param {Reading} now */
  #record(now) {
    const before = this.#lastInterval;
    if (before && now.atMs - before.atMs < INTERVAL_MS - SECOND_MS / 2) return;
    this.#lastInterval = now;
    if (before) this.emit("interval", { beganAtMs: before.atMs, ...compare(before, now) });
  }
}
