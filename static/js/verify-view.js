// The verification of a call on the page: figures, the clinician's answer, badge, words.
//
// Hooks, all of them on both pages unless said: verification (around everything, hidden before the
// visit), verify-words (role=status), verified-badge, verify-panel > verify-title, figures (ol).
// The clinician's only: verify-open, verify-same, verify-different, verify-later (buttons),
// verify-failed (what can be done when the check did not succeed).

import { FIGURES } from "./emoji.js";
import { isAdmitted } from "./fold.js";
import { _ } from "./i18n.js";
import { RequestError, findHook, onClick, post, say, show } from "./page.js";
import { Verification } from "./verify.js";

/** @typedef {import("./fold.js").Room} Room */
/** @typedef {import("./verify.js").Role} Role */
/** @typedef {import("./session.js").Session} Session */
/** @typedef {import("./verify.js").Standing} Standing */
/** @typedef {"same" | "different" | "skipped"} Answer */

const LOOK_AGAIN_EVERY_MS = 2000;
const LOG_WITHIN_MS = 2000;
const LOG_AGAIN_AFTER_MS = 3000;

/** @param {number} milliseconds */
const pause = (milliseconds) => new Promise((resolve) => setTimeout(resolve, milliseconds));

/**
 * Two people's certificates were compared: with anybody else in the room that is not the whole call.
 * A recording changes nothing between the two, but it is a line to the server of its own, and what
 * goes over it the server hears.
 * @param {Room} room
 * @param {string} name
 */
export function badgeWords(room, name) {
  const people = Object.values(room.people).filter(({ role }) => role !== "recorder");
  if (people.length > 2) return _("Verified between you and {name} only: others take part", { name });
  return room.recording
    ? _("Verified call, recorded apart")
    : _("Verified call");
}

/**
 * @typedef {object} ViewOptions
 * @property {Role} role of this page
 * @property {string} visitId
 * @property {string} peerName
 * @property {string} [answerUrl] the clinician's
 * @property {() => void} onMismatch the call has to end now
 */

export class VerifyView {
  #session;
  #options;
  #verification;
  #isProven = false;
  #isAsked = false;
  #isAnswering = false;
  #notice = "";
  #drawn = "";

  /**
   * @param {Session} session
   * @param {ViewOptions} options
   */
  constructor(session, options) {
    this.#session = session;
    this.#options = options;
    this.#verification = new Verification({ role: options.role, room: options.visitId });
    for (const name of /** @type {const} */ (["line", "room", "channel"])) {
      session.on(name, () => this.#follow());
    }
    session.on("line", () => this.#verification.check());
    session.on("proven", ({ audio, video }) => this.#onProven(audio || video));
    this.#verification.on("changed", () => this.#draw());
    this.#verification.on("dropped", () => this.#onDropped());
    this.#verification.on("told", (word) => this.#onTold(word));
    onClick("verify-open", () => this.#ask());
    onClick("verify-same", () => this.#answer(() => this.#confirm()));
    onClick("verify-later", () => this.#answer(() => this.#skip()));
    onClick("verify-different", () => this.#answer(() => this.#end()));
    setInterval(() => this.#verification.check(), LOOK_AGAIN_EVERY_MS);
  }

  #follow() {
    this.#verification.follow(this.#session.peer);
    this.#draw();
  }

  /** @param {boolean} isProven */
  #onProven(isProven) {
    this.#isProven ||= isProven;
    this.#draw();
  }

  #onDropped() {
    this.#isAsked = false;
    this.#notice =
      this.#options.role === "clinician"
        ? _("The verification no longer holds: a page was opened again. You can repeat it.")
        : _("The call is no longer verified. The doctor can repeat the check.");
  }

  /** @param {import("./verify.js").Word} word */
  #onTold(word) {
    this.#isAsked = word === "ask";
    this.#notice = "";
    this.#draw();
    if (word === "different") this.#options.onMismatch();
  }

  #ask() {
    this.#isAsked = !this.#isAsked;
    this.#notice = "";
    this.#verification.tell(this.#isAsked ? "ask" : "later");
    this.#draw();
    if (this.#isAsked) findHook("verify-title", HTMLElement)?.focus();
  }

  /** @param {() => Promise<void>} act one at a time; what the log does not take is not done */
  async #answer(act) {
    if (this.#isAnswering) return;
    this.#isAnswering = true;
    this.#notice = "";
    try {
      await act();
      this.#isAsked = false;
    } catch {
      this.#notice = _("The answer could not be recorded. Please try again.");
    } finally {
      this.#isAnswering = false;
      this.#draw();
    }
  }

  async #confirm() {
    await this.#verification.check();
    if (this.#verification.standing !== "ready") return;
    await this.#post("same");
    this.#verification.tell("same");
    findHook("verified-badge", HTMLElement)?.focus();
  }

  async #skip() {
    await this.#post("skipped");
    this.#verification.tell("later");
    findHook("verify-open", HTMLElement)?.focus();
  }

  /** The call ends whatever the log does; its line follows when the server can be reached. */
  async #end() {
    this.#verification.tell("different");
    await Promise.race([this.#postUntilTaken("different"), pause(LOG_WITHIN_MS)]);
    this.#options.onMismatch();
  }

  /** @param {Answer} answer */
  #post(answer) {
    return post(this.#options.answerUrl ?? "", { answer });
  }

  /** @param {Answer} answer */
  async #postUntilTaken(answer) {
    for (;;) {
      try {
        return await this.#post(answer);
      } catch (problem) {
        if (problem instanceof RequestError && problem.status < 500) return undefined;
      }
      await pause(LOG_AGAIN_AFTER_MS);
    }
  }

  #draw() {
    const room = this.#session.room;
    const { standing } = this.#verification;
    const isOpen = this.#isAsked && standing === "ready";
    show("verification", Boolean(room && isAdmitted(room)));
    show("verify-open", standing === "ready" && this.#isProven);
    findHook("verify-open", HTMLElement)?.setAttribute("aria-expanded", String(isOpen));
    show("verify-panel", isOpen);
    show("verify-failed", standing === "failed");
    if (room && standing === "verified") say("verified-badge", badgeWords(room, this.#options.peerName));
    show("verified-badge", standing === "verified");
    say("verify-words", this.#words(standing));
    this.#drawFigures(isOpen ? (this.#verification.figures ?? []) : []);
  }

  /** @param {Standing} standing */
  #words(standing) {
    const isClinician = this.#options.role === "clinician";
    if (standing === "verified") return "";
    if (standing === "failed") {
      return isClinician
        ? _("The check of the line did not succeed: somebody may be in between.")
        : _("The check of the line did not succeed. Please tell the doctor.");
    }
    if (standing === "unable" && isClinician) {
      return _("With these browsers the call cannot be verified. It is encrypted all the same.");
    }
    return this.#notice;
  }

  /** @param {readonly number[]} figures */
  #drawFigures(figures) {
    if (this.#drawn === figures.join()) return;
    this.#drawn = figures.join();
    findHook("figures", HTMLElement)?.replaceChildren(
      ...figures.map((figure) => {
        const [picture = "", name = ""] = FIGURES[figure] ?? [];
        const item = document.createElement("li");
        const image = document.createElement("span");
        image.className = "figure-picture";
        image.setAttribute("aria-hidden", "true");
        image.textContent = picture;
        const word = document.createElement("span");
        word.className = "figure-name";
        word.textContent = name;
        item.append(image, word);
        return item;
      }),
    );
  }
}
