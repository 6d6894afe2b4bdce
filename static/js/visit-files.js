// Entry of the files beside the note: what the patient sent, the viewer, and the ask for a photo.
//
// `#page-data`: filesUrl, stillUrl. Hooks: files > files-list (ul), files-none, still-ask (button),
// still-state (role=status), files-problem (role=alert); viewer (dialog) > viewer-title,
// viewer-facts, viewer-picture (img), viewer-report and viewer-size (buttons with aria-pressed),
// viewer-close. `follow` makes it live where there is a room; without one it asks now and then.

import { isAdmitted, peerOf } from "./fold.js";
import { _ } from "./i18n.js";
import { sizeWords, timeWords } from "./own-files.js";
import { findHook, onClick, pageData, post, say, show } from "./page.js";

/** @typedef {import("./fold.js").Room} Room */

/**
 * @typedef {object} VisitFile
 * @property {string} id
 * @property {string} url
 * @property {"patient_file" | "still"} kind
 * @property {string} name
 * @property {string} mediaType
 * @property {number} sizeBytes
 * @property {string} device
 * @property {string} receivedAt
 * @property {string | null} takenAt
 * @property {string | null} consentedAt
 * @property {boolean} isInReport
 */

const POLL_MS = 30_000;
const LIST_WITHIN_MS = 10_000;
const PDF = "application/pdf";

class VisitFiles {
  #data = pageData();
  #list = findHook("files-list", HTMLUListElement);
  #viewer = findHook("viewer", HTMLDialogElement);
  #picture = findHook("viewer-picture", HTMLImageElement);
  #askButton = findHook("still-ask", HTMLButtonElement);
  #filesSeq = 0;
  /** @type {VisitFile | null} */
  #shown = null;

  constructor() {
    onClick("still-ask", () => this.#ask());
    onClick("viewer-close", () => this.#viewer?.close());
    onClick("viewer-report", () => this.#choose());
    onClick("viewer-size", () => this.#setSize(this.#viewer?.dataset.size !== "full"));
    this.#viewer?.addEventListener("close", () => this.#picture?.removeAttribute("src"));
    this.#picture?.addEventListener("error", () => {
      if (this.#picture?.hasAttribute("src")) say("viewer-facts", _("This file could not be opened."));
    });
    setInterval(() => document.visibilityState === "visible" && this.refresh(), POLL_MS);
    this.refresh();
  }

  /** @param {Room} room */
  follow(room) {
    if (room.filesSeq > this.#filesSeq) {
      if (this.#filesSeq) this.refresh();
      this.#filesSeq = room.filesSeq;
    }
    if (this.#askButton) {
      this.#askButton.disabled = !isAdmitted(room) || peerOf(room)?.presence !== "here";
    }
    say("still-state", room.still ? this.#stillWords(room.still.state) : "");
  }

  async refresh() {
    const answer = await fetch(this.#data.filesUrl, {
      headers: { Accept: "application/json" },
      signal: AbortSignal.timeout(LIST_WITHIN_MS),
    }).catch(() => null);
    if (answer?.ok) this.#draw((await answer.json()).files);
  }

  /** @param {string} state */
  #stillWords(state) {
    switch (state) {
      case "asked":
        return _("Photo asked for: the patient is reading the question.");
      case "agreed":
        return _("The patient has agreed and is taking the photo.");
      case "refused":
        return _("The patient sends no photo.");
      default:
        return _("The photo is here.");
    }
  }

  async #ask() {
    this.#sayProblem("");
    try {
      await post(this.#data.stillUrl);
    } catch {
      this.#sayProblem(_("The photo could not be asked for. Try again."));
    }
  }

  /** @param {VisitFile[]} files */
  #draw(files) {
    show("files-none", files.length === 0);
    this.#list?.replaceChildren(...files.map((file) => this.#line(file)));
  }

  /** @param {VisitFile} file */
  #line(file) {
    const line = document.createElement("li");
    line.dataset.kind = file.kind;
    line.append(file.mediaType === PDF ? this.#download(file) : this.#opener(file));
    const facts = document.createElement("span");
    facts.className = "file-facts";
    facts.textContent = `${timeWords(file.takenAt ?? file.receivedAt)} · ${sizeWords(file.sizeBytes)}`;
    line.append(facts);
    if (file.isInReport) {
      const mark = document.createElement("strong");
      mark.className = "file-in-report";
      mark.textContent = _("in the report");
      line.append(mark);
    }
    return line;
  }

  /** @param {VisitFile} file */
  #download(file) {
    const link = document.createElement("a");
    link.href = file.url;
    link.download = "";
    link.className = "file-name";
    link.textContent = `${nameOf(file)} (PDF)`;
    return link;
  }

  /** @param {VisitFile} file */
  #opener(file) {
    const button = document.createElement("button");
    button.type = "button";
    button.className = "btn btn-link file-name";
    button.dataset.testid = "open-file";
    button.textContent = nameOf(file);
    button.addEventListener("click", () => this.#open(file));
    return button;
  }

  /** @param {VisitFile} file */
  #open(file) {
    if (!this.#picture) return;
    this.#shown = file;
    this.#picture.alt = nameOf(file);
    this.#picture.src = file.url;
    say("viewer-title", nameOf(file));
    say("viewer-facts", factsOf(file));
    this.#setSize(false);
    this.#drawChoice();
    this.#viewer?.showModal();
  }

  /** @param {boolean} isFull */
  #setSize(isFull) {
    if (this.#viewer) this.#viewer.dataset.size = isFull ? "full" : "fit";
    findHook("viewer-size", HTMLElement)?.setAttribute("aria-pressed", String(isFull));
  }

  #drawChoice() {
    const isChosen = this.#shown?.isInReport ?? false;
    findHook("viewer-report", HTMLElement)?.setAttribute("aria-pressed", String(isChosen));
  }

  async #choose() {
    const file = this.#shown;
    if (!file) return;
    try {
      const answer = await post(`${file.url}/report`, { is_in_report: !file.isInReport });
      file.isInReport = answer.isInReport;
      this.#drawChoice();
      await this.refresh();
    } catch {
      say("viewer-facts", _("This was not saved. Try again."));
    }
  }

  /** @param {string} words */
  #sayProblem(words) {
    say("files-problem", words);
    show("files-problem", words !== "");
  }
}

/** @param {VisitFile} file */
function nameOf({ kind, name, takenAt, receivedAt }) {
  if (kind === "still") return _("Photo of {time}", { time: timeWords(takenAt ?? receivedAt) });
  return name || _("File");
}

/** @param {VisitFile} file */
function factsOf({ kind, device, takenAt, consentedAt, receivedAt }) {
  if (kind !== "still" || !takenAt || !consentedAt) {
    return _("Sent by the patient at {time}.", { time: timeWords(receivedAt) });
  }
  const [facing = "", method = "", pixels = ""] = device.split(" ");
  const cameras = {
    environment: _("camera on the back"),
    user: _("camera on the front"),
    unknown: _("camera of the device"),
  };
  const camera = cameras[/** @type {keyof typeof cameras} */ (facing)] ?? cameras.unknown;
  const way = method === "photo" ? _("photo") : _("frame of the video");
  return _("Consent at {consent}, taken at {taken} · {camera}, {way}, {pixels} pixels", {
    consent: timeWords(consentedAt),
    taken: timeWords(takenAt),
    camera,
    way,
    pixels: pixels.replace("x", " × "),
  });
}

export const visitFiles = new VisitFiles();
