// What the line was good for until now: asked of the server, and in words.
// It judges, with the limits of its settings; here are the sentences.

import { _ } from "./i18n.js";

/** @typedef {"suitable" | "voice_only" | "not_suitable"} Suitability */

/**
 * @typedef {object} Verdict
 * @property {Suitability | null} verdict null while too little was measured
 * @property {string[]} reasons
 * @property {number} breaks
 * @property {number} broken_seconds
 */

/**
 * @param {string} url
 * @returns {Promise<Verdict | null>} null while the server does not answer
 */
export async function findVerdict(url) {
  try {
    const response = await fetch(url, { headers: { Accept: "application/json" } });
    return response.ok ? await response.json() : null;
  } catch {
    return null;
  }
}

/** @param {Suitability | null} verdict */
export function verdictWords(verdict) {
  switch (verdict) {
    case "suitable":
      return _("Line so far: suitable");
    case "voice_only":
      return _("Line so far: good enough for the voice only");
    case "not_suitable":
      return _("Line so far: not good enough for the visit");
    default:
      return _("Line so far: not measured yet");
  }
}

/** @param {Verdict} measured */
export function reasonWords({ reasons, breaks, broken_seconds }) {
  /** @type {Record<string, string>} */
  const words = {
    voice_gaps: _("parts of the voice were missing"),
    delay: _("the voice came late"),
    slow_picture: _("the picture was too slow"),
    frozen_picture: _("the picture stood still"),
    no_picture: _("only the voice was kept"),
    breaks:
      breaks === 1
        ? _("the line was away once, {seconds} seconds", { seconds: broken_seconds })
        : _("the line was away {count} times, {seconds} seconds in all", {
            count: breaks,
            seconds: broken_seconds,
          }),
  };
  return reasons.map((reason) => words[reason]).filter(Boolean).join("; ");
}
