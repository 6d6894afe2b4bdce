// What to do about a call in trouble: pure rules over facts, unit-tested; lifeline.js acts on them.
//
// An ICE restart finds a new way for the same connection; a renewal makes a new connection: the
// page rejoins its seat, and the new `joined` is a new generation for both sides. One side is in
// charge, the impolite one: restarts that meet end in a rollback, after which Chromium 156 decodes
// and paints nothing. The other side renews as a last resort, much later.

const STALLED_AFTER_MS = 1500;
/** A side that has just come back from elsewhere: silence means that the way was not found. */
const STALLED_ON_RETURN_MS = 600;
const STALLED_WITHOUT_MEDIA_MS = 4000;
const CONNECTS_WITHIN_MS = 8000;
const RESTART_TAKES_MS = 4000;
/** Chromium learns a new address up to two seconds late: until then a restart finds the old one. */
const EAGER_RESTARTS = 4;
const CHECKED_WITHIN_MS = 700;
const LONGEST_ANSWER_MS = 2000;
/** An offer waits in the room log for somebody without a line; the server knows her away by then. */
const UNANSWERED_MS = 35_000;
/** What the other page says may be from before the line came back. */
const ONE_WAY_SETTLES_MS = 1500;
const LAST_RESORT_MS = 20_000;
const LONGEST_BACKOFF_MS = 60_000;
/** What three new connections have not healed a fourth will not: it is said in words. */
const ONE_WAY_RENEWALS = 3;

/** @typedef {"none" | "line" | "one_way"} Trouble */
/** @typedef {"wait" | "restart" | "renew"} Step */
/** @typedef {boolean | null} Arrival null: not expected, or too early to say */

/**
 * @typedef {object} Arrivals what passes since the last reconnect
 * @property {Arrival} hears this page
 * @property {Arrival} sees
 * @property {Arrival} isHeard as the other page says
 * @property {Arrival} isSeen
 */

/** @type {Arrivals} */
export const NOTHING_KNOWN = { hears: null, sees: null, isHeard: null, isSeen: null };

/**
 * @typedef {object} Line
 * @property {RTCPeerConnectionState} state
 * @property {number} ageMs of the connection
 * @property {number} silentMs since the last byte
 * @property {boolean} isMediaExpected
 * @property {boolean} isJustBack a side has come back a moment ago
 * @property {Arrivals} arrivals
 */

/**
 * @param {Line} line
 * @returns {Trouble}
 */
export function troubleOf({ state, ageMs, silentMs, isMediaExpected, isJustBack, arrivals }) {
  if (state === "closed") return "none";
  if (state === "failed" || state === "disconnected") return "line";
  if (state !== "connected") return ageMs > CONNECTS_WITHIN_MS ? "line" : "none";
  const usual = isJustBack ? STALLED_ON_RETURN_MS : STALLED_AFTER_MS;
  const stalledAfter = isMediaExpected ? usual : STALLED_WITHOUT_MEDIA_MS;
  if (silentMs > stalledAfter) return "line";
  return Object.values(arrivals).includes(false) ? "one_way" : "none";
}

/**
 * @typedef {object} Plight
 * @property {Trouble} trouble
 * @property {number} troubleMs
 * @property {boolean} isInCharge
 * @property {boolean} isReachable the server has answered since the trouble began, the other one is here
 * @property {boolean} isAnswered no offer of this page is still without an answer
 * @property {boolean} canRestart Firefox comes out of few ICE restarts: it needs a new connection
 * @property {number} restarts of this connection for this trouble
 * @property {number} renewals since all was well for a while
 * @property {number} sinceStepMs
 * @property {number} answerTookMs from the last offer
 */

/**
 * @param {Plight} plight
 * @returns {Step}
 */
export function nextStep(plight) {
  const { trouble, isInCharge, isReachable, isAnswered, restarts, renewals, sinceStepMs } = plight;
  if (trouble === "none" || !isReachable) return "wait";
  if (trouble === "one_way" && renewals >= ONE_WAY_RENEWALS) return "wait";
  const backoff = 2 ** Math.min(renewals, 8);
  if (!isInCharge) {
    const patience = Math.min(LONGEST_BACKOFF_MS, LAST_RESORT_MS * backoff);
    return Math.min(plight.troubleMs, sinceStepMs) >= patience ? "renew" : "wait";
  }
  if (!isAnswered) return sinceStepMs >= UNANSWERED_MS ? "renew" : "wait";
  if (trouble === "one_way" && sinceStepMs < ONE_WAY_SETTLES_MS) return "wait";
  if (!plight.canRestart && renewals === 0) return "renew";
  if (plight.canRestart && restarts === 0) return "restart";
  if (plight.canRestart && trouble === "line" && restarts < EAGER_RESTARTS) {
    const answerMs = Math.min(plight.answerTookMs, LONGEST_ANSWER_MS);
    return sinceStepMs >= answerMs + Math.max(CHECKED_WITHIN_MS, 2 * answerMs) ? "restart" : "wait";
  }
  return sinceStepMs >= Math.min(LONGEST_BACKOFF_MS, RESTART_TAKES_MS * backoff) ? "renew" : "wait";
}
