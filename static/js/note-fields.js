// The fields of the note: which are open, which are filled in, and the keys that lead to them.
// Mandatory ones and those with a text stay open; the others open by a tap or by their key.
//
// `[data-section]` is a text area, `[data-part]` what surrounds it, `[data-opens]` a button that
// opens one or more sections; its `aria-keyshortcuts` is "Alt+3" or "Alt+Shift+3".

import { cleanText, textOf } from "./note-content.js";

/** @typedef {import("./note-content.js").Content} Content */
/** @typedef {import("./note-content.js").CodeField} CodeField */

const MANDATORY = ["question", "findings"];
/** @type {Record<string, CodeField>} codes that make a section filled in as a text does */
const CODES_OF = { question: "question_codes", diagnosis: "diagnosis_codes", performed: "services" };

export class NoteFields {
  /** @type {Map<string, HTMLTextAreaElement>} */
  #fields = new Map();
  #openers = [...document.querySelectorAll("[data-opens]")].filter(isButton);

  /** @param {(section: string, text: string) => void} onInput */
  constructor(onInput) {
    for (const field of document.querySelectorAll("textarea[data-section]")) {
      if (!(field instanceof HTMLTextAreaElement)) continue;
      const section = field.dataset.section ?? "";
      this.#fields.set(section, field);
      field.addEventListener("input", () => onInput(section, field.value));
    }
    for (const opener of this.#openers) {
      opener.addEventListener("click", () => this.#toggle(opener));
    }
    document.addEventListener("keydown", (event) => this.#onKey(event));
  }

  /** @param {string} section */
  field(section) {
    return this.#fields.get(section) ?? null;
  }

  /** @param {string} section @returns {string} what the section is called on the page */
  nameOf(section) {
    return document.querySelector(`label[for="note-${section}"]`)?.textContent ?? section;
  }

  enable() {
    for (const field of this.#fields.values()) field.disabled = false;
  }

  get isEnabled() {
    return this.#fields.get("findings")?.disabled === false;
  }

  /**
   * Texts that came from elsewhere; what is being typed keeps its place.
   * @param {Content} content
   */
  draw(content) {
    for (const [section, field] of this.#fields) {
      const text = textOf(content, section);
      if (cleanText(field.value).trim() === text.trim()) continue;
      const { selectionStart, selectionEnd } = field;
      field.value = text;
      if (document.activeElement === field) field.setSelectionRange(selectionStart, selectionEnd);
    }
    this.mark(content);
  }

  /**
   * Ticks, and filled sections open.
   * @param {Content} content
   */
  mark(content) {
    const isFilled = (/** @type {string} */ section) => {
      const codes = CODES_OF[section];
      return textOf(content, section) !== "" || Boolean(codes && content[codes].length > 0);
    };
    for (const section of this.#fields.keys()) {
      if (isFilled(section)) this.#partOf(section)?.removeAttribute("hidden");
    }
    for (const opener of this.#openers) {
      const filled = sectionsOf(opener).some(isFilled);
      opener.classList.toggle("is-filled", filled);
      opener.querySelector("[data-filled]")?.toggleAttribute("hidden", !filled);
    }
    this.#drawOpeners();
  }

  /** @param {string} section */
  open(section) {
    this.#partOf(section)?.removeAttribute("hidden");
    this.#drawOpeners();
    this.#fields.get(section)?.focus();
  }

  /** @param {HTMLButtonElement} opener */
  #toggle(opener) {
    const sections = sectionsOf(opener);
    const isOpen = opener.getAttribute("aria-pressed") === "true";
    const isEmpty = sections.every((section) => !this.#fields.get(section)?.value.trim());
    const canClose = isOpen && isEmpty && !opener.classList.contains("is-filled");
    if (canClose && !sections.some((section) => MANDATORY.includes(section))) {
      for (const section of sections) this.#partOf(section)?.setAttribute("hidden", "");
      return this.#drawOpeners();
    }
    for (const section of [...sections].reverse()) this.open(section);
  }

  #drawOpeners() {
    for (const opener of this.#openers) {
      const isOpen = sectionsOf(opener).some((section) => !this.#partOf(section)?.hidden);
      opener.setAttribute("aria-pressed", String(isOpen));
    }
  }

  /** @param {KeyboardEvent} event */
  #onKey(event) {
    const digit = /^Digit(\d)$/.exec(event.code)?.[1];
    if (!digit || !event.altKey || event.ctrlKey || event.metaKey || !this.isEnabled) return;
    const keys = `Alt+${event.shiftKey ? "Shift+" : ""}${digit}`;
    const opener = this.#openers.find((one) => one.getAttribute("aria-keyshortcuts") === keys);
    if (!opener) return;
    event.preventDefault();
    for (const section of [...sectionsOf(opener)].reverse()) this.open(section);
  }

  /** @param {string} section */
  #partOf(section) {
    const part = document.querySelector(`[data-part="${section}"]`);
    return part instanceof HTMLElement ? part : null;
  }
}

/** @param {Element} element @returns {element is HTMLButtonElement} */
function isButton(element) {
  return element instanceof HTMLButtonElement;
}

/** @param {HTMLElement} opener */
const sectionsOf = (opener) => (opener.dataset.opens ?? "").split(" ");
