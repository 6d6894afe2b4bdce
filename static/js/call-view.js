// The other person's picture and everything said about it: line, media, seconds of waiting.

import { isAdmitted, peerOf } from "./fold.js";
import { _ } from "./i18n.js";
import { Line } from "./line.js";
import { byTestId, findHook, onClick, say, show } from "./page.js";
import { NOTHING_KNOWN } from "./recovery.js";

/** @typedef {import("./devices.js").Devices} Devices */
/** @typedef {import("./session.js").Session} Session */
/** @typedef {import("./fold.js").Person} Person */

const PATIENCE_MS = 1500;
const CHANGE_WORDS_AFTER_S = 5;
const PHONE_AFTER_S = 20;

export class CallView {
  #session;
  #peerName;
  #devices;
  #isPlayRefused = false;
  /** @type {import("./recovery.js").Arrivals} */
  #arrivals = NOTHING_KNOWN;
  #remote = byTestId("remote-video", HTMLVideoElement);
  #frame = findHook("remote", HTMLElement);
  /** @type {MediaStream | null} */
  #stream = null;
  #isNoting = false;
  #lostAt = 0;
  /** @type {ReturnType<typeof setInterval> | undefined} */
  #clock;

  /**
   * @param {Session} session
   * @param {string} peerName
   * @param {Devices} devices
   */
  constructor(session, peerName, devices) {
    this.#session = session;
    this.#peerName = peerName;
    this.#devices = devices;
    new Line(session, peerName);
    session.on("remote", (stream) => this.#play(stream));
    session.on("room", () => this.#draw());
    session.on("line", () => this.#draw());
    session.on("wire", () => this.#draw());
    session.on("trouble", () => this.#draw());
    session.on("arrivals", (arrivals) => {
      this.#arrivals = arrivals;
      this.#draw();
    });
    session.on("stopped", () => this.stop());
    session.on("message", ({ noting }) => this.#sayNoting(noting));
    onClick("sound-resume", () => this.#bringSoundBack());
    devices.on("changed", () => this.#offerSound());
    this.#remote.addEventListener("pause", () => {
      if (this.#stream) this.#resume();
    });
    document.addEventListener("visibilitychange", () => {
      if (this.#stream && document.visibilityState === "visible") this.#resume();
    });
  }

  stop() {
    this.#setLost(false);
  }

  /**
   * A stream without a picture yet would keep the page loading: it waits for the page.
   * @param {MediaStream | null} stream
   */
  #play(stream) {
    this.#stream = stream;
    if (!stream || !this.#session.peer) {
      this.#remote.srcObject = null;
      return;
    }
    if (document.readyState !== "complete") {
      addEventListener("load", () => this.#play(this.#stream), { once: true });
      return;
    }
    if (this.#remote.srcObject === stream) return;
    this.#remote.srcObject = stream;
    this.#resume();
  }

  /** Sound may need a touch: the button is shown only when the browser says so. */
  #resume() {
    const answer = (/** @type {boolean} */ isRefused) => {
      this.#isPlayRefused = isRefused;
      this.#offerSound();
    };
    this.#remote.play().then(
      () => answer(false),
      (refusal) => answer(refusal.name === "NotAllowedError"),
    );
  }

  /** A telephone call or another app may have taken the microphone: one touch brings all back. */
  #offerSound() {
    const { isInterrupted } = this.#devices;
    if (isInterrupted) say("sound-resume", _("Touch here to get the sound back"));
    show("sound-resume", Boolean(this.#stream) && (isInterrupted || this.#isPlayRefused));
  }

  #bringSoundBack() {
    this.#devices.revive();
    this.#resume();
  }

  /** @param {unknown} noting */
  #sayNoting(noting) {
    if (typeof noting !== "boolean") return;
    this.#isNoting = noting;
    this.#draw();
  }

  #draw() {
    const room = this.#session.room;
    if (!room) return;
    const peer = peerOf(room);
    const isIn = isAdmitted(room);
    const state = this.#session.peer?.state;
    const isLineUp = state === "connected";
    const isPeerGone = !peer || peer.presence === "gone";
    say("peer-state", isIn ? this.#peerWords(peer) : "");
    const isSilent = isLineUp && this.#session.trouble === "line";
    const isLost = isIn ? !isPeerGone && (!isLineUp || isSilent) : !this.#session.isUp && !room.outcome;
    this.#setLost(isLost, isSilent ? this.#session.troubleAt : Date.now());
  }

  /** @param {Person} [peer] */
  #peerWords(peer) {
    const name = this.#peerName;
    if (!peer || peer.presence === "gone") return _("{name} has left the room.", { name });
    if (peer.presence === "away") return _("{name} has lost the line. Please wait.", { name });
    if (peer.screen) return _("{name} is showing the screen", { name });
    if (!peer.microphone && !peer.camera) return _("{name} has no microphone and no camera on", { name });
    if (!peer.camera) return _("{name} has turned off the camera", { name });
    if (!peer.microphone) return _("{name} has turned off the microphone", { name });
    const missing = this.#missingWords(name);
    return missing || (this.#isNoting ? _("{name} is taking notes", { name }) : "");
  }

  /**
   * What is sent and does not arrive, the voice before the picture.
   * @param {string} name
   */
  #missingWords(name) {
    const { hears, isHeard, sees, isSeen } = this.#arrivals;
    if (hears === false) return _("We cannot hear {name}. We are trying again.", { name });
    if (isHeard === false) return _("{name} cannot hear you. We are trying again.", { name });
    if (sees === false) return _("We cannot see {name}. We are trying again.", { name });
    if (isSeen === false) return _("{name} cannot see you. We are trying again.", { name });
    return "";
  }

  /**
   * @param {boolean} isLost
   * @param {number} [at] when it began, which may be before it was noticed
   */
  #setLost(isLost, at = Date.now()) {
    if (isLost === this.#lostAt > 0) return;
    clearInterval(this.#clock);
    this.#lostAt = isLost ? at : 0;
    if (isLost) this.#clock = setInterval(() => this.#count(), 500);
    else this.#showLost(false);
  }

  #count() {
    const seconds = Math.floor((Date.now() - this.#lostAt) / 1000);
    if (Date.now() - this.#lostAt < PATIENCE_MS) return;
    this.#showLost(true);
    const words =
      seconds < CHANGE_WORDS_AFTER_S
        ? _("One moment, we are reconnecting you. Do not close this page.")
        : _("We are still trying. Your place is kept. Do not close this page.");
    say("reconnecting-words", words);
    say("reconnecting-seconds", _("{seconds} seconds", { seconds }));
    say("line-state", _("Reconnecting"));
    show("desk-phone", seconds >= PHONE_AFTER_S);
  }

  /** @param {boolean} isLost */
  #showLost(isLost) {
    show("reconnecting", isLost);
    this.#frame?.toggleAttribute("data-dimmed", isLost);
    if (!isLost) say("line-state", _("Good line"));
  }
}
