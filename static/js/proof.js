// What has arrived over one connection, and since when: from getStats. Pure; no address enters.
//
// A proof counts from the last reconnect on, not since ever: `begin` starts a new epoch.

/** @typedef {Record<string, any>} Report one entry of an RTCStatsReport */
/** @typedef {"bytes" | "audio" | "sound" | "video"} Flow audio: its packets; sound: what was decoded of them */

/** @typedef {import("./recovery.js").Arrival} Arrival */
/** @typedef {{audio: boolean, video: boolean}} Kinds */

/** A picture may stand still for seconds on a weak line; the voice comes first there. */
const DEAD_AFTER_MS = { audio: 3000, video: 8000 };

/** Firefox tells of no transport: whatever of them grows is a sign of life. */
const CARRIERS = ["transport", "candidate-pair", "inbound-rtp"];

/** @type {Record<Flow, (report: Report) => number>} */
const COUNTERS = {
  bytes: ({ type, bytesReceived = 0 }) => (CARRIERS.includes(type) ? bytesReceived : 0),
  audio: ({ type, kind, packetsReceived = 0 }) =>
    type === "inbound-rtp" && kind === "audio" ? packetsReceived : 0,
  sound: ({ type, kind, totalSamplesReceived = 0, concealedSamples = 0 }) =>
    type === "inbound-rtp" && kind === "audio" ? totalSamplesReceived - concealedSamples : 0,
  video: ({ type, kind, framesDecoded = 0 }) =>
    type === "inbound-rtp" && kind === "video" ? framesDecoded : 0,
};
const FLOWS = /** @type {Flow[]} */ (Object.keys(COUNTERS));

export class Proof {
  #epochAt;
  /** @type {Record<Flow, number>} */
  #counted = { bytes: 0, audio: 0, sound: 0, video: 0 };
  /** @type {Record<Flow, number>} when each last grew */
  #grewAt;

  /** @param {number} now */
  constructor(now) {
    this.#epochAt = now;
    this.#grewAt = { bytes: now, audio: 0, sound: 0, video: 0 };
  }

  /** When anything last arrived. */
  get heardAt() {
    return this.#grewAt.bytes;
  }

  /** @returns {Kinds} what was decoded since the last reconnect */
  get decoded() {
    return { audio: this.#isNew("audio") && this.#isNew("sound"), video: this.#isNew("video") };
  }

  /** @param {number} now */
  begin(now) {
    this.#epochAt = now;
  }

  /**
   * The page itself stood still: no silence of the line is meant.
   * @param {number} now
   */
  excuse(now) {
    this.#epochAt = now;
    this.#grewAt.bytes = now;
  }

  /**
   * @param {readonly Report[]} reports
   * @param {number} now
   */
  add(reports, now) {
    for (const flow of FLOWS) {
      const count = reports.reduce((sum, report) => sum + COUNTERS[flow](report), 0);
      if (count > this.#counted[flow]) this.#grewAt[flow] = now;
      this.#counted[flow] = count;
    }
  }

  /**
   * @param {Kinds} expected
   * @param {number} now
   * @returns {{hears: Arrival, sees: Arrival}}
   */
  arrivals(expected, now) {
    return {
      hears: expected.audio ? this.#arrivalOf("audio", now) : null,
      sees: expected.video ? this.#arrivalOf("video", now) : null,
    };
  }

  /** @param {Flow} flow */
  #isNew(flow) {
    return this.#grewAt[flow] > this.#epochAt;
  }

  /**
   * @param {"audio" | "video"} flow
   * @param {number} now
   * @returns {Arrival}
   */
  #arrivalOf(flow, now) {
    const since = Math.max(this.#epochAt, this.#grewAt[flow]);
    if (now - since >= DEAD_AFTER_MS[flow]) return false;
    return this.#isNew(flow) || null;
  }
}
