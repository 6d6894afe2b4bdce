// Reads a card aloud with the voice of the device, where there is one.

import { pageData } from "./page.js";

/** @type {HTMLElement | null} */
let speaking = null;

/** @param {HTMLElement} card */
function wordsOf(card) {
  const parts = card.querySelectorAll("h2, label, h3, p");
  return Array.from(parts, (part) => part.textContent?.trim() ?? "");
}

/** @param {HTMLButtonElement} button */
function addReading(button) {
  const card = button.closest('[data-hook="readable"]');
  if (!(card instanceof HTMLElement)) return;
  const { textContent: readWords } = button;
  const stop = () => {
    speaking = null;
    button.textContent = readWords;
  };
  button.hidden = false;
  button.addEventListener("click", () => {
    const isMine = speaking === card;
    speechSynthesis.cancel();
    if (isMine) return stop();
    speaking = card;
    button.textContent = pageData().stop;
    const sentences = wordsOf(card);
    sentences.forEach((sentence, index) => {
      const utterance = new SpeechSynthesisUtterance(sentence);
      utterance.lang = document.documentElement.lang;
      utterance.rate = 0.9;
      if (index === sentences.length - 1) utterance.addEventListener("end", stop);
      utterance.addEventListener("error", stop);
      speechSynthesis.speak(utterance);
    });
  });
}

if ("speechSynthesis" in globalThis) {
  for (const button of document.querySelectorAll('[data-hook="read-aloud"]')) {
    if (button instanceof HTMLButtonElement) addReading(button);
  }
  addEventListener("pagehide", () => speechSynthesis.cancel());
}
