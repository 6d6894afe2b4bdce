// Keeps the screen awake while it matters, where the browser can.

export class WakeLock {
  #isWanted = false;
  /** @type {WakeLockSentinel | null} */
  #lock = null;

  constructor() {
    document.addEventListener("visibilitychange", () => this.#follow());
  }

  /** @param {boolean} isWanted */
  set(isWanted) {
    if (this.#isWanted === isWanted) return;
    this.#isWanted = isWanted;
    this.#follow();
  }

  async #follow() {
    if (!this.#isWanted) {
      await this.#lock?.release();
      this.#lock = null;
    } else if (document.visibilityState === "visible" && (!this.#lock || this.#lock.released)) {
      this.#lock = (await navigator.wakeLock?.request("screen").catch(() => null)) ?? null;
    }
  }
}
