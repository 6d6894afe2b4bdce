// The other person's picture and everything said about it: line, media, seconds of waiting.

import { isAdmitted, peerOf } from "./fold.js";
import { _ } from "./i18n.js";
import { byTestId, findHook, onClick, say, show } from "./page.js";
import { Quality } from "./quality.js";

/** @typedef {import("./session.js").Session} Session */
/** @typedef {import("./fold.js").Person} Person */
/** @typedef {import("./quality.js").Measure} Measure */

const PATIENCE_MS = 1500;
const CHANGE_WORDS_AFTER_S = 5;
const PHONE_AFTER_S = 20;

export class CallView {
  #session;
  #peerName;
  #remote = byTestId("remote-video", HTMLVideoElement);
  #frame = findHook("remote", HTMLElement);
  #quality = new Quality();
  /** @type {MediaStream | null} */
  #stream = null;
  #isNoting = false;
  #lostAt = 0;
  /** @type {ReturnType<typeof setInterval> | undefined} */
  #clock;

  /**
   * @param {Session} session
   * @param {string} peerName
   */
  constructor(session, peerName) {
    this.#session = session;
    this.#peerName = peerName;
    session.on("remote", (stream) => this.#play(stream));
    session.on("room", () => this.#draw());
    session.on("line", () => this.#draw());
    session.on("wire", () => this.#draw());
    session.on("stopped", () => this.stop());
    session.on("message", ({ noting }) => this.#sayNoting(noting));
    this.#quality.on("proven", (proof) => session.proveMedia(proof));
    this.#quality.on("measure", (measure) => this.#sayQuality(measure));
    onClick("sound-resume", () => this.#resume());
  }

  stop() {
    this.#quality.stop();
    this.#setLost(false);
  }

  /**
   * A stream without a picture yet would keep the page loading: it waits for the page.
   * @param {MediaStream | null} stream
   */
  #play(stream) {
    this.#stream = stream;
    if (!stream || !this.#session.peer) {
      this.#quality.stop();
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
    this.#remote.play().then(
      () => show("sound-resume", false),
      (refusal) => show("sound-resume", refusal.name === "NotAllowedError"),
    );
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
    if (isIn && this.#session.peer) this.#quality.watch(this.#session.peer);
    const state = this.#session.peer?.state;
    const isLineUp = state === "connected";
    const isPeerGone = !peer || peer.presence === "gone";
    say("peer-state", isIn ? this.#peerWords(peer) : "");
    const isLost = isIn ? !isPeerGone && !isLineUp : !this.#session.isUp && !room.outcome;
    this.#setLost(isLost);
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
    return this.#isNoting ? _("{name} is taking notes", { name }) : "";
  }

  /** @param {Measure} measure */
  #sayQuality({ incoming, outgoing }) {
    const words = { good: _("Good line"), weak: _("Weak line: we keep the voice") };
    const isWeak = incoming === "weak" || outgoing === "weak";
    say("line-state", this.#lostAt ? _("Reconnecting") : isWeak ? words.weak : words.good);
    say("line-incoming", words[incoming]);
    say("line-outgoing", words[outgoing]);
    this.#session.peer?.setPicture(outgoing === "weak" ? "weak" : "full");
  }

  /** @param {boolean} isLost */
  #setLost(isLost) {
    if (isLost === this.#lostAt > 0) return;
    clearInterval(this.#clock);
    this.#lostAt = isLost ? Date.now() : 0;
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
