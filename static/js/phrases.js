// Phrases: a point, the shortcut and a space put a text in (".pa "). What the person undoes with
// Ctrl+Z is the text; the shortcut comes back.

/** @typedef {{shortcut: string, text: string}} Phrase own ones first */

const SHORTCUT = /(^|\s)\.([a-z0-9]{1,32})[ \n]$/;

/**
 * The phrase that the letters before the caret ask for.
 * @param {string} before the text up to the caret
 * @param {Phrase[]} phrases
 * @returns {{length: number, text: string} | null} how many letters it takes the place of
 */
export function findPhrase(before, phrases) {
  const shortcut = SHORTCUT.exec(before)?.[2];
  const found = phrases.find((phrase) => phrase.shortcut === shortcut);
  return found && shortcut ? { length: shortcut.length + 2, text: found.text } : null;
}

export class Phrases {
  /** @type {Phrase[]} */
  #phrases = [];

  /** @param {NodeListOf<Element>} fields */
  constructor(fields) {
    for (const field of fields) {
      if (!(field instanceof HTMLTextAreaElement)) continue;
      field.addEventListener("input", (event) => {
        const isTyped = event instanceof InputEvent && !event.isComposing;
        if (isTyped && /^insert(Text|LineBreak)$/.test(event.inputType)) this.#expand(field);
      });
    }
  }

  /** @param {Phrase[]} phrases */
  know(phrases) {
    this.#phrases = phrases;
  }

  /** @param {HTMLTextAreaElement} field */
  #expand(field) {
    const caret = field.selectionStart;
    const found = findPhrase(field.value.slice(0, caret), this.#phrases);
    if (!found) return;
    field.setSelectionRange(caret - found.length, caret);
    // the only way to put text in that Ctrl+Z takes out again
    document.execCommand("insertText", false, found.text);
  }
}
