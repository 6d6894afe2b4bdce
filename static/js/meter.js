// A live level of a microphone, 0 to 1. The audio engine sleeps until the page is touched.

const SAMPLES = 512;
const LOUD_RMS = 0.25;

export class Meter {
  /** @type {AudioContext | null} */
  #audio = null;
  #frame = 0;

  /**
   * @param {MediaStreamTrack} track
   * @param {(level: number) => void} draw called for every picture frame
   */
  start(track, draw) {
    this.stop();
    const audio = (this.#audio = new AudioContext());
    const wakeUp = () => audio.resume().catch(() => undefined);
    addEventListener("pointerdown", wakeUp, { once: true });
    addEventListener("keydown", wakeUp, { once: true });
    const analyser = new AnalyserNode(audio, { fftSize: SAMPLES });
    audio.createMediaStreamSource(new MediaStream([track])).connect(analyser);
    const samples = new Float32Array(SAMPLES);
    const step = () => {
      analyser.getFloatTimeDomainData(samples);
      const power = samples.reduce((sum, sample) => sum + sample * sample, 0) / SAMPLES;
      draw(Math.min(1, Math.sqrt(power) / LOUD_RMS));
      this.#frame = requestAnimationFrame(step);
    };
    step();
  }

  stop() {
    cancelAnimationFrame(this.#frame);
    this.#audio?.close();
    this.#audio = null;
  }
}
