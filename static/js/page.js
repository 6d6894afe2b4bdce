// What every page needs: its data, its elements by name, and a same-origin JSON POST.

/** A request the server refused; `code` is stable, `id` finds it in the server's log. */
export class RequestError extends Error {
  /**
   * @param {number} status
   * @param {string} code
   * @param {string | null} id
   */
  constructor(status, code, id) {
    super(code);
    this.status = status;
    this.code = code;
    this.id = id;
  }
}

/** @returns {any} the content of `<script type="application/json" id="page-data">` */
export function pageData() {
  return JSON.parse(document.getElementById("page-data")?.textContent || "{}");
}

/**
 * @template {Element} T
 * @param {string} selector
 * @param {{new (): T, prototype: T}} type
 * @returns {T | null}
 */
function find(selector, type) {
  const element = document.querySelector(selector);
  return element instanceof type ? element : null;
}

/**
 * An element the page may leave out.
 * @template {Element} T
 * @param {string} name
 * @param {{new (): T, prototype: T}} type
 */
export const findHook = (name, type) => find(`[data-hook="${name}"]`, type);

/**
 * An element the page must have.
 * @template {HTMLElement} T
 * @param {string} testId
 * @param {{new (): T, prototype: T}} type
 * @returns {T}
 */
export function byTestId(testId, type) {
  const element = find(`[data-testid="${testId}"]`, type);
  if (!element) throw new TypeError(`This page has no ${testId}`);
  return element;
}

/**
 * @param {string} hookName
 * @param {boolean} isShown
 */
export function show(hookName, isShown) {
  for (const element of document.querySelectorAll(`[data-hook="${hookName}"]`)) {
    element.toggleAttribute("hidden", !isShown);
  }
}

/** @param {boolean} isOpen */
export function openDrawer(isOpen) {
  show("drawer", isOpen);
  findHook("drawer-toggle", HTMLElement)?.setAttribute("aria-expanded", String(isOpen));
}

/**
 * @param {string} hookName
 * @param {string} words
 */
export function say(hookName, words) {
  const text = sentence(words);
  for (const element of document.querySelectorAll(`[data-hook="${hookName}"]`)) {
    if (element.textContent !== text) element.textContent = text;
  }
}

/**
 * @param {string} hookName
 * @param {string[]} paragraphs
 */
export function fillParagraphs(hookName, paragraphs) {
  const elements = paragraphs.map((words) => {
    const element = document.createElement("p");
    element.textContent = words;
    return element;
  });
  findHook(hookName, HTMLElement)?.replaceChildren(...elements);
}

/**
 * A sentence that begins with a name may begin with its article: "la dott.ssa…".
 * @param {string} words
 */
export function sentence(words) {
  return words.charAt(0).toUpperCase() + words.slice(1);
}

/**
 * @param {string} hookName
 * @param {() => void} listener
 */
export function onClick(hookName, listener) {
  for (const element of document.querySelectorAll(`[data-hook="${hookName}"]`)) {
    element.addEventListener("click", listener);
  }
}

const ANSWER_WITHIN_MS = 10_000;

/**
 * @param {string} url
 * @param {object} [body]
 * @returns {Promise<any>}
 */
export async function post(url, body = {}) {
  const response = await fetch(url, {
    method: "POST",
    credentials: "same-origin",
    headers: { Accept: "application/json", "Content-Type": "application/json" },
    body: JSON.stringify(body),
    signal: AbortSignal.timeout(ANSWER_WITHIN_MS),
  });
  const answer = await response.json().catch(() => ({}));
  if (!response.ok) {
    throw new RequestError(response.status, answer.code ?? "unexpected", answer.id ?? null);
  }
  return answer;
}

const RELOADED_AT = "accanto-reloaded-at";
const RELOAD_AGAIN_AFTER_MS = 30_000;

/**
 * Lets the server say what is true now, but never in a circle.
 * @param {string} url
 * @returns {boolean} false when the page was loaded for this reason a moment ago
 */
export function askServerAgain(url) {
  const now = Date.now();
  if (now - Number(sessionStorage.getItem(RELOADED_AT)) < RELOAD_AGAIN_AFTER_MS) return false;
  sessionStorage.setItem(RELOADED_AT, String(now));
  location.replace(url);
  return true;
}
