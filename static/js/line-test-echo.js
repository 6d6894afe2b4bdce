// The line to the echo leg: sound, picture and data go there and come back, and are measured.

import { read } from "./stats.js";
import { WayClosed, within } from "./line-test-probes.js";

const OPEN_WITHIN_MS = 20_000;
const PINGS = 5;
const PING_WITHIN_MS = 10_000;
const MEDIA_MS = 6000;
const TRANSFER_WITHIN_MS = 10_000;
const TRANSFER_BYTES = 1_500_000;
const LAST_COUNT_MS = 1000;
const CHUNK_BYTES = 8 * 1024;
const BUFFERED_BYTES = 64 * 1024;

/**
 * @typedef {object} Figures what is kept of the line; *up* is from here to the server
 * @property {number} up_kilobits
 * @property {number} down_kilobits
 * @property {number} up_loss_percent
 * @property {number} down_loss_percent
 * @property {number} up_jitter_ms
 * @property {number} down_jitter_ms
 * @property {number} rtt_ms
 */

/** @typedef {Record<string, any>} Report */

/**
 * What the media say, over the whole connection.
 * @param {readonly Report[]} reports
 */
export function mediaFigures(reports) {
  const { sound, picture, sent, reported, jitterMs } = read(reports, 0);
  const lostUp = reports
    .filter(({ type }) => type === "remote-inbound-rtp")
    .reduce((sum, { packetsLost }) => sum + Math.max(0, packetsLost ?? 0), 0);
  const lostDown = sound.lost + picture.lost;
  const arrived = sound.packets + picture.packets;
  return {
    arrived,
    up_loss_percent: percent(lostUp, sent.packets),
    down_loss_percent: percent(lostDown, lostDown + arrived),
    up_jitter_ms: reported.jitterMs,
    down_jitter_ms: jitterMs,
  };
}

/**
 * @param {number} part
 * @param {number} whole
 */
const percent = (part, whole) => (whole > 0 ? Math.min(100, (100 * part) / whole) : 0);

/**
 * @param {number} bytes
 * @param {number} milliseconds
 */
const kilobits = (bytes, milliseconds) => (8 * bytes) / Math.max(1, milliseconds);

/** @param {number[]} values */
const median = (values) => [...values].sort((a, b) => a - b)[Math.floor(values.length / 2)] ?? 0;

/** @param {number} milliseconds */
const pause = (milliseconds) => new Promise((resolve) => setTimeout(resolve, milliseconds));

/** A sound that nobody hears, for who has no microphone: the line can be measured all the same. */
class Silence {
  #audio = new AudioContext();

  track() {
    const out = this.#audio.createMediaStreamDestination();
    new OscillatorNode(this.#audio).connect(new GainNode(this.#audio, { gain: 0 })).connect(out);
    return out.stream.getAudioTracks()[0];
  }

  end() {
    this.#audio.close();
  }
}

export class EchoLine {
  #connection;
  #channel;
  #fetchAnswer;
  #silence;
  /** @type {(message: string | ArrayBuffer) => void} */
  #hear = () => undefined;

  /**
   * @param {object} options
   * @param {RTCIceServer[]} options.servers
   * @param {(sdp: string) => Promise<string>} options.fetchAnswer
   * @param {{audio: MediaStreamTrack | null, video: MediaStreamTrack | null}} options.tracks
   */
  constructor({ servers, fetchAnswer, tracks }) {
    this.#connection = new RTCPeerConnection({ iceServers: servers, bundlePolicy: "max-bundle" });
    this.#fetchAnswer = fetchAnswer;
    this.#silence = tracks.audio ? null : new Silence();
    for (const track of [tracks.audio ?? this.#silence?.track(), tracks.video]) {
      if (track) this.#connection.addTrack(track);
    }
    this.#channel = this.#connection.createDataChannel("line");
    this.#channel.binaryType = "arraybuffer";
    this.#channel.bufferedAmountLowThreshold = BUFFERED_BYTES / 2;
    this.#channel.onmessage = ({ data }) => this.#hear(data);
  }

  /** @returns {Promise<number>} milliseconds until the first message had come back */
  async open() {
    const startedAt = performance.now();
    const opened = new Promise((resolve, reject) => {
      this.#channel.onopen = resolve;
      this.#connection.onconnectionstatechange = () => {
        if (this.#connection.connectionState === "failed") reject(new WayClosed("line"));
      };
    });
    await this.#connection.setLocalDescription();
    const sdp = await this.#fetchAnswer(this.#connection.localDescription?.sdp ?? "");
    const inTime = within(OPEN_WITHIN_MS, opened);
    await this.#connection.setRemoteDescription({ type: "answer", sdp });
    await inTime;
    await this.#ping();
    return performance.now() - startedAt;
  }

  /** @returns {Promise<Figures>} throws when sound and picture do not come back */
  async measure() {
    const pings = [];
    for (let count = 0; count < PINGS; count += 1) pings.push(await this.#ping());
    await pause(MEDIA_MS);
    const stats = await this.#connection.getStats();
    const { arrived, ...media } = mediaFigures([...stats.values()]);
    if (arrived === 0) throw new WayClosed("media");
    const up = await this.#upload();
    const down = await this.#download();
    return { up_kilobits: up, down_kilobits: down, rtt_ms: median(pings), ...media };
  }

  close() {
    this.#hear = () => undefined;
    this.#connection.close();
    this.#silence?.end();
  }

  /** @returns {Promise<number>} milliseconds there and back */
  async #ping() {
    const startedAt = performance.now();
    const word = `ping ${startedAt}`;
    const back = new Promise((resolve) => {
      this.#hear = (message) => message === word && resolve(undefined);
    });
    this.#channel.send(word);
    await within(PING_WITHIN_MS, back);
    return performance.now() - startedAt;
  }

  /** @returns {Promise<number>} kilobits a second that the server counted */
  async #upload() {
    const startedAt = performance.now();
    let counted = { bytes: 0, atMs: startedAt };
    this.#hear = (message) => {
      const bytes = typeof message === "string" ? Number(message.match(/^received (\d+)$/)?.[1]) : 0;
      if (bytes > 0) counted = { bytes, atMs: performance.now() };
    };
    const chunk = new Uint8Array(CHUNK_BYTES);
    for (let sent = 0; sent < TRANSFER_BYTES; sent += CHUNK_BYTES) {
      if (performance.now() - startedAt > TRANSFER_WITHIN_MS) break;
      if (this.#channel.bufferedAmount > BUFFERED_BYTES) await this.#room();
      this.#channel.send(chunk);
    }
    await pause(LAST_COUNT_MS);
    return kilobits(counted.bytes, counted.atMs - startedAt);
  }

  #room() {
    const room = new Promise((resolve) => {
      this.#channel.onbufferedamountlow = resolve;
    });
    return Promise.race([room, pause(TRANSFER_WITHIN_MS)]);
  }

  /**
   * A lost packet makes a channel pause for seconds: what comes after the pause counts, too.
   * @returns {Promise<number>} kilobits a second that came
   */
  async #download() {
    let [bytes, firstAt, lastAt] = [0, 0, 0];
    const enough = new Promise((resolve) => {
      this.#hear = (message) => {
        if (typeof message === "string") return;
        lastAt = performance.now();
        if (firstAt > 0) bytes += message.byteLength;
        firstAt ||= lastAt;
        if (bytes >= TRANSFER_BYTES) resolve(undefined);
      };
    });
    this.#channel.send("send");
    await Promise.race([enough, pause(TRANSFER_WITHIN_MS)]);
    this.#channel.send("stop");
    return kilobits(bytes, lastAt - firstAt);
  }
}
