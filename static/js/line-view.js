// Everything said of the line: each direction in a word, what happens to the picture, the choice of
// a person, the telephone when no voice gets through, and the verdict so far.
//
// Hooks: line-state, line-incoming, line-outgoing, picture-state (role=status), remote (gets
// `data-picture`), picture-choice (select), phone-offer, line-verdict.

import { _ } from "./i18n.js";
import { findHook, say, show } from "./page.js";
import { verdictWords } from "./verdict-words.js";

/** @typedef {import("./ladder.js").Choice} Choice */
/** @typedef {import("./ladder.js").Rung} Rung */
/** @typedef {import("./stats.js").Sample} Sample */
/** @typedef {"good" | "weak"} Level */

const WEAK_LOSS_PERCENT = 5;
const WEAK_CONCEALED_PERCENT = 5;
const WEAK_RTT_MS = 500;
const WEAK_FROZEN_MS = 400;
const SECONDS_TO_CHANGE = 3;

/** Turns only when several seconds in a row agree. */
class Steady {
  /** @type {Level} */
  level = "good";
  #against = 0;

  /** @param {boolean} isWeak */
  add(isWeak) {
    this.#against = isWeak === (this.level === "weak") ? 0 : this.#against + 1;
    if (this.#against < SECONDS_TO_CHANGE) return;
    this.#against = 0;
    this.level = isWeak ? "weak" : "good";
  }
}

/**
 * @typedef {object} Ends what the two sides send, and what the two people chose
 * @property {Rung} own
 * @property {Rung} peer
 * @property {Choice} ownChoice
 * @property {Choice} peerChoice
 */

export class LineView {
  #peerName;
  #incoming = new Steady();
  #outgoing = new Steady();
  #select = findHook("picture-choice", HTMLSelectElement);

  /**
   * @param {string} peerName
   * @param {(choice: Choice) => void} onChoice
   */
  constructor(peerName, onChoice) {
    this.#peerName = peerName;
    const select = this.#select;
    select?.addEventListener("change", () => onChoice(/** @type {Choice} */ (select.value)));
  }

  /**
   * @param {Sample} incoming
   * @param {number} sentLossPercent
   * @param {boolean} isPictureLow the ladder holds the own picture back
   */
  sayLevels(incoming, sentLossPercent, isPictureLow) {
    const isSlow = incoming.rttMs > WEAK_RTT_MS;
    const isBroken =
      incoming.lossPercent > WEAK_LOSS_PERCENT ||
      incoming.concealedPercent > WEAK_CONCEALED_PERCENT ||
      incoming.frozenMs > WEAK_FROZEN_MS;
    this.#incoming.add(isSlow || isBroken);
    this.#outgoing.add(isSlow || isPictureLow || sentLossPercent > WEAK_LOSS_PERCENT);
    const words = { good: _("Good line"), weak: _("Weak line: we keep the voice") };
    const isWeak = this.#incoming.level === "weak" || this.#outgoing.level === "weak";
    say("line-state", isWeak ? words.weak : words.good);
    say("line-incoming", words[this.#incoming.level]);
    say("line-outgoing", words[this.#outgoing.level]);
  }

  sayAway() {
    say("line-incoming", _("No line"));
    say("line-outgoing", _("No line"));
  }

  /** @param {Ends} ends */
  sayPicture(ends) {
    const words = this.#pictureWords(ends);
    say("picture-state", words);
    show("picture-state", words !== "");
    const frame = findHook("remote", HTMLElement);
    if (frame) frame.dataset.picture = ends.peer;
  }

  /** @param {Ends} ends */
  #pictureWords({ own, peer, ownChoice, peerChoice }) {
    const name = this.#peerName;
    if (ownChoice === "voice") return _("You chose voice only. The picture comes back with “Automatic”.");
    if (peerChoice === "voice") return _("{name} has chosen voice only.", { name });
    const words = [
      peer === "voice" && _("We are keeping the voice; the picture will come back."),
      peer === "slow" && _("The line is weak: the picture is slow, the voice goes on."),
      own === "voice" && _("We are keeping your voice; your picture will come back."),
      own === "slow" && _("Your line is weak: {name} sees you slowly and hears you well.", { name }),
    ];
    return words.filter(Boolean).join(" ");
  }

  /** @param {boolean} isBetter the telephone, than what gets through here */
  offerPhone(isBetter) {
    show("phone-offer", isBetter);
  }

  /** @param {import("./verdict-words.js").Verdict} measured */
  sayVerdict({ verdict }) {
    say("line-verdict", verdictWords(verdict));
    const element = findHook("line-verdict", HTMLElement);
    if (element) element.dataset.verdict = verdict ?? "";
  }
}
