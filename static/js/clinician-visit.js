/**
 * Entry of the clinician's visit page: the call beside the note.
 *
 * `#page-data`: ticketUrl, state ("in_visit" once the patient was admitted), start (ISO), and
 * optionally peerName. Other data of the page belong to note.js and finish.js.
 *
 * Test ids: admit, local-video, remote-video, toggle-mic, toggle-camera, chat-input, chat-log,
 * leave, and the hook note-parts (watched for focus: the patient reads "is taking notes").
 *
 * Sections by `data-hook`: call, left (with a rejoin button and the link to the agenda), ended,
 * replaced, unsafe (the figures were different); the element `room` gets `data-phase` with the same word, `data-patient` with the
 * patient's state. All hooks of patient-room.js, and:
 * - patient-state: words about where the patient is (role=status)
 * - screen-share: button; picture-in-picture: button, hidden where the browser cannot
 *
 * What is said of the line has the hooks of line-view.js, of a recording those of recording-ask.js.
 */

import { Alerts } from "./alerts.js";
import { CallView } from "./call-view.js";
import { Chat } from "./chat.js";
import { Controls } from "./controls.js";
import { Devices } from "./devices.js";
import { makeCertificate } from "./fingerprints.js";
import { isAdmitted, isMovedFrom, peerOf } from "./fold.js";
import { _ } from "./i18n.js";
import { note } from "./note.js";
import { askServerAgain, byTestId, findHook, onClick, pageData, say, show } from "./page.js";
import { RecordingAsk } from "./recording-ask.js";
import { RecordingConsent } from "./recording-consent.js";
import { RecordingView } from "./recording-view.js";
import { Session } from "./session.js";
import { VerifyView } from "./verify-view.js";
import { visitFiles } from "./visit-files.js";
import { WakeLock } from "./wakelock.js";

/** @typedef {import("./fold.js").Room} Room */
/** @typedef {import("./fold.js").Person} Person */
/** @typedef {"call" | "left" | "ended" | "replaced" | "unsafe"} Phase */

/** @type {Phase[]} */
const PHASES = ["call", "left", "ended", "replaced", "unsafe"];

const certificate = await makeCertificate();

class ClinicianVisit {
  #data = pageData();
  #devices = new Devices();
  #alerts = new Alerts();
  #wakeLock = new WakeLock();
  #admit = byTestId("admit", HTMLButtonElement);
  #session = new Session({
    ticketUrl: this.#data.ticketUrl,
    isVisitRunning: this.#data.state === "in_visit",
    media: this.#devices,
    certificate,
  });
  /** @type {Phase} */
  #phase = "call";

  constructor() {
    const peerName = this.#data.peerName ?? _("The patient");
    new Controls(this.#devices);
    new CallView(this.#session, peerName, this.#devices);
    new Chat(this.#session, peerName);
    new RecordingAsk(this.#session, this.#data.recordingUrl);
    new RecordingView(this.#session, this.#data.recordingUrl);
    new RecordingConsent(this.#session, this.#data.recordingUrl);
    new VerifyView(this.#session, {
      role: "clinician",
      visitId: this.#data.visitId,
      peerName,
      answerUrl: this.#data.verificationUrl,
      onMismatch: () => this.#leave("unsafe"),
    });
    this.#devices.on("changed", () => this.#session.mediaChanged());
    this.#session.on("room", (room) => this.#follow(room));
    this.#session.on("room", (room) => visitFiles.follow(room));
    this.#session.on("wire", (isUp) => {
      this.#drawAdmit();
      if (isUp) note.lineIsBack();
    });
    this.#session.on("refused", () => this.#drawAdmit());
    this.#session.on("stopped", ({ reason }) => this.#onStopped(reason));
    this.#admit.addEventListener("click", () => this.#admitPatient());
    byTestId("leave", HTMLElement).addEventListener("click", () => this.#leave());
    onClick("rejoin", () => this.#join());
    this.#offerPictureInPicture();
    this.#watchNote();
  }

  start() {
    this.#drawAdmit();
    if (this.#data.state === "left") return this.#setPhase("left");
    return this.#join();
  }

  #join() {
    this.#setPhase("call");
    this.#devices.open();
    this.#session.start();
  }

  /** @param {"left" | "unsafe"} [phase] */
  async #leave(phase = "left") {
    this.#setPhase(phase);
    this.#alerts.stop();
    await this.#session.leave();
    this.#devices.close();
  }

  #admitPatient() {
    this.#admit.disabled = true;
    this.#session.admitPatient();
  }

  /** @param {Room} room */
  #follow(room) {
    if (this.#phase !== "call") return;
    if (isMovedFrom(room, this.#data.start)) return this.#showNewStart();
    if (room.outcome) return this.#end();
    const patient = peerOf(room);
    const state = this.#patientState(patient, isAdmitted(room));
    const element = findHook("room", HTMLElement);
    if (element) element.dataset.patient = state;
    say("patient-state", this.#patientWords(state));
    if (state === "waiting") this.#alerts.start(_("The patient is waiting"));
    else this.#alerts.stop();
    this.#drawAdmit();
  }

  #drawAdmit() {
    const room = this.#session.room;
    const patient = room && peerOf(room);
    const isWaiting = Boolean(room && patient?.presence === "here" && !isAdmitted(room));
    this.#admit.disabled = !(isWaiting && this.#session.isUp);
  }

  /**
   * @param {Person | undefined} patient
   * @param {boolean} isIn
   */
  #patientState(patient, isIn) {
    if (!patient) return "absent";
    if (patient.presence !== "here") return patient.presence;
    return isIn ? "in_visit" : "waiting";
  }

  /** @param {string} state */
  #patientWords(state) {
    switch (state) {
      case "waiting":
        return _("The patient is waiting");
      case "in_visit":
        return _("The patient is in the visit");
      case "away":
        return _("The patient has lost the line and can come back");
      case "gone":
        return _("The patient has left and can come back");
      case "turned_away":
        return _("The patient was not let in");
      default:
        return _("The patient is not here yet");
    }
  }

  #end() {
    this.#setPhase("ended");
    this.#alerts.stop();
    this.#session.stop();
    this.#devices.close();
  }

  /** Never in a circle: the next page shows what this one was told, or what came later. */
  #showNewStart() {
    this.#alerts.stop();
    this.#session.stop();
    this.#devices.close();
    location.replace(location.href);
  }

  /** @param {string} reason */
  #onStopped(reason) {
    if (this.#phase !== "call") return;
    this.#alerts.stop();
    this.#session.stop();
    this.#devices.close();
    if (reason === "replaced") this.#setPhase("replaced");
    else if (!askServerAgain(location.href)) this.#setPhase("left");
  }

  /** @param {Phase} phase */
  #setPhase(phase) {
    this.#phase = phase;
    for (const other of PHASES) show(other, other === phase);
    const room = findHook("room", HTMLElement);
    if (room) room.dataset.phase = phase;
    this.#wakeLock.set(phase === "call");
  }

  #offerPictureInPicture() {
    const video = byTestId("remote-video", HTMLVideoElement);
    show("picture-in-picture", document.pictureInPictureEnabled);
    onClick("picture-in-picture", () => {
      const isOut = document.pictureInPictureElement !== null;
      const act = isOut ? document.exitPictureInPicture() : video.requestPictureInPicture();
      act.catch(() => undefined);
    });
  }

  /** The patient sees that the silence is writing. */
  #watchNote() {
    const note = findHook("note-parts", HTMLElement);
    note?.addEventListener("focusin", () => this.#session.tell({ noting: true }));
    note?.addEventListener("focusout", (event) => {
      if (!note.contains(/** @type {Node | null} */ (event.relatedTarget))) {
        this.#session.tell({ noting: false });
      }
    });
  }
}

say("peer-state", "");
new ClinicianVisit().start();
