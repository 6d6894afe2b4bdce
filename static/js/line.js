// The line of one call: measures it, moves the ladder, tells the other page, keeps the record.
// What it says is line-view.js; what it decides are the pure ladder.js and outages.js.
//
// `#page-data`: qualityUrl, now (the server's clock, so that rows of both sides fit together),
// and the clinician's verdictUrl.

import { isAdmitted, peerOf, selfOf } from "./fold.js";
import { RUNGS, choose, isPhoneBetter, rungOf, settleAgain, startLadder, step, strictestOf } from "./ladder.js";
import { LineReport, SEND_EVERY_MS } from "./line-report.js";
import { LineView } from "./line-view.js";
import { NO_WATCH, finish, follow } from "./outages.js";
import { pageData } from "./page.js";
import { Quality } from "./quality.js";
import { findVerdict } from "./verdict-words.js";

/** @typedef {import("./fold.js").Person} Person */
/** @typedef {import("./ladder.js").Choice} Choice */
/** @typedef {import("./ladder.js").Rung} Rung */
/** @typedef {import("./peer.js").Peer} Peer */
/** @typedef {import("./quality.js").Interval} Interval */
/** @typedef {import("./quality.js").Second} Second */
/** @typedef {import("./session.js").Session} Session */
/** @typedef {import("./stats.js").Sample} Sample */
/** @typedef {{rung: Rung, choice: Choice, concealedPercent: number}} Told what a page says of itself */

const NETWORK_NEW_FOR_MS = 5000;
const LONGEST_INTERVAL_S = 12;
const AWAY_AFTER_MS = 2000;
/** What an outage cost the voice says nothing of the line after it. */
const OUTAGE_TELLS_MS = 7000;
const VERDICT_EVERY_MS = 45_000;
/** @type {Told} */
const UNTOLD = { rung: "sd", choice: "automatic", concealedPercent: 0 };

/**
 * @param {unknown} value
 * @returns {Told | null} what the other page said, if it is that
 */
function toldFrom(value) {
  const { rung, choice, concealedPercent } = /** @type {Partial<Told>} */ (value ?? {});
  const isKnown =
    rung !== undefined && RUNGS.includes(rung) && choice !== undefined &&
    ["automatic", "small", "voice"].includes(choice) && typeof concealedPercent === "number";
  return isKnown ? { rung, choice, concealedPercent } : null;
}

/** @param {Person} [person] */
const showsPicture = (person) => Boolean(person?.camera || person?.screen);

export class Line {
  #session;
  #view;
  #report;
  #quality = new Quality();
  #ladder = startLadder(Date.now());
  #watch = NO_WATCH;
  /** @type {Peer | null} */
  #peer = null;
  /** @type {Choice} */
  #ownChoice = "automatic";
  #told = UNTOLD;
  /** @type {Rung | null} */
  #toldRung = null;
  #heardConcealedPercent = 0;
  #networkNewAtMs = 0;
  #silentAtMs = 0;
  #serverAheadMs;

  /**
   * @param {Session} session
   * @param {string} peerName
   */
  constructor(session, peerName) {
    const { qualityUrl, now, verdictUrl } = pageData();
    this.#session = session;
    this.#serverAheadMs = Date.parse(now) - Date.now();
    this.#report = new LineReport(qualityUrl, sessionStorage);
    this.#view = new LineView(peerName, (choice) => this.#choose(choice));
    session.on("room", () => this.#follow());
    session.on("line", () => this.#follow());
    session.on("stopped", () => this.#rest());
    session.on("channel", (isOpen) => this.#onChannel(isOpen));
    session.on("message", ({ line }) => this.#hear(toldFrom(line)));
    this.#quality.on("second", (second) => this.#onSecond(second));
    this.#quality.on("interval", (interval) => this.#onInterval(interval));
    if (verdictUrl) setInterval(() => this.#askVerdict(verdictUrl), VERDICT_EVERY_MS);
    this.#listenToPage();
  }

  /** @param {string} url */
  async #askVerdict(url) {
    if (!this.#peer) return;
    const measured = await findVerdict(url);
    if (measured) this.#view.sayVerdict(measured);
  }

  #listenToPage() {
    const noteNetwork = () => (this.#networkNewAtMs = Date.now());
    // @ts-expect-error Network Information is not in every browser, nor in TypeScript.
    navigator.connection?.addEventListener("change", noteNetwork);
    addEventListener("online", noteNetwork);
    setInterval(() => this.#report.flush(), SEND_EVERY_MS);
    addEventListener("pagehide", () => {
      this.#closeOutage();
      this.#report.leave();
    });
    addEventListener("pageshow", ({ persisted }) => {
      if (persisted) this.#report.comeBack();
    });
  }

  /** Measures while the two are in the visit together. */
  #follow() {
    const { room, peer } = this.#session;
    const other = room && peerOf(room);
    if (!room || !peer || !isAdmitted(room) || !other || other.presence === "gone") return this.#rest();
    if (peer === this.#peer) return;
    this.#peer = peer;
    this.#ladder = settleAgain(this.#ladder, Date.now());
    this.#quality.watch(peer);
    this.#apply();
  }

  #rest() {
    this.#closeOutage();
    this.#quality.stop();
    this.#peer = null;
    this.#view.offerPhone(false);
    this.#report.flush();
  }

  /** @param {Second} second */
  #onSecond({ atMs, incoming, outgoing, availableKbps, worstLossPercent }) {
    const isArriving = this.#watchOutages(atMs, (incoming?.packets ?? 0) > 0);
    if (atMs - this.#watch.goodAtMs > AWAY_AFTER_MS) this.#view.sayAway();
    if (!isArriving) this.#silentAtMs = atMs;
    if (!incoming || !outgoing) return;
    const isOutageOver = atMs - this.#silentAtMs > OUTAGE_TELLS_MS;
    if (isArriving && !isOutageOver) this.#ladder = settleAgain(this.#ladder, this.#silentAtMs);
    this.#ladder = step(this.#ladder, {
      atMs,
      isArriving,
      availableKbps,
      lossPercent: worstLossPercent,
      rttMs: incoming.rttMs,
      concealedPercent: isOutageOver ? this.#told.concealedPercent : 0,
      heardConcealedPercent: isOutageOver ? incoming.concealedPercent : 0,
    });
    this.#apply();
    this.#view.offerPhone(isPhoneBetter(this.#ladder, atMs));
    const isPictureLow = RUNGS.indexOf(this.#ladder.rung) > RUNGS.indexOf("sd");
    if (isArriving) this.#view.sayLevels(incoming, worstLossPercent, isPictureLow);
  }

  /**
   * @param {number} atMs
   * @param {boolean} isArriving
   * @returns {boolean} whether what should arrive does
   */
  #watchOutages(atMs, isArriving) {
    const room = this.#session.room;
    const other = room ? peerOf(room) : undefined;
    const isWanted = Boolean(other?.microphone || (showsPicture(other) && this.#told.rung !== "voice"));
    const isLineUp = this.#peer?.state === "connected";
    const { watch, ended } = follow(this.#watch, {
      atMs,
      isWanted,
      isArriving,
      isLineUp,
      isOffline: !navigator.onLine,
      isNetworkNew: atMs - this.#networkNewAtMs < NETWORK_NEW_FOR_MS,
      isWireUp: this.#session.isUp,
      isPeerAway: other?.presence === "away",
    });
    this.#watch = watch;
    if (ended) this.#keepOutage(ended);
    return isArriving || (!isWanted && isLineUp);
  }

  /** @param {import("./outages.js").Outage} outage */
  #keepOutage({ fromMs, seconds, cause }) {
    this.#report.addOutage({ began_at: this.#serverTime(fromMs), seconds, cause });
  }

  #closeOutage() {
    const open = finish(this.#watch, Date.now());
    if (open) this.#keepOutage(open);
    this.#watch = NO_WATCH;
  }

  /** @param {Interval} interval */
  #onInterval({ beganAtMs, incoming, outgoing }) {
    this.#heardConcealedPercent = beganAtMs > this.#silentAtMs ? incoming.concealedPercent : 0;
    this.#tell();
    const room = this.#session.room;
    const wasAsleep = incoming.seconds > LONGEST_INTERVAL_S;
    if (!room || wasAsleep) return;
    const began_at = this.#serverTime(beganAtMs);
    const sees = showsPicture(peerOf(room)) ? this.#told.rung : "off";
    const shows = showsPicture(selfOf(room)) ? rungOf(this.#ladder) : "off";
    const isHeard = incoming.packets > 0;
    this.#report.addIntervals([
      ...(isHeard ? [rowFrom("incoming", began_at, incoming, sees)] : []),
      ...(outgoing.packets > 0 && isHeard ? [rowFrom("outgoing", began_at, outgoing, shows)] : []),
    ]);
  }

  /** @param {number} ms */
  #serverTime(ms) {
    return new Date(ms + this.#serverAheadMs).toISOString();
  }

  /** @param {Choice} choice */
  #choose(choice) {
    this.#ownChoice = choice;
    this.#apply();
    this.#tell();
  }

  /** @param {boolean} isOpen the page at the other end may be a new one */
  #onChannel(isOpen) {
    this.#told = UNTOLD;
    if (isOpen) this.#tell();
    this.#follow();
  }

  /** @param {Told | null} told */
  #hear(told) {
    if (!told) return;
    this.#told = told;
    this.#apply();
  }

  #tell() {
    const rung = rungOf(this.#ladder);
    const concealedPercent = this.#heardConcealedPercent;
    this.#toldRung = rung;
    this.#session.tell({ line: { rung, choice: this.#ownChoice, concealedPercent } });
  }

  /** Makes the connection, the other page and the words follow the ladder. */
  #apply() {
    this.#ladder = choose(this.#ladder, strictestOf(this.#ownChoice, this.#told.choice), Date.now());
    const own = rungOf(this.#ladder);
    this.#session.setRung(own);
    if (own !== this.#toldRung) this.#tell();
    this.#view.sayPicture({
      own,
      peer: this.#told.rung,
      ownChoice: this.#ownChoice,
      peerChoice: this.#told.choice,
    });
  }
}

/**
 * @param {"incoming" | "outgoing"} direction
 * @param {string} began_at
 * @param {Sample} sample
 * @param {Rung | "off"} rung
 * @returns {import("./line-report.js").IntervalRow}
 */
function rowFrom(direction, began_at, sample, rung) {
  return {
    direction,
    began_at,
    seconds: sample.seconds,
    loss_percent: sample.lossPercent,
    rtt_ms: Math.min(sample.rttMs, 60_000),
    jitter_ms: Math.min(sample.jitterMs, 60_000),
    concealed_percent: sample.concealedPercent,
    frozen_ms: sample.frozenMs,
    frames_per_second: Math.min(sample.framesPerSecond, 240),
    kilobits_per_second: Math.min(sample.kbps, 1_000_000),
    path: sample.path,
    rung,
    voice_score: sample.score,
  };
}
