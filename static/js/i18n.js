// Words of the page: msgids are English, the text comes from the page's catalogue.

/** @typedef {Record<string, string | number>} Values */

/**
 * @param {Record<string, string>} messages msgid → text
 * @returns {(msgid: string, values?: Values) => string}
 */
export function translator(messages) {
  return (msgid, values = {}) =>
    (messages[msgid] || msgid).replace(/\{(\w+)\}/g, (whole, name) => String(values[name] ?? whole));
}

/** @returns {Record<string, string>} */
function readMessages() {
  const element = globalThis.document?.getElementById("messages");
  return element ? JSON.parse(element.textContent || "{}") : {};
}

export const _ = translator(readMessages());
