// The verifier beside the page, so that the page stays alive: files in, one verdict out.
//
// In: {file, older?, key?}, files as Blob. Out: {part} (0 to 1) now and then, then {verdict}, or
// {trouble}: "signatures" when this browser knows no Ed25519, "other".

import { verify } from "./log-verifier.js";
import { sha256 } from "./sha256.js";

/** @typedef {import("./log-verifier.js").Source} Source */
/** @typedef {{file: Blob, older?: Blob | undefined, key?: string | undefined}} Question */
/** @typedef {{part?: number, verdict?: string, trouble?: "signatures" | "other"}} Answer */

const SHOWN_STEP = 0.01;

/** @param {Answer} answer */
const tell = (answer) => postMessage(answer);

/** @type {import("./log-verifier.js").Tools} */
const TOOLS = {
  sha256,

  async isSigned(key, message, signature) {
    const verifier = await crypto.subtle.importKey("raw", copy(key), "Ed25519", false, ["verify"]);
    return crypto.subtle.verify("Ed25519", verifier, copy(signature), copy(message));
  },

  async *inflate(pieces) {
    const given = pieces[Symbol.asyncIterator]();
    const packed = new ReadableStream({
      async pull(controller) {
        const { done, value } = await given.next();
        if (done) controller.close();
        else controller.enqueue(copy(value));
      },
    });
    const unpacked = packed.pipeThrough(new DecompressionStream("deflate-raw")).getReader();
    try {
      for (let piece = await unpacked.read(); !piece.done; piece = await unpacked.read()) {
        yield piece.value;
      }
    } finally {
      unpacked.cancel().catch(() => undefined);
    }
  },
};

/**
 * Bytes of a buffer of their own, as the browser's functions take them.
 * @param {Uint8Array} bytes
 */
function copy(bytes) {
  return new Uint8Array(bytes);
}

/**
 * @param {Blob} blob
 * @returns {Source}
 */
function sourceOf(blob) {
  return {
    size: blob.size,
    read: async (start, length) =>
      new Uint8Array(await blob.slice(start, start + length).arrayBuffer()),
  };
}

/** @param {Question} question */
async function judge({ file, older, key }) {
  let shown = 0;
  /** @param {number} part */
  const onProgress = (part) => {
    if (part - shown < SHOWN_STEP) return;
    shown = part;
    tell({ part });
  };
  const known = { older: older && sourceOf(older), key };
  return verify(sourceOf(file), known, { ...TOOLS, onProgress });
}

addEventListener("message", async ({ data }) => {
  try {
    tell({ verdict: await judge(data) });
  } catch (error) {
    const isOld = error instanceof DOMException && error.name === "NotSupportedError";
    tell({ trouble: isOld ? "signatures" : "other" });
  }
});
