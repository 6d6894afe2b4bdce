// Both people of a recording side by side, held to one time line.

import { _ } from "./i18n.js";
import { findHook, onClick, pageData, say, show } from "./page.js";
import { clockWords, correction, gapAt, gapsOf, trackAt } from "./player-model.js";

/** @typedef {import("./player-model.js").Track} Track */
/** @typedef {import("./player-model.js").Gap} Gap */

const TICK_MS = 50;
const STEP_MS = 5_000;
const LONG_STEP_MS = 10_000;
const SEATS = ["patient", "clinician"];

/** @param {string} reason why nothing is there */
function gapWords(reason) {
  if (reason === "paused") return _("Paused: not everybody had agreed");
  if (reason === "disk_full") return _("Not recorded: the disk of the server was full");
  if (reason === "disk_failed") return _("Not recorded: the disk of the server failed");
  if (reason === "cut") return _("Not recorded: the recorder was interrupted");
  if (reason === "reconnected") return _("The connection was made again");
  if (reason === "not_there") return _("Not in the recording");
  if (reason === "gone") return _("No longer in the recording");
  return _("Nothing arrived: the line was interrupted");
}

/** The picture and sound of one person, part by part. */
class Pane {
  /**
   * @param {string} seat
   * @param {Track[]} tracks
   * @param {number} durationMs
   */
  constructor(seat, tracks, durationMs) {
    this.seat = seat;
    this.gaps = gapsOf(tracks, durationMs);
    this.#tracks = tracks;
    for (const track of tracks) this.#videos.set(track, this.#makeVideo(track));
  }

  /** @type {Track[]} */
  #tracks;
  /** @type {Map<Track, HTMLVideoElement>} */
  #videos = new Map();

  /**
   * Be where the time line is.
   * @param {number} atMs
   * @param {number} speed
   * @param {boolean} isRunning
   * @returns {boolean} whether the picture of this moment is there
   */
  follow(atMs, speed, isRunning) {
    const gap = gapAt(this.gaps, atMs);
    const track = trackAt(this.#tracks, atMs);
    for (const [each, video] of this.#videos) {
      video.hidden = each !== track || gap !== undefined;
      if (each !== track) video.pause();
    }
    show(`gap-${this.seat}`, gap !== undefined);
    if (gap) say(`gap-${this.seat}`, gapWords(gap.reason));
    const video = track && this.#videos.get(track);
    if (!track || !video) return true;
    if (gap) {
      video.pause();
      this.#goTo(video, gap.toMs - track.offsetMs, 400);
      return true;
    }
    return this.#run(video, atMs - track.offsetMs, speed, isRunning);
  }

  /** @param {boolean} isMuted */
  mute(isMuted) {
    for (const video of this.#videos.values()) video.muted = isMuted;
  }

  /**
   * @param {HTMLVideoElement} video
   * @param {number} wantedMs
   * @param {number} speed
   * @param {boolean} isRunning
   */
  #run(video, wantedMs, speed, isRunning) {
    const drift = correction(video.currentTime * 1000 - wantedMs, speed);
    const isAtEnd = video.ended || wantedMs >= video.duration * 1000 - 200;
    if (isAtEnd) return true;
    if (drift.jumps || !isRunning) this.#goTo(video, wantedMs, isRunning ? 0 : 20);
    const isThere = !video.seeking && video.readyState >= HTMLMediaElement.HAVE_FUTURE_DATA;
    if (!isRunning) {
      video.pause();
      return isThere;
    }
    video.playbackRate = drift.rate;
    if (video.paused) video.play().catch(() => {}); // a pause may come first
    return isThere;
  }

  /**
   * @param {HTMLVideoElement} video
   * @param {number} wantedMs
   * @param {number} toleratedMs
   */
  #goTo(video, wantedMs, toleratedMs) {
    if (video.seeking || Math.abs(video.currentTime * 1000 - wantedMs) <= toleratedMs) return;
    video.currentTime = wantedMs / 1000;
  }

  /** @param {Track} track */
  #makeVideo(track) {
    const video = document.createElement("video");
    video.src = track.url;
    video.preload = "metadata";
    video.playsInline = true;
    video.hidden = true;
    video.addEventListener("error", () => {
      say("player-problem", _("The recording cannot be loaded. Go back and open it again."));
      show("player-problem", true);
    });
    findHook(`picture-${this.seat}`, HTMLElement)?.prepend(video);
    return video;
  }
}

/** The time line and its controls. */
class Player {
  /**
   * @param {Track[]} tracks
   * @param {number} durationMs
   */
  constructor(tracks, durationMs) {
    this.#durationMs = durationMs;
    this.#panes = SEATS.map(
      (seat) => new Pane(seat, tracks.filter((each) => each.participant === seat), durationMs),
    );
    this.#line = /** @type {HTMLInputElement} */ (findHook("line", HTMLInputElement));
    this.#line.max = String(Math.ceil(durationMs / 1000));
    this.#listen();
    this.#tellGaps();
    setInterval(() => this.#tick(), TICK_MS);
    this.#tick();
  }

  #atMs = 0;
  #speed = 1;
  #isPlaying = false;
  #isHeld = false;
  #tickedAt = performance.now();
  /** @type {number} */
  #durationMs;
  /** @type {Pane[]} */
  #panes;
  /** @type {HTMLInputElement} */
  #line;

  #tick() {
    const now = performance.now();
    const passedMs = (now - this.#tickedAt) * this.#speed;
    this.#tickedAt = now;
    if (this.#isPlaying && !this.#isHeld) this.#atMs += passedMs;
    if (this.#isPlaying) this.#skipEmpty();
    if (this.#atMs >= this.#durationMs) {
      this.#atMs = this.#durationMs;
      this.#play(false);
    }
    const isRunning = this.#isPlaying && !this.#isHeld;
    const isThere = this.#panes.map((pane) => pane.follow(this.#atMs, this.#speed, isRunning));
    this.#isHeld = isThere.includes(false);
    this.#tell();
  }

  /** Where nobody is there the time line goes on at the next moment in which somebody is. */
  #skipEmpty() {
    const gaps = this.#panes.map((pane) => gapAt(pane.gaps, this.#atMs));
    const ends = gaps.map((gap) => gap?.toMs ?? 0);
    if (!ends.includes(0)) this.#atMs = Math.min(...ends);
  }

  /** @param {boolean} isPlaying */
  #play(isPlaying) {
    if (isPlaying && this.#atMs >= this.#durationMs) this.#atMs = 0;
    this.#isPlaying = isPlaying;
    say("play", isPlaying ? _("Stop for now") : _("Play"));
  }

  /** @param {number} atMs */
  #seek(atMs) {
    this.#atMs = Math.min(Math.max(atMs, 0), this.#durationMs);
    this.#tick();
  }

  #tell() {
    const [at, whole] = [clockWords(this.#atMs), clockWords(this.#durationMs)];
    say("time", `${at} / ${whole}`);
    this.#line.value = String(Math.floor(this.#atMs / 1000));
    this.#line.setAttribute("aria-valuetext", _("{at} of {whole}", { at, whole }));
  }

  #listen() {
    onClick("play", () => this.#play(!this.#isPlaying));
    onClick("back", () => this.#seek(this.#atMs - LONG_STEP_MS));
    onClick("ahead", () => this.#seek(this.#atMs + LONG_STEP_MS));
    this.#line.addEventListener("input", () => this.#seek(Number(this.#line.value) * 1000));
    const speed = findHook("speed", HTMLSelectElement);
    speed?.addEventListener("change", () => (this.#speed = Number(speed.value)));
    for (const pane of this.#panes) {
      const button = findHook(`mute-${pane.seat}`, HTMLButtonElement);
      button?.addEventListener("click", () => {
        const isMuted = button.getAttribute("aria-pressed") !== "true";
        button.setAttribute("aria-pressed", String(isMuted));
        pane.mute(isMuted);
      });
    }
    document.addEventListener("keydown", (event) => this.#hear(event));
  }

  /** @param {KeyboardEvent} event */
  #hear(event) {
    const target = event.target instanceof HTMLElement ? event.target : document.body;
    if (event.ctrlKey || event.altKey || event.metaKey || target.closest("select")) return;
    if (event.key === " " && target.closest("button, a")) return;
    /** @type {Record<string, () => void>} */
    const acts = {
      " ": () => this.#play(!this.#isPlaying),
      ArrowLeft: () => this.#seek(this.#atMs - STEP_MS),
      ArrowRight: () => this.#seek(this.#atMs + STEP_MS),
      Home: () => this.#seek(0),
      End: () => this.#seek(this.#durationMs),
    };
    const act = acts[event.key];
    if (!act) return;
    event.preventDefault();
    act();
  }

  /** Each gap as a mark on the line, and in words from which one can go there. */
  #tellGaps() {
    const missing = this.#panes.flatMap((pane) => {
      const who = findHook(`mute-${pane.seat}`, HTMLElement)?.previousElementSibling?.textContent;
      return pane.gaps.map((gap) => ({ gap, who: who ?? "" }));
    });
    for (const { gap, who } of missing.sort((one, other) => one.gap.fromMs - other.gap.fromMs)) {
      this.#addMark(gap);
      this.#addWords(gap, who);
    }
    show("missing", missing.length > 0);
  }

  /** @param {Gap} gap */
  #addMark(gap) {
    const mark = document.createElementNS("http://www.w3.org/2000/svg", "rect");
    mark.setAttribute("class", "player-mark");
    mark.setAttribute("x", `${(100 * gap.fromMs) / this.#durationMs}%`);
    mark.setAttribute("width", `${(100 * (gap.toMs - gap.fromMs)) / this.#durationMs}%`);
    mark.setAttribute("height", "100%");
    findHook("marks", SVGElement)?.append(mark);
  }

  /**
   * @param {Gap} gap
   * @param {string} who
   */
  #addWords(gap, who) {
    const [from, to] = [clockWords(gap.fromMs), clockWords(gap.toMs)];
    const button = document.createElement("button");
    button.type = "button";
    button.className = "btn btn-link p-0";
    button.textContent = _("{from} to {to}", { from, to });
    button.addEventListener("click", () => this.#seek(gap.fromMs));
    const item = document.createElement("li");
    item.append(button, ` ${who}: ${gapWords(gap.reason)}`);
    findHook("missing-list", HTMLElement)?.append(item);
  }
}

const { tracks, durationMs } = pageData();
new Player(tracks, durationMs);
