// The page of the join link: takes the secret out of the address at once, keeps it in memory only,
// and claims the visit when a person has typed the date and presses. Nothing is sent before.

import { findHook, pageData, say, show } from "./page.js";

/** @typedef {{code?: string, reason?: string, next?: string, wait_seconds?: number}} Answer */

const LOCATOR_LENGTH = 10;
const SLOW_AFTER_MS = 5_000;
const PHONE_AFTER_MS = 20_000;
const GIVE_UP_AFTER_MS = 60_000;
/** Answers after which the spoken code is asked for, too. */
const CODE_ASKED = ["other_device", "code_needed", "incomplete", "no_code", "code_incomplete"];

/** Letters and digits from the start of a text: what comes after was added by somebody else.
 * @param {string} text
 */
const headOf = (text) => text.match(/^[0-9a-z]*/i)?.[0] ?? "";

/** Undoes percent-encoding as often as it was done.
 * @param {string} text
 */
function decode(text) {
  let decoded = text;
  for (let round = 0; round < 3 && decoded.includes("%"); round += 1) {
    try {
      decoded = decodeURIComponent(decoded);
    } catch {
      break;
    }
  }
  return decoded;
}

/** The secret of this address, wherever a mail program put it; then the address forgets it. */
function takeSecret() {
  const [path = "", glued = ""] = decode(location.pathname).split(/\/v\//i).pop()?.split("#") ?? [];
  const fragment = decode(location.hash).replace(/^#+/, "").replace(/[\s-]+/g, "");
  const secret = headOf(fragment) || headOf(glued) || headOf(path).slice(LOCATOR_LENGTH);
  const { locator } = pageData();
  history.replaceState(null, "", locator ? `/v/${locator}` : "/v");
  return secret === "main" ? "" : secret;
}

class JoinPage {
  #data = pageData();
  #secret = takeSecret();
  #failures = 0;
  #isBusy = false;
  #isTyped = false;
  #form = findHook("claim-form", HTMLFormElement);
  #button = findHook("claim-submit", HTMLButtonElement);

  start() {
    this.#form?.addEventListener("submit", (event) => this.#onSubmit(event));
    findHook("have-code", HTMLButtonElement)?.addEventListener("click", () => this.#askCode(true));
    findHook("copy-link", HTMLButtonElement)?.addEventListener("click", () => this.#copyLink());
    show("copy-link", this.#secret !== "");
    this.#keepLinkOverLanguage();
    const birthDate = findHook("birth-date", HTMLInputElement);
    if (birthDate) birthDate.value = "";
    birthDate?.addEventListener("input", (event) => {
      this.#isTyped ||= event.isTrusted;
    });
    addEventListener("hashchange", () => this.#takeNewSecret());
    if (this.#button) this.#button.disabled = false;
    if (!this.#secret && this.#data.locator) {
      this.#say("incomplete");
      this.#askCode(false);
    }
  }

  /** The link was opened again in this same tab. */
  #takeNewSecret() {
    const secret = takeSecret();
    if (!secret) return;
    this.#secret = secret;
    say("claim-words", "");
    show("code-field", false);
    show("have-code", true);
    show("copy-link", true);
  }

  /** @param {SubmitEvent} event */
  async #onSubmit(event) {
    event.preventDefault();
    const isByPerson = event.isTrusted && (navigator.userActivation?.hasBeenActive ?? true);
    if (!isByPerson || this.#isBusy) return;
    if (!this.#isTyped) return this.#explain({ code: "invalid_input", reason: "empty" });
    this.#isBusy = true;
    this.#button?.setAttribute("aria-disabled", "true");
    this.#say("trying");
    await this.#claim();
    this.#isBusy = false;
    this.#button?.removeAttribute("aria-disabled");
  }

  /** One press of the button: a wait that the server asks for is waited here. */
  async #claim() {
    const until = Date.now() + GIVE_UP_AFTER_MS;
    for (;;) {
      const answer = await this.#ask();
      if (!answer) return this.#say("offline");
      if (answer.next) return location.replace(answer.next);
      if (answer.code !== "too_many_attempts" || Date.now() > until) return this.#explain(answer);
      await this.#wait(answer.wait_seconds ?? 1);
    }
  }

  /** @returns {Promise<Answer | null>} */
  async #ask() {
    const slow = setTimeout(() => this.#say("slow"), SLOW_AFTER_MS);
    const late = setTimeout(() => show("phone-big", true), PHONE_AFTER_MS);
    try {
      const response = await fetch("/api/join", {
        method: "POST",
        credentials: "same-origin",
        headers: { Accept: "application/json", "Content-Type": "application/json" },
        body: JSON.stringify({
          locator: this.#data.locator || this.#typed("locator"),
          secret: this.#secret,
          code: this.#typed("code"),
          birth_date: this.#typed("birth-date"),
        }),
      });
      return await response.json();
    } catch {
      return null;
    } finally {
      clearTimeout(slow);
      clearTimeout(late);
    }
  }

  /** @param {Answer} answer */
  #explain(answer) {
    const word = answer.reason ?? answer.code ?? "offline";
    if (answer.code === "not_matched") this.#failures += 1;
    if (answer.reason === "incomplete") this.#secret = "";
    this.#say(word in this.#data.words ? word : "offline");
    const isStuck = this.#failures >= this.#data.showPhoneAfter || word === "too_many_attempts";
    const isForDesk = answer.code === "link_revoked" || CODE_ASKED.slice(0, 3).includes(word);
    if (isStuck || isForDesk) show("phone-big", true);
    if (CODE_ASKED.includes(word)) this.#askCode(true);
    else if (answer.code === "invalid_input") findHook("birth-date", HTMLInputElement)?.focus();
  }

  /** @param {number} seconds */
  async #wait(seconds) {
    show("phone-big", this.#failures >= this.#data.showPhoneAfter || seconds > 10);
    for (let left = seconds; left > 0; left -= 1) {
      this.#say("wait", left);
      await new Promise((resolve) => setTimeout(resolve, 1000));
    }
  }

  /** @param {boolean} withFocus */
  #askCode(withFocus) {
    show("code-field", true);
    show("have-code", false);
    if (withFocus) findHook("code", HTMLInputElement)?.focus();
  }

  /**
   * @param {string} word
   * @param {number} [seconds]
   */
  #say(word, seconds = 0) {
    say("claim-words", (this.#data.words[word] ?? "").replace("{seconds}", String(seconds)));
  }

  /** @param {string} name */
  #typed(name) {
    return findHook(name, HTMLInputElement)?.value.trim() ?? "";
  }

  get #link() {
    return `/v/${this.#data.locator}#${this.#secret}`;
  }

  async #copyLink() {
    const isCopied = await navigator.clipboard
      ?.writeText(location.origin + this.#link)
      .then(() => true)
      .catch(() => false);
    say("copy-words", this.#data.words[isCopied ? "copied" : "not_copied"]);
  }

  /** A change of language loads the page again: the link comes back for that one moment. */
  #keepLinkOverLanguage() {
    const form = document.querySelector(".language-form");
    form?.addEventListener("submit", (event) => {
      const { submitter } = /** @type {SubmitEvent} */ (event);
      if (!this.#secret || !(submitter instanceof HTMLButtonElement)) return;
      event.preventDefault();
      const body = new URLSearchParams({ language: submitter.value, back: location.pathname });
      fetch("/language", { method: "POST", body }).finally(() => {
        history.replaceState(null, "", this.#link);
        location.reload();
      });
    });
  }
}

new JoinPage().start();
