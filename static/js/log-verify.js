// The page that verifies an export of the session log in a worker. `#page-data`: words by kind.

import { byTestId, pageData, say, show } from "./page.js";

/** @typedef {import("./log-verifier-worker.js").Answer} Answer */
/** @typedef {import("./log-verifier-worker.js").Question} Question */

/** The verdicts of FORMAT.md; the first that fits gives the words, with its numbers. */
const KINDS = /** @type {[RegExp, string][]} */ ([
  [/^OK: (?<size>\d+) entries of .+, signed; (?<erased>\d+) erased; (?<newer>\d+) newer/, "log"],
  [/^OK: (?<count>\d+) entries of .+, proved in a log of (?<size>\d+)$/, "visit"],
  [/^entry (?<place>-?\d+): edited$/, "edited"],
  [/^entry (?<place>-?\d+): missing$/, "missing"],
  [/^entry (?<place>-?\d+): inserted$/, "inserted"],
  [/^entry (?<place>-?\d+): duplicated$/, "duplicated"],
  [/^entry (?<place>-?\d+): reordered$/, "reordered"],
  [/^entry (?<place>-?\d+): erased without a record$/, "erased"],
  [/^entries (?<first>\d+)-(?<last>\d+): altered$/, "altered"],
  [/^old checkpoint: malformed$/, "oldMalformed"],
  [/^old checkpoint: bad signature$/, "oldSignature"],
  [/^old checkpoint: needs the whole log$/, "oldNeedsLog"],
  [/^old checkpoint: /, "oldForked"],
  [/^checkpoint (?<size>\d+): bad signature$/, "signature"],
  [/^checkpoint (?<size>\d+): /, "forked"],
  [/^bundle: other key$/, "otherKey"],
  [/^bundle: no checkpoint$/, "noCheckpoint"],
  [/^value (?<line>\d+): edited$/, "value"],
  [/^/, "malformed"],
]);

/** @type {{words: Record<string, string>}} */
const { words } = pageData();
const form = byTestId("log-verify", HTMLFormElement);
const button = byTestId("log-verify-submit", HTMLButtonElement);
const progress = byTestId("log-verify-progress", HTMLProgressElement);
const result = byTestId("log-verify-result", HTMLElement);
/** Made at once: it must be whole here before the network goes. */
const worker = new Worker(address(new URL("./log-verifier-worker.js", import.meta.url)), {
  type: "module",
});

/**
 * The address of our own script, for a browser that wants to know that somebody looked at it.
 * @param {URL} url
 * @returns {URL}
 */
function address(url) {
  const types = /** @type {any} */ (globalThis).trustedTypes;
  return types ? types.createPolicy("worker", { createScriptURL: String }).createScriptURL(url) : url;
}

/**
 * @param {string} name
 * @returns {Blob | undefined}
 */
function fileOf(name) {
  const file = new FormData(form).get(name);
  return file instanceof File && file.size ? file : undefined;
}

async function fetchLog() {
  say("log-verify-state", words.fetching ?? "");
  const response = await fetch("/sessions/log.zip", { credentials: "same-origin" });
  if (!response.ok || response.redirected) throw new Error(String(response.status));
  return response.blob();
}

/**
 * @param {Question} question
 * @returns {Promise<Answer>}
 */
function ask(question) {
  return new Promise((resolve, reject) => {
    worker.onmessage = ({ data }) => {
      if (data.part === undefined) resolve(data);
      else progress.value = data.part;
    };
    worker.onerror = reject;
    worker.postMessage(question);
  });
}

/**
 * @param {string} verdict
 * @returns {string[]}
 */
function explain(verdict) {
  for (const [pattern, kind] of KINDS) {
    const found = pattern.exec(verdict);
    if (!found) continue;
    const { erased = "0", newer = "0" } = found.groups ?? {};
    const lines = [kind, ...(erased === "0" ? [] : ["logErased"]), ...(newer === "0" ? [] : ["newer"])];
    return lines.map((line) => fill(words[line] ?? "", found.groups ?? {}));
  }
  return [];
}

/**
 * @param {string} text
 * @param {Record<string, string>} values
 */
function fill(text, values) {
  return text.replace(/\{(\w+)\}/g, (whole, name) => values[name] ?? whole);
}

/** @param {string} verdict */
function tell(verdict) {
  const isGood = verdict.startsWith("OK");
  const isVisit = verdict.includes(", proved in ");
  say("log-verify-title", (isGood ? (isVisit ? words.goodVisit : words.good) : words.bad) ?? "");
  say("log-verify-words", explain(verdict).join(" "));
  byTestId("log-verify-line", HTMLElement).textContent = verdict;
  result.dataset.verdict = verdict;
  result.classList.toggle("is-good", isGood);
  show("log-verify-result", true);
  result.focus();
}

async function run() {
  const key = String(new FormData(form).get("key") ?? "").trim() || undefined;
  const file = fileOf("file") ?? (await fetchLog());
  say("log-verify-state", words.reading ?? "");
  const { verdict, trouble } = await ask({ file, older: fileOf("older"), key });
  if (verdict === undefined) {
    say("log-verify-state", (trouble === "signatures" ? words.oldBrowser : words.trouble) ?? "");
    return;
  }
  say("log-verify-state", "");
  tell(verdict);
}

form.addEventListener("submit", async (event) => {
  event.preventDefault();
  show("log-verify-result", false);
  delete result.dataset.verdict;
  progress.value = 0;
  progress.hidden = false;
  button.disabled = true;
  try {
    await run();
  } catch {
    say("log-verify-state", words.unreachable ?? "");
  } finally {
    progress.hidden = true;
    button.disabled = false;
  }
});
button.disabled = false;
