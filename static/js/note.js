// The note: saved by itself, on the version it was written on. What two pages change in different
// sections comes together; what both change in one is shown, and the person chooses (note-model.js).
// What is not saved yet is in the fields and, sealed, in the browser (drafts.js): after a reload or a
// crash it is back and saved. It leaves the browser once the server has it.
//
// `#page-data`: noteUrl, userId. Test ids: note-editor (the report section) and those of note-fields.js.
// Hooks: note, note-status, note-login, note-print and those of note-{merge,history,templates}.js.

import { Drafts } from "./drafts.js";
import { _ } from "./i18n.js";
import { CodePickers } from "./note-codes.js";
import { digestOf } from "./note-content.js";
import { NoteFields } from "./note-fields.js";
import { NoteHistory } from "./note-history.js";
import { MergeView } from "./note-merge.js";
import { NoteModel } from "./note-model.js";
import { NoteTemplates } from "./note-templates.js";
import { onClick, pageData, say, show } from "./page.js";
import { Phrases } from "./phrases.js";

const PAUSE_MS = 1000;
const LONGEST_UNSAVED_MS = 2000;
const RETRY_MS = 3000;
const ANSWER_WITHIN_MS = 8000;
const DRAFT_PAUSE_MS = 300;
const KEEPALIVE_LIMIT_BYTES = 60_000;
const BEHIND_RETRY_MS = 300;
const BEHIND_RETRIES = 5;

/** @typedef {import("./note-model.js").Saved} Saved */
/** @typedef {import("./note-model.js").Save} Save */

/** @param {string | null} moment */
function clock(moment) {
  const time = moment ? new Date(moment) : new Date();
  return time.toLocaleTimeString("it-IT", { timeZone: "Europe/Rome" });
}

class Note {
  #url = pageData().noteUrl;
  #model = new NoteModel();
  #fields = new NoteFields((section, text) => this.#change(() => this.#model.write(section, text)));
  #codes = new CodePickers((field, codes) => this.#change(() => this.#model.choose(field, codes)));
  #merge = new MergeView(
    (section) => this.#fields.nameOf(section),
    (section, choice) => this.#change(() => this.#model.resolve(section, choice)),
  );
  #drafts = new Drafts(`${pageData().userId} ${this.#url}`);
  /** @type {import("./drafts.js").Left[]} of pages before this one, not taken up yet */
  #left = [];
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  #keeping;
  /** @type {Promise<void> | null} */
  #saving = null;
  /** @type {AbortController | null} */
  #request = null;
  /** Digest of the save that waits for its answer. */
  #onItsWay = "";
  #isStuck = false;
  #changedAt = 0;
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  #timer;

  constructor() {
    new NoteHistory(this.#url, (section) => this.#fields.nameOf(section), () => this.flush());
    const phrases = new Phrases(document.querySelectorAll("textarea[data-section]"));
    new NoteTemplates(
      this.#fields,
      () => this.#model.content,
      (template, id) => this.#change(() => this.#model.useTemplate(template, id)),
      (known) => phrases.know(known),
    );
    document.addEventListener("visibilitychange", () => this.#saveNow());
    addEventListener("pagehide", () => this.#onPageHide());
    addEventListener("online", () => this.lineIsBack());
    addEventListener("beforeunload", (event) => {
      if (this.#model.isUnsaved && (this.#isStuck || this.#isOpen)) event.preventDefault();
    });
    onClick("note-print", () => this.#print());
    this.#open();
  }

  get #isOpen() {
    return this.#model.conflicts.length > 0;
  }

  /** What was sent into the dead line is sent again, and what waited is saved now. */
  async lineIsBack() {
    if (!this.#isStuck && !this.#saving) return;
    this.#request?.abort();
    await this.#saving;
    if (this.#model.isDirty) this.#plan(0);
  }

  /** Resolves when what is in the editor is saved, or cannot be saved now. */
  async flush() {
    while (this.#model.isDirty) {
      const before = this.#model.version;
      await this.#save();
      if (this.#model.version === before) return;
    }
  }

  async #open() {
    const [saved, left] = await Promise.all([this.#load(), this.#drafts.find()]);
    if (!saved) {
      say("note-status", _("The note cannot be opened now. Trying again."));
      setTimeout(() => this.#open(), RETRY_MS);
      return;
    }
    this.#model.load(saved);
    this.#left = left ?? [];
    this.#takeUp();
    this.#fields.enable();
    this.#codes.enable();
    this.#draw();
    this.#saySaved();
    if (this.#model.isDirty) this.#plan(0);
  }

  /** One draft after the other, each when the one before it is saved. */
  #takeUp() {
    while (!this.#model.isUnsaved) {
      this.#drafts.drop();
      const left = this.#left.shift();
      if (!left) return;
      this.#model.takeUp(left.draft);
      this.#drafts.takeUp(left);
    }
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

  /** @param {() => void} act */
  #change(act) {
    act();
    this.#draw();
    this.#planSave();
  }

  #draw() {
    const { content, conflicts } = this.#model;
    this.#fields.draw(content);
    this.#codes.draw(content);
    this.#merge.draw(conflicts);
  }

  #planSave() {
    if (!this.#model.isUnsaved) return this.#saySaved();
    this.#keepDraft();
    if (!this.#model.isDirty) return;
    const now = Date.now();
    this.#changedAt ||= now;
    if (!this.#isStuck) say("note-status", _("Not saved yet…"));
    this.#plan(Math.min(PAUSE_MS, Math.max(0, this.#changedAt + LONGEST_UNSAVED_MS - now)));
  }

  #keepDraft() {
    clearTimeout(this.#keeping);
    this.#keeping = setTimeout(() => {
      if (this.#model.isUnsaved) this.#drafts.keep(this.#model.draft);
    }, DRAFT_PAUSE_MS);
  }

  /** @param {number} delay */
  #plan(delay) {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.#save(), delay);
  }

  #saveNow() {
    if (this.#model.isDirty && !this.#saving) this.#plan(0);
  }

  async #save() {
    clearTimeout(this.#timer);
    const save = this.#saving ? null : this.#model.nextSave();
    if (save) {
      this.#saving = this.#send(save).finally(() => {
        this.#saving = null;
        this.#onItsWay = "";
        if (this.#model.isDirty && !this.#isStuck) this.#planSave();
      });
    }
    await this.#saving;
  }

  /** @param {Save} save */
  async #send(save) {
    this.#changedAt = 0;
    this.#onItsWay = await digestOf(save.content).catch(() => "");
    const response = await this.#put(save).catch(() => null);
    const isAnswered = response?.ok || response?.status === 412;
    /** @type {Saved | null} */
    const answer = isAnswered ? await response.json().catch(() => null) : null;
    show("note-login", response?.status === 401);
    if (!answer) return this.#onFailure(response?.status ?? 0);
    this.#isStuck = false;
    if (response?.ok) this.#model.onSaved(answer);
    else this.#model.onStale(answer);
    this.#takeUp();
    this.#draw();
    this.#saySaved();
    if (this.#model.isUnsaved) return this.#keepDraft();
    clearTimeout(this.#keeping);
  }

  /**
   * @param {Save} save
   * @param {string} [after] digest of a version that this one may follow too
   */
  #put({ content, version }, after = "") {
    const body = JSON.stringify(content);
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
        "If-Match": after ? `"${version}", "${after}"` : `"${version}"`,
      },
      body,
    });
  }

  #saySaved() {
    const { version, savedAt } = this.#model;
    if (this.#isOpen) {
      return say("note-status", _("Changed elsewhere too: choose what to keep."));
    }
    if (version === 0) return say("note-status", _("The note is empty."));
    say("note-status", _("Saved {time}, encrypted", { time: clock(savedAt) }));
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

  async #print() {
    await this.flush();
    open(`${this.#url}/print`, "_blank", "noopener");
  }

  /**
   * The last chance of this page: sent even while the page goes away. A save that waits for its
   * answer may be the newest version by then, or somebody else's that this page has not seen.
   */
  #onPageHide() {
    if (!this.#fields.isEnabled) return;
    const save = this.#model.lastSave();
    if (!save) return;
    this.#drafts.keep(this.#model.draft);
    sessionStorage.setItem(this.#url, String(save.version + (this.#onItsWay ? 2 : 1)));
    this.#put(save, this.#onItsWay).catch(() => undefined);
  }
}

export const note = new Note();
