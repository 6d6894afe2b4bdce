// The room as one page lives it: wire + fold + the peer connection of the current generation.
// It knows no element. A new generation gets a new connection; the old picture stays until then.

import { Emitter } from "./emitter.js";
import { applyEvent, findPair, isAdmitted, peerOf, roomFromWelcome, selfOf } from "./fold.js";
import { post } from "./page.js";
import { Peer } from "./peer.js";
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
 * @property {MediaStream | null} remote what an element shows; dark and silent before admission
 * @property {boolean} channel whether messages can pass
 * @property {Record<string, unknown>} message from the other page
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
  #wasRunning;
  #wire;
  /** @type {Welcome | null} */
  #welcome = null;
  /** @type {Room | null} */
  #room = null;
  /** @type {{key: string, generation: number, to: string, peer: Peer} | null} */
  #held = null;
  /** @type {Peer | null} the connection before this one: its last picture is still shown */
  #previous = null;
  /** @type {RTCDataChannel | null} */
  #channel = null;
  #isLineNew = false;

  /** @param {{ticketUrl: string, isVisitRunning: boolean, media: LocalMedia}} options */
  constructor({ ticketUrl, isVisitRunning, media }) {
    super();
    this.#media = media;
    this.#wasRunning = isVisitRunning;
    this.#wire = new Wire({
      url: socketUrl(location),
      fetchTicket: async () => (await post(ticketUrl)).ticket,
    });
    this.#wire.on("welcome", (welcome) => this.#onWelcome(welcome));
    this.#wire.on("event", (event) => this.#onEvent(event));
    this.#wire.on("up", () => this.emit("wire", true));
    this.#wire.on("down", () => this.#onDown());
    this.#wire.on("refused", (detail) => this.emit("refused", detail));
    this.#wire.on("stopped", (detail) => this.#onStopped(detail));
    watchWakeups((isNetworkNew) => this.#wire.wake(isNetworkNew));
  }

  get room() {
    return this.#room;
  }

  get isUp() {
    return this.#wire.isUp;
  }

  get peer() {
    return this.#held?.peer ?? null;
  }

  start() {
    this.#wire.start();
  }

  stop() {
    this.#closePeers();
    this.#wire.stop();
  }

  /** Hangs up; `start` comes back. */
  async leave() {
    this.#closePeers();
    await this.#wire.leave();
  }

  admitPatient() {
    const patient = this.#room && peerOf(this.#room);
    if (patient) this.#wire.send({ type: "admit", participant: patient.id });
  }

  /** @param {{audio: boolean, video: boolean}} proof */
  proveMedia({ audio, video }) {
    if (this.#held) this.#wire.send({ type: "prove_media", of: this.#held.to, audio, video });
  }

  /**
   * @param {Record<string, unknown>} message
   * @returns {boolean} whether it could be sent
   */
  tell(message) {
    if (this.#channel?.readyState !== "open") return false;
    this.#channel.send(JSON.stringify(message));
    return true;
  }

  /** The page's camera, microphone or screen changed. */
  mediaChanged() {
    if (!this.#room || !this.#wire.isUp) return;
    const self = selfOf(this.#room);
    const { microphone, camera, screen } = this.#media.flags;
    const isKnown =
      self?.microphone === microphone && self.camera === camera && self.screen === screen;
    if (!isKnown) this.#wire.send({ type: "set_media", microphone, camera, screen });
    if (isAdmitted(this.#room)) this.#held?.peer.setTracks(this.#media.tracks);
  }

  /** @param {Welcome} welcome */
  #onWelcome(welcome) {
    this.#welcome = welcome;
    if (!welcome.resumed || !this.#room) {
      this.#room = roomFromWelcome(welcome, this.#wasRunning);
    } else {
      this.#held?.peer.configure(welcome.ice_servers, this.#isRelayOnly(this.#room));
      if (this.#isLineNew) this.#held?.peer.restart();
    }
    this.#isLineNew = false;
    this.#settle();
    this.mediaChanged();
  }

  /** @param {RoomEvent} event */
  #onEvent(event) {
    if (!this.#room) return;
    if (event.type === "offer" || event.type === "answer" || event.type === "candidates") {
      const isMine = event.to === this.#room.you && event.generation === this.#held?.generation;
      if (isMine) this.#held?.peer.receive(event.type, event.payload);
      return;
    }
    this.#room = applyEvent(this.#room, event);
    if (event.type === "returned" && event.participant !== this.#room.you) this.#held?.peer.restart();
    this.#settle();
  }

  #onDown() {
    this.#isLineNew = true;
    this.emit("wire", false);
  }

  /** @param {{reason: string}} detail */
  #onStopped(detail) {
    this.#closePeers();
    this.emit("stopped", detail);
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
    if (!pair) this.#closePeers();
    else if (key !== this.#held?.key) this.#holdNew(key, pair);
    if (isAdmitted(room)) this.#open();
    this.emit("room", room);
  }

  #open() {
    const held = this.#held;
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
    this.#retire(this.#held?.peer);
    const peer = new Peer({
      isPolite: this.#welcome.polite,
      iceServers: this.#welcome.ice_servers,
      isRelayOnly: this.#isRelayOnly(this.#room),
      ready: Promise.race([this.#media.ready, soon()]),
      send: (type, payload) => this.#wire.send({ type, to, generation, payload }),
      isReachable: () => this.#wire.isUp,
    });
    this.#held = { key, generation, to, peer };
    peer.on("channel", (channel) => this.#listenTo(peer, channel));
    peer.on("state", (state) => this.#onLine(peer, state));
    if (!this.#previous) this.emit("remote", peer.remote);
    this.emit("line", peer.state);
  }

  /**
   * Keeps the connection that has a picture to show; one that never came up has none.
   * @param {Peer} [peer]
   */
  #retire(peer) {
    if (!peer) return;
    if (peer.state === "new" || peer.state === "connecting") return peer.close();
    this.#previous?.close();
    this.#previous = peer;
  }

  /**
   * @param {Peer} peer
   * @param {RTCPeerConnectionState} state
   */
  #onLine(peer, state) {
    if (peer !== this.#held?.peer) return;
    if (state === "connected" && this.#previous) {
      this.#previous.close();
      this.#previous = null;
      this.emit("remote", peer.remote);
    }
    this.emit("line", state);
  }

  /**
   * @param {Peer} peer
   * @param {RTCDataChannel} channel
   */
  #listenTo(peer, channel) {
    const tell = () => {
      if (this.#channel === channel) this.emit("channel", channel.readyState === "open");
    };
    if (peer !== this.#held?.peer) return;
    this.#channel = channel;
    channel.addEventListener("open", tell);
    channel.addEventListener("close", tell);
    channel.addEventListener("message", ({ data }) => this.emit("message", JSON.parse(data)));
  }

  #closePeers() {
    this.#previous?.close();
    this.#held?.peer.close();
    if (this.#held) this.emit("remote", null);
    this.#previous = this.#held = this.#channel = null;
    this.emit("channel", false);
  }
}
