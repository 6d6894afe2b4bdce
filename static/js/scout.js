// Finds the first sign of life of a network that has fallen silent.
//
// A connection that was begun during the silence is only tried again after a second or more, and
// Chromium delays the WebSockets of a page that has given up many. So small requests go out beside
// the sockets that are being opened, without a pause between two of them: the first answer, of
// whatever kind, says that the network is back.

const EVERY_MS = 400;
const LATER_EVERY_MS = 1000;
const EAGER_FOR_MS = 45_000;

/** @typedef {(signal: AbortSignal) => Promise<unknown>} Reach */

/** @type {Reach} */
export const reachServer = (signal) => fetch("/healthz", { cache: "no-store", signal });

export class Scout {
  #reach;
  #onLife;
  #startedAt = 0;
  /** @type {AbortController | null} */
  #asking = null;
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  #timer;

  /**
   * @param {Reach} reach
   * @param {(askedAt: number) => void} onLife called once for each `start`, with the moment of the
   *   request that was answered
   */
  constructor(reach, onLife) {
    this.#reach = reach;
    this.#onLife = onLife;
  }

  start() {
    if (this.#startedAt) return;
    this.#startedAt = Date.now();
    this.#ask();
  }

  stop() {
    this.#startedAt = 0;
    clearTimeout(this.#timer);
    this.#asking?.abort();
    this.#asking = null;
  }

  #ask() {
    this.#asking?.abort();
    const asking = (this.#asking = new AbortController());
    const askedAt = Date.now();
    this.#reach(asking.signal).then(
      () => this.#onAnswer(asking, askedAt),
      () => undefined,
    );
    const isEager = Date.now() - this.#startedAt < EAGER_FOR_MS;
    this.#timer = setTimeout(() => this.#ask(), isEager ? EVERY_MS : LATER_EVERY_MS);
  }

  /**
   * @param {AbortController} asking
   * @param {number} askedAt
   */
  #onAnswer(asking, askedAt) {
    if (asking !== this.#asking) return;
    this.stop();
    this.#onLife(askedAt);
  }
}
