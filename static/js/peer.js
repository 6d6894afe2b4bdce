// One RTCPeerConnection of one generation: perfect negotiation, warm before admission, healing.
// Nothing is sent before `admit`; the connection is up (ICE + DTLS) long before.

import { Emitter } from "./emitter.js";

/** @typedef {import("./messages.js").SignalType} SignalType */
/** @typedef {import("./messages.js").SignalPayload} SignalPayload */
/** @typedef {{audio: MediaStreamTrack | null, video: MediaStreamTrack | null}} Tracks */
/** @typedef {"first" | "full" | "weak"} Picture how much of the line the own picture takes */

const BATCH_MS = 50;
const HEAL_AFTER_MS = 2000;
const HEAL_AGAIN_MS = 6000;
const WEAK_LINE_BITRATE = 150_000;

/**
 * @typedef {object} PeerOptions
 * @property {boolean} isPolite
 * @property {RTCIceServer[]} iceServers
 * @property {boolean} isRelayOnly
 * @property {Promise<unknown>} ready resolves when this page knows its camera and microphone
 * @property {(type: SignalType, payload: SignalPayload) => void} send
 * @property {() => boolean} isReachable whether an ICE restart could be heard now
 */

/**
 * @typedef {object} PeerEvents
 * @property {RTCPeerConnectionState} state
 * @property {RTCDataChannel} channel
 */

/** @extends {Emitter<PeerEvents>} */
export class Peer extends Emitter {
  /** What comes in: silent and dark until `play`, so that an element may hold it before. */
  remote = new MediaStream();
  #isPlaying = false;
  #options;
  #connection;
  #work;
  /** @type {Tracks} */
  #tracks = { audio: null, video: null };
  /** @type {Picture} */
  #picture = "first";
  /** @type {RTCIceCandidateInit[]} */
  #batch = [];
  #isMakingOffer = false;
  #isIgnoringOffer = false;
  #isSettingAnswer = false;
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  #healing;

  /** @param {PeerOptions} options */
  constructor(options) {
    super();
    this.#options = options;
    this.#connection = new RTCPeerConnection({
      iceServers: options.iceServers,
      iceTransportPolicy: options.isRelayOnly ? "relay" : "all",
      bundlePolicy: "max-bundle",
    });
    this.#listen(this.#connection);
    this.#work = options.ready.then(() => this.#begin());
  }

  get state() {
    return this.#connection.connectionState;
  }

  getStats() {
    return this.#connection.getStats();
  }

  /**
   * @param {SignalType} type
   * @param {SignalPayload} payload
   */
  receive(type, payload) {
    this.#work = this.#work
      .then(() =>
        type === "candidates"
          ? this.#addCandidates(/** @type {RTCIceCandidateInit[]} */ (payload))
          : this.#setRemote(/** @type {RTCSessionDescriptionInit} */ (payload)),
      )
      .catch((problem) => console.warn(`${type} not taken`, problem.name));
  }

  /** Lets what comes in be seen and heard; called when the fold says admitted. */
  play() {
    this.#isPlaying = true;
    for (const track of this.remote.getTracks()) track.enabled = true;
  }

  /** @param {Tracks} tracks */
  async setTracks(tracks) {
    this.#tracks = tracks;
    await Promise.all(
      this.#connection.getTransceivers().map((transceiver) => this.#fill(transceiver)),
    );
  }

  /**
   * @param {RTCIceServer[]} iceServers
   * @param {boolean} isRelayOnly
   */
  configure(iceServers, isRelayOnly) {
    if (this.state === "closed") return;
    const wasRelayOnly = this.#options.isRelayOnly;
    this.#options = { ...this.#options, iceServers, isRelayOnly };
    const iceTransportPolicy = isRelayOnly ? "relay" : "all";
    this.#connection.setConfiguration({ iceServers, iceTransportPolicy, bundlePolicy: "max-bundle" });
    if (wasRelayOnly && !isRelayOnly) this.restart();
  }

  /**
   * Finds a new way. Only the impolite side does: two restarts that meet end in a rollback, after
   * which Chromium 156 decodes the incoming picture and paints none of it. The polite side's
   * trouble is known to the other by a failing line or by its return to the room.
   */
  restart() {
    if (this.#options.isPolite || this.state === "closed") return;
    if (this.#connection.currentRemoteDescription) this.#connection.restartIce();
  }

  /**
   * A new connection starts small: the first picture is there in a third of the time. Once the
   * line is measured it grows; on a weak one the voice comes first and the picture gets a share.
   * @param {Picture} picture
   */
  async setPicture(picture) {
    if (picture === this.#picture) return;
    this.#picture = picture;
    await Promise.all(this.#connection.getTransceivers().map((each) => this.#shape(each)));
  }

  close() {
    clearTimeout(this.#healing);
    this.#connection.close();
  }

  /** @param {RTCPeerConnection} connection */
  #listen(connection) {
    connection.addEventListener("negotiationneeded", () => this.#offer());
    connection.addEventListener("icecandidate", ({ candidate }) => {
      if (candidate?.candidate) this.#batchCandidate(candidate);
    });
    connection.addEventListener("track", ({ track }) => {
      track.enabled = this.#isPlaying;
      this.remote.addTrack(track);
    });
    connection.addEventListener("connectionstatechange", () => {
      this.#planHealing();
      this.emit("state", connection.connectionState);
    });
  }

  /** The impolite side lays out the connection; the polite one takes its shape from the offer. */
  #begin() {
    if (this.#options.isPolite || this.state === "closed") return;
    this.#connection.addTransceiver("audio", { direction: "sendrecv" });
    this.#connection.addTransceiver("video", { direction: "sendrecv" });
    this.#openChannel();
    for (const transceiver of this.#connection.getTransceivers()) {
      this.#shape(transceiver);
      this.#fill(transceiver);
    }
  }

  #openChannel() {
    this.emit("channel", this.#connection.createDataChannel("room", { negotiated: true, id: 0 }));
  }

  /** @param {RTCRtpTransceiver} transceiver */
  async #shape({ sender, receiver }) {
    if (receiver.track.kind !== "video") return;
    const parameters = sender.getParameters();
    for (const encoding of parameters.encodings) {
      encoding.scaleResolutionDownBy = this.#picture === "full" ? 1 : 2;
      if (this.#picture === "weak") encoding.maxBitrate = WEAK_LINE_BITRATE;
      else delete encoding.maxBitrate;
    }
    await sender.setParameters(parameters).catch(() => undefined);
  }

  /** @param {RTCRtpTransceiver} transceiver */
  #fill({ sender, receiver }) {
    const track = receiver.track.kind === "audio" ? this.#tracks.audio : this.#tracks.video;
    return sender.track === track ? Promise.resolve() : sender.replaceTrack(track);
  }

  async #offer() {
    try {
      this.#isMakingOffer = true;
      await this.#connection.setLocalDescription();
      this.#sendLocal();
    } finally {
      this.#isMakingOffer = false;
    }
  }

  #sendLocal() {
    const description = this.#connection.localDescription;
    if (!description) return;
    this.#options.send(description.type === "offer" ? "offer" : "answer", description.toJSON());
  }

  /** @param {RTCSessionDescriptionInit} description */
  async #setRemote(description) {
    if (this.state === "closed") return;
    const isOffer = description.type === "offer";
    const isStable = this.#connection.signalingState === "stable" || this.#isSettingAnswer;
    this.#isIgnoringOffer = isOffer && !this.#options.isPolite && (this.#isMakingOffer || !isStable);
    if (this.#isIgnoringOffer) return;
    this.#isSettingAnswer = !isOffer;
    try {
      await this.#connection.setRemoteDescription(description);
    } finally {
      this.#isSettingAnswer = false;
    }
    if (isOffer) await this.#answer();
  }

  async #answer() {
    const isFirst = !this.#connection.currentRemoteDescription;
    if (isFirst) {
      for (const transceiver of this.#connection.getTransceivers()) {
        transceiver.direction = "sendrecv";
        await this.#shape(transceiver);
        await this.#fill(transceiver);
      }
      this.#openChannel();
    }
    await this.#connection.setLocalDescription();
    this.#sendLocal();
  }

  /** @param {RTCIceCandidateInit[]} candidates */
  async #addCandidates(candidates) {
    for (const candidate of candidates) {
      if (this.state === "closed") return;
      try {
        await this.#connection.addIceCandidate(candidate);
      } catch (problem) {
        if (!this.#isIgnoringOffer) throw problem;
      }
    }
  }

  /** @param {RTCIceCandidate} candidate */
  #batchCandidate(candidate) {
    this.#batch.push(candidate.toJSON());
    if (this.#batch.length > 1) return;
    setTimeout(() => {
      this.#options.send("candidates", this.#batch);
      this.#batch = [];
    }, BATCH_MS);
  }

  /** `failed` never recovers alone and `disconnected` often late: restart ICE until it holds. */
  #planHealing() {
    clearTimeout(this.#healing);
    if (this.state !== "disconnected" && this.state !== "failed") return;
    this.#healing = setTimeout(() => this.#heal(), this.state === "failed" ? 0 : HEAL_AFTER_MS);
  }

  #heal() {
    if (this.state === "connected" || this.state === "closed") return;
    if (this.#options.isReachable()) this.restart();
    this.#healing = setTimeout(() => this.#heal(), HEAL_AGAIN_MS);
  }
}
