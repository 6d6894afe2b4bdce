// What helps to write: templates, put into the sections that are empty, and the texts of phrases.
// Both are read once; a note can become a template of its own.
//
// Hooks: note-template (choice), template-new, template-dialog, template-form, template-texts,
// template-problem, template-cancel.

import { _ } from "./i18n.js";
import { contentOf } from "./note-content.js";
import { findHook, onClick, post, RequestError, say, show } from "./page.js";

/** @typedef {import("./note-content.js").Content} Content */
/** @typedef {import("./note-fields.js").NoteFields} NoteFields */
/** @typedef {import("./phrases.js").Phrase} Phrase */
/** @typedef {{id: string, title: string, specialty: string, version: number}} Template */

export class NoteTemplates {
  #choice = findHook("note-template", HTMLSelectElement);
  #dialog = findHook("template-dialog", HTMLDialogElement);
  #form = findHook("template-form", HTMLFormElement);
  #texts = findHook("template-texts", HTMLElement);
  #keepUrl = findHook("note", HTMLElement)?.dataset.templateUrl ?? "";
  #fields;
  #content;
  #onTemplate;
  #onPhrases;

  /**
   * @param {NoteFields} fields
   * @param {() => Content} content what is on the screen
   * @param {(template: Content, id: string) => void} onTemplate
   * @param {(phrases: Phrase[]) => void} onPhrases
   */
  constructor(fields, content, onTemplate, onPhrases) {
    this.#fields = fields;
    this.#content = content;
    this.#onTemplate = onTemplate;
    this.#onPhrases = onPhrases;
    this.#choice?.addEventListener("change", () => this.#apply());
    onClick("template-new", () => this.#open());
    onClick("template-cancel", () => this.#dialog?.close());
    this.#form?.addEventListener("submit", (event) => {
      event.preventDefault();
      this.#keep();
    });
    this.#load();
  }

  /** Without an answer there are no templates and no phrases; the note is written all the same. */
  async #load() {
    const answer = await fetchJson("/writing/help");
    if (!answer) return;
    this.#onPhrases(answer.phrases);
    /** @type {Template[]} */
    const templates = answer.templates;
    const [none] = this.#choice?.options ?? [];
    const options = templates.map(({ id, title, specialty }) => {
      return new Option(specialty ? `${specialty}: ${title}` : title, id);
    });
    this.#choice?.replaceChildren(...(none ? [none] : []), ...options);
    if (this.#choice) this.#choice.disabled = options.length === 0;
  }

  async #apply() {
    const id = this.#choice?.value;
    if (!id || !this.#choice) return;
    this.#choice.value = "";
    const answer = await fetchJson(`/writing/templates/${id}/content`);
    if (answer) this.#onTemplate(contentOf(answer.content), id);
    else say("note-status", _("The template cannot be read now. Try again in a moment."));
  }

  /** The texts can be changed before they become a template. */
  #open() {
    const { sections } = this.#content();
    const parts = Object.entries(sections).map(([section, text]) => {
      const label = document.createElement("label");
      label.className = "finish-label";
      label.textContent = this.#fields.nameOf(section);
      const field = document.createElement("textarea");
      field.className = "form-control";
      field.name = section;
      field.rows = 3;
      field.value = text;
      label.append(field);
      return label;
    });
    this.#texts?.replaceChildren(...parts);
    show("template-problem", false);
    this.#dialog?.showModal();
  }

  async #keep() {
    const form = new FormData(this.#form ?? undefined);
    /** @type {Record<string, string>} */
    const sections = {};
    for (const field of this.#texts?.querySelectorAll("textarea") ?? []) {
      sections[field.name] = field.value;
    }
    const { template_id: _before, ...codes } = this.#content();
    const wish = {
      title: String(form.get("title") ?? ""),
      specialty: String(form.get("specialty") ?? ""),
      content: { ...codes, sections },
    };
    try {
      await post(this.#keepUrl, wish);
      this.#dialog?.close();
      await this.#load();
    } catch (failure) {
      const isRefused = failure instanceof RequestError && failure.status === 400;
      say(
        "template-problem",
        isRefused
          ? _("This text names the patient, or has nothing in it: change it and try again.")
          : _("The template is not kept: the line is interrupted. Try again."),
      );
      show("template-problem", true);
    }
  }
}

/** @param {string} url @returns {Promise<any>} null without an answer */
async function fetchJson(url) {
  const response = await fetch(url, { headers: { Accept: "application/json" } }).catch(() => null);
  return response?.ok ? response.json().catch(() => null) : null;
}
