// The doctor's checks at the top of the visit page, and who else waits meanwhile.
//
// `#page-data`: identityUrl, eligibilityUrl, statesUrl, visitId, isFirstVisit, alertIcon. Hooks:
// identity (button with `[data-label]`), card-more
// (details, closed on a phone), eligibility-reason (input), card-status, others-waiting;
// buttons with `data-ground`.

import { _ } from "./i18n.js";
import { findHook, onClick, pageData, post, say, show } from "./page.js";

const POLL_MS = 20_000;

/** @param {HTMLElement} button */
const isPressed = (button) => button.getAttribute("aria-pressed") === "true";

class VisitCard {
  #data = pageData();
  #identity = findHook("identity", HTMLButtonElement);
  #reason = findHook("eligibility-reason", HTMLInputElement);
  #grounds = [...document.querySelectorAll("button[data-ground]")].filter(
    (element) => element instanceof HTMLButtonElement,
  );

  constructor() {
    const icon = document.querySelector('link[rel~="icon"]');
    if (icon instanceof HTMLLinkElement) icon.dataset.alertHref = this.#data.alertIcon;
    const more = findHook("card-more", HTMLDetailsElement);
    if (more && matchMedia("(width < 62rem)").matches) more.open = false;
    onClick("identity", () => this.#toggleIdentity());
    for (const button of this.#grounds) {
      button.addEventListener("click", () => this.#choose(isPressed(button) ? null : button));
    }
    this.#reason?.addEventListener("change", () => {
      const chosen = this.#grounds.find(isPressed);
      if (chosen) this.#choose(chosen);
    });
    setInterval(() => this.#countWaiting(), POLL_MS);
    this.#countWaiting();
  }

  async #toggleIdentity() {
    const button = this.#identity;
    if (!button) return;
    const isConfirmed = !isPressed(button);
    if (!(await this.#send(this.#data.identityUrl, { is_confirmed: isConfirmed }))) return;
    button.setAttribute("aria-pressed", String(isConfirmed));
    const label = button.querySelector("[data-label]");
    if (label) label.textContent = isConfirmed ? _("Identity confirmed") : _("Confirm identity");
  }

  /** @param {HTMLButtonElement | null} button none: the confirmation is taken back */
  async #choose(button) {
    const reason = this.#reason?.value.trim() ?? "";
    if (button && this.#data.isFirstVisit && !reason) {
      say("card-status", _("First visit: write why it can be done by video."));
      return this.#reason?.focus();
    }
    const ground = button?.dataset.ground ?? null;
    if (!(await this.#send(this.#data.eligibilityUrl, { ground, reason }))) return;
    for (const other of this.#grounds) {
      other.setAttribute("aria-pressed", String(other === button));
    }
  }

  /**
   * @param {string} url
   * @param {object} body
   */
  async #send(url, body) {
    try {
      await post(url, body);
      say("card-status", "");
      return true;
    } catch {
      say("card-status", _("This was not saved. Try again."));
      return false;
    }
  }

  /** Also keeps the login alive while the doctor talks. */
  async #countWaiting() {
    const options = { headers: { Accept: "application/json" } };
    const response = await fetch(this.#data.statesUrl, options).catch(() => null);
    if (!response?.ok) return;
    /** @type {{visits: {id: string, chip: string}[]}} */
    const { visits } = await response.json();
    const count = visits.filter(({ id, chip }) => chip === "waiting" && id !== this.#data.visitId).length;
    say("others-waiting", _("Others waiting: {count}", { count }));
    show("others-waiting", count > 0);
  }
}

new VisitCard();
