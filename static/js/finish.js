// Finishing the visit: outcome, whether the link was good enough, who was there.
// The measured line proposes; the doctor decides. Leaving the call never comes here.
//
// `#page-data`: finishUrl, pageUrl, hasWaited. Hooks: finish-dialog, finish-form, finish-cancel,
// finish-problem, convert, convert-reason, measured, reason-choice, waited-hint, present-patient.

import { _ } from "./i18n.js";
import { note } from "./note.js";
import { byTestId, findHook, onClick, pageData, post, RequestError, say, show } from "./page.js";

/** @typedef {import("./quality.js").Measure} Measure */

const WEAK_LOSS_PERCENT = 5;
const WITH_REASON = ["converted_to_in_person", "technical_failure"];

class Finish {
  #data = pageData();
  #dialog = findHook("finish-dialog", HTMLDialogElement);
  #form = findHook("finish-form", HTMLFormElement);
  #outcome = byTestId("outcome", HTMLSelectElement);
  #confirm = byTestId("outcome-confirm", HTMLButtonElement);
  /** @type {Measure | null} */
  #measure = null;
  #hasWaited = Boolean(this.#data.hasWaited);

  constructor() {
    document.addEventListener("accanto:quality", (event) => {
      if (event instanceof CustomEvent) this.#measure = event.detail;
    });
    byTestId("finish-visit", HTMLButtonElement).addEventListener("click", () => this.#open());
    onClick("finish-cancel", () => this.#dialog?.close());
    onClick("convert", () => this.#convert());
    this.#outcome.addEventListener("change", () => this.#drawReason());
    this.#form?.addEventListener("submit", (event) => {
      event.preventDefault();
      this.#send();
    });
  }

  get #isWeak() {
    const measure = this.#measure;
    if (!measure) return false;
    const loss = Math.max(measure.lossPercent, measure.outgoingLossPercent);
    return measure.incoming === "weak" || measure.outgoing === "weak" || loss > WEAK_LOSS_PERCENT;
  }

  #open() {
    const presence = findHook("room", HTMLElement)?.dataset.patient ?? "absent";
    this.#hasWaited ||= presence !== "absent";
    this.#forbidAbsence();
    if (this.#measure) say("measured", this.#measure.reason);
    const words = _("weak line");
    if (this.#isWeak) say("convert-reason", `${words} (${this.#measure?.reason})`);
    this.#setSuitable(!this.#isWeak);
    this.#drawReason();
    show("finish-problem", false);
    this.#dialog?.showModal();
  }

  /** Who has waited is never a no-show. */
  #forbidAbsence() {
    const option = this.#outcome.querySelector('option[value="no_show_patient"]');
    if (option instanceof HTMLOptionElement) option.disabled = this.#hasWaited;
    show("waited-hint", this.#hasWaited);
    const patient = findHook("present-patient", HTMLInputElement);
    if (patient && this.#hasWaited) patient.checked = true;
  }

  /** @param {boolean} isSuitable */
  #setSuitable(isSuitable) {
    const word = isSuitable ? "yes" : "no";
    const choice = this.#form?.querySelector(`input[name="suitable"][value="${word}"]`);
    if (choice instanceof HTMLInputElement) choice.checked = true;
  }

  /** @param {string} reason */
  #setReason(reason) {
    const select = this.#form?.elements.namedItem("reason");
    if (select instanceof HTMLSelectElement) select.value = reason;
  }

  #drawReason() {
    show("reason-choice", WITH_REASON.includes(this.#outcome.value));
  }

  /** One tap: the reason is what was measured, else that an examination is needed. */
  #convert() {
    this.#outcome.value = "converted_to_in_person";
    this.#setReason(this.#isWeak ? "weak_line" : "exam_needed");
    this.#setSuitable(!this.#isWeak);
    this.#send();
  }

  #answer() {
    const form = new FormData(this.#form ?? undefined);
    const measure = this.#measure;
    const outcome = this.#outcome.value;
    return {
      outcome,
      reason: WITH_REASON.includes(outcome) ? form.get("reason") : "",
      is_link_suitable: form.get("suitable") === "yes",
      present: form.getAll("present"),
      loss_permille: measure ? Math.round(10 * measure.lossPercent) : null,
      rtt_ms: measure ? Math.round(measure.rttMs) : null,
      freezes: measure ? measure.freezes : null,
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
