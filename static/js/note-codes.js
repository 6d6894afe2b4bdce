// Codes of a section by search (WAI-ARIA combobox with a list): ICD-9-CM for question and diagnosis,
// the nomenclature of services for what was done. The words are sent in a body, never in an address.
//
// `[data-code-picker]` is the field of the note, `data-system` the list. Test ids: code-<field>.

import { _ } from "./i18n.js";
import { CODE_FIELDS } from "./note-content.js";
import { findHook, post } from "./page.js";

/** @typedef {import("./note-content.js").Coding} Coding */
/** @typedef {import("./note-content.js").CodeField} CodeField */
/** @typedef {import("./note-content.js").Content} Content */
/** @typedef {(field: CodeField, codes: Coding[]) => void} OnChoice */

const PAUSE_MS = 150;
const SHORTEST = 2;

export class CodePickers {
  /** @type {CodePicker[]} */
  #pickers;

  /** @param {OnChoice} onChoice */
  constructor(onChoice) {
    this.#pickers = CODE_FIELDS.flatMap((field) => {
      const place = document.querySelector(`[data-code-picker="${field}"]`);
      return place instanceof HTMLElement ? [new CodePicker(place, field, onChoice)] : [];
    });
  }

  enable() {
    for (const picker of this.#pickers) picker.enable();
  }

  /** @param {Content} content */
  draw(content) {
    for (const picker of this.#pickers) picker.draw(content);
  }
}

class CodePicker {
  /** @type {HTMLInputElement | null} */
  #input;
  /** @type {HTMLElement | null} */
  #list;
  #chosen;
  #field;
  #system;
  #onChoice;
  /** @type {Coding[]} */
  #codes = [];
  /** @type {Coding[]} */
  #hits = [];
  #active = -1;
  #asked = 0;
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  #timer;

  /**
   * @param {HTMLElement} place
   * @param {CodeField} field
   * @param {OnChoice} onChoice
   */
  constructor(place, field, onChoice) {
    this.#input = place.querySelector("input");
    this.#list = place.querySelector('[role="listbox"]');
    this.#chosen = findHook(`chosen-${field}`, HTMLElement);
    this.#field = field;
    this.#system = place.dataset.system ?? "";
    this.#onChoice = onChoice;
    this.#input?.addEventListener("input", () => this.#plan());
    this.#input?.addEventListener("keydown", (event) => this.#onKey(event));
    this.#input?.addEventListener("blur", () => this.#close());
    this.#list?.addEventListener("pointerdown", (event) => event.preventDefault());
    this.#list?.addEventListener("click", (event) => this.#onClick(event));
  }

  enable() {
    if (this.#input) this.#input.disabled = false;
  }

  /** @param {Content} content */
  draw(content) {
    const codes = content[this.#field];
    if (this.#chosen?.childElementCount === codes.length && codes === this.#codes) return;
    this.#codes = codes;
    this.#chosen?.replaceChildren(...codes.map((coding) => this.#chosenOf(coding)));
    this.#chosen?.toggleAttribute("hidden", codes.length === 0);
  }

  /** @param {Coding} coding */
  #chosenOf(coding) {
    const item = document.createElement("li");
    item.textContent = `${coding.code} ${coding.display}`;
    const button = document.createElement("button");
    button.type = "button";
    button.textContent = "×";
    button.setAttribute("aria-label", _("Take {code} away", { code: coding.code }));
    button.addEventListener("click", () => {
      this.#onChoice(
        this.#field,
        this.#codes.filter((one) => one !== coding),
      );
      this.#input?.focus();
    });
    item.append(button);
    return item;
  }

  #plan() {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.#search(), PAUSE_MS);
  }

  async #search() {
    const sought = this.#input?.value.trim() ?? "";
    if (sought.length < SHORTEST) return this.#close();
    const asked = ++this.#asked;
    const question = { system: this.#system, sought };
    const answer = await post("/writing/codes/search", question).catch(() => null);
    if (asked !== this.#asked) return;
    this.#hits = answer?.codes ?? [];
    const words = answer ? _("No code is like this.") : _("The codes cannot be searched now.");
    this.#open(this.#hits.length > 0 ? "" : words);
  }

  /** @param {string} words instead of hits */
  #open(words) {
    const options = this.#hits.map(({ code, display }, place) => {
      const option = document.createElement("li");
      option.role = "option";
      option.id = `${this.#field}-${place}`;
      option.textContent = `${code} ${display}`;
      return option;
    });
    if (words) {
      const line = document.createElement("li");
      line.role = "option";
      line.ariaDisabled = "true";
      line.textContent = words;
      options.push(line);
    }
    this.#list?.replaceChildren(...options);
    this.#list?.removeAttribute("hidden");
    this.#input?.setAttribute("aria-expanded", "true");
    this.#setActive(this.#hits.length > 0 ? 0 : -1);
  }

  #close() {
    clearTimeout(this.#timer);
    this.#asked++;
    this.#hits = [];
    this.#setActive(-1);
    this.#list?.setAttribute("hidden", "");
    this.#input?.setAttribute("aria-expanded", "false");
  }

  /** @param {number} place */
  #setActive(place) {
    this.#active = place;
    for (const [number, option] of [...(this.#list?.children ?? [])].entries()) {
      option.setAttribute("aria-selected", String(number === place));
      if (number === place) option.scrollIntoView({ block: "nearest" });
    }
    if (place < 0) this.#input?.removeAttribute("aria-activedescendant");
    else this.#input?.setAttribute("aria-activedescendant", `${this.#field}-${place}`);
  }

  /** @param {KeyboardEvent} event */
  #onKey(event) {
    const count = this.#hits.length;
    const step = { ArrowDown: 1, ArrowUp: -1 }[event.key] ?? 0;
    if (step && count > 0) this.#setActive((this.#active + step + count) % count);
    else if (event.key === "Enter" && this.#active >= 0) this.#take(this.#active);
    else if (event.key === "Escape" && count > 0) this.#close();
    else return;
    event.preventDefault();
  }

  /** @param {MouseEvent} event */
  #onClick(event) {
    const option = event.target instanceof Element ? event.target.closest("li") : null;
    const place = option ? [...(this.#list?.children ?? [])].indexOf(option) : -1;
    this.#take(place);
  }

  /** @param {number} place */
  #take(place) {
    const coding = this.#hits[place];
    if (!coding) return;
    if (this.#input) this.#input.value = "";
    this.#close();
    if (this.#codes.some(({ code }) => code === coding.code)) return;
    this.#onChoice(this.#field, [...this.#codes, coding]);
  }
}
