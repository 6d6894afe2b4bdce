// The test of camera, microphone and loudspeaker. A green tick stays; nothing is required.

import { Devices } from "./devices.js";
import { Emitter } from "./emitter.js";
import { Meter } from "./meter.js";
import { findHook, onClick, show } from "./page.js";

/** @typedef {"camera" | "microphone" | "loudspeaker"} Device */
/** @typedef {"ok" | "failed"} Result */

const HEARD_LEVEL = 0.06;
const HEARD_FRAMES = 12;
const MELODY_HZ = [523.25, 659.25, 783.99, 1046.5, 783.99, 1046.5];
const NOTE_S = 0.35;
const LOUDNESS = 0.25;

/** @returns {string} which words and which sign help in this browser */
function browserName() {
  const agent = navigator.userAgent;
  const isApplePhone = /iPhone|iPad|iPod/.test(agent);
  if (/CriOS/.test(agent)) return "chrome-ios";
  if (isApplePhone) return "safari-ios";
  if (/SamsungBrowser/.test(agent)) return "samsung";
  if (/Firefox/.test(agent)) return "firefox";
  if (/Android/.test(agent)) return "chrome-android";
  return /Macintosh.*Safari\//.test(agent) && !/Chrom/.test(agent) ? "safari-mac" : "desktop";
}

/** @param {AudioContext} audio */
function playMelody(audio) {
  MELODY_HZ.forEach((frequency, index) => {
    const start = audio.currentTime + index * NOTE_S;
    const gain = new GainNode(audio, { gain: 0 });
    gain.gain.setValueAtTime(0, start);
    gain.gain.linearRampToValueAtTime(LOUDNESS, start + 0.03);
    gain.gain.exponentialRampToValueAtTime(0.001, start + 1.5 * NOTE_S);
    const tone = new OscillatorNode(audio, { frequency, type: "triangle" });
    tone.connect(gain).connect(audio.destination);
    tone.start(start);
    tone.stop(start + 1.5 * NOTE_S);
  });
}

/** @extends {Emitter<{tick: {device: Device, result: Result}}>} */
export class DeviceTest extends Emitter {
  #devices = new Devices();
  #meter = new Meter();
  #picture = findHook("picture", HTMLVideoElement);
  /** @type {AudioContext | null} */
  #audio = null;
  /** @type {MediaStreamTrack | null} */
  #measured = null;
  #heardFrames = 0;
  #hasStarted = false;

  start() {
    onClick("start-test", () => this.open());
    onClick("try-again", () => this.open());
    onClick("play-sound", () => this.play());
    onClick("sound-yes", () => this.#answerSound(true));
    onClick("sound-no", () => this.#answerSound(false));
    this.#devices.on("changed", () => this.#follow());
    this.#picture?.addEventListener("playing", () => this.#tick("camera", "ok"));
    addEventListener("pagehide", () => this.close());
    addEventListener("pageshow", (event) => event.persisted && this.#hasStarted && this.open());
  }

  get tracks() {
    return this.#devices.tracks;
  }

  open() {
    this.#hasStarted = true;
    show("start-test", false);
    return this.#devices.open();
  }

  close() {
    this.#meter.stop();
    this.#measured = null;
    this.#devices.close();
  }

  #follow() {
    if (!this.#hasStarted) return;
    const { video, audio } = this.#devices.tracks;
    const { problems } = this.#devices;
    if (this.#picture) this.#picture.srcObject = video ? this.#devices.preview : null;
    findHook("picture-frame", HTMLElement)?.classList.toggle("is-on", video !== null);
    this.#measure(audio);
    if (problems.video) this.#tick("camera", "failed");
    if (problems.audio) this.#tick("microphone", "failed");
    const isBlind = !video && problems.video !== null;
    show("no-camera-words", isBlind);
    show("next-words", !isBlind);
    show("next-words-no-camera", isBlind);
    this.#help(problems.video ?? problems.audio);
  }

  /** @param {MediaStreamTrack | null} track */
  #measure(track) {
    if (track === this.#measured) return;
    this.#measured = track;
    this.#meter.stop();
    const bar = findHook("level", HTMLMeterElement);
    if (!track || !bar) return;
    this.#meter.start(track, (level) => {
      bar.value = level;
      if (level > HEARD_LEVEL) this.#heardFrames += 1;
      if (this.#heardFrames === HEARD_FRAMES) this.#tick("microphone", "ok");
    });
  }

  /** @param {"denied" | "missing" | "busy" | null} problem */
  #help(problem) {
    for (const kind of ["denied", "missing", "busy"]) show(`help-${kind}`, kind === problem);
    show("try-again", problem !== null);
    for (const help of document.querySelectorAll("[data-browser]")) {
      const isThis = help.getAttribute("data-browser") === browserName();
      help.toggleAttribute("hidden", !isThis);
    }
  }

  async play() {
    this.#audio ??= new AudioContext();
    await this.#audio.resume();
    playMelody(this.#audio);
    show("sound-question", true);
    show("sound-help", false);
  }

  /** @param {boolean} isHeard */
  #answerSound(isHeard) {
    this.#tick("loudspeaker", isHeard ? "ok" : "failed");
    show("sound-help", !isHeard);
    show("sound-question", false);
  }

  /**
   * @param {Device} device
   * @param {Result} result
   */
  #tick(device, result) {
    const line = findHook(`tick-${device}`, HTMLElement);
    line?.classList.toggle("is-ok", result === "ok");
    line?.classList.toggle("is-failed", result === "failed");
    for (const words of line?.querySelectorAll("[data-tick]") ?? []) {
      words.toggleAttribute("hidden", words.getAttribute("data-tick") !== result);
    }
    const field = findHook(`result-${device}`, HTMLInputElement);
    if (field) field.value = result;
    this.emit("tick", { device, result });
  }
}
