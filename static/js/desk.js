// The desk's pages: the board keeps itself up to date, a link can be copied and printed.

import { findHook, onClick, pageData, show } from "./page.js";

const POLL_MS = 5000;
const POLLS_UNTIL_STALE = 3;

/**
 * @typedef {object} LiveLine
 * @property {string} visit
 * @property {string} state
 * @property {string} presence
 * @property {string[]} problems
 * @property {string} act
 * @property {string} href
 */

class Board {
  #body;
  #url;
  #failures = 0;

  /**
   * @param {HTMLTableSectionElement} body
   * @param {string} url
   */
  constructor(body, url) {
    this.#body = body;
    this.#url = url;
  }

  async poll() {
    try {
      const response = await fetch(this.#url, { headers: { Accept: "application/json" } });
      if (response.status === 401) location.reload();
      if (!response.ok) throw new Error(String(response.status));
      this.#update((await response.json()).lines);
      this.#failures = 0;
    } catch {
      this.#failures += 1;
    }
    show("stale", this.#failures >= POLLS_UNTIL_STALE);
  }

  /** @param {LiveLine[]} lines */
  #update(lines) {
    const rows = new Map([...this.#body.rows].map((row) => [row.dataset.visit, row]));
    if (lines.length !== rows.size || lines.some((line) => !rows.has(line.visit))) {
      if (!this.#isInUse()) location.reload();
      return;
    }
    for (const line of lines) write(/** @type {HTMLTableRowElement} */ (rows.get(line.visit)), line);
    this.#reorder(lines.map((line) => /** @type {HTMLTableRowElement} */ (rows.get(line.visit))));
  }

  /**
   * Nothing moves under a finger or away from the keyboard.
   * @param {HTMLTableRowElement[]} rows
   */
  #reorder(rows) {
    const isInOrder = rows.every((row, place) => this.#body.rows[place] === row);
    if (!isInOrder && !this.#isInUse()) this.#body.append(...rows);
  }

  #isInUse() {
    const focused = document.activeElement;
    return this.#body.matches(":hover") || (focused !== null && focused !== document.body);
  }
}

/**
 * @param {HTMLTableRowElement} row
 * @param {LiveLine} line
 */
function write(row, line) {
  writePart(row, "state", line.state);
  writePart(row, "presence", line.presence);
  writePart(row, "act", line.act);
  row.querySelector('[data-part="act"]')?.setAttribute("href", line.href);
  row.classList.toggle("has-problem", line.problems.length > 0);
  const list = row.querySelector('[data-part="problems"]');
  if (list && [...list.children].map((item) => item.textContent).join() !== line.problems.join()) {
    list.replaceChildren(...line.problems.map(listItem));
  }
}

/**
 * @param {HTMLElement} row
 * @param {string} part
 * @param {string} text
 */
function writePart(row, part, text) {
  const element = row.querySelector(`[data-part="${part}"]`);
  if (element && element.textContent !== text) element.textContent = text;
}

/** @param {string} text */
function listItem(text) {
  const item = document.createElement("li");
  item.textContent = text;
  return item;
}

async function copyLink() {
  const link = document.querySelector('[data-testid="desk-link"]');
  const button = findHook("copy", HTMLButtonElement);
  await navigator.clipboard.writeText(link?.textContent ?? "");
  if (button) button.textContent = button.dataset.done ?? "";
}

const body = findHook("lines", HTMLTableSectionElement);
const { statesUrl } = pageData();
if (body && statesUrl) {
  const board = new Board(body, statesUrl);
  setInterval(() => board.poll(), POLL_MS);
}
show("print", true);
show("copy", "clipboard" in navigator);
onClick("print", () => print());
onClick("copy", copyLink);
