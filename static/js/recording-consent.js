// The question to a person who is in the room of a recording: what is recorded and why, yes or no.
//
// `#page-data`: recordingUrl. Hooks: recording-consent (dialog), recording-sentence and
// recording-paragraphs (the text as the server hashes it), recording-version, buttons recording-accept and
// recording-refuse, recording-consent-problem (role=alert).
// Only the two buttons answer: nothing is recorded while the question stands, and closing it is
// neither yes nor no.

import { isAdmitted } from "./fold.js";
import { _ } from "./i18n.js";
import { fillParagraphs, findHook, onClick, post, say, show } from "./page.js";

/** @typedef {import("./fold.js").Room} Room */
/** @typedef {import("./session.js").Session} Session */
/** @typedef {{sentence: string, paragraphs: string[], hash: string, version: string}} Text */

const AGAIN_MS = 3000;
const SAY_NO_TIMES = 20;

/**
 * The ask that waits for this page's person.
 * @param {Room} room
 */
export function findQuestion(room) {
  const { recording, you } = room;
  return recording && isAdmitted(room) && !recording.accepted.includes(you) ? recording.ask : "";
}

export class RecordingConsent {
  #url;
  #dialog = findHook("recording-consent", HTMLDialogElement);
  #ask = "";
  #shown = "";
  #answered = "";
  #textHash = "";

  /**
   * @param {Session} session
   * @param {string} url
   */
  constructor(session, url) {
    this.#url = url;
    session.on("room", (room) => this.#follow(findQuestion(room)));
    session.on("stopped", () => this.#follow(""));
    this.#dialog?.addEventListener("cancel", (event) => event.preventDefault());
    this.#dialog?.addEventListener("close", () => this.#comeBack());
    onClick("recording-accept", () => this.#accept());
    onClick("recording-refuse", () => this.#refuse());
  }

  /** @param {string} ask */
  #follow(ask) {
    if (ask === this.#ask) return;
    this.#ask = ask;
    this.#dialog?.close();
    if (ask && ask !== this.#answered) this.#open(ask);
    else this.#answered = "";
  }

  /** @param {string} ask */
  async #open(ask) {
    const text = await this.#load(ask);
    if (ask !== this.#ask || this.#dialog?.open) return;
    if (!text) {
      setTimeout(() => ask === this.#ask && this.#open(ask), AGAIN_MS);
      return;
    }
    this.#textHash = text.hash;
    say("recording-sentence", text.sentence);
    say("recording-version", text.version);
    fillParagraphs("recording-paragraphs", text.paragraphs);
    this.#sayProblem("");
    this.#shown = ask;
    this.#show();
  }

  #show() {
    this.#dialog?.showModal();
    findHook("recording-sentence", HTMLElement)?.focus();
  }

  /** Browsers close a dialog whose `cancel` is prevented twice. */
  #comeBack() {
    if (this.#ask && this.#ask === this.#shown && this.#ask !== this.#answered) this.#show();
  }

  /**
   * @param {string} ask
   * @returns {Promise<Text | null>}
   */
  async #load(ask) {
    const options = { headers: { Accept: "application/json" } };
    const answer = await fetch(`${this.#url}?ask=${ask}`, options).catch(() => null);
    return answer?.ok ? answer.json().catch(() => null) : null;
  }

  async #accept() {
    const ask = this.#ask;
    this.#disable(true);
    try {
      await post(`${this.#url}/answer`, { ask, is_accepted: true, text_hash: this.#textHash });
      if (ask === this.#ask) this.#close();
    } catch {
      this.#sayProblem(_("It was not sent: the line is weak. Try again, please."));
    }
    this.#disable(false);
  }

  /** Nothing is recorded in the meantime, also when the line is down just now. */
  async #refuse() {
    const ask = this.#ask;
    this.#close();
    const body = { ask, is_accepted: false, text_hash: this.#textHash };
    for (let left = SAY_NO_TIMES; left > 0 && ask === this.#ask; left--) {
      if (await post(`${this.#url}/answer`, body).catch(() => null)) return;
      await new Promise((resolve) => setTimeout(resolve, AGAIN_MS));
    }
  }

  /** The room says what follows; until then this ask is not put again. */
  #close() {
    this.#answered = this.#ask;
    this.#dialog?.close();
  }

  /** @param {string} words */
  #sayProblem(words) {
    say("recording-consent-problem", words);
    show("recording-consent-problem", words !== "");
  }

  /** @param {boolean} isBusy */
  #disable(isBusy) {
    for (const button of this.#dialog?.querySelectorAll("button") ?? []) button.disabled = isBusy;
  }
}
