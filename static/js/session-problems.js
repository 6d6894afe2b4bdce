// The list of open problems keeps itself up to date and lets them be taken in charge.
//
// Nothing moves under a finger or away from the keyboard: while the list is in use, news wait behind
// a button. The server says nothing as long as the list is the one that is on the screen.

import { findHook, onClick, pageData, post, say, show } from "./page.js";

const POLL_MS = 5000;
const POLLS_UNTIL_STALE = 3;

/**
 * @typedef {object} Problem
 * @property {string} visit
 * @property {string} when
 * @property {string} clinic
 * @property {string} clinician
 * @property {string[]} problems
 * @property {boolean} is_now
 */

/** @typedef {{digest: string, count: string, rows: Problem[]}} News */

class Problems {
  #list;
  #row;
  /** @type {Record<string, string>} */
  #words;
  /** @type {string} */
  #seen;
  /** @type {News | null} */
  #waiting = null;
  #failures = 0;

  /**
   * @param {HTMLElement} list
   * @param {HTMLTemplateElement} row
   */
  constructor(list, row) {
    this.#list = list;
    this.#row = row;
    const data = pageData();
    this.#words = data.words;
    this.#seen = data.digest;
    list.addEventListener("submit", (event) => this.#take(event));
  }

  async poll() {
    const known = this.#waiting?.digest ?? this.#seen;
    try {
      const response = await fetch(`/sessions/problems/news?seen=${known}`, {
        headers: { Accept: "application/json" },
      });
      if (response.status === 401) location.reload();
      if (!response.ok) throw new Error(String(response.status));
      if (response.status === 200) this.#hear(await response.json());
      this.#failures = 0;
    } catch {
      this.#failures += 1;
    }
    show("stale", this.#failures >= POLLS_UNTIL_STALE);
  }

  /** @param {News} news */
  #hear(news) {
    this.#waiting = news;
    if (this.#isInUse() && !this.#writeInPlace(news.rows)) show("news", true);
    else this.showNews();
  }

  /**
   * @param {Problem[]} rows
   * @returns {boolean} false where rows would come, go or move
   */
  #writeInPlace(rows) {
    const items = /** @type {HTMLElement[]} */ ([...this.#list.children]);
    const isSame =
      rows.length === items.length && rows.every((row, at) => row.visit === items[at]?.dataset.visit);
    if (isSame) items.forEach((item, at) => fill(item, /** @type {Problem} */ (rows[at]), this.#words));
    return isSame;
  }

  showNews() {
    show("news", false);
    if (this.#waiting === null) return;
    const news = this.#waiting;
    this.#waiting = null;
    this.#seen = news.digest;
    if (!this.#writeInPlace(news.rows)) {
      this.#list.replaceChildren(...news.rows.map((problem) => this.#build(problem)));
    }
    say("count", news.count);
    show("empty", news.rows.length === 0);
  }

  /** @param {Problem} problem */
  #build(problem) {
    const row = /** @type {DocumentFragment} */ (this.#row.content.cloneNode(true));
    fill(/** @type {HTMLElement} */ (row.firstElementChild), problem, this.#words);
    return row;
  }

  /** @param {SubmitEvent} event */
  async #take(event) {
    event.preventDefault();
    const form = /** @type {HTMLFormElement} */ (event.target);
    const item = /** @type {HTMLElement} */ (form.closest("[data-visit]"));
    const button = form.querySelector("button");
    button?.toggleAttribute("disabled", true);
    try {
      await post(actionOf(item.dataset.visit ?? ""));
    } catch {
      form.submit();
      return;
    }
    const next = item.nextElementSibling ?? item.previousElementSibling;
    item.remove();
    const target = next?.querySelector("button") ?? document.getElementById("main");
    target?.focus();
    await this.poll();
  }

  #isInUse() {
    return this.#list.matches(":hover") || this.#list.contains(document.activeElement);
  }
}

/** @param {string} visit */
const actionOf = (visit) => `/sessions/problems/${visit}/acknowledge`;

/**
 * @param {HTMLElement} item
 * @param {Problem} problem
 * @param {Record<string, string>} words
 */
function fill(item, problem, words) {
  item.dataset.visit = problem.visit;
  item.classList.toggle("problem-now", problem.is_now);
  part(item, "now")?.toggleAttribute("hidden", !problem.is_now);
  write(item, "words", problem.problems.map((word) => words[word] ?? word).join(" · "));
  write(item, "where", [problem.clinic, problem.clinician].filter(Boolean).join(" · "));
  write(item, "when", problem.when);
  write(item, "when-again", problem.when);
  part(item, "when")?.setAttribute("href", `/sessions/${problem.visit}`);
  item.querySelector("form")?.setAttribute("action", actionOf(problem.visit));
}

/**
 * @param {HTMLElement} item
 * @param {string} name
 */
const part = (item, name) => item.querySelector(`[data-part="${name}"]`);

/**
 * @param {HTMLElement} item
 * @param {string} name
 * @param {string} words
 */
function write(item, name, words) {
  const element = part(item, name);
  if (element) element.textContent = words;
}

const list = findHook("problems", HTMLElement);
const row = document.getElementById("problem-row");
if (list && row instanceof HTMLTemplateElement) {
  const problems = new Problems(list, row);
  onClick("show-news", () => problems.showNews());
  setInterval(() => void problems.poll(), POLL_MS);
}
