// What is said of a recording, on every screen. Pure.

import { _ } from "./i18n.js";

/** @typedef {import("./consent-fold.js").Recording} Recording */
/** @typedef {import("./messages.js").RecordingState} State */

/**
 * @param {Recording | null} recording
 * @param {boolean} isReaching whether this page's own sound and picture arrive at the recorder
 */
export function standingWords(recording, isReaching) {
  switch (recording?.state) {
    case "asked":
      return _("Nothing is recorded yet: everybody answers first.");
    case "on":
      return isReaching
        ? _("The visit is being recorded")
        : _("The visit is being recorded, but not you: we are trying again.");
    case "paused":
      return _("The recording is paused until everybody here has agreed.");
    case "failed":
      return _("The recording is interrupted. The visit goes on, we are trying again.");
    default:
      return "";
  }
}

/**
 * What is worth saying aloud when the state changes; an interruption is not a person's act and is
 * said too.
 * @param {State} before
 * @param {State} now
 */
export function changeWords(before, now) {
  if (before === now) return "";
  if (now === "asked") return _("Somebody asks to record the visit.");
  if (now === "on") return _("From now on the visit is recorded.");
  if (now === "paused") return _("The recording is paused.");
  if (now === "failed") return _("The recording is interrupted. The visit goes on.");
  return before === "asked" ? _("The visit is not recorded.") : _("The recording has ended.");
}
