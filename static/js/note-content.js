// What a note is, and how two versions of one become one. Pure: no page, no network.
// Cleaning is as in server/notes/content.py, so that what a page holds equals what it is answered.

/** @typedef {{system: string, code: string, display: string, list_version?: string}} Coding */
/** @typedef {"question_codes" | "diagnosis_codes" | "services"} CodeField */
/**
 * @typedef {object} Content
 * @property {Record<string, string>} sections a section that is not there is empty
 * @property {Coding[]} question_codes
 * @property {Coding[]} diagnosis_codes
 * @property {Coding[]} services
 * @property {string} template_id
 */

/** @type {readonly CodeField[]} */
export const CODE_FIELDS = ["question_codes", "diagnosis_codes", "services"];

// XML 1.0 §2.2; with the `u` flag half of a pair of surrogates is found only when it is alone
const NOT_IN_XML = /[^\t\n\u0020-\uD7FF\uE000-\uFFFD\u{10000}-\u{10FFFF}]/gu;
const NOT_BLANK = /[^ \t\n\u00a0]/;

/** @param {string} text */
export function cleanText(text) {
  return text.replace(/\r\n?/g, "\n").replace(NOT_IN_XML, "");
}

/**
 * @param {Partial<Content>} content what the server sends leaves out what is empty
 * @returns {Content}
 */
export function contentOf(content = {}) {
  /** @type {Record<string, string>} */
  const sections = {};
  for (const [section, text] of Object.entries(content.sections ?? {})) {
    const clean = cleanText(text);
    if (NOT_BLANK.test(clean)) sections[section] = clean;
  }
  return {
    sections,
    question_codes: content.question_codes ?? [],
    diagnosis_codes: content.diagnosis_codes ?? [],
    services: content.services ?? [],
    template_id: content.template_id ?? "",
  };
}

/**
 * @param {Content} content
 * @param {string} section
 */
export const textOf = (content, section) => content.sections[section] ?? "";

/**
 * @param {Content} content
 * @param {string} section
 * @param {string} text
 * @returns {Content}
 */
export function withText(content, section, text) {
  const sections = { ...content.sections };
  const clean = cleanText(text);
  if (NOT_BLANK.test(clean)) sections[section] = clean;
  else delete sections[section];
  return { ...content, sections };
}

/** @param {Content} content */
function asText(content) {
  const sections = Object.entries(content.sections).sort(([one], [other]) => (one < other ? -1 : 1));
  return JSON.stringify([sections, CODE_FIELDS.map((field) => codesText(content[field])), content.template_id]);
}

/** @param {Coding[]} codes */
const codesText = (codes) => codes.map(keyOf);

/** @param {Coding} coding */
const keyOf = (coding) => `${coding.system}|${coding.code}`;

/**
 * @param {Content} one
 * @param {Content} other
 */
export const isSame = (one, other) => asText(one) === asText(other);

/**
 * What the server knows a version by; the same as ``digest_of`` in server/notes/content.py.
 * @param {Content} content
 */
export async function digestOf(content) {
  const digest = await crypto.subtle.digest("SHA-256", new TextEncoder().encode(asText(content)));
  return [...new Uint8Array(digest)].map((byte) => byte.toString(16).padStart(2, "0")).join("");
}

/**
 * One section of three versions. A text that holds the other's whole change is no conflict, nor is
 * one of our own sends whose answer was lost.
 * @param {string} base
 * @param {string} mine
 * @param {string} theirs
 * @param {string[]} [sent]
 * @returns {string | null} null: changed on both sides
 */
export function mergeText(base, mine, theirs, sent = []) {
  if (mine === theirs || theirs === base || sent.includes(theirs)) return mine;
  if (mine === base) return theirs;
  if (mine.startsWith(theirs) && theirs.startsWith(base)) return mine;
  if (theirs.startsWith(mine) && mine.startsWith(base)) return theirs;
  return null;
}

/**
 * What either side added is in, what either side took away is out.
 * @param {Coding[]} base
 * @param {Coding[]} mine
 * @param {Coding[]} theirs
 */
export function mergeCodes(base, mine, theirs) {
  const [before, here] = [new Set(base.map(keyOf)), new Set(mine.map(keyOf))];
  const there = new Set(theirs.map(keyOf));
  const kept = theirs.filter((coding) => here.has(keyOf(coding)) || !before.has(keyOf(coding)));
  const added = mine.filter((coding) => !before.has(keyOf(coding)) && !there.has(keyOf(coding)));
  return [...kept, ...added];
}

/**
 * The whole note. A section that was changed on both sides keeps mine and is named.
 * @param {Content} base
 * @param {Content} mine
 * @param {Content} theirs
 * @param {Content[]} [sent] whose answers were lost
 * @returns {{merged: Content, conflicts: string[]}}
 */
export function mergeNotes(base, mine, theirs, sent = []) {
  const names = new Set([mine, theirs].flatMap((content) => Object.keys(content.sections)));
  /** @type {Record<string, string>} */
  const sections = {};
  /** @type {string[]} */
  const conflicts = [];
  for (const section of names) {
    const [before, here, there] = [base, mine, theirs].map((content) => textOf(content, section));
    const known = sent.map((content) => textOf(content, section));
    const text = mergeText(before ?? "", here ?? "", there ?? "", known);
    if (text === null) conflicts.push(section);
    sections[section] = text ?? here ?? "";
  }
  const merged = contentOf({
    sections,
    template_id: mine.template_id === base.template_id ? theirs.template_id : mine.template_id,
  });
  for (const field of CODE_FIELDS) merged[field] = mergeCodes(base[field], mine[field], theirs[field]);
  return { merged, conflicts };
}

/**
 * Both texts, the other's first.
 * @param {string} theirs
 * @param {string} mine
 */
export function joinTexts(theirs, mine) {
  if (mine.includes(theirs)) return mine;
  if (theirs.includes(mine)) return theirs;
  return `${theirs}\n\n${mine}`;
}
