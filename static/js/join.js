// The page of the join link: takes the secret out of the address at once, keeps it in memory only,
// and claims the visit when a person has typed the date and presses. Nothing is sent before.

import { findHook, pageData, say, show } from "./page.js";

/** @typedef {{code?: string, reason?: string, next?: string, wait_seconds?: number, is_sent?: boolean}} Answer */

const LOCATOR_LENGTH = 10;
const SLOW_AFTER_MS = 5_000;
const PHONE_AFTER_MS = 20_000;
const GIVE_UP_AFTER_MS = 60_000;
const DEVICE_CODE_DIGITS = 6;
/** Answers after which the spoken code is asked for, too. */
const CODE_ASKED = ["other_device_call", "code_needed", "incomplete", "no_code", "code_incomplete"];

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
  #isCodeSent = false;
  #form = findHook("claim-form", HTMLFormElement);
  #button = findHook("claim-submit", HTMLButtonElement);

  start() {
    this.#form?.addEventListener("submit", (event) => this.#onSubmit(event));
    findHook("have-code", HTMLButtonElement)?.addEventListener("click", () => this.#askCode(true));
    findHook("copy-link", HTMLButtonElement)?.addEventListener("click", () => this.#copyLink());
    for (const name of ["send-code", "send-again"]) {
      findHook(name, HTMLButtonElement)?.addEventListener("click", (event) => this.#onSend(event));
    }
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
    this.#isCodeSent = false;
    for (const name of ["code-field", "device-code-field", "send-code"]) show(name, false);
    for (const name of ["claim-submit", "have-code", "copy-link"]) show(name, true);
  }

  /** @param {SubmitEvent} event */
  async #onSubmit(event) {
    event.preventDefault();
    if (this.#isCodeSent && this.#deviceCode.length !== DEVICE_CODE_DIGITS) {
      this.#say("device_code_incomplete");
      return findHook("device-code", HTMLInputElement)?.focus();
    }
    await this.#once(event, () => this.#claim());
  }

  /** @param {MouseEvent} event */
  async #onSend(event) {
    await this.#once(event, () => this.#sendCode());
  }

  /**
   * One act at a time, and only on the gesture of a person who has typed.
   * @param {Event} event
   * @param {() => Promise<void>} act
   */
  async #once(event, act) {
    const isByPerson = event.isTrusted && (navigator.userActivation?.hasBeenActive ?? true);
    if (!isByPerson || this.#isBusy) return;
    if (!this.#isTyped) return this.#explain({ code: "invalid_input", reason: "empty" });
    this.#isBusy = true;
    this.#button?.setAttribute("aria-disabled", "true");
    this.#say("trying");
    await act();
    this.#isBusy = false;
    this.#button?.removeAttribute("aria-disabled");
  }

  /** One press of the button: a wait that the server asks for is waited here. */
  async #claim() {
    const until = Date.now() + GIVE_UP_AFTER_MS;
    for (;;) {
      const answer = await this.#ask("/api/join");
      if (!answer) return this.#say("offline");
      if (answer.next) return location.replace(answer.next);
      if (answer.code !== "too_many_attempts" || Date.now() > until) return this.#explain(answer);
      await this.#wait(answer.wait_seconds ?? 1);
    }
  }

  /** A code for this second device goes to the patient; a pause the server asks for is said. */
  async #sendCode() {
    const answer = await this.#ask("/api/join/code");
    if (!answer) return this.#say("offline");
    if (answer.is_sent === false) return this.#claim();
    if (!answer.is_sent && answer.code !== "too_many_attempts") return this.#explain(answer);
    this.#askSentCode();
    if (answer.is_sent) return this.#say("code_sent");
    show("phone-big", true);
    const at = new Date(Date.now() + (answer.wait_seconds ?? 1) * 1000 + 59_000);
    const time = at.toLocaleTimeString("it-IT", { hour: "2-digit", minute: "2-digit" });
    this.#say("code_pause", { time });
  }

  /**
   * @param {string} url
   * @returns {Promise<Answer | null>}
   */
  async #ask(url) {
    const slow = setTimeout(() => this.#say("slow"), SLOW_AFTER_MS);
    const late = setTimeout(() => show("phone-big", true), PHONE_AFTER_MS);
    try {
      const response = await fetch(url, {
        method: "POST",
        credentials: "same-origin",
        headers: { Accept: "application/json", "Content-Type": "application/json" },
        body: JSON.stringify({
          locator: this.#data.locator || this.#typed("locator"),
          secret: this.#secret,
          code: this.#isCodeSent ? this.#deviceCode : this.#typed("code"),
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
    if (word === "other_device" || word === "code_over") this.#offerCode();
    else if (word === "code_wrong") findHook("device-code", HTMLInputElement)?.focus();
    else if (CODE_ASKED.includes(word)) this.#askCode(true);
    else if (answer.code === "invalid_input") findHook("birth-date", HTMLInputElement)?.focus();
  }

  /** @param {number} seconds */
  async #wait(seconds) {
    show("phone-big", this.#failures >= this.#data.showPhoneAfter || seconds > 10);
    for (let left = seconds; left > 0; left -= 1) {
      this.#say("wait", { seconds: left });
      await new Promise((resolve) => setTimeout(resolve, 1000));
    }
  }

  /** This browser is a second one: first comes the code. */
  #offerCode() {
    this.#isCodeSent = false;
    show("device-code-field", false);
    show("claim-submit", false);
    show("send-code", true);
    findHook("send-code", HTMLButtonElement)?.focus();
  }

  #askSentCode() {
    this.#isCodeSent = true;
    show("code-field", false);
    show("send-code", false);
    show("claim-submit", true);
    show("device-code-field", true);
    show("have-code", true);
    const field = findHook("device-code", HTMLInputElement);
    if (field) field.value = "";
    field?.focus();
  }

  /** @param {boolean} withFocus */
  #askCode(withFocus) {
    this.#isCodeSent = false;
    show("device-code-field", false);
    show("send-code", false);
    show("claim-submit", true);
    show("code-field", true);
    show("have-code", false);
    if (withFocus) findHook("code", HTMLInputElement)?.focus();
  }

  /**
   * @param {string} word
   * @param {Record<string, string | number>} [values]
   */
  #say(word, values = {}) {
    let words = this.#data.words[word] ?? "";
    for (const [name, value] of Object.entries(values)) words = words.replace(`{${name}}`, String(value));
    say("claim-words", words);
  }

  get #deviceCode() {
    return this.#typed("device-code").replace(/\D/g, "");
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
