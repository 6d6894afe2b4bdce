// Entry of the clinician's day: live states, the people who wait, the now-line, the keys.
// Rows never change place while the page is open.
//
// `#page-data`: statesUrl, alertIcon. Hooks: waiting-list, waiting-none, news, reload, rows; in a
// row: row-name, `.chip` with `[data-label]`. States come from `GET /agenda/states`.

import { Alerts } from "./alerts.js";
import { _ } from "./i18n.js";
import { findHook, pageData, say, show } from "./page.js";

/** @typedef {{id: string, state: string, chip: string, words: string}} State */

const POLL_MS = 3000;
const NOW_LINE_MS = 30_000;

/** @param {HTMLElement} row */
const linkOf = (row) => row.querySelector("a");

/** @param {Date} moment */
const clock = (moment) =>
  moment.toLocaleTimeString("it-IT", { timeZone: "Europe/Rome", hour: "2-digit", minute: "2-digit" });

class Agenda {
  #data = pageData();
  #alerts = new Alerts();
  #waitingList = findHook("waiting-list", HTMLElement);
  /** @type {Map<string, HTMLElement>} */
  #rows = new Map();
  /** @type {Set<string>} */
  #waiting = new Set();
  #lastAnswer = new Date();

  constructor() {
    const icon = document.querySelector('link[rel~="icon"]');
    if (icon instanceof HTMLLinkElement) icon.dataset.alertHref = this.#data.alertIcon;
    for (const row of document.querySelectorAll(".agenda-row")) {
      if (row instanceof HTMLElement) this.#rows.set(row.dataset.visit ?? "", row);
    }
    document.addEventListener("keydown", (event) => this.#onKey(event));
    document.addEventListener("visibilitychange", () => this.#drawNowLine());
    setInterval(() => this.#drawNowLine(), NOW_LINE_MS);
  }

  start() {
    this.#showWaiting([...this.#rows.values()].filter(({ dataset }) => dataset.chip === "waiting"));
    this.#plan();
  }

  #plan() {
    setTimeout(async () => {
      await this.#poll();
      this.#plan();
    }, POLL_MS);
  }

  async #poll() {
    const options = { headers: { Accept: "application/json" } };
    const response = await fetch(this.#data.statesUrl, options).catch(() => null);
    if (response?.status === 401) return location.reload();
    if (!response?.ok) {
      return say("news", _("The line is interrupted. What you see is of {time}.", { time: clock(this.#lastAnswer) }));
    }
    this.#lastAnswer = new Date();
    /** @type {{visits: State[]}} */
    const { visits } = await response.json();
    this.#apply(visits);
  }

  /** @param {State[]} states */
  #apply(states) {
    for (const state of states) {
      const row = this.#rows.get(state.id);
      if (row) this.#draw(row, state);
    }
    const ids = new Set(states.map(({ id }) => id));
    const isOther = states.length !== this.#rows.size || [...this.#rows.keys()].some((id) => !ids.has(id));
    say("news", isOther ? _("The agenda has changed.") : "");
    show("reload", isOther);
    const waiting = states.filter(({ chip }) => chip === "waiting").map(({ id }) => this.#rows.get(id));
    this.#showWaiting(waiting.filter((row) => row !== undefined));
  }

  /**
   * @param {HTMLElement} row
   * @param {State} state
   */
  #draw(row, { state, chip, words }) {
    row.dataset.state = state;
    row.dataset.chip = chip;
    const element = row.querySelector(".chip");
    const label = element?.querySelector("[data-label]");
    if (!(element instanceof HTMLElement) || !label) return;
    if (label.textContent !== words) label.textContent = words;
    if (element.dataset.chip === chip) return;
    element.dataset.chip = chip;
    const icon = element.querySelector("use");
    icon?.setAttribute("href", icon.getAttribute("href")?.replace(/#.*/, `#${chip}`) ?? "");
  }

  /** @param {HTMLElement[]} rows */
  #showWaiting(rows) {
    const ids = rows.map(({ dataset }) => dataset.visit ?? "");
    const isArrival = ids.some((id) => !this.#waiting.has(id));
    const isSame = !isArrival && ids.length === this.#waiting.size;
    this.#waiting = new Set(ids);
    show("waiting-none", rows.length === 0);
    if (isSame) return;
    this.#waitingList?.replaceChildren(...rows.map((row) => this.#waitingItem(row)));
    this.#alerts.stop();
    if (rows.length > 0) this.#alerts.start(_("Waiting: {count}", { count: rows.length }));
  }

  /** @param {HTMLElement} row */
  #waitingItem(row) {
    const item = document.createElement("li");
    const link = document.createElement("a");
    link.className = "btn btn-primary";
    link.href = linkOf(row)?.href ?? "";
    const name = row.querySelector('[data-hook="row-name"]')?.textContent ?? "";
    link.textContent = `${row.querySelector("time")?.textContent ?? ""} ${name}`;
    item.append(link);
    return item;
  }

  #drawNowLine() {
    const now = new Date();
    const rows = [...this.#rows.values()];
    const next = rows.find(({ dataset }) => new Date(dataset.start ?? "") > now);
    for (const row of rows) {
      if (row === next) row.dataset.now = clock(now);
      else delete row.dataset.now;
    }
  }

  /** @param {KeyboardEvent} event */
  #onKey(event) {
    const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
    if (!step || event.altKey || event.ctrlKey || event.metaKey) return;
    const links = [...this.#rows.values()].map(linkOf).filter((link) => link !== null);
    const focused = links.findIndex((link) => link === document.activeElement);
    const first = links.findIndex((link) => link.closest("[data-now]"));
    const target = focused < 0 ? Math.max(0, first) : focused + step;
    links[Math.min(links.length - 1, Math.max(0, target))]?.focus();
    event.preventDefault();
  }
}

new Agenda().start();
