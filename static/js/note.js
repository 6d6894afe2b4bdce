// The note: saved by itself, on the version it was written on. Two windows never lose an edit:
// when the other one was first, both texts are shown and the doctor chooses.
// What is not saved yet is in the editor and, sealed, in the browser (drafts.js): after a reload or a
// crash it is back in the editor and saved. It leaves the browser once the server has it.
//
// `#page-data`: noteUrl, userId. Test ids: note-editor. Hooks: note-status, note-login, merge,
// merge-theirs, keep-both, keep-mine, keep-theirs.

import { Drafts } from "./drafts.js";
import { _ } from "./i18n.js";
import { byTestId, findHook, onClick, pageData, say, show } from "./page.js";

const PAUSE_MS = 1000;
const LONGEST_UNSAVED_MS = 2000;
const RETRY_MS = 3000;
const ANSWER_WITHIN_MS = 8000;
const DRAFT_PAUSE_MS = 300;
const KEEPALIVE_LIMIT_BYTES = 60_000;
const BEHIND_RETRY_MS = 300;
const BEHIND_RETRIES = 5;

/** @typedef {{text: string, version: number, saved_at: string | null}} Saved */

/** @param {string | null} moment */
function clock(moment) {
  const time = moment ? new Date(moment) : new Date();
  return time.toLocaleTimeString("it-IT", { timeZone: "Europe/Rome" });
}

class Note {
  #url = pageData().noteUrl;
  #editor = byTestId("note-editor", HTMLTextAreaElement);
  #other = findHook("merge-theirs", HTMLElement);
  /** @type {Saved} what the server has, as far as we know */
  #saved = { text: "", version: 0, saved_at: null };
  /** @type {Saved | null} what another window saved, until the doctor has chosen */
  #theirs = null;
  #drafts = new Drafts(`${pageData().userId} ${this.#url}`);
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  #keeping;
  /** @type {Promise<void> | null} */
  #saving = null;
  /** @type {AbortController | null} */
  #request = null;
  #isStuck = false;
  #changedAt = 0;
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  #timer;

  constructor() {
    this.#editor.addEventListener("input", () => this.#onInput());
    document.addEventListener("visibilitychange", () => this.#saveNow());
    addEventListener("pagehide", () => this.#onPageHide());
    addEventListener("online", () => this.lineIsBack());
    addEventListener("beforeunload", (event) => {
      if (this.#isDirty && (this.#isStuck || this.#theirs)) event.preventDefault();
    });
    onClick("keep-both", () => this.#resolve(this.#joined()));
    onClick("keep-mine", () => this.#resolve(this.#editor.value));
    onClick("keep-theirs", () => this.#keepTheirs());
    this.#open();
  }

  get #isDirty() {
    return !this.#editor.disabled && this.#editor.value !== this.#saved.text;
  }

  /** What was sent into the dead line is sent again, and what waited is saved now. */
  async lineIsBack() {
    if (!this.#isStuck && !this.#saving) return;
    this.#request?.abort();
    await this.#saving;
    if (this.#isDirty) this.#plan(0);
  }

  /** Resolves when what is in the editor is saved, or cannot be saved now. */
  async flush() {
    while (this.#isDirty && !this.#theirs) {
      const before = this.#saved.version;
      await this.#save();
      if (this.#saved.version === before) return;
    }
  }

  async #open() {
    const [saved, draft] = await Promise.all([this.#load(), this.#drafts.find()]);
    if (!saved) {
      say("note-status", _("The note cannot be opened now. Trying again."));
      setTimeout(() => this.#open(), RETRY_MS);
      return;
    }
    this.#saved = saved;
    this.#editor.value = saved.text;
    this.#editor.disabled = false;
    this.#saySaved();
    if (draft) this.#takeUp(draft);
  }

  /**
   * What was not saved when this browser left the note. When the note has moved on since, the
   * doctor chooses, as with any other window.
   * @param {import("./drafts.js").Draft} draft
   */
  #takeUp({ text, version }) {
    const server = this.#saved;
    const isSame = version === server.version;
    if (text === server.text || (!isSame && server.text.startsWith(text))) {
      this.#drafts.drop();
      return;
    }
    this.#editor.value = text;
    if (isSame || text.startsWith(server.text)) this.#plan(0);
    else this.#askWhichToKeep(server);
  }

  /**
   * The page before this one may still be saving what was typed last: wait for that version.
   * @returns {Promise<Saved | null>}
   */
  async #load() {
    const expected = Number(sessionStorage.getItem(this.#url) ?? 0);
    sessionStorage.removeItem(this.#url);
    for (let tries = 0; ; tries++) {
      const options = { headers: { Accept: "application/json" } };
      const response = await fetch(this.#url, options).catch(() => null);
      if (!response?.ok) return null;
      /** @type {Saved} */
      const saved = await response.json();
      if (saved.version >= expected || tries >= BEHIND_RETRIES) return saved;
      await new Promise((resolve) => setTimeout(resolve, BEHIND_RETRY_MS));
    }
  }

  #onInput() {
    if (!this.#isDirty) return this.#saySaved();
    this.#keepDraft();
    const now = Date.now();
    this.#changedAt ||= now;
    if (!this.#isStuck && !this.#theirs) say("note-status", _("Not saved yet…"));
    this.#plan(Math.min(PAUSE_MS, Math.max(0, this.#changedAt + LONGEST_UNSAVED_MS - now)));
  }

  #keepDraft() {
    clearTimeout(this.#keeping);
    this.#keeping = setTimeout(() => {
      if (!this.#isDirty) return;
      this.#drafts.keep({ text: this.#editor.value, version: this.#saved.version });
    }, DRAFT_PAUSE_MS);
  }

  /** @param {number} delay */
  #plan(delay) {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.#save(), delay);
  }

  #saveNow() {
    if (this.#isDirty && !this.#saving) this.#plan(0);
  }

  async #save() {
    clearTimeout(this.#timer);
    if (this.#theirs) return;
    if (!this.#saving && this.#isDirty) {
      this.#saving = this.#send(this.#editor.value).finally(() => {
        this.#saving = null;
        if (this.#isDirty && !this.#isStuck && !this.#theirs) this.#onInput();
      });
    }
    await this.#saving;
  }

  /** @param {string} text */
  async #send(text) {
    this.#changedAt = 0;
    const response = await this.#put(text, this.#saved.version).catch(() => null);
    const isAnswered = response?.ok || response?.status === 412;
    /** @type {Saved | null} */
    const answer = isAnswered ? await response.json().catch(() => null) : null;
    show("note-login", response?.status === 401);
    if (!answer) return this.#onFailure(response?.status ?? 0);
    this.#isStuck = false;
    if (response?.ok) this.#take(answer);
    else this.#onStale(answer, text);
  }

  /**
   * @param {string} text
   * @param {number} version
   */
  #put(text, version) {
    const body = JSON.stringify({ text });
    const request = (this.#request = new AbortController());
    setTimeout(() => request.abort(), ANSWER_WITHIN_MS);
    return fetch(this.#url, {
      method: "PUT",
      signal: request.signal,
      credentials: "same-origin",
      keepalive: new Blob([body]).size < KEEPALIVE_LIMIT_BYTES,
      headers: {
        Accept: "application/json",
        "Content-Type": "application/json",
        "If-Match": `"${version}"`,
      },
      body,
    });
  }

  /** @param {Saved} saved */
  #take(saved) {
    this.#saved = saved;
    this.#saySaved();
    if (this.#isDirty) return this.#keepDraft();
    clearTimeout(this.#keeping);
    this.#drafts.drop();
  }

  #saySaved() {
    const { version, saved_at } = this.#saved;
    if (version === 0) return say("note-status", _("The note is empty."));
    say("note-status", _("Saved {time}, encrypted", { time: clock(saved_at) }));
  }

  /** @param {number} status */
  #onFailure(status) {
    this.#isStuck = true;
    const tooLong = _("The note is too long: the last words are not saved.");
    const words =
      {
        400: tooLong,
        413: tooLong,
        401: _("Your login has ended. The text stays here and is saved after you log in again."),
      }[status] ?? _("The line is interrupted. The text stays here and is saved when it is back.");
    say("note-status", words);
    this.#plan(RETRY_MS);
  }

  /**
   * An answer that was lost, or a text that already holds the other one, is no conflict.
   * @param {Saved} answer
   * @param {string} sent
   */
  #onStale(answer, sent) {
    const isOurs = sent.startsWith(answer.text) || answer.text === this.#saved.text;
    if (isOurs) {
      this.#take(answer);
      return;
    }
    this.#askWhichToKeep(answer);
  }

  /** @param {Saved} theirs */
  #askWhichToKeep(theirs) {
    this.#theirs = theirs;
    if (this.#other) this.#other.textContent = theirs.text;
    show("merge", true);
    say("note-status", _("Changed in another window too: choose what to keep."));
  }

  #joined() {
    return [this.#theirs?.text, this.#editor.value].filter(Boolean).join("\n\n");
  }

  /** @param {string} text */
  #resolve(text) {
    if (!this.#theirs) return;
    this.#saved = this.#theirs;
    this.#theirs = null;
    show("merge", false);
    this.#editor.value = text;
    this.#editor.focus();
    return this.#save();
  }

  /** The text of this window becomes a version of its own first: it can be found again. */
  async #keepTheirs() {
    const text = this.#theirs?.text ?? "";
    await this.#resolve(this.#editor.value);
    if (this.#theirs || this.#isStuck) return;
    this.#editor.value = text;
    await this.#save();
  }

  /** The last chance of this page: sent even while the page goes away. */
  #onPageHide() {
    if (!this.#isDirty) return;
    const isBehind = this.#saving !== null;
    const version = (this.#theirs ?? this.#saved).version + (isBehind ? 1 : 0);
    const text = this.#theirs ? this.#joined() : this.#editor.value;
    sessionStorage.setItem(this.#url, String(version + 1));
    this.#put(text, version).catch(() => undefined);
  }
}

export const note = new Note();
