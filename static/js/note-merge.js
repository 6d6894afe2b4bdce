// Sections that were changed here and elsewhere: before, mine, the other one; the person chooses.

import { findHook, show } from "./page.js";

/** @typedef {import("./note-model.js").Conflict} Conflict */
/** @typedef {import("./note-model.js").Choice} Choice */

export class MergeView {
  #rows = findHook("merge-rows", HTMLElement);
  #form = document.getElementById("merge-row");
  #nameOf;
  #onChoice;

  /**
   * @param {(section: string) => string} nameOf
   * @param {(section: string, choice: Choice) => void} onChoice
   */
  constructor(nameOf, onChoice) {
    this.#nameOf = nameOf;
    this.#onChoice = onChoice;
  }

  /** @param {Conflict[]} conflicts */
  draw(conflicts) {
    show("merge", conflicts.length > 0);
    const open = new Set(conflicts.map(({ section }) => section));
    for (const row of this.#rows?.querySelectorAll("[data-row]") ?? []) {
      if (!open.has(row.getAttribute("data-row") ?? "")) row.remove();
    }
    for (const conflict of conflicts) this.#drawRow(conflict);
  }

  /** @param {Conflict} conflict */
  #drawRow({ section, base, mine, theirs }) {
    const row = this.#rows?.querySelector(`[data-row="${section}"]`) ?? this.#addRow(section);
    for (const [name, text] of Object.entries({ base, mine, theirs })) {
      const place = row?.querySelector(`[data-${name}]`);
      if (place && place.textContent !== text) place.textContent = text;
    }
  }

  /** @param {string} section */
  #addRow(section) {
    if (!(this.#form instanceof HTMLTemplateElement)) return null;
    const made = document.importNode(this.#form.content, true).querySelector("section");
    if (!made) return null;
    made.dataset.row = section;
    const title = made.querySelector("[data-title]");
    if (title) title.textContent = this.#nameOf(section);
    for (const column of made.querySelectorAll(".merge-texts > div")) {
      const name = `${this.#nameOf(section)}: ${column.querySelector("h5")?.textContent ?? ""}`;
      column.querySelector("pre")?.setAttribute("aria-label", name);
    }
    made.addEventListener("click", (event) => {
      const choice = event.target instanceof HTMLElement ? event.target.dataset.choice : undefined;
      if (choice === "both" || choice === "mine" || choice === "theirs") {
        this.#onChoice(section, choice);
      }
    });
    this.#rows?.append(made);
    return made;
  }
}
