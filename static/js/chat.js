// Written words between the two pages, over the data channel: never on the server.
// When the channel is down the composer says so and what was typed stays.

import { _ } from "./i18n.js";
import { byTestId, findHook, openDrawer, say, show } from "./page.js";

/** @typedef {import("./session.js").Session} Session */

const MAX_CHARACTERS = 1000;
const LARGE_TEXT_MS = 20_000;

export class Chat {
  #session;
  #peerName;
  #input = byTestId("chat-input", HTMLInputElement);
  #log = byTestId("chat-log", HTMLElement);
  #large = findHook("large-text", HTMLElement);
  #isLarge = false;
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  #fading;

  /**
   * @param {Session} session
   * @param {string} peerName
   */
  constructor(session, peerName) {
    this.#session = session;
    this.#peerName = peerName;
    this.#input.maxLength = MAX_CHARACTERS;
    this.#input.addEventListener("keydown", (event) => {
      if (event.key !== "Enter" || event.isComposing) return;
      event.preventDefault();
      this.#send();
    });
    findHook("chat-send", HTMLElement)?.addEventListener("click", () => this.#send());
    const toggle = findHook("large-text-toggle", HTMLElement);
    toggle?.addEventListener("click", () => {
      this.#isLarge = !this.#isLarge;
      toggle.setAttribute("aria-pressed", String(this.#isLarge));
      this.#showLarge(this.#log.lastElementChild?.lastElementChild?.textContent ?? "");
    });
    session.on("channel", (isOpen) => this.#sayState(isOpen));
    session.on("message", (message) => {
      if (typeof message["text"] === "string") this.#receive(message["text"]);
    });
    this.#sayState(false);
  }

  /** @param {boolean} isOpen */
  #sayState(isOpen) {
    const words = isOpen ? "" : _("Messages cannot be sent right now. What you write stays here.");
    say("chat-state", words);
    show("chat-state", !isOpen);
  }

  #send() {
    const text = this.#input.value.trim();
    if (!text) return;
    if (!this.#session.tell({ text })) return this.#sayState(false);
    this.#input.value = "";
    this.#add(_("You"), text, "self");
    this.#showLarge(text);
  }

  /** @param {string} text */
  #receive(text) {
    const words = text.slice(0, MAX_CHARACTERS);
    openDrawer(true);
    this.#add(this.#peerName, words, "peer");
    this.#showLarge(words);
  }

  /**
   * @param {string} author
   * @param {string} text
   * @param {"self" | "peer"} side
   */
  #add(author, text, side) {
    const line = document.createElement(this.#log.matches("ol, ul") ? "li" : "p");
    line.dataset.side = side;
    const name = document.createElement("strong");
    name.textContent = `${author}: `;
    const words = document.createElement("span");
    words.textContent = text;
    line.append(name, words);
    this.#log.append(line);
    this.#log.scrollTop = this.#log.scrollHeight;
  }

  /** @param {string} text */
  #showLarge(text) {
    if (!this.#large) return;
    clearTimeout(this.#fading);
    this.#large.textContent = text;
    this.#large.hidden = !this.#isLarge || !text;
    this.#fading = setTimeout(() => this.#large?.toggleAttribute("hidden", true), LARGE_TEXT_MS);
  }
}
