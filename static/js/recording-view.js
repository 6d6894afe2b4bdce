// What every screen shows of a recording: the red indicator with its words, the button that ends it,
// and the notice aloud when it begins, pauses or ends. The question is recording-consent.js.
//
// `#page-data`: recordingUrl. Hooks: recording-bar (gets `data-state`, `data-reaching`, and
// `data-notice` with how the last notice was given), recording-words, recording-stop (button), recording-problem, and
// recording-alert (role=alert, for who hears the page).

import { _ } from "./i18n.js";
import { findHook, onClick, post, say, show } from "./page.js";
import { announce } from "./recording-notice.js";
import { changeWords, standingWords } from "./recording-words.js";

/** @typedef {import("./fold.js").Room} Room */
/** @typedef {import("./messages.js").RecordingState} State */
/** @typedef {import("./session.js").Session} Session */

/** A connection needs a moment before its absence is worth a word. */
const PATIENCE_MS = 4000;
/** @type {Set<State>} what is heard, not only read */
const SPOKEN = new Set(["on", "paused", "failed", "off"]);

export class RecordingView {
  #session;
  #url;
  #bar = findHook("recording-bar", HTMLElement);
  #isReaching = true;
  #isPatient = true;
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  #patience;
  /** @type {State | null} null before the first word of the room */
  #state = null;

  /**
   * @param {Session} session
   * @param {string} url
   */
  constructor(session, url) {
    this.#session = session;
    this.#url = url;
    session.on("room", (room) => this.#follow(room));
    session.on("recorded", (isReaching) => this.#onReaching(isReaching));
    session.on("stopped", () => show("recording-bar", false));
    onClick("recording-stop", () => this.#stop());
  }

  /** @param {Room} room */
  #follow({ recording }) {
    const before = this.#state ?? "off";
    this.#state = recording?.state ?? "off";
    this.#draw();
    if (before !== this.#state) this.#notify(before, this.#state);
  }

  /** @param {boolean} isReaching */
  #onReaching(isReaching) {
    if (isReaching === this.#isReaching) return;
    this.#isReaching = isReaching;
    this.#isPatient = true;
    clearTimeout(this.#patience);
    this.#patience = setTimeout(() => {
      this.#isPatient = false;
      this.#draw();
    }, PATIENCE_MS);
    this.#draw();
  }

  #draw() {
    const recording = this.#session.room?.recording ?? null;
    if (this.#bar) this.#bar.dataset.state = recording?.state ?? "off";
    this.#bar?.toggleAttribute("data-reaching", this.#isReaching);
    say("recording-words", standingWords(recording, this.#isReaching || this.#isPatient));
    say("recording-stop", recording?.state === "asked" ? _("Do not record") : _("Stop recording"));
    show("recording-bar", recording !== null);
  }

  /**
   * @param {State} before
   * @param {State} now
   */
  async #notify(before, now) {
    const words = changeWords(before, now);
    say("recording-alert", words);
    show("recording-problem", false);
    if (!SPOKEN.has(now) || before === "asked" && now === "off") return;
    const notice = await announce(words, now === "on").catch(() => "none");
    if (this.#bar) this.#bar.dataset.notice = notice;
  }

  /** Either person's word is enough. */
  async #stop() {
    const ask = this.#session.room?.recording?.ask;
    if (!ask) return;
    say("recording-problem", "");
    try {
      await post(`${this.#url}/stop`, { ask });
    } catch {
      say("recording-problem", _("It was not sent: the line is weak. Try again, please."));
      show("recording-problem", true);
    }
  }
}
