// Verifies an export of the session log, as FORMAT.md says it. Pure: what reads files, hashes, checks
// signatures and unpacks is handed in, so that it runs in a browser and (verify.mjs) in Node.

/**
 * @typedef {object} Source a file
 * @property {number} size
 * @property {(start: number, length: number) => Promise<Uint8Array>} read
 */
/**
 * @typedef {object} Tools
 * @property {(bytes: Uint8Array) => Uint8Array} sha256
 * @property {(key: Uint8Array, message: Uint8Array, signature: Uint8Array) => Promise<boolean>} isSigned
 * Ed25519
 * @property {(pieces: AsyncIterable<Uint8Array>) => AsyncIterable<Uint8Array>} inflate raw deflate;
 * throws for a stream that is damaged, ends too early, or is followed by anything
 * @property {(part: number) => void} [onProgress] how much of the entries was read, from 0 to 1
 */
/** @typedef {{name: string, packed: Uint8Array}} Signature */
/** @typedef {{origin: string, size: number, root: Uint8Array, body: string, signatures: Signature[]}} Checkpoint */
/** @typedef {{text: string, name: string, hash: Uint8Array, bytes: Uint8Array}} Key */
/** @typedef {{flags: number, method: number, packed: number, full: number, place: number}} Member */
/** @typedef {number | bigint} Place a number that may be forged */
/** @typedef {{numbers: Place[], leaves: Uint8Array, erased: Set<number>, erasures: [number, string][]}} Lines */
/** @typedef {{size: number, path: Uint8Array[]}} Proof */
/** @typedef {{kind: "log" | "visit", key: Key, checkpoints: Checkpoint[], lines: Lines, leaves: Uint8Array, proofs: Map<number, Proof>, growth: Map<number, Uint8Array[]>, badValue: number}} Bundle */

const HASH = 32;
const PIECE = 1 << 20;
const NEWLINE = 10;
const SPACE = 32;
const ERASURE = new TextEncoder().encode('{"action":"log.erased",');
const encoder = new TextEncoder();
const decoder = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

class Malformed extends Error {}

/** What is wrong, as the verdict's line says it. */
class Finding extends Error {}

// Zip files (FORMAT §4)

class Archive {
  #source;
  #tools;
  /** @type {Map<string, Member>} */
  #members = new Map();

  /**
   * @param {Source} source
   * @param {Tools} tools
   */
  constructor(source, tools) {
    this.#source = source;
    this.#tools = tools;
  }

  /** @param {string} name */
  has(name) {
    return this.#members.has(name);
  }

  async open() {
    const { start, count } = await this.#findDirectory();
    const directory = await this.#read(start, this.#source.size - start);
    let at = 0;
    for (let i = 0; i < count; i += 1) {
      const head = view(directory, at, 46);
      const [nameSize, extraSize] = [head.getUint16(28, true), head.getUint16(30, true)];
      const nameAt = at + 46;
      const name = latin(directory.subarray(nameAt, nameAt + nameSize));
      const extra = directory.subarray(nameAt + nameSize, nameAt + nameSize + extraSize);
      if (head.getUint32(0, true) !== 0x02014b50 || this.#members.has(name)) throw new Malformed();
      const sizes = [head.getUint32(24, true), head.getUint32(20, true), head.getUint32(42, true)];
      const [full = 0, packed = 0, place = 0] = widen(extra, sizes);
      const [flags, method] = [head.getUint16(8, true), head.getUint16(10, true)];
      this.#members.set(name, { flags, method, packed, full, place });
      at = nameAt + nameSize + extraSize + head.getUint16(32, true);
    }
  }

  async #findDirectory() {
    const end = view(await this.#read(this.#source.size - 22, 22), 0, 22);
    if (end.getUint32(0, true) !== 0x06054b50 || end.getUint16(20, true)) throw new Malformed();
    const [count, start] = [end.getUint16(10, true), end.getUint32(16, true)];
    if (count !== 0xffff && start !== 0xffffffff) return { start, count };
    const locator = view(await this.#read(this.#source.size - 42, 20), 0, 20);
    if (locator.getUint32(0, true) !== 0x07064b50) throw new Malformed();
    const wide = view(await this.#read(Number(locator.getBigUint64(8, true)), 56), 0, 56);
    if (wide.getUint32(0, true) !== 0x06064b50) throw new Malformed();
    return { start: Number(wide.getBigUint64(48, true)), count: Number(wide.getBigUint64(32, true)) };
  }

  /**
   * @param {number} start
   * @param {number} length
   */
  async #read(start, length) {
    if (start < 0 || length < 0 || start + length > this.#source.size) throw new Malformed();
    return this.#source.read(start, length);
  }

  /**
   * The bytes of one member, unpacked.
   * @param {string} name
   * @returns {AsyncGenerator<Uint8Array, void>}
   */
  async *pieces(name) {
    const member = this.#members.get(name);
    if (!member) throw new Malformed();
    const head = view(await this.#read(member.place, 30), 0, 30);
    const isDeflated = member.method === 8;
    if (head.getUint32(0, true) !== 0x04034b50 || member.flags & 1) throw new Malformed();
    if (!isDeflated && member.method !== 0) throw new Malformed();
    const start = member.place + 30 + head.getUint16(26, true) + head.getUint16(28, true);
    const stored = this.#stored(start, member.packed);
    let left = member.full;
    try {
      for await (const piece of isDeflated ? this.#tools.inflate(stored) : stored) {
        left -= piece.length;
        if (left < 0) break;
        yield piece;
      }
    } catch (error) {
      throw new Malformed(name, { cause: error });
    }
    if (left !== 0) throw new Malformed();
  }

  /**
   * @param {number} start
   * @param {number} length
   */
  async *#stored(start, length) {
    for (let at = 0; at < length; at += PIECE) {
      yield await this.#read(start + at, Math.min(PIECE, length - at));
    }
  }

  /** @param {string} name */
  async read(name) {
    const pieces = [];
    for await (const piece of this.pieces(name)) pieces.push(piece);
    return join(pieces);
  }

  /**
   * @param {string} name
   * @param {(line: Uint8Array, number: number) => void} take
   */
  async eachLine(name, take) {
    let rest = new Uint8Array();
    let [number, done] = [0, 0];
    for await (const piece of this.pieces(name)) {
      const data = rest.length ? join([rest, piece]) : piece;
      let start = 0;
      for (let end; (end = data.indexOf(NEWLINE, start)) >= 0; start = end + 1) {
        take(data.subarray(start, end), number);
        number += 1;
      }
      rest = data.slice(start);
      done += piece.length;
      if (name === "entries.jsonl") {
        this.#tools.onProgress?.(done / (this.#members.get(name)?.full || 1));
      }
    }
    if (rest.length) throw new Malformed();
  }
}

/**
 * @param {Uint8Array} bytes
 * @param {number} at
 * @param {number} length
 */
function view(bytes, at, length) {
  if (at + length > bytes.length) throw new Malformed();
  return new DataView(bytes.buffer, bytes.byteOffset + at, length);
}

/**
 * Sizes and places of large files stand in an extra field (zip64).
 * @param {Uint8Array} extra
 * @param {number[]} sizes
 */
function widen(extra, sizes) {
  let at = 0;
  while (at + 4 <= extra.length) {
    const head = view(extra, at, 4);
    const length = head.getUint16(2, true);
    if (head.getUint16(0, true) === 1) {
      const field = extra.subarray(at + 4, at + 4 + length);
      let taken = 0;
      return sizes.map((size) => {
        if (size !== 0xffffffff) return size;
        taken += 8;
        return Number(view(field, taken - 8, 8).getBigUint64(0, true));
      });
    }
    at += 4 + length;
  }
  return sizes;
}

/** @param {Uint8Array[]} pieces */
function join(pieces) {
  const whole = new Uint8Array(pieces.reduce((sum, piece) => sum + piece.length, 0));
  let at = 0;
  for (const piece of pieces) {
    whole.set(piece, at);
    at += piece.length;
  }
  return whole;
}

/** @param {Uint8Array} bytes */
function latin(bytes) {
  let text = "";
  for (const byte of bytes) text += String.fromCharCode(byte);
  return text;
}

/** @param {Uint8Array} bytes */
function decodeText(bytes) {
  try {
    return decoder.decode(bytes);
  } catch (error) {
    throw new Malformed("", { cause: error });
  }
}

/**
 * @param {Uint8Array} bytes
 * @returns {any}
 */
function parseJson(bytes) {
  try {
    const found = JSON.parse(decodeText(bytes));
    if (hasLoneSurrogate(found)) throw new Malformed();
    return found;
  } catch (error) {
    throw new Malformed("", { cause: error });
  }
}

/**
 * @param {unknown} value
 * @returns {boolean}
 */
function hasLoneSurrogate(value) {
  if (typeof value === "string") return /\p{Surrogate}/u.test(value);
  if (typeof value !== "object" || value === null) return false;
  return Object.entries(value).some((pair) => pair.some(hasLoneSurrogate));
}

/**
 * A flat object with exactly these fields.
 * @param {Uint8Array} line
 * @param {string[]} fields
 */
function parseObject(line, fields) {
  const found = parseJson(line);
  const isObject = typeof found === "object" && found !== null && !Array.isArray(found);
  if (!isObject || Object.keys(found).sort().join() !== [...fields].sort().join()) {
    throw new Malformed();
  }
  return found;
}

/**
 * @param {unknown} value
 * @returns {number}
 */
function whole(value) {
  if (typeof value !== "number" || !Number.isSafeInteger(value) || value < 0) throw new Malformed();
  return value;
}

/**
 * Canonical base64, of so many bytes.
 * @param {unknown} text
 * @param {number} [length]
 */
function decodeBase64(text, length) {
  if (typeof text !== "string" || !/^[A-Za-z0-9+/]*={0,2}$/.test(text)) throw new Malformed();
  let raw;
  try {
    raw = atob(text);
  } catch (error) {
    throw new Malformed("", { cause: error });
  }
  if (btoa(raw) !== text || (length !== undefined && raw.length !== length)) throw new Malformed();
  return Uint8Array.from(raw, (letter) => letter.charCodeAt(0));
}

/**
 * @param {Uint8Array} one
 * @param {Uint8Array | undefined} two
 */
function isEqual(one, two) {
  return two?.length === one.length && isAt(two, 0, one);
}

/**
 * Whether the bytes stand in `all` at this place.
 * @param {Uint8Array} all
 * @param {number} at
 * @param {Uint8Array} bytes
 */
function isAt(all, at, bytes) {
  for (let i = 0; i < bytes.length; i += 1) if (all[at + i] !== bytes[i]) return false;
  return true;
}

// Checkpoints (FORMAT §3)

/**
 * @param {string} text
 * @param {Tools} tools
 * @returns {Key}
 */
function parseKey(text, { sha256 }) {
  const [name = "", hashed = ""] = text.split("+", 2);
  const typed = decodeBase64(text.slice(name.length + hashed.length + 2), 1 + HASH);
  const hash = sha256(join([encoder.encode(`${name}\n`), typed])).slice(0, 4);
  const hex = [...hash].map((byte) => byte.toString(16).padStart(2, "0")).join("");
  if (!name || name.includes(" ") || typed[0] !== 1 || hex !== hashed) throw new Malformed();
  return { text, name, hash, bytes: typed.slice(1) };
}

/**
 * @param {unknown} note
 * @returns {Checkpoint}
 */
function parseNote(note) {
  if (typeof note !== "string" || !note.endsWith("\n")) throw new Malformed();
  const middle = note.lastIndexOf("\n\n");
  const lines = note.slice(0, Math.max(0, middle)).split("\n");
  const [origin = "", size = "", root] = lines;
  const isWell = middle >= 0 && lines.length === 3 && origin;
  if (!isWell || !/^(?:0|[1-9][0-9]{0,14})$/.test(size)) throw new Malformed();
  const signatures = note.slice(middle + 2).split("\n").slice(0, -1).map(parseSignature);
  if (!signatures.length) throw new Malformed();
  const body = note.slice(0, middle + 1);
  return { origin, size: Number(size), root: decodeBase64(root, HASH), body, signatures };
}

/** @param {string} line */
function parseSignature(line) {
  const name = line.slice(2).split(" ", 1)[0] ?? "";
  if (!line.startsWith("— ") || !name) throw new Malformed();
  return { name, packed: decodeBase64(line.slice(name.length + 3)) };
}

/**
 * The first line of this key decides; those of other keys are passed over.
 * @param {Checkpoint} checkpoint
 * @param {Key} key
 * @param {Tools} tools
 */
async function isSignedBy({ body, signatures }, key, tools) {
  const own = signatures.find(
    ({ name, packed }) => name === key.name && isEqual(packed.subarray(0, 4), key.hash),
  );
  if (own?.packed.length !== 68) return false;
  return tools.isSigned(key.bytes, encoder.encode(body), own.packed.subarray(4));
}

// Trees (FORMAT §1)

/**
 * The tree's hashes, with one scratch buffer for what is hashed.
 * @param {Tools} tools
 */
export function makeTree({ sha256 }) {
  const pair = new Uint8Array(1 + 2 * HASH);
  let scratch = new Uint8Array(4096);

  /** @param {Uint8Array} entry */
  function hashLeaf(entry) {
    if (entry.length >= scratch.length) scratch = new Uint8Array(2 * entry.length);
    scratch[0] = 0;
    scratch.set(entry, 1);
    return sha256(scratch.subarray(0, entry.length + 1));
  }

  /**
   * @param {Uint8Array} left
   * @param {Uint8Array} right
   */
  function hashNode(left, right) {
    pair[0] = 1;
    pair.set(left, 1);
    pair.set(right, 1 + HASH);
    return sha256(pair);
  }

  /** @param {Uint8Array[]} subtrees */
  function joined(subtrees) {
    if (!subtrees.length) return sha256(new Uint8Array());
    return subtrees.reduceRight((root, left) => hashNode(left, root));
  }

  /**
   * The roots of the trees over the first so many leaves.
   * @param {Uint8Array} leaves
   * @param {number[]} sizes
   */
  function rootsAt(leaves, sizes) {
    const wanted = new Set(sizes);
    /** @type {Map<number, Uint8Array>} */
    const roots = new Map();
    /** @type {Uint8Array[]} */
    const subtrees = [];
    for (let size = 0; size * HASH <= leaves.length; size += 1) {
      if (size) {
        let root = leaves.subarray(size * HASH - HASH, size * HASH);
        for (let rest = size; rest % 2 === 0; rest /= 2) {
          root = hashNode(/** @type {Uint8Array} */ (subtrees.pop()), root);
        }
        subtrees.push(root);
      }
      if (wanted.has(size)) roots.set(size, joined(subtrees));
    }
    return roots;
  }

  /**
   * RFC 9162 §2.1.3.2.
   * @param {Uint8Array} leaf
   * @param {number} index
   * @param {number} size
   * @param {Uint8Array[]} path
   * @param {Uint8Array} root
   */
  function isIncluded(leaf, index, size, path, root) {
    let [place, last, found] = [index, size - 1, leaf];
    for (const step of path) {
      if (last <= 0) return false;
      if (place % 2 || place === last) {
        found = hashNode(step, found);
        while (place % 2 === 0 && place) [place, last] = [half(place), half(last)];
      } else {
        found = hashNode(found, step);
      }
      [place, last] = [half(place), half(last)];
    }
    const isThere = index >= 0 && index < size && last === 0;
    return isThere && root.length === HASH && isEqual(found, root);
  }

  /**
   * RFC 9162 §2.1.4.2; nothing is shown of an empty tree.
   * @param {number} first
   * @param {number} second
   * @param {Uint8Array[]} path
   * @param {Uint8Array} firstRoot
   * @param {Uint8Array} secondRoot
   */
  function isConsistent(first, second, path, firstRoot, secondRoot) {
    if (first === second) return first > 0 && !path.length && isEqual(firstRoot, secondRoot);
    if (first <= 0 || first > second || !path.length) return false;
    let [place, last] = [first - 1, second - 1];
    while (place % 2) [place, last] = [half(place), half(last)];
    const steps = place === 0 ? [firstRoot, ...path] : path;
    const start = /** @type {Uint8Array} */ (steps[0]);
    let [older, newer] = [start, start];
    for (const step of steps.slice(1)) {
      if (last === 0) return false;
      if (place % 2 || place === last) {
        [older, newer] = [hashNode(step, older), hashNode(step, newer)];
        while (place % 2 === 0 && place) [place, last] = [half(place), half(last)];
      } else {
        newer = hashNode(newer, step);
      }
      [place, last] = [half(place), half(last)];
    }
    return last === 0 && isEqual(older, firstRoot) && isEqual(newer, secondRoot);
  }

  return { hashLeaf, rootsAt, isIncluded, isConsistent };
}

/** @param {number} number */
const half = (number) => Math.floor(number / 2);

// An export (FORMAT §4)

/**
 * @param {Archive} archive
 * @param {Tools} tools
 * @returns {Promise<Bundle>}
 */
async function readBundle(archive, tools) {
  const manifest = parseJson(await archive.read("manifest.json"));
  const isObject = typeof manifest === "object" && manifest !== null && !Array.isArray(manifest);
  const isFlat = isObject && Object.values(manifest).every((value) => typeof value !== "object" || value === null);
  if (!isFlat || manifest.format !== "accanto-log-1") throw new Malformed();
  const { kind, origin } = manifest;
  const key = parseKey(decodeText(await archive.read("log.vkey")).replace(/\n$/, ""), tools);
  if ((kind !== "log" && kind !== "visit") || origin !== key.name) throw new Malformed();
  const isLog = kind === "log";
  const leaves = isLog ? await archive.read("leaves.bin") : new Uint8Array();
  if (leaves.length % HASH) throw new Malformed();
  /** @type {Checkpoint[]} */
  const checkpoints = [];
  await archive.eachLine("checkpoints.jsonl", (line) => checkpoints.push(parseNote(parseJson(line))));
  const lines = await readLines(archive, makeTree(tools).hashLeaf);
  const proofs = isLog ? new Map() : await readProofs(archive);
  const growth = isLog ? new Map() : await readGrowth(archive);
  const badValue = await findBadValue(archive, tools);
  return { kind, key, checkpoints, lines, leaves, proofs, growth, badValue };
}

/**
 * @param {Archive} archive
 * @param {(entry: Uint8Array) => Uint8Array} hashLeaf
 * @returns {Promise<Lines>}
 */
async function readLines(archive, hashLeaf) {
  /** @type {Lines} */
  const lines = { numbers: [], leaves: new Uint8Array(1024 * HASH), erased: new Set(), erasures: [] };
  await archive.eachLine("entries.jsonl", (content, line) => {
    const space = content.indexOf(SPACE);
    if (space < 0) throw new Malformed();
    lines.numbers.push(parseNumber(content.subarray(0, space)));
    const text = content.subarray(space + 1);
    if ((line + 1) * HASH > lines.leaves.length) {
      const wider = new Uint8Array(2 * lines.leaves.length);
      wider.set(lines.leaves);
      lines.leaves = wider;
    }
    lines.leaves.set(hashLeaf(text), line * HASH);
    if (!text.length) lines.erased.add(line);
    if (text.length >= ERASURE.length && isAt(text, 0, ERASURE)) {
      const found = /"places":"([0-9,-]*)"/.exec(latin(text));
      if (found?.[1] !== undefined) lines.erasures.push([line, found[1]]);
    }
  });
  lines.leaves = lines.leaves.subarray(0, lines.numbers.length * HASH);
  return lines;
}

/**
 * @param {Uint8Array} bytes
 * @returns {Place}
 */
function parseNumber(bytes) {
  const text = latin(bytes);
  if (!/^(?:0|-?[1-9][0-9]{0,18})$/.test(text)) throw new Malformed();
  return Number.isSafeInteger(Number(text)) ? Number(text) : BigInt(text);
}

/** @param {Archive} archive */
async function readProofs(archive) {
  /** @type {Map<number, Proof>} */
  const proofs = new Map();
  await archive.eachLine("proofs.jsonl", (line) => {
    const { seq, size, path } = parseObject(line, ["seq", "size", "path"]);
    if (proofs.has(whole(seq))) throw new Malformed();
    proofs.set(seq, { size: whole(size), path: parsePath(path) });
  });
  return proofs;
}

/** @param {Archive} archive */
async function readGrowth(archive) {
  /** @type {Map<number, Uint8Array[]>} */
  const growth = new Map();
  if (!archive.has("consistency.jsonl")) return growth;
  await archive.eachLine("consistency.jsonl", (line) => {
    const { size, path } = parseObject(line, ["size", "path"]);
    if (growth.has(whole(size))) throw new Malformed();
    growth.set(size, parsePath(path));
  });
  return growth;
}

/** @param {unknown} value */
function parsePath(value) {
  if (!Array.isArray(value)) throw new Malformed();
  return value.map((step) => decodeBase64(step, HASH));
}

/**
 * The line of the first value that is not of its digest, or -1.
 * @param {Archive} archive
 * @param {Tools} tools
 */
async function findBadValue(archive, { sha256 }) {
  let bad = -1;
  if (!archive.has("values.jsonl")) return bad;
  await archive.eachLine("values.jsonl", (line, number) => {
    const { digest, salt, value } = parseObject(line, ["digest", "salt", "value"]);
    const [wanted, random] = [decodeBase64(digest, HASH), decodeBase64(salt, 16)];
    if (typeof value !== "string") throw new Malformed();
    const found = sha256(join([random, encoder.encode(value)]));
    if (bad < 0 && !isEqual(found, wanted)) bad = number;
  });
  return bad;
}

// Verification (FORMAT §5)

/**
 * The verdict on an export.
 * @param {Source} source
 * @param {{older?: Source | undefined, key?: string | undefined}} known an older signed note or export;
 * the public key as it is known from elsewhere
 * @param {Tools} tools
 */
export async function verify(source, { older, key }, tools) {
  try {
    const bundle = await openBundle(source, tools);
    if (key !== undefined && key.replace(/^[ \t\r\n]+|[ \t\r\n]+$/g, "") !== bundle.key.text) {
      throw new Finding("bundle: other key");
    }
    await checkCheckpoints(bundle, tools);
    const old = older && (await loadOlder(older, bundle, tools));
    const good = bundle.kind === "log" ? checkLog(bundle, old, tools) : checkVisit(bundle, old, tools);
    return bundle.badValue < 0 ? good : `value ${bundle.badValue}: edited`;
  } catch (error) {
    if (error instanceof Finding) return error.message;
    throw error;
  }
}

/**
 * @param {Source} source
 * @param {Tools} tools
 */
async function openBundle(source, tools) {
  try {
    const archive = new Archive(source, tools);
    await archive.open();
    return await readBundle(archive, tools);
  } catch (error) {
    if (error instanceof Malformed) throw new Finding("bundle: malformed");
    throw error;
  }
}

/**
 * @param {Bundle} bundle
 * @param {Tools} tools
 */
async function checkCheckpoints({ checkpoints, key }, tools) {
  let [size, root] = [0, tools.sha256(new Uint8Array())];
  for (const one of checkpoints) {
    if (!(await isSignedBy(one, key, tools))) throw new Finding(`checkpoint ${one.size}: bad signature`);
    if (one.origin !== key.name) throw new Finding(`checkpoint ${one.size}: other origin`);
    if (one.size < size || (one.size === size && !isEqual(one.root, root))) {
      throw new Finding(`checkpoint ${one.size}: forked`);
    }
    ({ size, root } = one);
  }
  if (!checkpoints.length) throw new Finding("bundle: no checkpoint");
}

/**
 * The older checkpoint, signed and not larger than the newest one.
 * @param {Source} source
 * @param {Bundle} bundle
 * @param {Tools} tools
 */
async function loadOlder(source, bundle, tools) {
  const old = await readOlder(source, tools).catch((error) => {
    if (error instanceof Malformed) throw new Finding("old checkpoint: malformed");
    throw error;
  });
  if (!(await isSignedBy(old, bundle.key, tools))) throw new Finding("old checkpoint: bad signature");
  if (old.origin !== bundle.key.name) throw new Finding("old checkpoint: other origin");
  if (old.size > newestOf(bundle).size) throw new Finding("old checkpoint: rolled back");
  const same = bundle.checkpoints.filter(({ size }) => size === old.size).map(({ root }) => root);
  if (old.size === 0) same.push(tools.sha256(new Uint8Array()));
  if (same.some((root) => !isEqual(root, old.root))) throw new Finding("old checkpoint: forked");
  return old;
}

/**
 * @param {Source} source
 * @param {Tools} tools
 */
async function readOlder(source, tools) {
  const mark = await source.read(0, Math.min(2, source.size));
  if (latin(mark) !== "PK") return parseNote(decodeText(await source.read(0, source.size)));
  const archive = new Archive(source, tools);
  await archive.open();
  let last = new Uint8Array();
  await archive.eachLine("checkpoints.jsonl", (line) => (last = line.slice()));
  return parseNote(parseJson(last));
}

/** @param {Bundle} bundle */
function newestOf({ checkpoints }) {
  return /** @type {Checkpoint} */ (checkpoints.at(-1));
}

/**
 * @param {Bundle} bundle
 * @param {Checkpoint | undefined} old
 * @param {Tools} tools
 */
function checkLog(bundle, old, tools) {
  const { lines, checkpoints } = bundle;
  const newest = newestOf(bundle);
  const known = old ? [...checkpoints, old] : checkpoints;
  const { rootsAt } = makeTree(tools);
  let { leaves } = bundle;
  const isLong = leaves.length === newest.size * HASH;
  const roots = isLong ? rootsAt(leaves, known.map(({ size }) => size)) : new Map();
  if (isEqual(newest.root, roots.get(newest.size))) {
    for (const one of known) {
      if (!isEqual(one.root, roots.get(one.size))) throw new Finding(`${nameOf(one, old)}: forked`);
    }
  } else {
    leaves = proveRanges(lines, leaves, known, rootsAt);
  }
  checkEntries(lines, leaves, newest.size);
  const newer = lines.numbers.length - newest.size;
  return (
    `OK: ${newest.size} entries of ${newest.origin}, signed; ${lines.erased.size} erased; ` +
    `${newer} newer entries cannot be proved yet`
  );
}

/**
 * @param {Checkpoint} one
 * @param {Checkpoint | undefined} old
 */
function nameOf(one, old) {
  return one === old ? "old checkpoint" : `checkpoint ${one.size}`;
}

/**
 * Leaves from the entries, where the kept ones are not those of the newest checkpoint; they stand in
 * for what was erased.
 * @param {Lines} lines
 * @param {Uint8Array} kept
 * @param {Checkpoint[]} known
 * @param {(leaves: Uint8Array, sizes: number[]) => Map<number, Uint8Array>} rootsAt
 */
function proveRanges({ numbers, leaves, erased }, kept, known, rootsAt) {
  numbers.forEach(checkNumber);
  const made = leaves.slice();
  for (const place of erased) {
    const [start, end] = [place * HASH, place * HASH + HASH];
    if (kept.length >= end) made.set(kept.subarray(start, end), start);
    else made.fill(0, start, end);
  }
  const roots = rootsAt(made, known.map(({ size }) => size));
  let start = 0;
  for (const one of [...known].sort((a, b) => a.size - b.size)) {
    if (one.size > numbers.length) throw new Finding(`entry ${numbers.length}: missing`);
    if (!isEqual(one.root, roots.get(one.size))) {
      throw new Finding(`entries ${start}-${one.size - 1}: altered`);
    }
    start = one.size;
  }
  return made;
}

/**
 * @param {Lines} lines
 * @param {Uint8Array} leaves
 * @param {number} size
 */
function checkEntries(lines, leaves, size) {
  const { numbers, erased } = lines;
  const covered = cover(lines, leaves, size);
  numbers.forEach((number, place) => {
    checkNumber(number, place);
    if (erased.has(place)) {
      if (!covered[place]) throw new Finding(`entry ${place}: erased without a record`);
    } else if (place < size && !isAt(leaves, place * HASH, leafOf(lines, place))) {
      throw new Finding(`entry ${place}: ${judgeContent(lines, leaves, size, place)}`);
    }
  });
  if (numbers.length < size) throw new Finding(`entry ${numbers.length}: missing`);
}

/**
 * @param {Lines} lines
 * @param {number} line
 */
function leafOf({ leaves }, line) {
  return leaves.subarray(line * HASH, line * HASH + HASH);
}

/**
 * @param {Place} number
 * @param {number} place
 */
function checkNumber(number, place) {
  if (number > place) throw new Finding(`entry ${place}: missing`);
  if (number < 0) throw new Finding(`entry ${place}: inserted`);
  if (number < place) throw new Finding(`entry ${number}: duplicated`);
}

/**
 * @param {Lines} lines
 * @param {Uint8Array} leaves
 * @param {number} size
 * @param {number} place
 */
function judgeContent(lines, leaves, size, place) {
  const found = leafOf(lines, place);
  const next = leafOf(lines, place + 1);
  const isNext = next.length > 0 && isAt(leaves, place * HASH, next);
  let at = 0;
  while (at < size && !isAt(leaves, at * HASH, found)) at += 1;
  if (at === size) return isNext ? "inserted" : "edited";
  if (at < place) return "duplicated";
  const isGap = place + 1 < size && isAt(leaves, (place + 1) * HASH, found);
  return isGap && !isNext ? "missing" : "reordered";
}

/**
 * Which places signed records of erasure name: 1, else 0.
 * @param {Lines} lines
 * @param {Uint8Array} leaves
 * @param {number} size
 */
function cover(lines, leaves, size) {
  const covered = new Uint8Array(lines.numbers.length);
  for (const [line, places] of lines.erasures) {
    const own = Number(lines.numbers[line]);
    if (own < 0 || own >= size || !isAt(leaves, own * HASH, leafOf(lines, line))) continue;
    for (const part of places.split(",")) {
      const range = /^([0-9]+)(?:-([0-9]*))?$/.exec(part);
      if (!range || part.length >= 40) continue;
      const end = Math.min(Number(range[2] || range[1]) + 1, own, covered.length);
      if (Number(range[1]) < end) covered.fill(1, Number(range[1]), end);
    }
  }
  return covered;
}

/**
 * @param {Bundle} bundle
 * @param {Checkpoint | undefined} old
 * @param {Tools} tools
 */
function checkVisit(bundle, old, tools) {
  const { lines, proofs } = bundle;
  const newest = newestOf(bundle);
  const { isIncluded } = makeTree(tools);
  checkGrowth(bundle, old, tools);
  /** @type {Place} */
  let last = -1;
  lines.numbers.forEach((number, line) => {
    if (number < last) throw new Finding(`entry ${number}: reordered`);
    if (number === last) throw new Finding(`entry ${number}: duplicated`);
    last = number;
    if (lines.erased.has(line)) throw new Finding(`entry ${number}: erased without a record`);
    const proof = typeof number === "number" ? proofs.get(number) : undefined;
    if (!proof) throw new Finding(`entry ${number}: missing`);
    const isRight =
      proof.size === newest.size &&
      isIncluded(leafOf(lines, line), Number(number), proof.size, proof.path, newest.root);
    if (!isRight) throw new Finding(`entry ${number}: edited`);
  });
  const shown = new Set(lines.numbers);
  for (const number of proofs.keys()) {
    if (!shown.has(number)) throw new Finding(`entry ${number}: missing`);
  }
  return `OK: ${lines.numbers.length} entries of ${newest.origin}, proved in a log of ${newest.size}`;
}

/**
 * @param {Bundle} bundle
 * @param {Checkpoint | undefined} old
 * @param {Tools} tools
 */
function checkGrowth({ checkpoints, growth }, old, tools) {
  const { isConsistent } = makeTree(tools);
  const newest = /** @type {Checkpoint} */ (checkpoints.at(-1));
  for (const one of old ? [...checkpoints, old] : checkpoints) {
    if (one === old && one.size === newest.size) continue;
    const path = growth.get(one.size);
    if (!path && one === old) throw new Finding("old checkpoint: needs the whole log");
    if (path && !isConsistent(one.size, newest.size, path, one.root, newest.root)) {
      throw new Finding(`${nameOf(one, old)}: forked`);
    }
  }
}
