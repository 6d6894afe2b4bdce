// What a recording has at a moment: which part of a person, and what is missing. Pure.

/**
 * One connection of one person, as the page gets it. Times are in milliseconds; `offsetMs` counts
 * from the beginning of the recording, gaps from that of the track.
 * @typedef {{url: string, participant: string, offsetMs: number, durationMs: number,
 *   gaps: Array<[number, number, string]>}} Track
 */

/** @typedef {{fromMs: number, toMs: number, reason: string}} Gap of one person, by the recording */

/** Less than this between two parts is not worth a word. */
const SHORTEST_GAP_MS = 300;

/**
 * The part of a person that plays at a moment; none in between.
 * @param {Track[]} tracks of one person
 * @param {number} atMs
 */
export function trackAt(tracks, atMs) {
  return tracks.find(
    (track) => atMs >= track.offsetMs && atMs < track.offsetMs + track.durationMs,
  );
}

/**
 * Everything that is missing of a person, in order: before, between and after the parts, and what
 * the recorder declared inside of them.
 * @param {Track[]} tracks of one person
 * @param {number} durationMs of the recording
 * @returns {Gap[]}
 */
export function gapsOf(tracks, durationMs) {
  /** @type {Gap[]} */
  const gaps = [];
  let reachedMs = 0;
  for (const track of [...tracks].sort((one, other) => one.offsetMs - other.offsetMs)) {
    add(gaps, reachedMs, track.offsetMs, reachedMs ? "reconnected" : "not_there");
    for (const [fromMs, toMs, reason] of track.gaps) {
      add(gaps, track.offsetMs + fromMs, track.offsetMs + toMs, reason);
    }
    reachedMs = Math.max(reachedMs, track.offsetMs + track.durationMs);
  }
  add(gaps, reachedMs, durationMs, tracks.length ? "gone" : "not_there");
  return gaps.sort((one, other) => one.fromMs - other.fromMs);
}

/**
 * @param {Gap[]} gaps
 * @param {number} atMs
 */
export const gapAt = (gaps, atMs) =>
  gaps.find((gap) => atMs >= gap.fromMs && atMs < gap.toMs);

/**
 * How a picture is brought back to the time line: by a jump, by another speed for a while, or not.
 * @param {number} driftMs how far it is ahead
 * @param {number} speed
 * @returns {{jumps: boolean, rate: number}}
 */
export function correction(driftMs, speed) {
  const size = Math.abs(driftMs);
  if (size > 400) return { jumps: true, rate: speed };
  if (size < 40) return { jumps: false, rate: speed };
  return { jumps: false, rate: speed * (driftMs > 0 ? 0.95 : 1.05) };
}

/**
 * `12:05`, `1:00:07`.
 * @param {number} ms
 */
export function clockWords(ms) {
  const seconds = Math.floor(ms / 1000);
  const [hours, minutes] = [Math.floor(seconds / 3600), Math.floor(seconds / 60) % 60];
  const rest = String(seconds % 60).padStart(2, "0");
  return hours ? `${hours}:${String(minutes).padStart(2, "0")}:${rest}` : `${minutes}:${rest}`;
}

/**
 * @param {Gap[]} gaps
 * @param {number} fromMs
 * @param {number} toMs
 * @param {string} reason
 */
function add(gaps, fromMs, toMs, reason) {
  if (toMs - fromMs >= SHORTEST_GAP_MS) gaps.push({ fromMs, toMs, reason });
}
