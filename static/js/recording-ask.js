// The clinician's question whether the visit may be recorded: purpose, what everybody reads, ask.
//
// `#page-data`: recordingUrl. Hooks: recording-open (button, aria-expanded), recording-ask (panel,
// hidden) with recording-ask-title, recording-purpose (select), recording-ask-sentence,
// recording-ask-paragraphs, recording-send and recording-later (buttons), recording-ask-problem
// (role=alert).

import { isAdmitted, peerOf } from "./fold.js";
import { _ } from "./i18n.js";
import { RequestError, fillParagraphs, findHook, onClick, post, say, show } from "./page.js";

/** @typedef {import("./fold.js").Room} Room */
/** @typedef {import("./session.js").Session} Session */
/** @typedef {{word: string, label: string, sentence: string, paragraphs: string[], hash: string}} Purpose */

export class RecordingAsk {
  #session;
  #url;
  #button = findHook("recording-open", HTMLButtonElement);
  #purpose = findHook("recording-purpose", HTMLSelectElement);
  #isOpen = false;
  /** @type {Purpose[]} each with what is read for it */
  #purposes = [];

  /**
   * @param {Session} session
   * @param {string} url
   */
  constructor(session, url) {
    this.#session = session;
    this.#url = url;
    session.on("room", () => this.#draw());
    session.on("wire", () => this.#draw());
    session.on("stopped", () => this.#setOpen(false));
    onClick("recording-open", () => this.#toggle());
    onClick("recording-later", () => this.#leave());
    onClick("recording-send", () => this.#send());
    this.#purpose?.addEventListener("change", () => this.#showText());
  }

  #draw() {
    const room = this.#session.room;
    if (!this.#button || !room) return;
    const isTogether = isAdmitted(room) && peerOf(room)?.presence === "here";
    this.#button.disabled = !isTogether || !this.#session.isUp || room.recording !== null;
    if (room.recording) this.#setOpen(false);
  }

  async #toggle() {
    if (this.#isOpen) return this.#leave();
    this.#purposes = await this.#load();
    this.#purpose?.replaceChildren(...this.#purposes.map(({ word, label }) => new Option(label, word)));
    this.#showText();
    this.#setOpen(true);
    if (!this.#chosen) this.#sayProblem(_("The server does not answer just now. Try again, please."));
    findHook("recording-ask-title", HTMLElement)?.focus();
  }

  /** @returns {Promise<Purpose[]>} */
  async #load() {
    const answer = await fetch(this.#url, { headers: { Accept: "application/json" } }).catch(() => null);
    return answer?.ok ? (await answer.json()).purposes : [];
  }

  get #chosen() {
    return this.#purposes.find(({ word }) => word === this.#purpose?.value);
  }

  #showText() {
    const { sentence = "", paragraphs = [] } = this.#chosen ?? {};
    say("recording-ask-sentence", sentence);
    fillParagraphs("recording-ask-paragraphs", paragraphs);
    const send = findHook("recording-send", HTMLButtonElement);
    if (send) send.disabled = !this.#chosen;
  }

  #leave() {
    this.#setOpen(false);
    this.#button?.focus();
  }

  async #send() {
    const chosen = this.#chosen;
    if (!chosen) return;
    const send = findHook("recording-send", HTMLButtonElement);
    if (send) send.disabled = true;
    try {
      await post(this.#url, { purpose: chosen.word, text_hash: chosen.hash });
      this.#setOpen(false);
    } catch (problem) {
      const isRefused = problem instanceof RequestError && problem.status < 500;
      this.#sayProblem(
        isRefused
          ? _("It cannot be asked now: reload the page to see what is true.")
          : _("It was not sent: the line is weak. Try again, please."),
      );
    }
    if (send) send.disabled = false;
  }

  /** @param {boolean} isOpen */
  #setOpen(isOpen) {
    this.#isOpen = isOpen;
    show("recording-ask", isOpen);
    this.#button?.setAttribute("aria-expanded", String(isOpen));
    this.#sayProblem("");
  }

  /** @param {string} words */
  #sayProblem(words) {
    say("recording-ask-problem", words);
    show("recording-ask-problem", words !== "");
  }
}
