// Finishing the visit: outcome, whether the link was good enough, who was there.
// The measured line proposes; the doctor decides. Leaving the call never comes here.
//
// `#page-data`: finishUrl, verdictUrl, pageUrl, hasWaited. Hooks: finish-dialog, finish-form,
// finish-cancel, finish-problem, convert, convert-reason, measured, reason-choice,
// suitability-choice, waited-hint, present-patient.

import { _ } from "./i18n.js";
import { note } from "./note.js";
import { byTestId, findHook, onClick, pageData, post, RequestError, say, show } from "./page.js";
import { findVerdict, reasonWords, verdictWords } from "./verdict-words.js";

/** @typedef {import("./verdict-words.js").Verdict} Verdict */

const WITH_REASON = ["converted_to_in_person", "technical_failure"];
const WITHOUT_VISIT = ["no_show_patient", "no_show_clinician"];

class Finish {
  #data = pageData();
  #dialog = findHook("finish-dialog", HTMLDialogElement);
  #form = findHook("finish-form", HTMLFormElement);
  #outcome = byTestId("outcome", HTMLSelectElement);
  #confirm = byTestId("outcome-confirm", HTMLButtonElement);
  /** @type {Verdict | null} */
  #measured = null;
  #hasChosen = false;
  #hasWaited = Boolean(this.#data.hasWaited);

  constructor() {
    byTestId("finish-visit", HTMLButtonElement).addEventListener("click", () => this.#open());
    onClick("finish-cancel", () => this.#dialog?.close());
    onClick("convert", () => this.#convert());
    this.#outcome.addEventListener("change", () => this.#drawOutcome());
    findHook("suitability-choice", HTMLElement)?.addEventListener("change", () => {
      this.#hasChosen = true;
    });
    this.#form?.addEventListener("submit", (event) => {
      event.preventDefault();
      this.#send();
    });
  }

  get #isWeak() {
    const verdict = this.#measured?.verdict ?? "suitable";
    return verdict !== "suitable";
  }

  #open() {
    const presence = findHook("room", HTMLElement)?.dataset.patient ?? "absent";
    this.#hasWaited ||= presence !== "absent";
    this.#hasChosen = false;
    this.#forbidAbsence();
    this.#drawOutcome();
    show("finish-problem", false);
    this.#dialog?.showModal();
    return this.#propose();
  }

  /** What was measured until now, by both sides; without an answer the doctor chooses alone. */
  async #propose() {
    this.#measured = (await findVerdict(this.#data.verdictUrl)) ?? this.#measured;
    const measured = this.#measured;
    if (!measured?.verdict) return;
    const reasons = reasonWords(measured);
    const words = verdictWords(measured.verdict);
    const weak = _("weak line");
    say("measured", reasons ? `${words} (${reasons}).` : `${words}.`);
    if (this.#isWeak) say("convert-reason", `${weak} (${reasons})`);
    if (!this.#hasChosen) this.#setSuitability(measured.verdict);
  }

  /** Who has waited is never a no-show. */
  #forbidAbsence() {
    const option = this.#outcome.querySelector('option[value="no_show_patient"]');
    if (option instanceof HTMLOptionElement) option.disabled = this.#hasWaited;
    show("waited-hint", this.#hasWaited);
    const patient = findHook("present-patient", HTMLInputElement);
    if (patient && this.#hasWaited) patient.checked = true;
  }

  /** @param {string} word */
  #setSuitability(word) {
    const choice = this.#form?.querySelector(`input[name="suitability"][value="${word}"]`);
    if (choice instanceof HTMLInputElement) choice.checked = true;
  }

  /** @param {string} reason */
  #setReason(reason) {
    const select = this.#form?.elements.namedItem("reason");
    if (select instanceof HTMLSelectElement) select.value = reason;
  }

  #drawOutcome() {
    show("reason-choice", WITH_REASON.includes(this.#outcome.value));
    show("suitability-choice", !WITHOUT_VISIT.includes(this.#outcome.value));
    if (this.#hasChosen || this.#measured?.verdict) return;
    this.#setSuitability(this.#outcome.value === "technical_failure" ? "not_suitable" : "suitable");
  }

  /** One tap: the reason is what was measured, else that an examination is needed. */
  #convert() {
    this.#outcome.value = "converted_to_in_person";
    this.#setReason(this.#isWeak ? "weak_line" : "exam_needed");
    this.#send();
  }

  #answer() {
    const form = new FormData(this.#form ?? undefined);
    const outcome = this.#outcome.value;
    return {
      outcome,
      reason: WITH_REASON.includes(outcome) ? form.get("reason") : "",
      suitability: WITHOUT_VISIT.includes(outcome) ? null : form.get("suitability"),
      present: form.getAll("present"),
    };
  }

  async #send() {
    this.#confirm.disabled = true;
    try {
      await note.flush();
      await post(this.#data.finishUrl, this.#answer());
      location.assign(this.#data.pageUrl);
    } catch (failure) {
      this.#confirm.disabled = false;
      this.#sayProblem(failure);
    }
  }

  /** @param {unknown} failure */
  #sayProblem(failure) {
    const status = failure instanceof RequestError ? failure.status : 0;
    if (status === 409) return location.assign(this.#data.pageUrl);
    const isRefused = status === 400;
    if (isRefused) {
      this.#hasWaited = true;
      this.#forbidAbsence();
    }
    say(
      "finish-problem",
      isRefused
        ? _("The patient has waited: choose another outcome.")
        : _("The visit is not finished yet: the line is interrupted. Try again."),
    );
    show("finish-problem", true);
  }
}

new Finish();
