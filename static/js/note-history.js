// The versions of a note: who saved when, and what an older one says. Read only; the server writes
// down that one was opened.

import { _ } from "./i18n.js";
import { contentOf } from "./note-content.js";
import { findHook, onClick } from "./page.js";

/** @typedef {{version: number, saved_at: string, author: string}} Version */

const ZONE = { timeZone: "Europe/Rome" };

export class NoteHistory {
  #dialog = findHook("history-dialog", HTMLDialogElement);
  #list = findHook("history-list", HTMLElement);
  #text = findHook("history-text", HTMLElement);
  #url;
  #nameOf;
  #before;

  /**
   * @param {string} url of the note
   * @param {(section: string) => string} nameOf
   * @param {() => Promise<void>} before what is on the screen becomes a version first
   */
  constructor(url, nameOf, before) {
    this.#url = url;
    this.#nameOf = nameOf;
    this.#before = before;
    onClick("note-history", () => this.#open());
    onClick("history-close", () => this.#dialog?.close());
  }

  async #open() {
    this.#list?.replaceChildren();
    this.#text?.replaceChildren();
    this.#dialog?.showModal();
    await this.#before();
    const answer = await this.#ask(`${this.#url}/history`);
    if (!answer) return;
    /** @type {Version[]} */
    const versions = answer.versions;
    this.#list?.replaceChildren(...versions.map((version) => this.#lineOf(version)));
    this.#say(versions.length > 0 ? _("Choose a version.") : _("Nothing is saved yet."));
  }

  /** @param {Version} version */
  #lineOf({ version, saved_at, author }) {
    const time = new Date(saved_at);
    const button = document.createElement("button");
    button.type = "button";
    button.className = "btn btn-outline-primary btn-sm";
    const when = `${time.toLocaleDateString("it-IT", ZONE)} ${time.toLocaleTimeString("it-IT", ZONE)}`;
    button.textContent = `${version} · ${when} · ${author}`;
    button.addEventListener("click", () => this.#show(version, button));
    const line = document.createElement("li");
    line.append(button);
    return line;
  }

  /**
   * @param {number} version
   * @param {HTMLButtonElement} button
   */
  async #show(version, button) {
    const answer = await this.#ask(`${this.#url}/version?version=${version}`);
    if (!answer) return;
    for (const one of this.#list?.querySelectorAll("button") ?? []) {
      one.setAttribute("aria-current", String(one === button));
    }
    const { sections, question_codes, diagnosis_codes, services } = contentOf(answer.content);
    const parts = Object.entries(sections).flatMap(([section, text]) => [
      made("h3", this.#nameOf(section), "h6"),
      made("p", text, "history-words"),
    ]);
    for (const { code, display } of [...question_codes, ...diagnosis_codes, ...services]) {
      parts.push(made("p", `${code} ${display}`, ""));
    }
    this.#text?.replaceChildren(...parts);
    if (parts.length === 0) this.#say(_("The note is empty."));
  }

  /** @param {string} url @returns {Promise<any>} */
  async #ask(url) {
    const response = await fetch(url, { headers: { Accept: "application/json" } }).catch(() => null);
    if (response?.ok) return response.json();
    this.#say(_("The versions cannot be read now. Try again in a moment."));
    return null;
  }

  /** @param {string} words */
  #say(words) {
    this.#text?.replaceChildren(made("p", words, ""));
  }
}

/**
 * @param {string} tag
 * @param {string} text
 * @param {string} className
 */
function made(tag, text, className) {
  const element = document.createElement(tag);
  element.textContent = text;
  element.className = className;
  return element;
}
