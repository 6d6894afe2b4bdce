// The only module that talks to the room's socket: joins, resumes, numbers, resends.
// It knows no page and no media. Rules of time are in the constants below and in heartbeat.js.
//
// Frames stay in the outbox until the room log has them, be that seconds: nothing here waits for it.

import { Emitter } from "./emitter.js";
import { Heartbeat } from "./heartbeat.js";
import { Outbox } from "./outbox.js";
import { Scout, reachServer } from "./scout.js";

/** @typedef {import("./messages.js").Welcome} Welcome */
/** @typedef {import("./messages.js").RoomEvent} RoomEvent */
/** @typedef {import("./messages.js").ServerFrame} ServerFrame */
/** @typedef {import("./messages.js").ClientMessage} ClientMessage */

const PROTOCOL_VERSION = 1;
const TICK_MS = 250;
const ASLEEP_AFTER_MS = 3000;
/** How long an attempt may take to open; the last one counts for all later ones. Each attempt that
 * is given up makes Chromium slower with the next, and within one the system asks again itself. */
const OPEN_WITHIN_MS = [1000, 1000, 2000, 2000, 2000, 2000, 2000, 4000, 4000, 8000];
const HELLO_WITHIN_MS = 8000;
const SCOUT_AFTER_MS = 400;
const YOUNG_ATTEMPT_MS = 300;
const YOUNG_HELLO_MS = 1500;
/** An attempt begun on a sign of life is let be: Chromium may hold it back for seconds. */
const LIFE_HOLDS_MS = 5000;
const RETRY_AFTER_MS = [250, 500, 500, 500, 500, 500, 1000, 1000, 1000, 2000, 4000];
const OFFLINE_RETRY_MS = 1000;
const MOVE_SPREAD_MS = 1000;
const LEAVE_WITHIN_MS = 1000;
const RETRIABLE_STATUS = new Set([408, 425, 429]);

/**
 * @param {readonly number[]} steps
 * @param {number} index
 */
const stepOf = (steps, index) => /** @type {number} */ (steps[Math.min(index, steps.length - 1)]);

/**
 * @typedef {object} WireEvents
 * @property {Welcome} welcome
 * @property {RoomEvent} event one entry of the room log, in order, never twice
 * @property {void} up
 * @property {{reason: string}} down what the server said, or "" when the line fell silent
 * @property {{reason: string}} stopped the server said stop, or the ticket was refused
 * @property {{code: string}} refused
 */

/**
 * @typedef {object} WireOptions
 * @property {string} url
 * @property {() => Promise<string>} fetchTicket
 * @property {{new (url: string): WebSocket}} [Socket]
 * @property {import("./scout.js").Reach} [reach]
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
  #isOpen = false;
  #attempts = 0;
  #startedAt = 0;
  #livedAt = 0;
  #tickedAt = 0;
  #heartbeat = new Heartbeat(Date.now());
  #scout;
  /** @type {ReturnType<typeof setInterval> | undefined} */
  #ticker;
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  #retry;

  /** @param {WireOptions} options */
  constructor({ url, fetchTicket, Socket = WebSocket, reach = reachServer }) {
    super();
    this.#url = url;
    this.#fetchTicket = fetchTicket;
    this.#Socket = Socket;
    this.#scout = new Scout(reach, (askedAt) => this.#onLife(askedAt));
  }

  get isUp() {
    return this.#isUp;
  }

  /** When the server was last heard, in milliseconds of the page's clock. */
  get heardAt() {
    return this.#isUp ? this.#heartbeat.heardAt : 0;
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
    this.#scout.stop();
    this.#abandon("");
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
   * The page may have a line again, or has lost it: do not wait for any timer.
   * @param {boolean} isNetworkNew the old socket cannot work any more
   */
  wake(isNetworkNew) {
    if (!this.#isWanted) return;
    if (this.#isUp && !isNetworkNew) return this.#doubt();
    const youth = this.#isOpen ? YOUNG_HELLO_MS : YOUNG_ATTEMPT_MS;
    const isYoung = this.#socket && !this.#isUp && Date.now() - this.#startedAt < youth;
    if (isYoung && !isNetworkNew) return;
    this.#abandon("");
    this.#connect();
  }

  /**
   * Joins afresh: a new page for the room, so a new generation for both sides. The old socket
   * serves until there is a ticket; without one everything stays as it is.
   * @returns {Promise<boolean>} whether the old seat was given up
   */
  async rejoin() {
    const socket = this.#socket;
    const ticket = this.#isUp ? await this.#fetchTicket().catch(() => null) : null;
    if (!ticket || socket !== this.#socket) return false;
    this.#resume = null;
    this.#abandon("");
    this.#connect(Promise.resolve(ticket));
    return true;
  }

  #doubt() {
    this.#heartbeat.doubt(Date.now());
    this.#write({ type: "ping" });
  }

  /** @param {number} askedAt an attempt begun before may have fallen into the silence, however young */
  #onLife(askedAt) {
    this.#livedAt = Date.now();
    if (this.#isUp) return;
    if (this.#isOpen || this.#startedAt > askedAt) return this.wake(false);
    this.#abandon("");
    this.#connect();
  }

  /** @param {Promise<string>} [fresh] a ticket that is there already */
  #connect(fresh) {
    clearTimeout(this.#retry);
    const socket = new this.#Socket(this.#url);
    const resume = this.#resume;
    const ticket = resume ? null : (fresh ?? this.#fetchTicket());
    ticket?.catch((refusal) => this.#onTicketRefused(socket, refusal));
    this.#socket = socket;
    this.#startedAt = Date.now();
    this.#isOpen = false;
    socket.addEventListener("open", async () => {
      if (this.#socket !== socket) return;
      this.#isOpen = true;
      this.#startedAt = Date.now();
      this.#scout.stop();
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
      const isRefused = wasClean && this.#isOpen && !this.#isUp;
      if (isRefused) this.#resume = null;
      this.#lose("");
    });
  }

  /**
   * @param {WebSocket} socket
   * @param {{status?: number, code?: string}} refusal
   */
  #onTicketRefused(socket, { status = 0, code = "unexpected" }) {
    if (this.#socket !== socket) return;
    if (status >= 400 && status < 500 && !RETRIABLE_STATUS.has(status)) this.#stopFor(code);
    else this.#lose("");
  }

  /** @param {object} frame */
  #write(frame) {
    if (this.#socket?.readyState === 1) this.#socket.send(JSON.stringify(frame));
  }

  #tick() {
    const now = Date.now();
    const wasAsleep = now - this.#tickedAt > ASLEEP_AFTER_MS;
    this.#tickedAt = now;
    if (!this.#socket) return;
    if (wasAsleep) this.wake(false);
    else if (this.#isUp) this.#beat(now);
    else this.#hasten(now - this.#startedAt);
  }

  /** @param {number} now */
  #beat(now) {
    const verdict = this.#heartbeat.judge(now);
    if (verdict === "lost") return this.#lose("", 0);
    if (verdict === "rest") return;
    this.#heartbeat.ask(now);
    this.#write({ type: "ping" });
  }

  /** @param {number} ageMs of the attempt to open, or of the greeting */
  #hasten(ageMs) {
    if (Date.now() - this.#livedAt < LIFE_HOLDS_MS) return;
    if (!this.#isOpen && ageMs >= SCOUT_AFTER_MS) this.#scout.start();
    const openWithin = Math.max(stepOf(OPEN_WITHIN_MS, this.#attempts), this.#heartbeat.patienceMs);
    if (ageMs >= (this.#isOpen ? HELLO_WITHIN_MS : openWithin)) this.#lose("", 0);
  }

  /**
   * Forgets the socket at once: a dead one may take minutes to say that it is closed.
   * @param {string} reason
   */
  #abandon(reason) {
    const socket = this.#socket;
    const wasUp = this.#isUp;
    this.#socket = null;
    this.#isUp = false;
    socket?.close();
    if (wasUp) this.emit("down", { reason });
  }

  /**
   * @param {string} reason
   * @param {number} [delay] until the next attempt; without it ever longer
   */
  #lose(reason, delay) {
    this.#abandon(reason);
    if (!this.#isWanted) return;
    const jitter = this.#attempts === 0 ? 1 : 0.5 + Math.random() / 2;
    const usual = delay ?? stepOf(RETRY_AFTER_MS, this.#attempts) * jitter;
    const isOffline = globalThis.navigator?.onLine === false && this.#attempts > 0;
    this.#attempts += 1;
    const wait = isOffline ? Math.max(usual, OFFLINE_RETRY_MS) : usual;
    this.#retry = setTimeout(() => this.#connect(), wait);
  }

  /** @param {string} reason */
  #stopFor(reason) {
    this.stop();
    this.emit("stopped", { reason });
  }

  /** @param {ServerFrame} frame */
  #receive(frame) {
    this.#heartbeat.hear(Date.now(), frame.type === "pong");
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
    const isMove = reason === "restarting" && action === "resume";
    return this.#lose(reason, isMove ? Math.random() * MOVE_SPREAD_MS : undefined);
  }
}
