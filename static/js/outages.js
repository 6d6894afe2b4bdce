// Times without a line, and why: a pure watch over what one page sees each second.

/** @typedef {"page_asleep" | "network_changed" | "network_down" | "server_away" | "other_side_away" | "path_lost" | "media_stopped"} Cause */

/**
 * @typedef {object} Seen of one second
 * @property {number} atMs
 * @property {boolean} isWanted whether the other side should be seen or heard
 * @property {boolean} isArriving whether anything of it came
 * @property {boolean} isLineUp whether the peer connection is
 * @property {boolean} isOffline as the browser says
 * @property {boolean} isNetworkNew the browser told of another network a moment ago
 * @property {boolean} isWireUp whether the server is reached
 * @property {boolean} isPeerAway whether the server has lost the other side
 */

/** @typedef {"wasAsleep" | "wasNetworkNew" | "wasOffline" | "wasServerLostFirst" | "wasPeerAway" | "wasWireDown" | "wasLineDown"} Clue */
/** @typedef {Record<Clue, boolean>} Clues */
/** @typedef {{fromMs: number, seconds: number, cause: Cause}} Outage */

/**
 * @typedef {object} Watch
 * @property {number} seenAtMs the second before; 0 before the first
 * @property {number} goodAtMs when the other side was last seen or heard
 * @property {number} wireDownSinceMs 0 while the server is reached
 * @property {Clues} clues since then
 */

const SHORTEST_MS = 2000;
const ASLEEP_MS = 6000;
const SERVER_FIRST_MS = 4000;

/** @type {Clues} */
const NO_CLUES = {
  wasAsleep: false,
  wasNetworkNew: false,
  wasOffline: false,
  wasServerLostFirst: false,
  wasPeerAway: false,
  wasWireDown: false,
  wasLineDown: false,
};

/** @type {Watch} */
export const NO_WATCH = { seenAtMs: 0, goodAtMs: 0, wireDownSinceMs: 0, clues: NO_CLUES };

/**
 * The nearest reason first: what this page knows of itself before what it guesses of others.
 * @param {Clues} clues
 * @returns {Cause}
 */
export function causeOf(clues) {
  if (clues.wasAsleep) return "page_asleep";
  if (clues.wasNetworkNew) return "network_changed";
  if (clues.wasOffline) return "network_down";
  if (clues.wasServerLostFirst) return "server_away";
  if (clues.wasPeerAway && !clues.wasWireDown) return "other_side_away";
  if (clues.wasWireDown) return "network_down";
  return clues.wasLineDown ? "path_lost" : "media_stopped";
}

/**
 * @param {Watch} watch
 * @param {Seen} seen
 * @returns {{watch: Watch, ended: Outage | null}}
 */
export function follow(watch, seen) {
  const { atMs } = seen;
  const isGood = seen.isArriving || (!seen.isWanted && seen.isLineUp);
  const wireDownSinceMs = seen.isWireUp ? 0 : watch.wireDownSinceMs || atMs;
  const clues = addClues({ ...watch, wireDownSinceMs }, seen);
  const next = { ...watch, seenAtMs: atMs, wireDownSinceMs, clues };
  if (watch.seenAtMs === 0) return { watch: { ...next, goodAtMs: atMs, clues: NO_CLUES }, ended: null };
  if (!isGood) return { watch: next, ended: null };
  const wasOut = watch.goodAtMs < watch.seenAtMs || clues.wasAsleep;
  const ended = wasOut ? outageOf(next, atMs) : null;
  return { watch: { ...next, goodAtMs: atMs, clues: NO_CLUES }, ended };
}

/**
 * The call is over, or the other side has left: what is open ends here.
 * @param {Watch} watch
 * @param {number} atMs
 */
export const finish = (watch, atMs) => (watch.seenAtMs === 0 ? null : outageOf(watch, atMs));

/**
 * @param {Watch} watch
 * @param {number} atMs
 * @returns {Outage | null}
 */
function outageOf({ goodAtMs, clues }, atMs) {
  if (atMs - goodAtMs < SHORTEST_MS) return null;
  return { fromMs: goodAtMs, seconds: (atMs - goodAtMs) / 1000, cause: causeOf(clues) };
}

/**
 * @param {Watch} watch
 * @param {Seen} seen
 * @returns {Clues}
 */
function addClues({ clues, seenAtMs, goodAtMs, wireDownSinceMs }, seen) {
  const isServerLostFirst = wireDownSinceMs > 0 && goodAtMs - wireDownSinceMs >= SERVER_FIRST_MS;
  return {
    wasAsleep: clues.wasAsleep || (seenAtMs > 0 && seen.atMs - seenAtMs > ASLEEP_MS),
    wasNetworkNew: clues.wasNetworkNew || seen.isNetworkNew,
    wasOffline: clues.wasOffline || seen.isOffline,
    wasServerLostFirst: clues.wasServerLostFirst || isServerLostFirst,
    wasPeerAway: clues.wasPeerAway || seen.isPeerAway,
    wasWireDown: clues.wasWireDown || !seen.isWireUp,
    wasLineDown: clues.wasLineDown || !seen.isLineUp,
  };
}
