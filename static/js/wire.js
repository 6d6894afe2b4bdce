// The only module that talks to the room's socket: joins, resumes, numbers, resends.
// It knows no page and no media. Rules of time are in the constants below.

import { Emitter } from "./emitter.js";
import { Outbox } from "./outbox.js";

/** @typedef {import("./messages.js").Welcome} Welcome */
/** @typedef {import("./messages.js").RoomEvent} RoomEvent */
/** @typedef {import("./messages.js").ServerFrame} ServerFrame */
/** @typedef {import("./messages.js").ClientMessage} ClientMessage */

const PROTOCOL_VERSION = 1;
const TICK_MS = 1000;
const PING_EVERY_MS = 3000;
const DEAD_AFTER_MS = 7000;
const HELLO_WITHIN_MS = 5000;
const STUCK_AFTER_MS = 1500;
const PROBE_MS = 800;
const FIRST_RETRY_MS = 250;
const LONGEST_RETRY_MS = 4000;
const LEAVE_WITHIN_MS = 1000;
const RETRIABLE_STATUS = new Set([408, 425, 429]);

/**
 * @typedef {object} WireEvents
 * @property {Welcome} welcome
 * @property {RoomEvent} event one entry of the room log, in order, never twice
 * @property {void} up
 * @property {void} down
 * @property {{reason: string}} stopped the server said stop, or the ticket was refused
 * @property {{code: string}} refused
 */

/**
 * @typedef {object} WireOptions
 * @property {string} url
 * @property {() => Promise<string>} fetchTicket
 * @property {{new (url: string): WebSocket}} [Socket]
 */

/** @param {{protocol: string, host: string}} location */
export const socketUrl = (location) =>
  `${location.protocol === "https:" ? "wss" : "ws"}://${location.host}/ws`;

/** @extends {Emitter<WireEvents>} */
export class Wire extends Emitter {
  #url;
  #fetchTicket;
  #Socket;
  #outbox = new Outbox();
  /** @type {WebSocket | null} */
  #socket = null;
  /** @type {{token: string, epoch: string} | null} */
  #resume = null;
  #seq = 0;
  #isWanted = false;
  #isUp = false;
  #attempts = 0;
  #heardAt = 0;
  #pingedAt = 0;
  #tickedAt = 0;
  /** @type {ReturnType<typeof setInterval> | undefined} */
  #ticker;
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  #retry;

  /** @param {WireOptions} options */
  constructor({ url, fetchTicket, Socket = WebSocket }) {
    super();
    this.#url = url;
    this.#fetchTicket = fetchTicket;
    this.#Socket = Socket;
  }

  get isUp() {
    return this.#isUp;
  }

  start() {
    if (this.#isWanted) return;
    this.#isWanted = true;
    this.#attempts = 0;
    this.#tickedAt = Date.now();
    this.#ticker = setInterval(() => this.#tick(), TICK_MS);
    this.#connect();
  }

  stop() {
    this.#isWanted = false;
    this.#resume = null;
    clearInterval(this.#ticker);
    clearTimeout(this.#retry);
    this.#abandon();
  }

  /** Hangs up: tells the room, waits briefly for its answer, stops. */
  async leave() {
    if (this.#isUp) {
      const { cseq } = this.send({ type: "leave" });
      const deadline = Date.now() + LEAVE_WITHIN_MS;
      const isKept = () => this.#outbox.kept.some((message) => message.cseq === cseq);
      while (this.#isUp && isKept() && Date.now() < deadline) {
        await new Promise((resolve) => setTimeout(resolve, 20));
      }
    }
    this.stop();
  }

  /** @param {ClientMessage} message */
  send(message) {
    const numbered = this.#outbox.add(message);
    if (this.#isUp) this.#write(numbered);
    return numbered;
  }

  /**
   * The page may have a line again: do not wait for any timer.
   * @param {boolean} isNetworkNew the old socket cannot work any more
   */
  wake(isNetworkNew) {
    if (!this.#isWanted) return;
    const isStuck = !this.#isUp && Date.now() - this.#heardAt > STUCK_AFTER_MS;
    if (!this.#socket || isNetworkNew || isStuck) {
      this.#abandon();
      this.#connect();
    } else if (this.#isUp) {
      this.#probe(this.#socket);
    }
  }

  /** @param {WebSocket} socket */
  #probe(socket) {
    const askedAt = Date.now();
    this.#ping();
    setTimeout(() => {
      if (this.#socket === socket && this.#heardAt < askedAt) this.#lose(0);
    }, PROBE_MS);
  }

  #connect() {
    clearTimeout(this.#retry);
    const socket = new this.#Socket(this.#url);
    const resume = this.#resume;
    const ticket = resume ? null : this.#fetchTicket();
    ticket?.catch((refusal) => this.#onTicketRefused(socket, refusal));
    this.#socket = socket;
    this.#heardAt = Date.now();
    let isOpen = false;
    socket.addEventListener("open", async () => {
      isOpen = true;
      const key = resume
        ? { resume: resume.token, epoch: resume.epoch, seq: this.#seq }
        : { ticket: await ticket?.catch(() => undefined) };
      const isMeant = this.#socket === socket && ("resume" in key || key.ticket);
      if (isMeant) this.#write({ type: "hello", versions: [PROTOCOL_VERSION], ...key });
    });
    socket.addEventListener("message", (event) => {
      if (this.#socket === socket) this.#receive(JSON.parse(event.data));
    });
    socket.addEventListener("close", ({ wasClean }) => {
      if (this.#socket !== socket) return;
      const isRefused = wasClean && isOpen && !this.#isUp;
      if (isRefused) this.#resume = null;
      this.#lose();
    });
  }

  /**
   * @param {WebSocket} socket
   * @param {{status?: number, code?: string}} refusal
   */
  #onTicketRefused(socket, { status = 0, code = "unexpected" }) {
    if (this.#socket !== socket) return;
    if (status >= 400 && status < 500 && !RETRIABLE_STATUS.has(status)) this.#stopFor(code);
    else this.#lose();
  }

  /** @param {object} frame */
  #write(frame) {
    if (this.#socket?.readyState === 1) this.#socket.send(JSON.stringify(frame));
  }

  #ping() {
    this.#pingedAt = Date.now();
    this.#write({ type: "ping" });
  }

  #tick() {
    const now = Date.now();
    const wasAsleep = now - this.#tickedAt > PING_EVERY_MS;
    this.#tickedAt = now;
    if (!this.#socket) return;
    if (wasAsleep) {
      this.wake(false);
    } else if (now - this.#heardAt > (this.#isUp ? DEAD_AFTER_MS : HELLO_WITHIN_MS)) {
      this.#lose();
    } else if (this.#isUp && now - this.#pingedAt >= PING_EVERY_MS) {
      this.#ping();
    }
  }

  /** Forgets the socket at once: a dead one may take minutes to say that it is closed. */
  #abandon() {
    const socket = this.#socket;
    const wasUp = this.#isUp;
    this.#socket = null;
    this.#isUp = false;
    socket?.close();
    if (wasUp) this.emit("down", undefined);
  }

  /** @param {number} [delay] */
  #lose(delay) {
    this.#abandon();
    if (!this.#isWanted) return;
    const longest = Math.min(FIRST_RETRY_MS * 2 ** this.#attempts, LONGEST_RETRY_MS);
    const jitter = this.#attempts === 0 ? 1 : 0.5 + Math.random() / 2;
    this.#attempts += 1;
    this.#retry = setTimeout(() => this.#connect(), delay ?? longest * jitter);
  }

  /** @param {string} reason */
  #stopFor(reason) {
    this.stop();
    this.emit("stopped", { reason });
  }

  /** @param {ServerFrame} frame */
  #receive(frame) {
    this.#heardAt = Date.now();
    switch (frame.type) {
      case "pong":
        return;
      case "ack":
        return this.#outbox.acknowledge(frame.cseq);
      case "error":
        if (frame.cseq) this.#outbox.drop(frame.cseq);
        return this.emit("refused", { code: frame.code });
      case "welcome":
        return this.#onWelcome(frame);
      case "bye":
        return this.#onBye(frame);
      default:
        if (!(frame.seq > this.#seq)) return;
        this.#seq = frame.seq;
        this.emit("event", frame);
    }
  }

  /** @param {Welcome} welcome */
  #onWelcome(welcome) {
    this.#isUp = true;
    this.#attempts = 0;
    this.#resume = { token: welcome.resume, epoch: welcome.epoch };
    if (welcome.resumed) {
      this.#outbox.acknowledge(welcome.cseq);
    } else {
      this.#outbox.restart(welcome.cseq);
      this.#seq = welcome.seq;
    }
    for (const message of this.#outbox.kept) this.#write(message);
    this.emit("welcome", welcome);
    this.emit("up", undefined);
  }

  /** @param {import("./messages.js").Bye} bye */
  #onBye({ reason, action }) {
    if (action === "stop") return this.#stopFor(reason);
    if (action === "reconnect") this.#resume = null;
    return this.#lose();
  }
}
