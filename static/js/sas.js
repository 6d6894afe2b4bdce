// The short authentication string of a call: commit, reveal, derive. Pure protocol over WebCrypto;
// it knows no page, no connection and no clock.
//
// Whoever swaps the certificates of a call ("man in the middle") holds one connection with each
// side. Both sides derive four small numbers from their two nonces and the two certificates they
// really talk over; people compare them by voice. The commitments bind everybody to a nonce before
// anybody has seen another one, so the one in the middle gets exactly one guess of 2^-24 for each
// connection, however much it can compute (without them it would search for two nonces that meet:
// 2^12 tries a side).
//
//   commit  c = SHA-256(fields "tv-sas-1", role, room, own fingerprint, own nonce)
//   reveal  own nonce, only after the other's commitment is held
//   sas     HKDF-SHA256(ikm = nonce of clinician | nonce of patient, salt = SHA-256(room),
//           info = fields "tv-sas-1", fingerprint of clinician, of patient), first 24 bits
//
// "fields" are joined with a length of two bytes before each, so that no two lists read the same.

import { Emitter } from "./emitter.js";

/** @typedef {Exclude<import("./messages.js").Role, "recorder">} Role */
/** @typedef {Uint8Array<ArrayBuffer>} Bytes */
/** @typedef {{step: "commit" | "reveal", value: string}} SasMessage `value` in lower-case hex */
/** @typedef {"malformed" | "repeated" | "early" | "reflected" | "unmatched"} AbortReason */

const TAG = "tv-sas-1";
const NONCE_BYTES = 16;
const HASH_BYTES = 32;
const FIGURES = 4;
const FIGURE_BITS = 6;

/** @param {string} text */
const utf8 = (text) => /** @type {Bytes} */ (new TextEncoder().encode(text));

/** @param {Bytes} bytes */
const sha256 = async (bytes) => new Uint8Array(await crypto.subtle.digest("SHA-256", bytes));

/** @param {Bytes} bytes */
export const toHex = (bytes) =>
  Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");

/**
 * @param {unknown} text
 * @param {number} length in bytes
 * @returns {Bytes | null}
 */
function findBytes(text, length) {
  if (typeof text !== "string" || !/^[0-9a-f]*$/.test(text) || text.length !== 2 * length) return null;
  return Uint8Array.from({ length }, (_, place) => parseInt(text.slice(2 * place, 2 * place + 2), 16));
}

/** @param {Bytes[]} parts */
function join(parts) {
  const whole = new Uint8Array(parts.reduce((sum, { length }) => sum + length, 0));
  let place = 0;
  for (const part of parts) {
    whole.set(part, place);
    place += part.length;
  }
  return whole;
}

/** @param {Bytes[]} parts */
const joinFields = (parts) =>
  join(parts.flatMap((part) => [Uint8Array.of(part.length >> 8, part.length & 255), part]));

/** @param {{role: Role, room: string, fingerprint: Bytes, nonce: Bytes}} secret */
export const commitmentOf = ({ role, room, fingerprint, nonce }) =>
  sha256(joinFields([utf8(TAG), utf8(role), utf8(room), fingerprint, nonce]));

/**
 * @param {string} room
 * @param {Record<Role, Bytes>} nonces
 * @param {Record<Role, Bytes>} fingerprints
 * @returns {Promise<readonly number[]>} four numbers of 0 … 63
 */
export async function deriveSas(room, nonces, fingerprints) {
  const material = join([nonces.clinician, nonces.patient]);
  const key = await crypto.subtle.importKey("raw", material, "HKDF", false, ["deriveBits"]);
  const salt = await sha256(utf8(room));
  const info = joinFields([utf8(TAG), fingerprints.clinician, fingerprints.patient]);
  const length = FIGURES * FIGURE_BITS;
  const bits = await crypto.subtle.deriveBits({ name: "HKDF", hash: "SHA-256", salt, info }, key, length);
  const whole = new Uint8Array(bits).reduce((sum, byte) => sum * 256 + byte, 0);
  return Array.from({ length: FIGURES }, (_, place) => {
    const behind = FIGURE_BITS * (FIGURES - 1 - place);
    return (whole >> behind) & (2 ** FIGURE_BITS - 1);
  });
}

/** Why an exchange ended: what came in is nothing an honest page sends. */
class Abort extends Error {
  /** @param {AbortReason} reason */
  constructor(reason) {
    super(reason);
    this.reason = reason;
  }
}

/**
 * One side of one exchange over one connection. Each message is taken once; anything else ends it
 * for good, also after it was done.
 * @extends {Emitter<{done: readonly number[], aborted: {reason: AbortReason}}>}
 */
export class Exchange extends Emitter {
  #role;
  #room;
  #fingerprints;
  #send;
  #nonce = crypto.getRandomValues(new Uint8Array(NONCE_BYTES));
  #commitment = "";
  #theirCommitment = "";
  #isRevealed = false;
  #isAborted = false;
  #work;

  /**
   * @param {object} options
   * @param {Role} options.role of this side
   * @param {string} options.room
   * @param {Record<Role, Bytes>} options.fingerprints of the certificates in use, as seen here
   * @param {(message: SasMessage) => void} options.send
   */
  constructor({ role, room, fingerprints, send }) {
    super();
    this.#role = role;
    this.#room = room;
    this.#fingerprints = fingerprints;
    this.#send = send;
    this.#work = this.#commit();
  }

  /**
   * @param {unknown} message as the other side sent it
   * @returns {Promise<void>} when it is dealt with
   */
  receive(message) {
    this.#work = this.#work.then(() => this.#take(message)).catch((problem) => this.#abort(problem));
    return this.#work;
  }

  /** @returns {Role} */
  get #theirRole() {
    return this.#role === "patient" ? "clinician" : "patient";
  }

  async #commit() {
    const [role, room, nonce] = [this.#role, this.#room, this.#nonce];
    const commitment = await commitmentOf({ role, room, nonce, fingerprint: this.#fingerprints[role] });
    this.#commitment = toHex(commitment);
    this.#send({ step: "commit", value: this.#commitment });
  }

  /** @param {unknown} message */
  async #take(message) {
    if (this.#isAborted) return undefined;
    const { step, value } = /** @type {Record<string, unknown>} */ (message ?? {});
    if (step === "commit") return this.#hold(findBytes(value, HASH_BYTES));
    if (step === "reveal") return this.#open(findBytes(value, NONCE_BYTES));
    throw new Abort("malformed");
  }

  /** @param {Bytes | null} commitment */
  #hold(commitment) {
    if (!commitment) throw new Abort("malformed");
    if (this.#theirCommitment) throw new Abort("repeated");
    const held = toHex(commitment);
    if (held === this.#commitment) throw new Abort("reflected");
    this.#theirCommitment = held;
    this.#send({ step: "reveal", value: toHex(this.#nonce) });
  }

  /** @param {Bytes | null} nonce */
  async #open(nonce) {
    if (!nonce) throw new Abort("malformed");
    if (!this.#theirCommitment) throw new Abort("early");
    if (this.#isRevealed) throw new Abort("repeated");
    this.#isRevealed = true;
    const [role, room, fingerprints] = [this.#theirRole, this.#room, this.#fingerprints];
    const commitment = await commitmentOf({ role, room, nonce, fingerprint: fingerprints[role] });
    if (toHex(commitment) !== this.#theirCommitment) throw new Abort("unmatched");
    const nonces = { clinician: nonce, patient: nonce, [this.#role]: this.#nonce };
    this.emit("done", await deriveSas(room, nonces, fingerprints));
  }

  /** @param {unknown} problem */
  #abort(problem) {
    if (!(problem instanceof Abort)) throw problem;
    this.#isAborted = true;
    this.emit("aborted", { reason: problem.reason });
  }
}
