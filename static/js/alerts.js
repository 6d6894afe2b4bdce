// Somebody waits: a soft ring, the title, the tab icon, the application badge.
// The icon changes when `<link rel="icon">` carries `data-alert-href`.

const REPEAT_AFTER_MS = [60_000, 180_000];
const NOTES_HZ = [659.25, 523.25];
const NOTE_S = 0.45;
const SOFT_GAIN = 0.12;

export class Alerts {
  #title = document.title;
  /** @type {AudioContext | null} */
  #audio = null;
  #isOn = false;
  /** @type {ReturnType<typeof setTimeout>[]} */
  #repeats = [];

  constructor() {
    const allowSound = () => {
      this.#audio ??= new AudioContext();
    };
    addEventListener("pointerdown", allowSound, { once: true });
    addEventListener("keydown", allowSound, { once: true });
  }

  /** @param {string} words shown before the page's title */
  start(words) {
    if (this.#isOn) return;
    this.#isOn = true;
    this.#title = document.title;
    document.title = `● ${words} · ${this.#title}`;
    this.#swapIcon();
    navigator.setAppBadge?.(1).catch(() => undefined);
    this.#ring();
    this.#repeats = REPEAT_AFTER_MS.map((delay) => setTimeout(() => this.#ring(), delay));
  }

  stop() {
    if (!this.#isOn) return;
    this.#isOn = false;
    document.title = this.#title;
    this.#swapIcon();
    navigator.clearAppBadge?.().catch(() => undefined);
    this.#repeats.forEach(clearTimeout);
  }

  /** Silent until the page has been touched once: browsers ask for that. */
  async #ring() {
    const audio = this.#audio;
    if (!audio) return;
    await audio.resume();
    NOTES_HZ.forEach((frequency, index) => {
      const start = audio.currentTime + index * NOTE_S;
      const gain = new GainNode(audio, { gain: 0 });
      gain.gain.linearRampToValueAtTime(0, start);
      gain.gain.linearRampToValueAtTime(SOFT_GAIN, start + 0.04);
      gain.gain.exponentialRampToValueAtTime(0.001, start + 2 * NOTE_S);
      const tone = new OscillatorNode(audio, { frequency });
      tone.connect(gain).connect(audio.destination);
      tone.start(start);
      tone.stop(start + 2 * NOTE_S);
    });
  }

  #swapIcon() {
    const icon = document.querySelector('link[rel~="icon"][data-alert-href]');
    if (!(icon instanceof HTMLLinkElement)) return;
    const shown = icon.href;
    icon.href = icon.dataset.alertHref ?? shown;
    icon.dataset.alertHref = shown;
  }
}
