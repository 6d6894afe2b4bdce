/**
 * Entry of the patient's room: waiting room and visit on one page, one socket.
 *
 * `#page-data`: ticketUrl, state, start (ISO), doctor, endUrl, reloadUrl, filesUrl, stillUrl, and
 * optionally peerName. `state` is the visit's ("waiting", "in_visit" …) or "left".
 *
 * Test ids: waiting-status, local-video, remote-video, toggle-mic, toggle-camera, chat-input,
 * chat-log, leave. The two toggles may hold a `[data-label]` element that takes the words.
 *
 * Sections, shown one at a time with `hidden`, by `data-hook`: waiting, call, left, ended,
 * replaced (open on another device), unsafe (the figures were different). The element `room` gets
 * `data-phase` with the same word.
 * Keep `self` (the figure around local-video, gets `data-corner`) and the controls outside of
 * them: they serve waiting and call. Other hooks, each optional:
 * - remote: around remote-video, gets `data-dimmed` while the line is down
 * - reconnecting > reconnecting-words, reconnecting-seconds, desk-phone (shown after 20 s; the
 *   number in it is the template's)
 * - line-state, line-incoming, line-outgoing: words; peer-state: what the other one has off
 * - sound-resume: button, shown when the browser wants a touch before it plays
 * - rejoin: button(s), in left, replaced and unsafe; flip-camera, move-self: buttons
 * - device-problem: words; level: a `<meter min=0 max=1>` of the own voice
 * - drawer, drawer-toggle (aria-expanded); choose-camera, choose-microphone, choose-speaker:
 *   selects; speaker-choice: around the last
 * - chat-state: words while messages cannot pass; chat-send: button; large-text-toggle: button;
 *   large-text: over the picture
 * - those of verify-view.js, own-files.js, still.js, recording-view.js and recording-consent.js
 * Live regions are the template's: waiting-status, peer-state and line-state are role=status.
 */

import { CallView } from "./call-view.js";
import { Chat } from "./chat.js";
import { Controls } from "./controls.js";
import { Devices } from "./devices.js";
import { makeCertificate } from "./fingerprints.js";
import { isAdmitted, isMovedFrom, peerOf, selfOf } from "./fold.js";
import { _ } from "./i18n.js";
import { OwnFiles } from "./own-files.js";
import { askServerAgain, byTestId, findHook, onClick, pageData, say, sentence, show } from "./page.js";
import { RecordingConsent } from "./recording-consent.js";
import { RecordingView } from "./recording-view.js";
import { Session } from "./session.js";
import { Still } from "./still.js";
import { VerifyView } from "./verify-view.js";
import { WakeLock } from "./wakelock.js";

/** @typedef {import("./fold.js").Room} Room */
/** @typedef {"waiting" | "call" | "left" | "ended" | "replaced" | "unsafe"} Phase */

/** @type {Phase[]} */
const PHASES = ["waiting", "call", "left", "ended", "replaced", "unsafe"];
const WELCOME_BACK_MS = 6000;
const PATIENCE_MS = 1500;
const REPEAT_WORDS_MS = 30_000;

const certificate = await makeCertificate();

class PatientRoom {
  #data = pageData();
  #devices = new Devices();
  #status = byTestId("waiting-status", HTMLElement);
  #wakeLock = new WakeLock();
  #session = new Session({
    ticketUrl: this.#data.ticketUrl,
    isVisitRunning: this.#data.state === "in_visit",
    media: this.#devices,
    certificate,
  });
  /** @type {Phase} */
  #phase = "waiting";
  #backUntil = 0;
  #files = new OwnFiles(this.#data.filesUrl);
  #filesSeq = 0;

  constructor() {
    const peerName = this.#data.peerName ?? this.#data.doctor ?? _("The doctor");
    new Controls(this.#devices);
    new CallView(this.#session, this.#data.doctor ?? peerName, this.#devices);
    new Chat(this.#session, peerName);
    new RecordingView(this.#session, this.#data.recordingUrl);
    new RecordingConsent(this.#session, this.#data.recordingUrl);
    new Still(this.#session, this.#devices, this.#data.stillUrl);
    new VerifyView(this.#session, {
      role: "patient",
      visitId: this.#data.visitId,
      peerName,
      onMismatch: () => this.#leave("unsafe"),
    });
    this.#devices.on("changed", () => this.#session.mediaChanged());
    this.#session.on("room", (room) => this.#follow(room));
    this.#session.on("wire", () => setTimeout(() => this.#sayWaiting(), PATIENCE_MS));
    this.#session.on("stopped", ({ reason }) => this.#onStopped(reason));
    byTestId("leave", HTMLElement).addEventListener("click", () => this.#leave());
    onClick("rejoin", () => this.#join());
    document.addEventListener("visibilitychange", () => this.#greet());
    setInterval(() => this.#sayWaiting(), REPEAT_WORDS_MS);
  }

  start() {
    if (this.#data.state === "left") return this.#setPhase("left");
    this.#sayWaiting();
    return this.#join();
  }

  #join() {
    this.#setPhase(this.#data.state === "in_visit" ? "call" : "waiting");
    this.#devices.open();
    this.#session.start();
  }

  /** @param {"left" | "unsafe"} [phase] */
  async #leave(phase = "left") {
    this.#setPhase(phase);
    await this.#session.leave();
    this.#devices.close();
  }

  /** @param {Room} room */
  #follow(room) {
    if (this.#phase === "left" || this.#phase === "unsafe") return;
    if (room.outcome) return this.#end();
    if (isMovedFrom(room, this.#data.start)) return this.#showNewStart();
    if (selfOf(room)?.presence === "turned_away") return this.#onStopped("turned_away");
    if (isAdmitted(room)) this.#data.state = "in_visit";
    this.#setPhase(isAdmitted(room) ? "call" : "waiting");
    if (room.filesSeq !== this.#filesSeq) this.#files.refresh();
    this.#filesSeq = room.filesSeq;
    this.#sayWaiting();
  }

  #end() {
    this.#setPhase("ended");
    this.#session.stop();
    this.#devices.close();
    if (this.#data.endUrl) location.replace(this.#data.endUrl);
  }

  /** Never in a circle: the next page shows what this one was told, or what came later. */
  #showNewStart() {
    this.#session.stop();
    this.#devices.close();
    location.replace(this.#data.reloadUrl ?? location.href);
  }

  /** @param {string} reason */
  #onStopped(reason) {
    if (this.#phase !== "waiting" && this.#phase !== "call") return;
    this.#session.stop();
    this.#devices.close();
    if (reason === "replaced") this.#setPhase("replaced");
    else if (!askServerAgain(this.#data.reloadUrl ?? location.href)) this.#setPhase("left");
  }

  /** @param {Phase} phase */
  #setPhase(phase) {
    this.#phase = phase;
    for (const other of PHASES) show(other, other === phase);
    const room = findHook("room", HTMLElement);
    if (room) room.dataset.phase = phase;
    this.#wakeLock.set(phase === "waiting" || phase === "call");
  }

  #greet() {
    if (document.visibilityState !== "visible" || this.#phase !== "waiting") return;
    this.#backUntil = Date.now() + WELCOME_BACK_MS;
    this.#sayWaiting();
    setTimeout(() => this.#sayWaiting(), WELCOME_BACK_MS);
  }

  #sayWaiting() {
    const [state, plain] = this.#waitingWords();
    const words = sentence(plain);
    this.#status.dataset.state = state;
    if (this.#status.textContent !== words) this.#status.textContent = words;
  }

  /** @returns {[string, string]} what is true now, most useful first */
  #waitingWords() {
    const room = this.#session.room;
    const doctor = this.#data.doctor ?? _("The doctor");
    if (room && isAdmitted(room)) return ["admitted", _("You are in the visit with {doctor}.", { doctor })];
    if (room && !this.#session.isUp) {
      return ["reconnecting", _("One moment, we are reconnecting you. Do not close this page.")];
    }
    if (Date.now() < this.#backUntil) {
      return ["waiting", _("Welcome back. You have not lost your place.")];
    }
    if (room && peerOf(room)?.presence === "here") return ["soon", _("It is almost your turn.")];
    const minutes = room?.lateMinutes ?? 0;
    if (minutes > 0) {
      return ["late", _("{doctor} is {minutes} minutes late. You keep your place.", { doctor, minutes })];
    }
    const start = new Date(this.#data.start);
    if (start.getTime() > Date.now()) {
      const time = start.toLocaleTimeString(document.documentElement.lang || "it", {
        hour: "2-digit",
        minute: "2-digit",
        timeZone: "Europe/Rome",
      });
      return ["waiting", _("{doctor} will call you at about {time}.", { doctor, time })];
    }
    return ["waiting", _("You are in the waiting room. {doctor} will call you soon.", { doctor })];
  }
}

say("peer-state", "");
new PatientRoom().start();
