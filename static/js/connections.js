// The peer connections of one page: the held one, and the one before it, whose last picture is
// shown until the new one has frames. With the channel for words between the two pages.

import { Emitter } from "./emitter.js";

/** @typedef {import("./lifeline.js").Lifeline} Lifeline */
/** @typedef {import("./peer.js").Peer} Peer */
/** @typedef {{key: string, generation: number, to: string, peer: Peer}} Held */

const PICTURE_WITHIN_MS = 3000;

/**
 * @typedef {object} ConnectionsEvents
 * @property {MediaStream | null} remote what an element shows
 * @property {RTCPeerConnectionState} line
 * @property {boolean} channel
 * @property {Record<string, unknown>} message
 */

/** @extends {Emitter<ConnectionsEvents>} */
export class Connections extends Emitter {
  #lifeline;
  /** @type {Held | null} */
  #held = null;
  /** @type {Peer | null} */
  #previous = null;
  /** @type {RTCDataChannel | null} */
  #channel = null;

  /** @param {Lifeline} lifeline */
  constructor(lifeline) {
    super();
    this.#lifeline = lifeline;
  }

  get held() {
    return this.#held;
  }

  /** @param {Held} held the connection of a new generation */
  hold(held) {
    this.#retire(this.#held?.peer);
    const { peer } = held;
    this.#held = held;
    this.#lifeline.watch(peer);
    peer.on("channel", (channel) => this.#listenTo(peer, channel));
    peer.on("state", (state) => this.#onLine(peer, state));
    if (!this.#previous) this.emit("remote", peer.remote);
    this.emit("line", peer.state);
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

  showNewWhenSeen() {
    if (this.#held?.peer.state === "connected" && !this.#lifeline.lacksPicture) this.#showNew(this.#held.peer);
  }

  /** The other side is not known in the room yet, a lost log begins anew: its last picture stays. */
  letGo() {
    this.#retire(this.#held?.peer);
    this.#held = this.#channel = null;
    this.#lifeline.stop();
    this.emit("channel", false);
  }

  close() {
    this.#lifeline.stop();
    this.#previous?.close();
    this.#held?.peer.close();
    if (this.#held || this.#previous) this.emit("remote", null);
    this.#previous = this.#held = this.#channel = null;
    this.emit("channel", false);
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
      this.showNewWhenSeen();
      setTimeout(() => this.#showNew(peer), PICTURE_WITHIN_MS);
    }
    this.emit("line", state);
  }

  /** @param {Peer} peer */
  #showNew(peer) {
    if (peer !== this.#held?.peer || !this.#previous) return;
    this.#previous.close();
    this.#previous = null;
    this.emit("remote", peer.remote);
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
    channel.addEventListener("message", ({ data }) => {
      const message = JSON.parse(data);
      if ("pulse" in message) this.#lifeline.hear(message.pulse);
      else this.emit("message", message);
    });
  }
}
