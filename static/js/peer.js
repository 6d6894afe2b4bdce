// One RTCPeerConnection of one generation: perfect negotiation, warm before admission. Nothing is
// sent before `admit`; the connection is up (ICE + DTLS) long before. When to heal it, and how, is
// lifeline.js.

import { Emitter } from "./emitter.js";
import { preferRedundancy } from "./redundancy.js";
import { findFingerprints } from "./fingerprints.js";
import { limitsOf } from "./ladder.js";

/** @typedef {import("./messages.js").SignalType} SignalType */
/** @typedef {import("./messages.js").SignalPayload} SignalPayload */
/** @typedef {{audio: MediaStreamTrack | null, video: MediaStreamTrack | null}} Tracks */
/** @typedef {import("./ladder.js").Rung} Rung */

const BATCH_MS = 50;
/** How Firefox names the origin of a description. */
const OF_FIREFOX = "o=mozilla";

/**
 * @typedef {object} PeerOptions
 * @property {boolean} isPolite
 * @property {RTCIceServer[]} iceServers
 * @property {boolean} isRelayOnly
 * @property {RTCCertificate} certificate the page's own, the same for all its connections
 * @property {Promise<unknown>} ready resolves when this page knows its camera and microphone
 * @property {(type: SignalType, payload: SignalPayload) => void} send
 */

/**
 * @typedef {object} PeerEvents
 * @property {RTCPeerConnectionState} state
 * @property {RTCDataChannel} channel
 */

/** @param {MediaStreamTrack | null} track */
const isLive = (track) =>
  track !== null && track.enabled && !track.muted && track.readyState === "live";

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
  /** @type {Rung} a new connection starts small: the first picture is there in a third of the time */
  #rung = "sd";
  /** @type {RTCIceCandidateInit[]} */
  #batch = [];
  #isMakingOffer = false;
  #isIgnoringOffer = false;
  #isSettingAnswer = false;
  /** Noted when it comes: Chromium gives back a description without its origin. */
  #isWithFirefox = false;

  /** @param {PeerOptions} options */
  constructor(options) {
    super();
    this.#options = options;
    this.#connection = new RTCPeerConnection(this.#configuration());
    this.#listen(this.#connection);
    this.#work = options.ready.then(() => this.#begin());
  }

  get state() {
    return this.#connection.connectionState;
  }

  /** Whether restarts are this side's to make. */
  get isInCharge() {
    return !this.#options.isPolite;
  }

  /** Whether no offer of this side is still without an answer. */
  get isAnswered() {
    return this.#connection.signalingState !== "have-local-offer";
  }

  /** Whether both browsers come out of an ICE restart: an old way that still carries stops Firefox. */
  get canRestart() {
    return !this.#isWithFirefox && !this.#connection.localDescription?.sdp.includes(OF_FIREFOX);
  }

  /** What the other side should receive now, by this page's own will. */
  get sends() {
    const { audio, video } = this.#tracks;
    return { audio: isLive(audio), video: isLive(video) && limitsOf("video", this.#rung).active !== false };
  }

  getStats() {
    return this.#connection.getStats();
  }

  /** Whom this connection is really with; null while nobody can say. */
  fingerprints() {
    return findFingerprints(this.#connection, this.#options.certificate);
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

  /** @returns {RTCConfiguration} */
  #configuration() {
    const { certificate, iceServers, isRelayOnly } = this.#options;
    const iceTransportPolicy = isRelayOnly ? "relay" : "all";
    return { certificates: [certificate], iceServers, iceTransportPolicy, bundlePolicy: "max-bundle" };
  }

  /**
   * @param {RTCIceServer[]} iceServers
   * @param {boolean} isRelayOnly
   */
  configure(iceServers, isRelayOnly) {
    if (this.state === "closed") return;
    const wasRelayOnly = this.#options.isRelayOnly;
    this.#options = { ...this.#options, iceServers, isRelayOnly };
    this.#connection.setConfiguration(this.#configuration());
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

  /** Puts back a track that a sender has lost. */
  mend() {
    for (const transceiver of this.#connection.getTransceivers()) {
      if (transceiver.currentDirection !== "stopped") this.#fill(transceiver).catch(() => undefined);
    }
  }

  /** Sends a whole picture at once, where the browser can (Chromium). */
  refresh() {
    for (const { sender } of this.#connection.getTransceivers()) {
      if (sender.track?.kind !== "video") continue;
      const parameters = sender.getParameters();
      const encodingOptions = parameters.encodings.map(() => ({ keyFrame: true }));
      sender.setParameters(parameters, /** @type {{}} */ ({ encodingOptions })).catch(() => undefined);
    }
  }

  /**
   * How much the own picture and voice may take; the tracks stay the same.
   * @param {Rung} rung
   */
  async setRung(rung) {
    if (rung === this.#rung) return;
    this.#rung = rung;
    await Promise.all(this.#connection.getTransceivers().map((each) => this.#shape(each)));
  }

  close() {
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
      this.emit("state", connection.connectionState);
    });
  }

  /** The impolite side lays out the connection; the polite one takes its shape from the offer. */
  #begin() {
    if (this.#options.isPolite || this.state === "closed") return;
    preferRedundancy(this.#connection.addTransceiver("audio", { direction: "sendrecv" }));
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
    const parameters = sender.getParameters();
    for (const encoding of parameters.encodings) {
      Object.assign(encoding, limitsOf(receiver.track.kind, this.#rung));
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
    this.#isWithFirefox = Boolean(description.sdp?.includes(OF_FIREFOX));
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
}
