// This page's own camera, microphone and screen: opened gently, chosen, flipped, kept alive.
// A missing or refused device never stops the visit. What the system takes away (unplugged, another
// app, a telephone call on iOS) is asked for again by itself; `isInterrupted` says that only a touch
// of the person can bring the voice back, `revive` is that touch.

import { Emitter } from "./emitter.js";

/** @typedef {"audio" | "video"} Kind */
/** @typedef {"denied" | "missing" | "busy"} Problem */

/** @type {Kind[]} */
const KINDS = ["audio", "video"];

const AUDIO = { echoCancellation: true, noiseSuppression: true, autoGainControl: true };
const VIDEO = { width: { ideal: 1280 }, height: { ideal: 720 }, frameRate: { max: 30 } };
const REACQUIRE_AFTER_MS = 500;
const REACQUIRE_AGAIN_MS = 5000;
const MUTE_SETTLES_MS = 1500;

/**
 * @param {unknown} refusal
 * @returns {Problem}
 */
function problemFrom(refusal) {
  const name = refusal instanceof Error ? refusal.name : "";
  if (name === "NotAllowedError" || name === "SecurityError") return "denied";
  if (name === "NotReadableError" || name === "AbortError") return "busy";
  return "missing";
}

/** iOS and Safari play where the system says: no choice of loudspeaker is offered there. */
export function canChooseSpeaker() {
  const isSafari = /^((?!chrome|android).)*safari/i.test(navigator.userAgent);
  return "setSinkId" in HTMLMediaElement.prototype && !isSafari;
}

/** @extends {Emitter<{changed: void}>} */
export class Devices extends Emitter {
  /** The stream of the own picture; its tracks come and go. */
  preview = new MediaStream();
  /** @type {Record<Kind, Problem | null>} */
  problems = { audio: null, video: null };
  /** @type {() => void} */
  #markReady = () => undefined;
  /** @type {Promise<void>} resolves when the person has answered and the devices are open */
  ready = new Promise((resolve) => {
    this.#markReady = resolve;
  });
  /** @type {Record<Kind, MediaStreamTrack | null>} */
  #tracks = { audio: null, video: null };
  /** @type {MediaStreamTrack | null} */
  #screen = null;
  /** @type {Record<Kind, boolean>} */
  #isOn = { audio: true, video: true };
  /** @type {Record<Kind, boolean>} by the system, not by the person */
  #isTaken = { audio: false, video: false };
  /** @type {MediaTrackConstraints | null} what was wanted before the camera was borrowed */
  #lent = null;
  #isReacquiring = false;
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  #again;
  /** @type {Record<Kind, MediaTrackConstraints>} */
  #wanted = { audio: AUDIO, video: { ...VIDEO, facingMode: "user" } };

  constructor() {
    super();
    navigator.mediaDevices?.addEventListener("devicechange", () => this.#reacquire());
    document.addEventListener("visibilitychange", () => this.#reacquire());
  }

  /** Both together (one question to the person), then each alone. */
  async open() {
    try {
      const stream = await navigator.mediaDevices.getUserMedia(this.#wanted);
      for (const track of stream.getTracks()) this.#take(track);
    } catch {
      await this.#openOne("audio");
      await this.#openOne("video");
    }
    this.#markReady();
    this.emit("changed", undefined);
  }

  get tracks() {
    return { audio: this.#tracks.audio, video: this.#screen ?? this.#tracks.video };
  }

  get flags() {
    return {
      microphone: this.#isOn.audio && this.#tracks.audio !== null && !this.#isTaken.audio,
      camera: this.#isOn.video && this.#tracks.video !== null && !this.#isTaken.video,
      screen: this.#screen !== null,
    };
  }

  get isInterrupted() {
    return this.#isTaken.audio;
  }

  /** Opens anew what the system has silenced; the silent one is kept when that is refused. */
  async revive() {
    for (const kind of KINDS) {
      if (this.#isTaken[kind]) await this.#openOne(kind);
    }
    this.emit("changed", undefined);
  }

  /**
   * @param {Kind} kind
   * @param {boolean} isOn
   */
  switch(kind, isOn) {
    this.#isOn[kind] = isOn;
    const track = this.#tracks[kind];
    if (track) track.enabled = isOn;
    else if (isOn) this.#openOne(kind).then(() => this.emit("changed", undefined));
    this.emit("changed", undefined);
  }

  /**
   * @param {Kind} kind
   * @param {string} deviceId
   */
  async choose(kind, deviceId) {
    const base = kind === "audio" ? AUDIO : VIDEO;
    await this.#change(kind, { ...base, deviceId: { exact: deviceId } });
  }

  /** The other camera of a phone. */
  async flip() {
    const facing = this.#tracks.video?.getSettings().facingMode;
    const facingMode = facing === "environment" ? "user" : "environment";
    await this.#change("video", { ...VIDEO, facingMode });
  }

  /**
   * Puts the camera on the back in the place of the one in use, until `giveCameraBack`. The voice
   * is not touched.
   * @returns {Promise<MediaStreamTrack | null>} null when there is no camera for us
   */
  async borrowRearCamera() {
    this.#lent ??= this.#wanted.video;
    await this.#change("video", { ...VIDEO, facingMode: { ideal: "environment" } });
    return this.#tracks.video;
  }

  async giveCameraBack() {
    const before = this.#lent;
    this.#lent = null;
    if (before) await this.#change("video", before);
  }

  /** @returns {Promise<boolean>} whether the screen is shared now */
  async toggleScreen() {
    if (this.#screen) {
      this.#screen.stop();
      this.#screen = null;
    } else {
      const stream = await navigator.mediaDevices.getDisplayMedia({ video: true }).catch(() => null);
      this.#screen = stream?.getVideoTracks()[0] ?? null;
      this.#screen?.addEventListener("ended", () => {
        this.#screen = null;
        this.emit("changed", undefined);
      });
    }
    this.emit("changed", undefined);
    return this.#screen !== null;
  }

  /** @param {MediaDeviceKind} kind */
  async list(kind) {
    const devices = (await navigator.mediaDevices?.enumerateDevices()) ?? [];
    return devices.filter((device) => device.kind === kind && device.deviceId);
  }

  close() {
    clearTimeout(this.#again);
    this.#screen?.stop();
    for (const kind of KINDS) this.#drop(kind);
  }

  /**
   * Phones open one camera at a time: the old one is let go first, and taken back on refusal.
   * @param {Kind} kind
   * @param {MediaTrackConstraints} wanted
   */
  async #change(kind, wanted) {
    const before = this.#wanted[kind];
    this.#drop(kind);
    this.#wanted[kind] = wanted;
    await this.#openOne(kind);
    if (!this.#tracks[kind]) {
      this.#wanted[kind] = before;
      await this.#openOne(kind);
    }
    this.emit("changed", undefined);
  }

  /** @param {Kind} kind */
  async #openOne(kind) {
    const base = kind === "audio" ? AUDIO : VIDEO;
    const { deviceId: chosen, ...others } = this.#wanted[kind];
    try {
      const stream = await this.#request(kind, this.#wanted[kind]).catch((refusal) => {
        if (chosen && problemFrom(refusal) === "missing") return this.#request(kind, { ...base, ...others });
        throw refusal;
      });
      for (const track of stream.getTracks()) this.#take(track);
    } catch (refusal) {
      if (!this.#tracks[kind]) this.problems[kind] = problemFrom(refusal);
    }
  }

  /**
   * @param {Kind} kind
   * @param {MediaTrackConstraints} constraints
   */
  #request(kind, constraints) {
    return navigator.mediaDevices.getUserMedia({ [kind]: constraints });
  }

  /** @param {MediaStreamTrack} track */
  #take(track) {
    const kind = /** @type {Kind} */ (track.kind);
    this.#drop(kind);
    this.#tracks[kind] = track;
    this.problems[kind] = null;
    this.preview.addTrack(track);
    track.enabled = this.#isOn[kind];
    this.#isTaken[kind] = false;
    track.addEventListener("mute", () => setTimeout(() => this.#onSilenced(track), MUTE_SETTLES_MS));
    track.addEventListener("unmute", () => this.#setTaken(track, false));
    track.addEventListener("ended", () => {
      if (this.#tracks[kind] !== track) return;
      this.#drop(kind);
      this.problems[kind] = "busy";
      this.emit("changed", undefined);
      setTimeout(() => this.#reacquire(), REACQUIRE_AFTER_MS);
    });
  }

  /**
   * The system has silenced a device and not given it back: the page tries once by itself.
   * @param {MediaStreamTrack} track
   */
  #onSilenced(track) {
    if (!track.muted || track.readyState === "ended") return;
    this.#setTaken(track, true);
    if (document.visibilityState === "visible") this.revive();
  }

  /**
   * @param {MediaStreamTrack} track
   * @param {boolean} isTaken
   */
  #setTaken(track, isTaken) {
    const kind = /** @type {Kind} */ (track.kind);
    if (this.#tracks[kind] !== track || this.#isTaken[kind] === isTaken) return;
    this.#isTaken[kind] = isTaken;
    this.emit("changed", undefined);
  }

  /** @param {Kind} kind */
  #drop(kind) {
    const track = this.#tracks[kind];
    if (!track) return;
    this.#isTaken[kind] = false;
    this.#tracks[kind] = null;
    this.preview.removeTrack(track);
    track.stop();
  }

  /** A device that was lost (unplugged, taken by a phone call) is asked for again. */
  async #reacquire() {
    clearTimeout(this.#again);
    if (document.visibilityState !== "visible" || this.#isReacquiring) return;
    this.#isReacquiring = true;
    for (const kind of KINDS) {
      const problem = this.problems[kind];
      const isLost = !this.#tracks[kind] && (problem === "busy" || problem === "missing");
      if (isLost || this.#isTaken[kind]) await this.#openOne(kind);
    }
    this.#isReacquiring = false;
    const isBusy = KINDS.some((kind) => this.problems[kind] === "busy");
    if (isBusy) this.#again = setTimeout(() => this.#reacquire(), REACQUIRE_AGAIN_MS);
    this.emit("changed", undefined);
  }
}
