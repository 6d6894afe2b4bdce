// Watches one call and keeps it alive: who hears and sees whom since the last reconnect, what is
// wrong and for how long, which step comes next. The rules are recovery.js, the counting proof.js.
//
// Both pages tell each other every second what arrives (`pulse`), so that each side's trouble moves
// the one in charge. It draws nothing; session.js says what the fold expects and joins afresh.

import { Emitter } from "./emitter.js";
import { Proof } from "./proof.js";
import { NOTHING_KNOWN, nextStep, troubleOf } from "./recovery.js";

/** @typedef {import("./peer.js").Peer} Peer */
/** @typedef {import("./proof.js").Kinds} Kinds */
/** @typedef {import("./recovery.js").Arrival} Arrival */
/** @typedef {import("./recovery.js").Arrivals} Arrivals */
/** @typedef {import("./recovery.js").Trouble} Trouble */
/** @typedef {{hears: Arrival, sees: Arrival} & Kinds} Pulse what arrives at a page, and what it sends */

const LOOK_EVERY_MS = 500;
const LOOK_IN_TROUBLE_MS = 100;
const PULSE_EVERY_MS = 1000;
const PULSE_HOLDS_MS = 4000;
const STOOD_STILL_MS = 3000;
const WELL_AFTER_MS = 30_000;
const JUST_NOW_MS = 4000;
const REFRESH_AGAIN_MS = 1000;
/** Bytes that came so lately came after the silence: the old way has opened again by itself. */
const ALIVE_MS = 400;

/**
 * @typedef {object} Surroundings
 * @property {() => Kinds} expected what the fold says that the other one sends; nothing before admission
 * @property {(sinceMs: number) => boolean} isReachable both pages can be spoken to, heard after that moment
 * @property {(pulse: Pulse) => void} tell
 * @property {() => void} doubt the line may be dead: find out
 * @property {() => void} renew join afresh
 */

/**
 * @typedef {object} LifelineEvents
 * @property {Trouble} trouble
 * @property {Arrivals} arrivals
 * @property {Kinds} proven decoded here since the last reconnect; again after each
 */

/**
 * @param {unknown} value
 * @returns {Pulse | null}
 */
function pulseFrom(value) {
  const { hears, sees, audio, video } = /** @type {Partial<Pulse>} */ (value ?? {});
  if (typeof audio !== "boolean" || typeof video !== "boolean") return null;
  return { hears: hears ?? null, sees: sees ?? null, audio, video };
}

/**
 * @param {object} one
 * @param {object} other
 */
const isSame = (one, other) => JSON.stringify(one) === JSON.stringify(other);

/** @extends {Emitter<LifelineEvents>} */
export class Lifeline extends Emitter {
  #around;
  /** @type {Peer | null} */
  #peer = null;
  #proof = new Proof(0);
  /** @type {(Pulse & {at: number}) | null} */
  #heardPulse = null;
  #toldPulse = "";
  #toldAt = 0;
  /** @type {Trouble} */
  #trouble = "none";
  #troubleAt = 0;
  #wellAt = 0;
  /** @type {Arrivals} */
  #arrivals = NOTHING_KNOWN;
  #proven = { audio: false, video: false };
  #watchedAt = 0;
  #lookedAt = 0;
  #steppedAt = 0;
  #begunAt = 0;
  #restartedAt = 0;
  #answerTookMs = 0;
  #refreshedAt = 0;
  #restarts = 0;
  #renewals = 0;
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  #timer;

  /** @param {Surroundings} around */
  constructor(around) {
    super();
    this.#around = around;
  }

  get trouble() {
    return this.#trouble;
  }

  /** When it began, in milliseconds of the page's clock. */
  get troubleAt() {
    return this.#troubleAt;
  }

  /** Whether a picture is due that was not seen yet over this connection. */
  get lacksPicture() {
    return this.#expected().video && !this.#proven.video;
  }

  /** @param {Peer} peer a new connection proves itself anew */
  watch(peer) {
    const now = Date.now();
    this.#peer = peer;
    this.#proof = new Proof(now);
    this.#proven = { audio: false, video: false };
    this.#heardPulse = null;
    this.#restarts = 0;
    this.#watchedAt = this.#lookedAt = this.#steppedAt = now;
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.#look(), LOOK_EVERY_MS);
  }

  stop() {
    clearTimeout(this.#timer);
    this.#peer = null;
    this.#renewals = 0;
    this.#setTrouble("none", Date.now());
    this.#setArrivals(NOTHING_KNOWN);
  }

  /** All is proven again, and given time. */
  begin() {
    const now = Date.now();
    this.#begunAt = this.#steppedAt = now;
    this.#proof.begin(now);
    this.#proven = { audio: false, video: false };
    this.#heardPulse = null;
  }

  /**
   * A side has come back to the room. Over an old way that carries again no new one is sought.
   * @param {boolean} isNetworkNew of this page
   */
  comeBack(isNetworkNew) {
    const isAlive = this.#peer?.state === "connected" && Date.now() - this.#proof.heardAt < ALIVE_MS;
    if (isNetworkNew || !isAlive) this.restart(isNetworkNew);
    this.begin();
  }

  /** @param {boolean} isNetworkNew an offer that was made before is worth nothing */
  restart(isNetworkNew) {
    if (!this.#peer?.canRestart || (!this.#peer.isAnswered && !isNetworkNew)) return;
    this.#peer.restart();
    this.#restartedAt = this.#steppedAt = Date.now();
    this.#answerTookMs = 0;
    this.#restarts += 1;
  }

  /** @param {unknown} value */
  hear(value) {
    const pulse = pulseFrom(value);
    if (!pulse) return;
    this.#heardPulse = { ...pulse, at: Date.now() };
    if (pulse.sees === false) this.#refresh();
  }

  async #look() {
    const peer = this.#peer;
    const stats = await peer?.getStats().catch(() => null);
    if (!peer || peer !== this.#peer) return;
    const now = Date.now();
    this.#noticeStandstill(now);
    const heardAt = this.#proof.heardAt;
    this.#proof.add(stats ? [...stats.values()] : [], now);
    if (this.#trouble === "line" && this.#proof.heardAt > heardAt) this.#onLife();
    if (!this.#answerTookMs && peer.isAnswered) this.#answerTookMs = now - this.#restartedAt;
    peer.mend();
    this.#judge(peer, now);
    this.#prove();
    this.#tell(peer, now);
    this.#step(peer, now);
    if (peer !== this.#peer) return;
    const isUrgent = this.#trouble === "line" || now - this.#begunAt < JUST_NOW_MS;
    const delay = isUrgent ? LOOK_IN_TROUBLE_MS : LOOK_EVERY_MS;
    this.#timer = setTimeout(() => this.#look(), delay);
  }

  /**
   * A closed lid, a frozen tab: what the page did not see it must not take for silence.
   * @param {number} now
   */
  #noticeStandstill(now) {
    const from = this.#lookedAt;
    this.#lookedAt = now;
    if (now - from < STOOD_STILL_MS) return;
    this.#proof.excuse(now);
    this.#proven = { audio: false, video: false };
  }

  /** The line is back: without a fresh picture the other's decoder waits up to three seconds. */
  #onLife() {
    this.begin();
    this.#around.doubt();
    this.#refresh();
  }

  #refresh() {
    if (Date.now() - this.#refreshedAt < REFRESH_AGAIN_MS) return;
    this.#refreshedAt = Date.now();
    this.#peer?.refresh();
  }

  /**
   * @param {Peer} peer
   * @param {number} now
   */
  #judge(peer, now) {
    const expected = this.#expected();
    const pulse = this.#heardPulse;
    const isPulseNew = pulse && now - pulse.at < PULSE_HOLDS_MS;
    this.#setArrivals({
      ...this.#proof.arrivals(expected, now),
      isHeard: isPulseNew ? pulse.hears : null,
      isSeen: isPulseNew ? pulse.sees : null,
    });
    const trouble = troubleOf({
      state: peer.state,
      ageMs: now - this.#watchedAt,
      silentMs: now - this.#proof.heardAt,
      isMediaExpected: expected.audio || expected.video,
      isJustBack: now - this.#begunAt < JUST_NOW_MS,
      arrivals: this.#arrivals,
    });
    this.#setTrouble(trouble, now);
  }

  /** What the fold promises and the other page has not taken back. */
  #expected() {
    const { audio, video } = this.#around.expected();
    const { audio: sendsAudio = true, video: sendsVideo = true } = this.#heardPulse ?? {};
    return { audio: audio && sendsAudio, video: video && sendsVideo };
  }

  /** @param {Arrivals} arrivals */
  #setArrivals(arrivals) {
    if (isSame(arrivals, this.#arrivals)) return;
    this.#arrivals = arrivals;
    this.emit("arrivals", arrivals);
  }

  /**
   * @param {Trouble} trouble
   * @param {number} now
   */
  #setTrouble(trouble, now) {
    if (trouble === this.#trouble) return;
    const before = this.#trouble;
    this.#trouble = trouble;
    if (trouble === "none") {
      this.#wellAt = now;
    } else if (before === "none") {
      this.#troubleAt = Math.min(now, this.#proof.heardAt);
      if (now - this.#restartedAt > JUST_NOW_MS) this.#restarts = 0;
      this.#around.doubt();
    }
    if (before === "line") this.begin();
    this.emit("trouble", trouble);
  }

  #prove() {
    const decoded = this.#proof.decoded;
    if (isSame(decoded, this.#proven)) return;
    this.#proven = decoded;
    if (decoded.audio || decoded.video) this.emit("proven", decoded);
  }

  /**
   * @param {Peer} peer
   * @param {number} now
   */
  #tell(peer, now) {
    const { hears, sees } = this.#arrivals;
    const pulse = { hears, sees, ...peer.sends };
    const told = JSON.stringify(pulse);
    if (told === this.#toldPulse && now - this.#toldAt < PULSE_EVERY_MS) return;
    this.#toldPulse = told;
    this.#toldAt = now;
    this.#around.tell(pulse);
  }

  /**
   * @param {Peer} peer
   * @param {number} now
   */
  #step(peer, now) {
    if (this.#trouble === "none") {
      if (now - this.#wellAt > WELL_AFTER_MS) this.#renewals = 0;
      return;
    }
    const step = nextStep({
      trouble: this.#trouble,
      troubleMs: now - this.#troubleAt,
      isInCharge: peer.isInCharge,
      isReachable: this.#around.isReachable(this.#troubleAt),
      isAnswered: peer.isAnswered,
      canRestart: peer.canRestart,
      restarts: this.#restarts,
      renewals: this.#renewals,
      sinceStepMs: now - this.#steppedAt,
      answerTookMs: this.#answerTookMs,
    });
    if (step === "restart") this.restart(false);
    if (step === "renew") this.#renew();
  }

  #renew() {
    this.#steppedAt = Date.now();
    this.#renewals += 1;
    this.#around.renew();
  }
}
