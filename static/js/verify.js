// Whether this page and the other one talk to each other and to nobody in between: one exchange
// (sas.js) for each connection, what the clinician answered, and when that stops being true.
// It knows no element; verify-view.js shows it.
//
// The messages go over the data channel of the very connection they are about, not over the room's
// socket. An evil signaling node that stands in the middle ends DTLS on both sides and reads and
// changes the channel just as it could its own socket: the commitments make that harmless either
// way. But one that does not stand in the middle cannot touch the channel at all, so it can neither
// delay nor spoil a check; a message cannot stray into another connection's exchange; and nothing
// of it is in the room's log.
//
// What it does not prove: the server also serves these scripts, and a voice can be imitated. The
// badge on the patient's page repeats the clinician's answer; the proof is that both see the same.
//
// A page keeps one certificate for all its connections. So a new connection between the same two
// pages is between the same two keys and stays verified; a reload makes a new key, and is not.

import { Emitter } from "./emitter.js";
import { Exchange, toHex } from "./sas.js";

/** @typedef {Exclude<import("./messages.js").Role, "recorder">} Role */
/** @typedef {import("./fingerprints.js").Fingerprints} Fingerprints */
/** @typedef {"none" | "ready" | "verified" | "failed" | "unable"} Standing */
/** @typedef {"ask" | "same" | "different" | "later"} Word what the clinician's page tells the patient's */

/**
 * @typedef {object} Connection what is asked of a `Peer`
 * @property {() => Promise<Fingerprints | null>} fingerprints
 * @property {(name: "channel", listener: (channel: RTCDataChannel) => void) => void} on
 */

/** @type {ReadonlySet<unknown>} */
const WORDS = new Set(["ask", "same", "different", "later"]);

/** @param {Fingerprints} fingerprints */
const pairOf = ({ own, peer }) => `${toHex(own)} ${toHex(peer)}`;

/** @extends {Emitter<{changed: void, told: Word, dropped: void}>} */
export class Verification extends Emitter {
  #role;
  #room;
  /** @type {Connection | null} */
  #connection = null;
  /** @type {RTCDataChannel | null} */
  #channel = null;
  /** @type {Exchange | null} */
  #exchange = null;
  /** What the exchange was about; kept over connections. */
  #pair = "";
  /** @type {readonly number[] | null} */
  #figures = null;
  #isConfirmed = false;
  /** Whether the connection of now was seen to hold that pair. */
  #isChecked = false;
  #hasFailed = false;
  #isUnable = false;
  #work = Promise.resolve();

  /** @param {{role: Role, room: string}} options */
  constructor({ role, room }) {
    super();
    this.#role = role;
    this.#room = room;
  }

  /** @returns {Standing} of the connection of now */
  get standing() {
    if (this.#hasFailed) return "failed";
    if (this.#isUnable) return "unable";
    if (!this.#isChecked || !this.#figures) return "none";
    return this.#isConfirmed ? "verified" : "ready";
  }

  /** The four numbers to compare; only while they are about the connection of now. */
  get figures() {
    return this.#isChecked ? this.#figures : null;
  }

  /** @param {Connection | null} connection the page's connection of now */
  follow(connection) {
    if (connection === this.#connection) return;
    this.#connection = connection;
    this.#channel = this.#exchange = null;
    this.#isChecked = this.#hasFailed = this.#isUnable = false;
    connection?.on("channel", (channel) => this.#listenTo(connection, channel));
    this.emit("changed", undefined);
  }

  /** Looks again whom the connection is with: a certificate may change under a running one. */
  async check() {
    const connection = this.#connection;
    if (!connection || !this.#pair || !this.#isChecked) return;
    const fingerprints = await connection.fingerprints();
    if (!fingerprints || connection !== this.#connection) return;
    if (pairOf(fingerprints) !== this.#pair) this.#fail();
  }

  /**
   * The clinician's page says to both what holds.
   * @param {Word} word
   */
  tell(word) {
    if (this.#channel?.readyState === "open") this.#send({ step: word });
    if (word === "same") this.#confirm();
    if (word === "different") this.#forget();
  }

  /**
   * @param {Connection} connection
   * @param {RTCDataChannel} channel
   */
  #listenTo(connection, channel) {
    if (connection !== this.#connection) return;
    this.#channel = channel;
    const isCurrent = () => channel === this.#channel;
    channel.addEventListener("open", () => {
      this.#work = this.#work.then(() => (isCurrent() ? this.#begin(connection) : undefined));
    });
    channel.addEventListener("message", ({ data }) => {
      const { sas } = JSON.parse(data);
      if (sas) this.#work = this.#work.then(() => (isCurrent() ? this.#receive(sas) : undefined));
    });
  }

  /** @param {Connection} connection */
  async #begin(connection) {
    const fingerprints = await connection.fingerprints();
    if (connection !== this.#connection) return;
    if (!fingerprints) {
      this.#send({ step: "unable" });
      return this.#giveUp();
    }
    this.#isChecked = true;
    if (pairOf(fingerprints) !== this.#pair) this.#forget();
    if (!this.#figures) this.#exchangeWith(fingerprints);
    this.emit("changed", undefined);
  }

  /** @param {Fingerprints} fingerprints */
  #exchangeWith({ own, peer }) {
    this.#forget();
    this.#pair = pairOf({ own, peer });
    const fingerprints =
      this.#role === "clinician" ? { clinician: own, patient: peer } : { clinician: peer, patient: own };
    const send = (/** @type {object} */ message) => this.#send(message);
    const exchange = new Exchange({ role: this.#role, room: this.#room, fingerprints, send });
    this.#exchange = exchange;
    exchange.on("done", (figures) => {
      if (exchange !== this.#exchange) return;
      this.#figures = figures;
      this.emit("changed", undefined);
    });
    exchange.on("aborted", () => {
      if (exchange === this.#exchange) this.#fail();
    });
  }

  /** @param {Record<string, unknown>} message */
  async #receive(message) {
    if (this.#isUnable || this.#hasFailed) return;
    if (message["step"] === "unable") return this.#giveUp();
    if (WORDS.has(message["step"])) return this.#hear(/** @type {Word} */ (message["step"]));
    if (!this.#exchange) await this.#beginAgain();
    await this.#exchange?.receive(message);
  }

  /** The other page lost what this one kept of the connection before: both start anew. */
  async #beginAgain() {
    const fingerprints = await this.#connection?.fingerprints();
    if (fingerprints) this.#exchangeWith(fingerprints);
  }

  /** @param {Word} word */
  #hear(word) {
    if (this.#role !== "patient") return;
    if (word === "same") this.#confirm();
    if (word === "different") this.#forget();
    this.emit("told", word);
  }

  #confirm() {
    if (this.standing !== "ready") return;
    this.#isConfirmed = true;
    this.emit("changed", undefined);
  }

  /** One of the two browsers does not tell its certificates. */
  #giveUp() {
    this.#forget();
    this.#isUnable = true;
    this.emit("changed", undefined);
  }

  #fail() {
    this.#forget();
    this.#hasFailed = true;
    this.emit("changed", undefined);
  }

  #forget() {
    const wasConfirmed = this.#isConfirmed;
    this.#pair = "";
    this.#figures = this.#exchange = null;
    this.#isConfirmed = false;
    if (wasConfirmed) this.emit("dropped", undefined);
  }

  /** @param {object} message */
  #send(message) {
    this.#channel?.send(JSON.stringify({ sas: message }));
  }
}
