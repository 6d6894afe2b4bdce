// Brings what was measured to the server: kept until the server has it, across outages and reloads.
// Numbers only. The server takes a row once, however often it is sent.

import { RequestError, post } from "./page.js";

/** @typedef {import("./outages.js").Cause} Cause */
/** @typedef {import("./stats.js").Path} Path */

/**
 * @typedef {object} IntervalRow
 * @property {"incoming" | "outgoing"} direction
 * @property {string} began_at
 * @property {number} seconds
 * @property {number} loss_percent
 * @property {number} rtt_ms
 * @property {number} jitter_ms
 * @property {number} concealed_percent
 * @property {number} frozen_ms
 * @property {number} frames_per_second
 * @property {number} kilobits_per_second
 * @property {Path} path
 * @property {import("./ladder.js").Rung | "off"} rung
 * @property {number | null} voice_score
 */

/** @typedef {{began_at: string, seconds: number, cause: Cause}} OutageRow */
/** @typedef {{intervals: IntervalRow[], outages: OutageRow[]}} Batch */

/**
 * @typedef {object} Keep the part of `sessionStorage` that is used
 * @property {(key: string) => string | null} getItem
 * @property {(key: string, value: string) => void} setItem
 * @property {(key: string) => void} removeItem
 */

export const SEND_EVERY_MS = 20_000;
const MOST_IN_BATCH = 200;
const MOST_KEPT = 5000;
/** Answers that would be the same again. */
const FINAL = new Set([400, 404, 409, 413]);

export class LineReport {
  #url;
  #keep;
  #send;
  /** @type {Batch} */
  #waiting;
  #isSending = false;

  /**
   * @param {string} url
   * @param {Keep} keep
   * @param {(url: string, batch: Batch) => Promise<unknown>} [send]
   */
  constructor(url, keep, send = post) {
    this.#url = url;
    this.#keep = keep;
    this.#send = send;
    this.#waiting = JSON.parse(keep.getItem(url) ?? '{"intervals": [], "outages": []}');
    keep.removeItem(url);
  }

  /** @param {IntervalRow[]} rows */
  addIntervals(rows) {
    this.#waiting.intervals = [...this.#waiting.intervals, ...rows].slice(-MOST_KEPT);
  }

  /** @param {OutageRow} row */
  addOutage(row) {
    this.#waiting.outages = [...this.#waiting.outages, row].slice(-MOST_KEPT);
  }

  /** Sends batch by batch until nothing waits or the server does not answer. */
  async flush() {
    if (this.#isSending) return;
    this.#isSending = true;
    try {
      while (this.#hasRows) await this.#sendBatch(this.#batch());
    } catch {
      // The rows wait for the next time.
    } finally {
      this.#isSending = false;
    }
  }

  /** The page goes away: what fits is sent behind its back, all of it is kept for a return. */
  leave() {
    if (!this.#hasRows) return;
    this.#keep.setItem(this.#url, JSON.stringify(this.#waiting));
    fetch(this.#url, {
      method: "POST",
      keepalive: true,
      credentials: "same-origin",
      headers: { Accept: "application/json", "Content-Type": "application/json" },
      body: JSON.stringify(this.#batch()),
    }).catch(() => undefined);
  }

  /** A page that comes back from the browser's cache has its rows itself. */
  comeBack() {
    this.#keep.removeItem(this.#url);
  }

  get #hasRows() {
    return this.#waiting.intervals.length + this.#waiting.outages.length > 0;
  }

  #batch() {
    const { intervals, outages } = this.#waiting;
    return { intervals: intervals.slice(0, MOST_IN_BATCH), outages: outages.slice(0, MOST_IN_BATCH) };
  }

  /** @param {Batch} batch */
  async #sendBatch(batch) {
    try {
      await this.#send(this.#url, batch);
    } catch (failure) {
      if (!(failure instanceof RequestError && FINAL.has(failure.status))) throw failure;
    }
    const { intervals, outages } = this.#waiting;
    this.#waiting = {
      intervals: intervals.filter((row) => !batch.intervals.includes(row)),
      outages: outages.filter((row) => !batch.outages.includes(row)),
    };
  }
}
