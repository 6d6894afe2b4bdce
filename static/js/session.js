// The room as one page lives it: wire + fold + the peer connection of the current generation.
// It knows no element. A new generation gets a new connection; the old picture stays until the new
// one has frames. What is wrong with a connection, and what helps, is lifeline.js.

import { Connections } from "./connections.js";
import { Emitter } from "./emitter.js";
import { applyEvent, findPair, isAdmitted, isApart, peerOf, roomFromWelcome, selfOf } from "./fold.js";
import { Lifeline } from "./lifeline.js";
import { post } from "./page.js";
import { Peer } from "./peer.js";
import { RecordingLeg } from "./recording-leg.js";
import { watchWakeups } from "./wakeups.js";
import { Wire, socketUrl } from "./wire.js";

/** @typedef {import("./fold.js").Room} Room */
/** @typedef {import("./messages.js").Media} Media */
/** @typedef {import("./messages.js").Welcome} Welcome */
/** @typedef {import("./messages.js").RoomEvent} RoomEvent */
/** @typedef {import("./peer.js").Tracks} Tracks */

/**
 * @typedef {object} SessionEvents
 * @property {Room} room the fold has moved
 * @property {boolean} wire whether the socket is up
 * @property {RTCPeerConnectionState} line state of the current peer connection
 * @property {import("./recovery.js").Trouble} trouble of the call, while there is one
 * @property {import("./recovery.js").Arrivals} arrivals who hears and sees whom since the last reconnect
 * @property {MediaStream | null} remote what an element shows; dark and silent before admission
 * @property {boolean} channel whether messages can pass
 * @property {Record<string, unknown>} message from the other page
 * @property {{audio: boolean, video: boolean}} proven decoded here since the last reconnect
 * @property {boolean} recorded false while a recording runs that this page's sound and picture do not reach
 * @property {{code: string}} refused
 * @property {{reason: string}} stopped
 */

/**
 * @typedef {object} LocalMedia what this page sends; `devices.js` is one
 * @property {Promise<unknown>} ready
 * @property {Tracks} tracks
 * @property {Media} flags
 */

const UNANSWERED_MS = 4000;

/** A question about the camera that nobody answers must not keep the other side out. */
const soon = () => new Promise((resolve) => setTimeout(resolve, UNANSWERED_MS));

/** @extends {Emitter<SessionEvents>} */
export class Session extends Emitter {
  #media;
  #certificate;
  #wasRunning;
  #wire;
  /** @type {Welcome | null} */
  #welcome = null;
  /** @type {Room | null} */
  #room = null;
  #isLineNew = false;
  #isNetworkNew = false;
  #lifeline = new Lifeline({
    expected: () => this.#expected(),
    isReachable: (sinceMs) => this.#isReachable(sinceMs),
    tell: (pulse) => this.tell({ pulse }),
    doubt: () => this.#wire.wake(false),
    renew: () => this.#wire.rejoin(),
  });
  #connections = new Connections(this.#lifeline);
  #leg = new RecordingLeg((to, generation, payload) =>
    this.#wire.send({ type: "offer", to, generation, payload }),
  );

  /**
   * @param {object} options
   * @param {string} options.ticketUrl
   * @param {boolean} options.isVisitRunning
   * @param {LocalMedia} options.media
   * @param {RTCCertificate} options.certificate
   */
  constructor({ ticketUrl, isVisitRunning, media, certificate }) {
    super();
    this.#media = media;
    this.#certificate = certificate;
    this.#wasRunning = isVisitRunning;
    this.#wire = new Wire({
      url: socketUrl(location),
      fetchTicket: async () => (await post(ticketUrl)).ticket,
    });
    this.#wire.on("welcome", (welcome) => this.#onWelcome(welcome));
    this.#wire.on("event", (event) => this.#onEvent(event));
    this.#wire.on("up", () => this.emit("wire", true));
    this.#wire.on("down", ({ reason }) => this.#onDown(reason));
    this.#wire.on("refused", (detail) => this.emit("refused", detail));
    this.#wire.on("stopped", (detail) => this.#onStopped(detail));
    watchWakeups((isNetworkNew) => this.#onWakeup(isNetworkNew));
    for (const name of /** @type {const} */ (["remote", "line", "channel", "message"])) {
      this.#connections.on(name, (detail) => this.emit(name, detail));
    }
    this.#leg.on("reaching", (isReaching) => this.emit("recorded", isReaching));
    this.#lifeline.on("trouble", (trouble) => this.emit("trouble", trouble));
    this.#lifeline.on("arrivals", (arrivals) => this.emit("arrivals", arrivals));
    this.#lifeline.on("proven", (proof) => this.#onProven(proof));
  }

  get room() {
    return this.#room;
  }

  get isUp() {
    return this.#wire.isUp;
  }

  get trouble() {
    return this.#lifeline.trouble;
  }

  get troubleAt() {
    return this.#lifeline.troubleAt;
  }

  get peer() {
    return this.#connections.held?.peer ?? null;
  }

  start() {
    this.#wire.start();
  }

  stop() {
    this.#closeLines();
    this.#wire.stop();
  }

  /** Hangs up; `start` comes back. */
  async leave() {
    this.#closeLines();
    await this.#wire.leave();
  }

  admitPatient() {
    const patient = this.#room && peerOf(this.#room);
    if (patient) this.#wire.send({ type: "admit", participant: patient.id });
  }

  /**
   * @param {Record<string, unknown>} message
   * @returns {boolean} whether it could be sent
   */
  tell(message) {
    return this.#connections.tell(message);
  }

  /** The page's camera, microphone or screen changed. */
  mediaChanged() {
    if (!this.#room || !this.#wire.isUp) return;
    const self = selfOf(this.#room);
    const { microphone, camera, screen } = this.#media.flags;
    const isKnown =
      self?.microphone === microphone && self.camera === camera && self.screen === screen;
    if (!isKnown) this.#wire.send({ type: "set_media", microphone, camera, screen });
    if (!isAdmitted(this.#room)) return;
    this.#connections.held?.peer.setTracks(this.#media.tracks);
    this.#followRecording(this.#room);
  }

  /** @param {import("./ladder.js").Rung} rung what the line carries now */
  setRung(rung) {
    this.#connections.held?.peer.setRung(rung);
    this.#leg.setRung(rung);
  }

  /** @param {Welcome} welcome */
  #onWelcome(welcome) {
    this.#welcome = welcome;
    if (!welcome.resumed || !this.#room) {
      this.#room = roomFromWelcome(welcome, this.#wasRunning);
    } else {
      this.#connections.held?.peer.configure(welcome.ice_servers, this.#isRelayOnly(this.#room));
      if (this.#isLineNew) this.#lifeline.comeBack(this.#isNetworkNew);
    }
    this.#isLineNew = this.#isNetworkNew = false;
    this.#settle();
    this.mediaChanged();
  }

  /** @param {RoomEvent} event */
  #onEvent(event) {
    if (!this.#room) return;
    if (event.type === "offer" || event.type === "answer" || event.type === "candidates") {
      this.#receive(this.#room, event);
      return;
    }
    this.#room = applyEvent(this.#room, event);
    const isOtherBack = event.type === "returned" && event.participant !== this.#room.you;
    if (isOtherBack) this.#lifeline.comeBack(false);
    this.#settle();
  }

  /**
   * @param {Room} room
   * @param {import("./messages.js").SignalEvent} signal
   */
  #receive(room, { type, sender, to, generation, payload }) {
    const held = this.#connections.held;
    if (to !== room.you) return;
    if (room.people[sender]?.role === "recorder") this.#leg.receive(type, generation, payload);
    else if (generation === held?.generation) held.peer.receive(type, payload);
  }

  /**
   * When the server sends the page elsewhere, the line between the two is as good as before.
   * @param {string} reason
   */
  #onDown(reason) {
    this.#isLineNew ||= !reason;
    this.emit("wire", false);
  }

  /** @param {boolean} isNetworkNew */
  #onWakeup(isNetworkNew) {
    this.#isNetworkNew ||= isNetworkNew;
    this.#wire.wake(isNetworkNew);
    if (isNetworkNew) this.#leg.renew();
  }

  /** What the fold says that the other side sends. */
  #expected() {
    const room = this.#room;
    const peer = room && isAdmitted(room) ? peerOf(room) : undefined;
    if (peer?.presence !== "here") return { audio: false, video: false };
    return { audio: peer.microphone, video: peer.camera || peer.screen };
  }

  /** @param {number} sinceMs */
  #isReachable(sinceMs) {
    const peer = this.#room && peerOf(this.#room);
    return this.#wire.heardAt > sinceMs && peer?.presence === "here";
  }

  /** @param {{audio: boolean, video: boolean}} proof */
  #onProven({ audio, video }) {
    const room = this.#room;
    if (!this.#connections.held || !room || !isAdmitted(room)) return;
    this.#wire.send({ type: "prove_media", of: this.#connections.held.to, audio, video });
    this.#connections.showNewWhenSeen();
    this.emit("proven", { audio, video });
  }

  /** @param {{reason: string}} detail */
  #onStopped(detail) {
    this.#closeLines();
    this.emit("stopped", detail);
  }

  #closeLines() {
    this.#connections.close();
    this.#leg.close();
  }

  /** @param {Room} room */
  #followRecording(room) {
    this.#leg.follow(room, this.#welcome?.ice_servers ?? [], this.#media.tracks);
  }

  /** @param {Room} room */
  #isRelayOnly(room) {
    const { relay_always = false, relay_until_admitted = false } = this.#welcome ?? {};
    return relay_always || (relay_until_admitted && !isAdmitted(room));
  }

  /** Makes the world follow the fold. */
  #settle() {
    const room = this.#room;
    if (!room) return;
    const pair = findPair(room);
    const key = pair ? `${room.epoch} ${pair.generation} ${pair.to}` : "";
    if (room.outcome || isApart(room)) this.#connections.close();
    else if (!pair) this.#connections.letGo();
    else if (key !== this.#connections.held?.key) this.#holdNew(key, pair);
    if (isAdmitted(room)) this.#open();
    this.#followRecording(room);
    this.emit("room", room);
  }

  #open() {
    const held = this.#connections.held;
    if (!held || !this.#room) return;
    this.#wasRunning = true;
    held.peer.setTracks(this.#media.tracks);
    held.peer.play();
    held.peer.configure(this.#welcome?.ice_servers ?? [], this.#isRelayOnly(this.#room));
  }

  /**
   * @param {string} key
   * @param {{generation: number, to: string}} pair
   */
  #holdNew(key, { generation, to }) {
    if (!this.#welcome || !this.#room) return;
    const peer = new Peer({
      isPolite: this.#welcome.polite,
      certificate: this.#certificate,
      iceServers: this.#welcome.ice_servers,
      isRelayOnly: this.#isRelayOnly(this.#room),
      ready: Promise.race([this.#media.ready, soon()]),
      send: (type, payload) => this.#wire.send({ type, to, generation, payload }),
    });
    this.#connections.hold({ key, generation, to, peer });
  }
}
