// The note of one page between typing and the server: what is typed, what is saved, what was changed
// by somebody else meanwhile. Pure: note.js gives it answers and draws it.
//
// Sections changed on one side only come together by themselves. A section changed on both sides is
// *open* until the person chooses; until then this page saves the other sections and leaves theirs.
// Nothing typed here is dropped: before "keep the other" both texts are saved as a version.

import { CODE_FIELDS, contentOf, isSame, joinTexts, mergeNotes, mergeText, textOf, withText } from "./note-content.js";

/** @typedef {import("./note-content.js").Content} Content */
/** @typedef {import("./note-content.js").Coding} Coding */
/** @typedef {import("./note-content.js").CodeField} CodeField */
/** @typedef {{content: Partial<Content>, version: number, saved_at: string | null}} Saved */
/** @typedef {{content: Content, version: number}} Save what is sent, and on which version */
/** @typedef {{section: string, base: string, mine: string, theirs: string}} Conflict */
/** @typedef {"both" | "mine" | "theirs"} Choice */
/** @typedef {{section: string, text: string}} Keepsake */
/**
 * @typedef {object} Draft what outlives the page
 * @property {Content} mine
 * @property {Content} base
 * @property {number} version
 * @property {Content[]} sent
 * @property {Record<string, string>} open section → what it was before both sides changed it
 * @property {Keepsake[]} keepsakes
 */

const MOST_SENT = 4;

export class NoteModel {
  /** @type {Content} what the server has, as far as we know */
  #base = contentOf();
  #version = 0;
  /** @type {Content} what is on the screen */
  #mine = contentOf();
  /** @type {Content[]} sent, and nobody knows whether it arrived */
  #sent = [];
  /** @type {Map<string, string>} open sections; what they were before */
  #open = new Map();
  /** @type {Keepsake[]} saved before what is on the screen: both texts, where one was chosen */
  #keepsakes = [];
  /** @type {string | null} */
  #savedAt = null;

  /** @param {Saved} saved */
  load({ content, version, saved_at }) {
    this.#base = contentOf(content);
    this.#mine = this.#base;
    this.#version = version;
    this.#savedAt = saved_at;
  }

  /**
   * What was not saved when this browser left the note; after {@link load}.
   * @param {Draft | {text: string}} draft the second: of before there were sections
   */
  takeUp(draft) {
    if ("text" in draft) return this.write("free", draft.text);
    const server = { content: this.#base, version: this.#version, saved_at: this.#savedAt };
    this.#base = contentOf(draft.base);
    this.#mine = contentOf(draft.mine);
    this.#sent = draft.sent.map(contentOf);
    this.#open = new Map(Object.entries(draft.open));
    this.#keepsakes = [...draft.keepsakes];
    this.onStale(server);
  }

  get content() {
    return this.#mine;
  }

  get version() {
    return this.#version;
  }

  get savedAt() {
    return this.#savedAt;
  }

  /** Whether something here is not on the server; an open section waits for its choice. */
  get isDirty() {
    return this.#keepsakes.length > 0 || !isSame(this.#outgoing, this.#base);
  }

  /** Whether leaving now would need the draft. */
  get isUnsaved() {
    return this.isDirty || this.#open.size > 0;
  }

  /** @returns {Conflict[]} */
  get conflicts() {
    return [...this.#open].map(([section, base]) => ({
      section,
      base,
      mine: textOf(this.#mine, section),
      theirs: textOf(this.#base, section),
    }));
  }

  /** @returns {Draft} */
  get draft() {
    return {
      mine: this.#mine,
      base: this.#base,
      version: this.#version,
      sent: this.#sent,
      open: Object.fromEntries(this.#open),
      keepsakes: this.#keepsakes,
    };
  }

  /**
   * @param {string} section
   * @param {string} text
   */
  write(section, text) {
    this.#mine = withText(this.#mine, section, text);
  }

  /**
   * @param {CodeField} field
   * @param {Coding[]} codes
   */
  choose(field, codes) {
    this.#mine = { ...this.#mine, [field]: codes };
  }

  /**
   * Fills what is empty and changes nothing else.
   * @param {Content} template
   * @param {string} templateId
   */
  useTemplate(template, templateId) {
    const before = this.#mine;
    const content = { ...before, sections: { ...template.sections, ...before.sections } };
    for (const field of CODE_FIELDS) {
      if (before[field].length === 0) content[field] = template[field];
    }
    this.#mine = { ...content, template_id: templateId };
  }

  /**
   * What is to be saved now; it counts as sent.
   * @returns {Save | null}
   */
  nextSave() {
    if (!this.isDirty) return null;
    const [kept] = this.#keepsakes;
    const outgoing = this.#outgoing;
    return this.#asSent(kept ? withText(outgoing, kept.section, kept.text) : outgoing);
  }

  /**
   * The last word of a page that goes away: open sections hold both texts.
   * @returns {Save | null}
   */
  lastSave() {
    if (!this.isUnsaved) return null;
    let content = this.#mine;
    for (const { section, mine, theirs } of this.conflicts) {
      content = withText(content, section, joinTexts(theirs, mine));
    }
    return this.#asSent(content);
  }

  /** @param {Saved} saved */
  onSaved(saved) {
    this.#know(saved, contentOf(saved.content));
  }

  /**
   * Somebody else was first, or our own send whose answer was lost.
   * @param {Saved} saved
   */
  onStale(saved) {
    const theirs = contentOf(saved.content);
    const before = this.#base;
    const { merged, conflicts } = mergeNotes(before, this.#mine, theirs, this.#sent);
    const wereOpen = new Set(this.#open.keys());
    this.#mine = this.#keepOpen(merged, theirs);
    for (const section of conflicts) {
      if (!wereOpen.has(section)) this.#open.set(section, textOf(before, section));
    }
    this.#know(saved, theirs);
  }

  /**
   * @param {string} section
   * @param {Choice} choice
   */
  resolve(section, choice) {
    if (!this.#open.delete(section)) return;
    const [mine, theirs] = [textOf(this.#mine, section), textOf(this.#base, section)];
    if (choice === "both") this.write(section, joinTexts(theirs, mine));
    if (choice !== "theirs") return;
    if (mine) this.#keepsakes.push({ section, text: joinTexts(theirs, mine) });
    this.write(section, theirs);
  }

  /**
   * An open section keeps what is on the screen, unless both sides have come to the same: also by
   * the last save of this page before it went away.
   * @param {Content} merged
   * @param {Content} theirs
   */
  #keepOpen(merged, theirs) {
    let content = merged;
    for (const [section, base] of [...this.#open]) {
      const [mine, there] = [textOf(this.#mine, section), textOf(theirs, section)];
      const isJoined = this.#sent.some((sent) => textOf(sent, section) === there) && there.includes(mine);
      const text = isJoined ? there : mergeText(base, mine, there);
      if (text !== null) this.#open.delete(section);
      content = withText(content, section, text ?? mine);
    }
    return content;
  }

  /**
   * @param {Content} content
   * @returns {Save}
   */
  #asSent(content) {
    this.#sent = [...this.#sent, content].slice(-MOST_SENT);
    return { content, version: this.#version };
  }

  /**
   * @param {Saved} saved
   * @param {Content} content
   */
  #know({ version, saved_at }, content) {
    const [kept] = this.#keepsakes;
    if (kept && textOf(content, kept.section) === kept.text) this.#keepsakes.shift();
    this.#base = content;
    this.#version = version;
    this.#savedAt = saved_at;
    this.#sent = [];
  }

  get #outgoing() {
    let content = this.#mine;
    for (const section of this.#open.keys()) {
      content = withText(content, section, textOf(this.#base, section));
    }
    return content;
  }
}
