// Says aloud that a recording begins, pauses or ends: with a voice of the page's language where the
// device has one, else with two tones that go up (it records) or down (it does not).

const VOICES_WITHIN_MS = 1000;
const TONES_HZ = [660, 880];
const TONE_SECONDS = 0.22;
const LOUDNESS = 0.15;

/** @returns {Promise<SpeechSynthesisVoice | undefined>} Chromium loads its voices late */
async function findVoice() {
  if (!("speechSynthesis" in globalThis)) return undefined;
  const language = document.documentElement.lang.slice(0, 2).toLowerCase();
  const find = () =>
    speechSynthesis.getVoices().find(({ lang }) => lang.slice(0, 2).toLowerCase() === language);
  const found = find();
  if (found) return found;
  await new Promise((resolve) => {
    speechSynthesis.addEventListener("voiceschanged", resolve, { once: true });
    setTimeout(resolve, VOICES_WITHIN_MS);
  });
  return find();
}

/** @param {number[]} tones in hertz, one after the other */
function chime(tones) {
  const audio = new AudioContext();
  const gain = new GainNode(audio, { gain: LOUDNESS });
  gain.connect(audio.destination);
  tones.forEach((frequency, index) => {
    const tone = new OscillatorNode(audio, { frequency });
    tone.connect(gain);
    tone.start(audio.currentTime + index * TONE_SECONDS);
    tone.stop(audio.currentTime + (index + 1) * TONE_SECONDS);
    if (index === tones.length - 1) tone.addEventListener("ended", () => audio.close());
  });
}

/**
 * @param {string} words
 * @param {boolean} isOn
 * @returns {Promise<"voice" | "tones">} what was heard
 */
export async function announce(words, isOn) {
  const voice = await findVoice();
  if (!voice) {
    chime(isOn ? TONES_HZ : [...TONES_HZ].reverse());
    return "tones";
  }
  const utterance = new SpeechSynthesisUtterance(words);
  utterance.voice = voice;
  utterance.lang = voice.lang;
  speechSynthesis.speak(utterance);
  return "voice";
}
