// The second connection of a page: it only sends, to the recorder, who is a participant of the room.
//
// It comes up once this page's person has agreed, and carries sound and picture only while this
// page's own fold says that the recording is on. The recorder cannot restart ICE: whatever goes
// wrong makes a new connection, which the recorder keeps as a new part with the gap before it. The
// offer alone is sent, with the number of the connection in it (`leg`): the recorder answers who
// comes to it, so it needs no candidates of the page.

import { Emitter } from "./emitter.js";
import { isAdmitted, recorderOf, selfOf } from "./fold.js";
import { RUNGS, limitsOf } from "./ladder.js";

/** @typedef {import("./fold.js").Room} Room */
/** @typedef {import("./ladder.js").Rung} Rung */
/** @typedef {import("./messages.js").SignalPayload} SignalPayload */
/** @typedef {import("./messages.js").SignalType} SignalType */
/** @typedef {import("./peer.js").Tracks} Tracks */
/** @typedef {"audio" | "video"} Kind */
/** @typedef {{to: string, generation: number, isSending: boolean}} Wanted */
/** @typedef {RTCSessionDescriptionInit & {leg: number}} Numbered */

const CONNECTED_WITHIN_MS = 15_000;
const COMES_BACK_WITHIN_MS = 4000;
const FIRST_PAUSE_MS = 1000;
const LONGEST_PAUSE_MS = 15_000;
/** The call comes first: what is kept takes no more of the line than a middling picture. */
const BEST = RUNGS.indexOf("sd");
/** @type {Record<Kind, RegExp>} what the recorder keeps as it comes */
const CODECS = { audio: /^audio\/opus$/i, video: /^video\/(vp8|rtx)$/i };
const KINDS = /** @type {Kind[]} */ (Object.keys(CODECS));

/**
 * The connection that this page should hold with the recorder now.
 * @param {Room} room
 * @returns {Wanted | null}
 */
export function findLeg(room) {
  const { recording } = room;
  const self = selfOf(room);
  const recorder = recorderOf(room);
  if (!self || !recorder || !recording || !isAdmitted(room)) return null;
  const isOut = [self, recorder].some(({ presence }) => presence === "gone" || presence === "turned_away");
  if (isOut || !recording.accepted.includes(self.id)) return null;
  const generation = Math.max(self.generation, recorder.generation);
  return { to: recorder.id, generation, isSending: recording.state === "on" };
}

/**
 * @typedef {object} LegEvents
 * @property {boolean} reaching false while a recording runs that this page's sound and picture do not reach
 */

/** @extends {Emitter<LegEvents>} */
export class RecordingLeg extends Emitter {
  #send;
  #key = "";
  #isOn = false;
  /** @type {Wanted | null} */
  #wanted = null;
  /** @type {RTCIceServer[]} */
  #iceServers = [];
  /** @type {Tracks} */
  #tracks = { audio: null, video: null };
  /** @type {Rung} */
  #rung = "sd";
  /** @type {RTCPeerConnection | null} */
  #connection = null;
  #number = 0;
  #failures = 0;
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  #timer;

  /** @param {(to: string, generation: number, payload: SignalPayload) => void} send an offer */
  constructor(send) {
    super();
    this.#send = send;
  }

  /**
   * @param {Room} room
   * @param {RTCIceServer[]} iceServers
   * @param {Tracks} tracks
   */
  follow(room, iceServers, tracks) {
    const wanted = findLeg(room);
    const key = wanted ? `${room.epoch} ${wanted.generation} ${wanted.to}` : "";
    this.#isOn = room.recording?.state === "on";
    this.#wanted = wanted;
    this.#iceServers = iceServers;
    this.#tracks = tracks;
    if (!wanted) return this.#hangUp();
    if (key !== this.#key) this.#begin(key);
    for (const transceiver of this.#connection?.getTransceivers() ?? []) this.#fill(transceiver);
    this.#tell();
  }

  /** @param {Rung} rung of the call: what is recorded is never more than what the line carries */
  setRung(rung) {
    const kept = RUNGS[Math.max(BEST, RUNGS.indexOf(rung))] ?? "sd";
    if (kept === this.#rung) return;
    this.#rung = kept;
    for (const transceiver of this.#connection?.getTransceivers() ?? []) this.#shape(transceiver);
  }

  /**
   * The recorder's answer; one to an older offer counts no more.
   * @param {SignalType} type
   * @param {number} generation
   * @param {SignalPayload} payload
   */
  async receive(type, generation, payload) {
    const { leg, ...answer } = /** @type {Numbered} */ (payload);
    const connection = this.#connection;
    const isCurrent = type === "answer" && generation === this.#wanted?.generation && leg === this.#number;
    if (!isCurrent || connection?.signalingState !== "have-local-offer") return;
    await connection.setRemoteDescription(answer).catch(() => this.#connect());
  }

  /** The network is another one: the old way is not waited for. */
  renew() {
    if (this.#wanted) this.#begin(this.#key);
  }

  close() {
    this.#isOn = false;
    this.#hangUp();
  }

  #hangUp() {
    clearTimeout(this.#timer);
    this.#connection?.close();
    this.#connection = this.#wanted = null;
    this.#key = "";
    this.#tell();
  }

  /** @param {string} key */
  #begin(key) {
    this.#key = key;
    this.#failures = 0;
    this.#connect();
  }

  async #connect() {
    clearTimeout(this.#timer);
    this.#connection?.close();
    const wanted = this.#wanted;
    if (!wanted) return;
    const number = ++this.#number;
    const connection = new RTCPeerConnection({ iceServers: this.#iceServers, bundlePolicy: "max-bundle" });
    this.#connection = connection;
    this.#timer = setTimeout(() => this.#tryAgain(connection), CONNECTED_WITHIN_MS);
    connection.addEventListener("connectionstatechange", () => this.#onState(connection));
    for (const kind of KINDS) this.#addTransceiver(connection, kind);
    await connection.setLocalDescription();
    const { type, sdp } = connection.localDescription ?? {};
    if (connection !== this.#connection || !type) return;
    const offer = /** @type {Numbered} */ ({ type, sdp, leg: number });
    this.#send(wanted.to, wanted.generation, offer);
  }

  /**
   * @param {RTCPeerConnection} connection
   * @param {Kind} kind
   */
  #addTransceiver(connection, kind) {
    const transceiver = connection.addTransceiver(kind, { direction: "sendonly" });
    const codecs = RTCRtpSender.getCapabilities(kind)?.codecs ?? [];
    transceiver.setCodecPreferences?.(codecs.filter(({ mimeType }) => CODECS[kind].test(mimeType)));
    this.#shape(transceiver);
    this.#fill(transceiver);
  }

  /** @param {RTCPeerConnection} connection */
  #onState(connection) {
    if (connection !== this.#connection) return;
    const state = connection.connectionState;
    if (state === "failed") return this.#tryAgain(connection);
    if (state === "connected") {
      clearTimeout(this.#timer);
      this.#failures = 0;
    }
    if (state === "disconnected") {
      clearTimeout(this.#timer);
      this.#timer = setTimeout(() => this.#tryAgain(connection), COMES_BACK_WITHIN_MS);
    }
    this.#tell();
  }

  /** @param {RTCPeerConnection} connection */
  #tryAgain(connection) {
    if (connection !== this.#connection) return;
    connection.close();
    const pause = Math.min(FIRST_PAUSE_MS * 2 ** this.#failures, LONGEST_PAUSE_MS);
    this.#failures += 1;
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.#connect(), pause);
    this.#tell();
  }

  /** @param {RTCRtpTransceiver} transceiver */
  #fill({ sender, receiver }) {
    const track = this.#wanted?.isSending ? this.#tracks[/** @type {Kind} */ (receiver.track.kind)] : null;
    if (sender.track !== track) sender.replaceTrack(track).catch(() => undefined);
  }

  /** @param {RTCRtpTransceiver} transceiver */
  async #shape({ sender, receiver }) {
    const parameters = sender.getParameters();
    for (const encoding of parameters.encodings) {
      Object.assign(encoding, limitsOf(receiver.track.kind, this.#rung));
    }
    await sender.setParameters(parameters).catch(() => undefined);
  }

  #tell() {
    this.emit("reaching", !this.#isOn || this.#connection?.connectionState === "connected");
  }
}
