// The patient's side of a photo that the doctor asks for: question, rear camera, look, send.
//
// `#page-data`: stillUrl. Hooks: still (dialog) with the parts still-ask, still-camera and
// still-review; still-sentence and still-paragraphs (the text as the server hashes it), still-view
// (video), still-picture (img), still-words (role=status), still-problem (role=alert),
// still-progress; buttons still-agree, still-decline, still-shoot, still-send, still-again and
// still-cancel; still-done (role=status) outside of the dialog.
// The voice goes on all the time; while the dialog looks through the rear camera the doctor sees
// the same, and the camera of before comes back at every end.

import { isAdmitted } from "./fold.js";
import { _ } from "./i18n.js";
import { sendForm } from "./own-files.js";
import { fillParagraphs, findHook, onClick, post, say, show } from "./page.js";
import { takePicture } from "./photo.js";

/** @typedef {import("./devices.js").Devices} Devices */
/** @typedef {import("./fold.js").Room} Room */
/** @typedef {import("./session.js").Session} Session */
/** @typedef {"none" | "ask" | "camera" | "review"} Step */

/** @type {Step[]} */
const STEPS = ["ask", "camera", "review"];
const ASK_AGAIN_MS = 3000;
const SAY_NO_TIMES = 20;
const DONE_MS = 8000;

export class Still {
  #devices;
  #url;
  #dialog = findHook("still", HTMLDialogElement);
  #view = findHook("still-view", HTMLVideoElement);
  #image = findHook("still-picture", HTMLImageElement);
  /** @type {Step} */
  #step = "none";
  #ask = "";
  #textHash = "";
  #consent = "";
  /** @type {MediaStreamTrack | null} */
  #track = null;
  /** @type {import("./photo.js").Picture | null} */
  #picture = null;

  /**
   * @param {Session} session
   * @param {Devices} devices
   * @param {string} stillUrl
   */
  constructor(session, devices, stillUrl) {
    this.#devices = devices;
    this.#url = stillUrl;
    session.on("room", (room) => this.#follow(room));
    session.on("stopped", () => this.#finish());
    this.#dialog?.addEventListener("cancel", (event) => event.preventDefault());
    onClick("still-agree", () => this.#agree());
    onClick("still-decline", () => this.#decline());
    onClick("still-shoot", () => this.#shoot());
    onClick("still-send", () => this.#send());
    onClick("still-again", () => this.#aim());
    onClick("still-cancel", () => this.#decline());
  }

  /** @param {Room} room */
  #follow({ still, ...room }) {
    const isOpen = still?.state === "asked" || still?.state === "agreed";
    if (!isOpen || !isAdmitted({ still, ...room })) {
      if (this.#step === "ask") this.#finish();
      return;
    }
    const isNew = still.ask !== this.#ask;
    if (isNew && still.state === "asked" && (this.#step === "none" || this.#step === "ask")) {
      this.#open(still.ask);
    }
  }

  /** @param {string} ask */
  async #open(ask) {
    this.#ask = ask;
    const options = { headers: { Accept: "application/json" } };
    const answer = await fetch(this.#url, options).catch(() => null);
    if (ask !== this.#ask) return;
    if (!answer?.ok) {
      setTimeout(() => ask === this.#ask && this.#open(ask), ASK_AGAIN_MS);
      return;
    }
    /** @type {{sentence: string, paragraphs: string[], hash: string}} */
    const { sentence, paragraphs, hash } = await answer.json();
    this.#textHash = hash;
    const sentenceElement = findHook("still-sentence", HTMLElement);
    if (sentenceElement) sentenceElement.textContent = sentence;
    fillParagraphs("still-paragraphs", paragraphs);
    this.#setStep("ask");
    if (!this.#dialog?.open) this.#dialog?.showModal();
  }

  /** @param {Step} step */
  #setStep(step) {
    this.#step = step;
    for (const other of STEPS) show(`still-${other}`, other === step);
    this.#sayProblem("");
    say("still-words", "");
    if (step !== "none") findHook(`still-${step}`, HTMLElement)?.querySelector("h2")?.focus();
  }

  async #agree() {
    this.#disable(true);
    try {
      const body = { ask: this.#ask, is_agreed: true, text_hash: this.#textHash };
      this.#consent = (await post(`${this.#url}/answer`, body)).consent;
      this.#setStep("camera");
      await this.#look();
    } catch {
      this.#sayProblem(_("It was not sent: the line is weak. Try again, please."));
    }
    this.#disable(false);
  }

  /** The dialog looks through a track of its own: it sees also when the call's picture is off. */
  async #look() {
    say("still-words", _("One moment: we open the camera on the back."));
    const track = await this.#devices.borrowRearCamera();
    if (this.#step === "none") return this.#devices.giveCameraBack();
    if (!track || !this.#view) {
      say("still-words", "");
      return this.#sayProblem(_("We do not find the camera."));
    }
    const own = (this.#track = track.clone());
    own.enabled = true;
    this.#view.srcObject = new MediaStream([own]);
    await this.#view.play().catch(() => undefined);
    this.#aim();
  }

  #aim() {
    this.#setStep("camera");
    say("still-words", _("Point the camera, then press the button. The doctor hears you."));
  }

  async #shoot() {
    if (!this.#track || !this.#view || !this.#image) return;
    this.#disable(true);
    try {
      this.#picture = await takePicture(this.#track, this.#view);
      URL.revokeObjectURL(this.#image.src);
      this.#image.src = URL.createObjectURL(this.#picture.blob);
      this.#setStep("review");
    } catch {
      this.#sayProblem(_("The photo did not succeed. Try again, please."));
    }
    this.#disable(false);
  }

  async #send() {
    const picture = this.#picture;
    if (!picture) return;
    const form = new FormData();
    form.append("file", picture.blob);
    form.append("consent", this.#consent);
    form.append("text_hash", this.#textHash);
    form.append("facing", picture.facing);
    form.append("method", picture.method);
    form.append("age_ms", String(Date.now() - picture.takenAt));
    this.#disable(true);
    this.#sayProblem("");
    show("still-progress", true);
    const sent = await sendForm(this.#url, form, (part) => this.#progress(part)).catch((refusal) => refusal);
    const reason = sent instanceof Error ? sent.message : "";
    if (reason === "" || reason === "sent_before") this.#finish(_("The photo is sent. The doctor sees it."));
    else if (reason === "over") this.#finish();
    else this.#sayProblem(_("It was not sent: the line is weak. Try again, please."));
    show("still-progress", false);
    this.#disable(false);
  }

  #decline() {
    this.#sayNo(this.#ask);
    this.#finish(_("No photo was sent. The visit goes on."));
  }

  /**
   * The doctor hears of it also when the line is down just now.
   * @param {string} ask
   */
  async #sayNo(ask) {
    for (let left = SAY_NO_TIMES; left > 0 && ask === this.#ask; left--) {
      const answer = await post(`${this.#url}/answer`, { ask, is_agreed: false }).catch(() => null);
      if (answer) return;
      await new Promise((resolve) => setTimeout(resolve, ASK_AGAIN_MS));
    }
  }

  /** @param {string} [words] */
  #finish(words = "") {
    if (this.#step === "none") return;
    const wasLooking = this.#step !== "ask";
    this.#setStep("none");
    this.#dialog?.close();
    this.#track?.stop();
    this.#track = this.#picture = null;
    this.#consent = "";
    if (this.#view) this.#view.srcObject = null;
    if (this.#image) {
      URL.revokeObjectURL(this.#image.src);
      this.#image.removeAttribute("src");
    }
    if (wasLooking) this.#devices.giveCameraBack();
    this.#sayDone(words);
  }

  /** @param {string} words */
  #sayDone(words) {
    say("still-done", words);
    show("still-done", words !== "");
    setTimeout(() => show("still-done", false), DONE_MS);
  }

  /** @param {string} words */
  #sayProblem(words) {
    say("still-problem", words);
    show("still-problem", words !== "");
  }

  /** @param {number} part */
  #progress(part) {
    const bar = findHook("still-progress", HTMLProgressElement);
    if (bar) bar.value = part;
  }

  /** @param {boolean} isBusy */
  #disable(isBusy) {
    for (const button of this.#dialog?.querySelectorAll("button") ?? []) button.disabled = isBusy;
  }
}
