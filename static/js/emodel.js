// How a voice sounds, estimated from the line alone (after ITU-T G.107): a mean opinion score from
// 1 to 4.5. An aid for trends, never shown or printed; the picture is judged apart from it.

const BEST_RATING = 93.2;
const PROCESSING_MS = 20;
const LATE_MS = 177.3;
const LOSS_ROBUSTNESS = 10;
const WORST_LOSS_IMPAIRMENT = 95;

/**
 * @param {object} line
 * @param {number} line.lossPercent
 * @param {number} line.rttMs
 * @param {number} line.bufferMs how long the jitter buffer holds a packet
 */
export function voiceScore({ lossPercent, rttMs, bufferMs }) {
  const delayMs = rttMs / 2 + bufferMs + PROCESSING_MS;
  const delay = 0.024 * delayMs + 0.11 * Math.max(0, delayMs - LATE_MS);
  const loss = (WORST_LOSS_IMPAIRMENT * lossPercent) / (lossPercent + LOSS_ROBUSTNESS);
  const rating = Math.min(Math.max(BEST_RATING - delay - loss, 0), 100);
  const score = 1 + 0.035 * rating + 7e-6 * rating * (rating - 60) * (100 - rating);
  return Math.max(1, Math.round(100 * score) / 100);
}
