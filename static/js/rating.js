// The rating after a visit: a tap is kept without leaving the page.

import { _ } from "./i18n.js";
import { findHook, say } from "./page.js";

const ANSWER_WITHIN_MS = 10_000;

/**
 * @param {HTMLFormElement} form
 * @param {HTMLButtonElement} button the one that was tapped
 */
function answerOf(form, button) {
  if (button.name) return new URLSearchParams([[button.name, button.value]]);
  return new URLSearchParams([["words", String(new FormData(form).get("words") ?? "")]]);
}

/** @param {HTMLButtonElement} button */
function press(button) {
  for (const other of button.form?.querySelectorAll(`button[name="${button.name}"]`) ?? []) {
    other.setAttribute("aria-pressed", String(other === button));
  }
}

/**
 * @param {HTMLFormElement} form
 * @param {HTMLButtonElement} button
 */
async function keep(form, button) {
  const response = await fetch(form.action, {
    method: "POST",
    credentials: "same-origin",
    headers: { Accept: "application/json" },
    body: answerOf(form, button),
    signal: AbortSignal.timeout(ANSWER_WITHIN_MS),
  });
  if (!response.ok) throw new Error(String(response.status));
  if (button.name) press(button);
}

const form = findHook("rating", HTMLFormElement);
form?.addEventListener("submit", (event) => {
  const button = event.submitter;
  if (!(button instanceof HTMLButtonElement)) return;
  event.preventDefault();
  say("rating-status", _("One moment…"));
  keep(form, button).then(
    () => say("rating-status", _("Kept. Thank you.")),
    () => say("rating-status", _("This was not kept. Touch it once more.")),
  );
});
