// SHA-256 (FIPS 180-4) that answers at once: the browser's own answers later, one at a time, which is
// minutes for a million entries of a log. For public data: it takes no care of timing.

const BLOCK = 64;

/** The first 32 bits of the fractional parts of a root of the first primes. */
const { START, ROUNDS } = makeConstants();
const words = new Int32Array(BLOCK);
const last = new Uint8Array(2 * BLOCK);

function makeConstants() {
  /** @type {number[]} */
  const primes = [];
  for (let n = 2; primes.length < BLOCK; n += 1) {
    if (primes.every((prime) => n % prime)) primes.push(n);
  }
  /** @param {number} root */
  const fraction = (root) => Math.floor((root - Math.floor(root)) * 2 ** 32) | 0;
  return {
    START: Int32Array.from(primes.slice(0, 8), (prime) => fraction(Math.sqrt(prime))),
    ROUNDS: Int32Array.from(primes, (prime) => fraction(Math.cbrt(prime))),
  };
}

/** @param {Uint8Array} bytes */
export function sha256(bytes) {
  const state = START.slice();
  const rest = bytes.length % BLOCK;
  for (let at = 0; at + BLOCK <= bytes.length; at += BLOCK) mix(state, bytes, at);
  const end = rest < BLOCK - 8 ? BLOCK : 2 * BLOCK;
  last.fill(0);
  last.set(bytes.subarray(bytes.length - rest));
  last[rest] = 0x80;
  const tail = new DataView(last.buffer);
  tail.setUint32(end - 8, Math.floor(bytes.length / 2 ** 29));
  tail.setUint32(end - 4, (bytes.length % 2 ** 29) * 8);
  for (let at = 0; at < end; at += BLOCK) mix(state, last, at);
  const digest = new Uint8Array(32);
  const view = new DataView(digest.buffer);
  state.forEach((word, i) => view.setInt32(4 * i, word));
  return digest;
}

/**
 * @param {Int32Array} state
 * @param {Uint8Array} bytes
 * @param {number} at
 */
function mix(state, bytes, at) {
  expand(bytes, at);
  let a = at32(state, 0);
  let b = at32(state, 1);
  let c = at32(state, 2);
  let d = at32(state, 3);
  let e = at32(state, 4);
  let f = at32(state, 5);
  let g = at32(state, 6);
  let h = at32(state, 7);
  for (let i = 0; i < BLOCK; i += 1) {
    const high = (turn(e, 6) ^ turn(e, 11) ^ turn(e, 25)) + ((e & f) ^ (~e & g));
    const one = (h + high + at32(ROUNDS, i) + at32(words, i)) | 0;
    const two = ((turn(a, 2) ^ turn(a, 13) ^ turn(a, 22)) + ((a & b) ^ (a & c) ^ (b & c))) | 0;
    h = g;
    g = f;
    f = e;
    e = (d + one) | 0;
    d = c;
    c = b;
    b = a;
    a = (one + two) | 0;
  }
  state[0] = at32(state, 0) + a;
  state[1] = at32(state, 1) + b;
  state[2] = at32(state, 2) + c;
  state[3] = at32(state, 3) + d;
  state[4] = at32(state, 4) + e;
  state[5] = at32(state, 5) + f;
  state[6] = at32(state, 6) + g;
  state[7] = at32(state, 7) + h;
}

/**
 * The words of one block.
 * @param {Uint8Array} bytes
 * @param {number} at
 */
function expand(bytes, at) {
  const view = new DataView(bytes.buffer, bytes.byteOffset + at, BLOCK);
  for (let i = 0; i < 16; i += 1) words[i] = view.getInt32(4 * i);
  for (let i = 16; i < BLOCK; i += 1) {
    const near = at32(words, i - 2);
    const far = at32(words, i - 15);
    const one = turn(near, 17) ^ turn(near, 19) ^ (near >>> 10);
    const two = turn(far, 7) ^ turn(far, 18) ^ (far >>> 3);
    words[i] = one + at32(words, i - 7) + two + at32(words, i - 16);
  }
}

/**
 * @param {Int32Array} list
 * @param {number} i
 */
function at32(list, i) {
  return /** @type {number} */ (list[i]);
}

/**
 * @param {number} word
 * @param {number} bits
 */
function turn(word, bits) {
  return (word >>> bits) | (word << (32 - bits));
}
