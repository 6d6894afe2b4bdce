// When a socket is dead: a rule over moments, without timers or input/output; wire.js asks it.
//
// Silence alone proves nothing, so a question goes out first, and a second one before giving up.
// How long an answer may take grows with what answers took before: a slow mobile line is not cut.

export const SILENT_AFTER_MS = 1500;
const SHORTEST_PATIENCE_MS = 1000;
const URGENT_PATIENCE_MS = 600;
const LONGEST_PATIENCE_MS = 4000;
const TIMES_USUAL = 4;
const URGENT_TIMES_USUAL = 2;
const WEIGHT_OF_NEWEST = 0.25;

/** @typedef {"rest" | "ask" | "lost"} Verdict */

export class Heartbeat {
  #heardAt;
  /** The first question since the last sign of life; 0: none. */
  #askedAt = 0;
  #askedAgainAt = 0;
  #isUrgent = false;
  #usualMs = 0;

  /** @param {number} now */
  constructor(now) {
    this.#heardAt = now;
  }

  get heardAt() {
    return this.#heardAt;
  }

  /** How long a question waits for its answer. */
  get patienceMs() {
    const [shortest, times] = this.#isUrgent
      ? [URGENT_PATIENCE_MS, URGENT_TIMES_USUAL]
      : [SHORTEST_PATIENCE_MS, TIMES_USUAL];
    return Math.min(LONGEST_PATIENCE_MS, Math.max(shortest, times * this.#usualMs));
  }

  /**
   * @param {number} now
   * @param {boolean} isAnswer to a question, which tells how slow the line is
   */
  hear(now, isAnswer) {
    if (isAnswer && this.#askedAt) {
      const tookMs = now - this.#askedAt;
      const weight = this.#usualMs ? WEIGHT_OF_NEWEST : 1;
      this.#usualMs += weight * (tookMs - this.#usualMs);
    }
    this.#heardAt = now;
    this.#askedAt = this.#askedAgainAt = 0;
    this.#isUrgent = false;
  }

  /** @param {number} now */
  ask(now) {
    if (!this.#askedAt) this.#askedAt = now;
    this.#askedAgainAt = now;
  }

  /**
   * There is reason to doubt the line: ask now, whatever was asked before.
   * @param {number} now
   */
  doubt(now) {
    if (this.#isUrgent && now - this.#askedAt < this.patienceMs) return;
    this.#isUrgent = true;
    this.#askedAt = this.#askedAgainAt = now;
  }

  /**
   * @param {number} now
   * @returns {Verdict}
   */
  judge(now) {
    if (!this.#askedAt) return now - this.#heardAt >= SILENT_AFTER_MS ? "ask" : "rest";
    if (now - this.#askedAt >= this.patienceMs) return "lost";
    return now - this.#askedAgainAt >= this.patienceMs / 2 ? "ask" : "rest";
  }
}
