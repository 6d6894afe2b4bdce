// The patient's own photos and documents: sending them one by one, and deleting them.
//
// Hooks: own-files > file-form (with own-file, the input; file-send is for pages without scripts),
// file-status (role=status), file-progress, file-problem (role=alert), file-list (ul); in the room
// files-panel around them, files-toggle (button with aria-expanded) and files-open.
// A file that is larger than the server takes is not sent at all.

import { _ } from "./i18n.js";
import { findHook, onClick, post, say, show } from "./page.js";

/**
 * @typedef {object} OwnFile
 * @property {string} id
 * @property {string} url
 * @property {"patient_file" | "still"} kind
 * @property {string} name
 * @property {number} sizeBytes
 * @property {string} receivedAt
 */

/**
 * @typedef {object} Listing
 * @property {OwnFile[]} files
 * @property {boolean} canChange
 * @property {Record<string, string>} words why a file is not taken, by reason
 * @property {number} mostMb
 */

const SEND_WITHIN_MS = 300_000;
const LIST_WITHIN_MS = 10_000;

/**
 * Sends one form; says how far it is. Resolves with the answer, or rejects with a reason word.
 * @param {string} url
 * @param {FormData} form
 * @param {(part: number) => void} onProgress from 0 to 1
 * @returns {Promise<any>}
 */
export function sendForm(url, form, onProgress) {
  return new Promise((resolve, reject) => {
    const request = new XMLHttpRequest();
    request.open("POST", url);
    request.responseType = "json";
    request.timeout = SEND_WITHIN_MS;
    request.setRequestHeader("Accept", "application/json");
    request.upload.addEventListener("progress", ({ loaded, total }) => onProgress(loaded / (total || 1)));
    request.addEventListener("load", () => {
      if (request.status < 300) return resolve(request.response);
      const { code = "", reason = "offline" } = request.response ?? {};
      reject(new Error(code === "conflict" ? "over" : code === "sent_before" ? code : reason));
    });
    for (const failure of ["error", "timeout", "abort"]) {
      request.addEventListener(failure, () => reject(new Error("offline")));
    }
    request.send(form);
  });
}

/** @param {number} bytes */
export function sizeWords(bytes) {
  const language = document.documentElement.lang || "it";
  const [value, unit] = bytes < 1_000_000 ? [bytes / 1000, "kB"] : [bytes / 1_000_000, "MB"];
  return `${value.toLocaleString(language, { maximumFractionDigits: value < 10 ? 1 : 0 })} ${unit}`;
}

/** @param {string} iso */
export function timeWords(iso) {
  return new Date(iso).toLocaleTimeString(document.documentElement.lang || "it", {
    hour: "2-digit",
    minute: "2-digit",
    timeZone: "Europe/Rome",
  });
}

export class OwnFiles {
  #url;
  /** @type {Listing | null} */
  #listing = null;
  #list = findHook("file-list", HTMLUListElement);
  #input = findHook("own-file", HTMLInputElement);

  /** @param {string} filesUrl */
  constructor(filesUrl) {
    this.#url = filesUrl;
    show("file-send", false);
    onClick("files-toggle", () => this.#openPanel(findHook("files-panel", HTMLElement)?.hidden ?? true));
    onClick("files-open", () => this.#openPanel(true));
    if (this.#input) this.#input.value = "";
    this.#input?.addEventListener("change", () => this.#send());
    findHook("file-form", HTMLFormElement)?.addEventListener("submit", (event) => event.preventDefault());
  }

  /** Draws what the server has. */
  async refresh() {
    const answer = await fetch(this.#url, {
      headers: { Accept: "application/json" },
      signal: AbortSignal.timeout(LIST_WITHIN_MS),
    }).catch(() => null);
    if (answer?.ok) this.#draw(await answer.json());
  }

  /** @param {boolean} isOpen */
  #openPanel(isOpen) {
    show("files-panel", isOpen);
    findHook("files-toggle", HTMLElement)?.setAttribute("aria-expanded", String(isOpen));
    if (isOpen) this.#input?.focus();
  }

  async #send() {
    const file = this.#input?.files?.[0];
    if (!file || !this.#input) return;
    if (file.size > (this.#listing?.mostMb ?? Infinity) * 1_000_000) return this.#end("too_large");
    const form = new FormData();
    form.append("file", file);
    this.#input.disabled = true;
    this.#sayProblem("");
    say("file-status", _("Sending: {name}", { name: file.name }));
    show("file-progress", true);
    try {
      this.#draw(await sendForm(this.#url, form, (part) => this.#progress(part)));
      say("file-status", _("Sent. The doctor sees it."));
      this.#end("");
    } catch (refusal) {
      this.#end(refusal instanceof Error ? refusal.message : "offline");
    }
  }

  /** @param {string} reason */
  #end(reason) {
    if (this.#input) [this.#input.disabled, this.#input.value] = [false, ""];
    show("file-progress", false);
    if (reason) say("file-status", "");
    this.#sayProblem(reason);
  }

  /** @param {string} reason */
  #sayProblem(reason) {
    say("file-problem", reason ? this.#refusalWords(reason) : "");
    show("file-problem", reason !== "");
  }

  /** @param {string} reason of the server, `over` or `offline` */
  #refusalWords(reason) {
    if (reason === "over") return _("Files cannot be sent now.");
    const offline = _("It was not sent: the line is weak. Try again, please.");
    return this.#listing?.words[reason] ?? offline;
  }

  /** @param {number} part */
  #progress(part) {
    const bar = findHook("file-progress", HTMLProgressElement);
    if (bar) bar.value = part;
  }

  /** @param {Listing} listing */
  #draw(listing) {
    const { files, canChange } = (this.#listing = listing);
    this.#list?.replaceChildren(...files.map((file) => this.#line(file, canChange)));
  }

  /**
   * @param {OwnFile} file
   * @param {boolean} canChange
   */
  #line(file, canChange) {
    const line = document.createElement("li");
    const name = document.createElement("span");
    name.className = "file-name";
    name.textContent = file.name || (file.kind === "still" ? _("Photo") : _("File"));
    const facts = document.createElement("span");
    facts.className = "file-facts";
    facts.textContent = `${timeWords(file.receivedAt)} · ${sizeWords(file.sizeBytes)}`;
    line.append(name, facts);
    if (canChange) line.append(this.#deleteButton(file, name.textContent));
    return line;
  }

  /**
   * @param {OwnFile} file
   * @param {string} name
   */
  #deleteButton(file, name) {
    const button = document.createElement("button");
    button.type = "button";
    button.className = "btn btn-link";
    button.textContent = _("Delete");
    button.setAttribute("aria-label", _("Delete {name}", { name }));
    button.addEventListener("click", async () => {
      button.disabled = true;
      try {
        this.#draw(await post(`${file.url}/delete`));
        say("file-status", _("Deleted."));
        this.#input?.focus();
      } catch {
        button.disabled = false;
        this.#sayProblem("offline");
      }
    });
    return button;
  }
}
