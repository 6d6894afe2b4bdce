// Numbered client frames: kept until the server has taken them, resent after a resume.

/** @typedef {import("./messages.js").ClientMessage} ClientMessage */
/** @typedef {ClientMessage & {cseq: number}} NumberedMessage */

/** What a person did survives a fresh join; signals and media flags belong to the old one. */
const ACTS = new Set(["admit", "turn_away"]);

export class Outbox {
  #last = 0;
  /** @type {NumberedMessage[]} */
  #kept = [];

  /**
   * @param {ClientMessage} message
   * @returns {NumberedMessage}
   */
  add(message) {
    this.#last += 1;
    const numbered = { ...message, cseq: this.#last };
    this.#kept.push(numbered);
    return numbered;
  }

  /** @param {number} cseq */
  acknowledge(cseq) {
    this.#kept = this.#kept.filter((message) => message.cseq > cseq);
  }

  /** @param {number} cseq */
  drop(cseq) {
    this.#kept = this.#kept.filter((message) => message.cseq !== cseq);
  }

  /** @param {number} cseq the last number the server knows from this seat */
  restart(cseq) {
    const acts = this.#kept.filter((message) => ACTS.has(message.type));
    this.#last = cseq;
    this.#kept = [];
    for (const act of acts) this.add(act);
  }

  get kept() {
    return [...this.#kept];
  }
}
