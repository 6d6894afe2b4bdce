// The ladder: how much of the line the own picture may take, so that the voice never starves.
// Pure: what was seen of one second in, the next state out. It measures, sends and draws nothing.

/** @typedef {"hd" | "sd" | "low" | "slow" | "voice"} Rung best first; `slow` is a frame a second */
/** @typedef {"automatic" | "small" | "voice"} Choice what a person asks for */

/**
 * @typedef {object} Seen of what this page sends, in the last second
 * @property {number} atMs
 * @property {boolean} isArriving false: the line is gone and nothing can be known
 * @property {number | null} availableKbps as the browser estimates it; null where it does not say
 * @property {number} lossPercent as the other side reports
 * @property {number} rttMs
 * @property {number} concealedPercent of this voice, as the other page tells
 * @property {number} heardConcealedPercent of the other voice, as it is heard here
 */

/**
 * @typedef {object} Ladder
 * @property {Rung} rung what the line allows; `rungOf` says what is sent
 * @property {Choice} choice the lower of what the two people chose
 * @property {number} lossPercent smoothed: one bad report is no reason
 * @property {number} bestRttMs without a queue
 * @property {number} badSinceMs 0 while the line is good
 * @property {number} goodSinceMs 0 while the line is bad
 * @property {number} changedAtMs
 * @property {boolean} isOnTrial the last change went up and is not proven yet
 * @property {number} climbAfterMs how long the line must be good before the next step up
 * @property {number} voiceBadSinceMs 0 while both voices are understood
 */

/** @type {readonly Rung[]} */
export const RUNGS = ["hd", "sd", "low", "slow", "voice"];

/** @type {Record<Rung, {active: boolean, scaleResolutionDownBy: number, maxFramerate: number, maxBitrate: number}>} */
const PICTURE = {
  hd: { active: true, scaleResolutionDownBy: 1, maxFramerate: 30, maxBitrate: 1_700_000 },
  sd: { active: true, scaleResolutionDownBy: 2, maxFramerate: 25, maxBitrate: 600_000 },
  low: { active: true, scaleResolutionDownBy: 4, maxFramerate: 12, maxBitrate: 120_000 },
  slow: { active: true, scaleResolutionDownBy: 2, maxFramerate: 1, maxBitrate: 45_000 },
  voice: { active: false, scaleResolutionDownBy: 2, maxFramerate: 1, maxBitrate: 45_000 },
};
/** @type {Record<Rung, number>} with headers (50 packets a second) about 24 kbit/s more */
const VOICE_BITRATE = { hd: 40_000, sd: 40_000, low: 32_000, slow: 24_000, voice: 24_000 };
/** @type {Record<Rung, number>} picture and voice together; below it the picture takes from the voice */
const NEEDED_KBPS = { hd: 900, sd: 320, low: 130, slow: 75, voice: 0 };
/** @type {Record<Choice, Rung>} */
const CEILINGS = { automatic: "hd", small: "low", voice: "voice" };

const WEAK_LOSS_PERCENT = 12;
const WEAK_CONCEALED_PERCENT = 8;
const LOST_CONCEALED_PERCENT = 10;
const QUEUE_MS = 400;
const SMOOTHING = 0.15;
const DOWN_AFTER_MS = 1500;
const BELIEVED_AFTER_MS = 10_000;
const SETTLE_MS = 2000;
const GRACE_AFTER_CLIMB_MS = 5000;
const TRIAL_MS = 20_000;
const FIRST_CLIMB_MS = 5000;
const CLIMB_MS = 10_000;
const LONGEST_CLIMB_MS = 160_000;
const PHONE_AFTER_MS = 15_000;

/**
 * @param {number} atMs
 * @returns {Ladder} a call starts small: the first picture is there in a third of the time
 */
export const startLadder = (atMs) => ({
  rung: "sd",
  choice: "automatic",
  lossPercent: 0,
  bestRttMs: Infinity,
  badSinceMs: 0,
  goodSinceMs: 0,
  changedAtMs: atMs,
  isOnTrial: true,
  climbAfterMs: FIRST_CLIMB_MS,
  voiceBadSinceMs: 0,
});

/** @param {Rung} rung */
const placeOf = (rung) => RUNGS.indexOf(rung);

/**
 * @param {Rung} one
 * @param {Rung} other
 * @returns {Rung}
 */
const lowerOf = (one, other) => (placeOf(one) > placeOf(other) ? one : other);

/** @param {Ladder} ladder what is sent now */
export const rungOf = (ladder) => lowerOf(ladder.rung, CEILINGS[ladder.choice]);

/**
 * @param {Choice} one
 * @param {Choice} other
 * @returns {Choice}
 */
export function strictestOf(one, other) {
  return placeOf(CEILINGS[one]) >= placeOf(CEILINGS[other]) ? one : other;
}

/**
 * The two people are asked: the voice by the phone when it has been bad here or there for long.
 * @param {Ladder} ladder
 * @param {number} atMs
 */
export const isPhoneBetter = ({ voiceBadSinceMs }, atMs) =>
  voiceBadSinceMs > 0 && atMs - voiceBadSinceMs >= PHONE_AFTER_MS;

/**
 * The other side of the call has a new connection or the choice is given back: small again.
 * @param {Ladder} ladder
 * @param {number} atMs
 * @returns {Ladder}
 */
export function settleAgain(ladder, atMs) {
  const rung = lowerOf(ladder.rung, "sd");
  return { ...ladder, rung, badSinceMs: 0, goodSinceMs: 0, changedAtMs: atMs, isOnTrial: true };
}

/**
 * @param {Ladder} ladder
 * @param {Choice} choice
 * @param {number} atMs
 * @returns {Ladder}
 */
export function choose(ladder, choice, atMs) {
  if (choice === ladder.choice) return ladder;
  return { ...settleAgain(ladder, atMs), choice };
}

/**
 * @param {string} kind
 * @param {Rung} rung
 * @returns {Partial<RTCRtpEncodingParameters>}
 */
export function limitsOf(kind, rung) {
  if (kind === "video") return { ...PICTURE[rung], priority: "low", networkPriority: "low" };
  return { maxBitrate: VOICE_BITRATE[rung], priority: "high", networkPriority: "high" };
}

/**
 * @param {Ladder} ladder
 * @param {Seen} seen
 * @returns {Ladder}
 */
export function step(ladder, seen) {
  const noticed = notice(ladder, seen);
  if (!seen.isArriving) return noticed;
  const since = seen.atMs - noticed.changedAtMs;
  const lowest = lowestUseful(noticed, seen);
  const isBadLong = noticed.badSinceMs > 0 && seen.atMs - noticed.badSinceMs >= DOWN_AFTER_MS;
  if (isBadLong && since >= SETTLE_MS && placeOf(noticed.rung) < placeOf(lowest)) {
    return goDown(noticed, seen, lowest);
  }
  const held = noticed.isOnTrial && since >= TRIAL_MS ? prove(noticed) : noticed;
  const isGoodLong = held.goodSinceMs > 0 && seen.atMs - held.goodSinceMs >= held.climbAfterMs;
  return isGoodLong && since >= held.climbAfterMs ? goUp(held, seen) : held;
}

/**
 * @param {Ladder} ladder
 * @param {Seen} seen
 * @returns {Ladder} with what this second says of the line
 */
function notice(ladder, seen) {
  const { atMs } = seen;
  const isVoiceBad =
    !seen.isArriving ||
    Math.max(seen.concealedPercent, seen.heardConcealedPercent) > LOST_CONCEALED_PERCENT;
  const voiceBadSinceMs = isVoiceBad ? ladder.voiceBadSinceMs || atMs : 0;
  if (!seen.isArriving) return { ...ladder, voiceBadSinceMs, badSinceMs: 0, goodSinceMs: 0 };
  const lossPercent = ladder.lossPercent + SMOOTHING * (seen.lossPercent - ladder.lossPercent);
  const bestRttMs = seen.rttMs > 0 ? Math.min(ladder.bestRttMs, seen.rttMs) : ladder.bestRttMs;
  const now = { ...ladder, voiceBadSinceMs, lossPercent, bestRttMs };
  const isBad = isShort(now, seen) || isStarving(now, seen) || lossPercent > WEAK_LOSS_PERCENT;
  return {
    ...now,
    badSinceMs: isBad ? ladder.badSinceMs || atMs : 0,
    goodSinceMs: isBad ? 0 : ladder.goodSinceMs || atMs,
  };
}

/**
 * After a step up the browser's estimate needs a moment to follow.
 * @param {Ladder} ladder
 * @param {Seen} seen
 */
function isShort(ladder, { atMs, availableKbps }) {
  if (availableKbps === null) return false;
  if (ladder.isOnTrial && atMs - ladder.changedAtMs < GRACE_AFTER_CLIMB_MS) return false;
  return availableKbps < NEEDED_KBPS[ladder.rung];
}

/**
 * The voice does not arrive whole, or waits in a queue that the picture fills.
 * @param {Ladder} ladder
 * @param {Seen} seen
 */
const isStarving = ({ bestRttMs }, { concealedPercent, rttMs }) =>
  concealedPercent > WEAK_CONCEALED_PERCENT || rttMs > bestRttMs + QUEUE_MS;

/**
 * Loss alone, with room on the line, is no fault of the picture: below `low` nothing is won. Nor is
 * an estimate alone believed there at once: after an outage it is far too small for some seconds,
 * and it only grows while a picture is sent.
 * @param {Ladder} ladder
 * @param {Seen} seen
 * @returns {Rung}
 */
function lowestUseful(ladder, seen) {
  if (isStarving(ladder, seen)) return "voice";
  const isShortForLong = seen.atMs - ladder.badSinceMs >= BELIEVED_AFTER_MS;
  return isShort(ladder, seen) && isShortForLong ? "voice" : "low";
}

/**
 * At once as far as the estimate says, else one step.
 * @param {Ladder} ladder
 * @param {Seen} seen
 * @param {Rung} lowest
 * @returns {Ladder}
 */
function goDown(ladder, { atMs, availableKbps }, lowest) {
  const next = RUNGS[placeOf(ladder.rung) + 1] ?? "voice";
  const fitting = RUNGS.find((rung) => NEEDED_KBPS[rung] <= (availableKbps ?? Infinity)) ?? "voice";
  const target = lowerOf(next, fitting);
  const { isOnTrial, climbAfterMs } = ladder;
  return {
    ...ladder,
    rung: placeOf(target) > placeOf(lowest) ? lowest : target,
    badSinceMs: 0,
    goodSinceMs: 0,
    changedAtMs: atMs,
    isOnTrial: false,
    climbAfterMs: isOnTrial
      ? Math.min(2 * climbAfterMs, LONGEST_CLIMB_MS)
      : Math.max(CLIMB_MS, climbAfterMs),
  };
}

/**
 * Under a person's choice there is no traffic that could prove a step up.
 * @param {Ladder} ladder
 * @param {Seen} seen
 * @returns {Ladder}
 */
function goUp(ladder, { atMs }) {
  const next = RUNGS[placeOf(ladder.rung) - 1];
  if (!next || rungOf(ladder) !== ladder.rung) return ladder;
  return { ...ladder, rung: next, goodSinceMs: 0, changedAtMs: atMs, isOnTrial: true };
}

/**
 * A step up that held for long is trusted; the next one is tried sooner again, but not at once.
 * @param {Ladder} ladder
 * @returns {Ladder}
 */
function prove(ladder) {
  const { climbAfterMs } = ladder;
  const shorter = Math.max(Math.min(climbAfterMs, CLIMB_MS), climbAfterMs / 2);
  return { ...ladder, isOnTrial: false, climbAfterMs: shorter };
}
