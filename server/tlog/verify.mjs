// Verifies an export of the session log: node verify.mjs FILE.zip [--checkpoint OLD] [--key K]
//
// It prints one line; the exit status is 0 when that begins with OK, 1 when it does not, 2 when a file
// cannot be opened. Node 20 or later with nothing else; what to check is in log-verifier.js beside it.

import { createHash, createPublicKey, verify as verifySignature } from "node:crypto";
import { existsSync, readFileSync, realpathSync } from "node:fs";
import { open } from "node:fs/promises";
import { Readable, pipeline } from "node:stream";
import { pathToFileURL } from "node:url";
import { parseArgs } from "node:util";
import { createInflateRaw } from "node:zlib";

const SPKI_OF_ED25519 = Buffer.from("302a300506032b6570032100", "hex");

/** In an export no package.json says that the file is a module: it is one as a data address. */
async function loadVerifier() {
  const beside = new URL("./log-verifier.js", import.meta.url);
  if (!existsSync(beside)) return import("../../static/js/log-verifier.js");
  const text = readFileSync(beside).toString("base64");
  return import(`data:text/javascript;base64,${text}`);
}

const core = await loadVerifier();
export const { makeTree } = core;

/** @type {import("../../static/js/log-verifier.js").Tools} */
export const TOOLS = {
  sha256: (bytes) => createHash("sha256").update(bytes).digest(),

  async isSigned(key, message, signature) {
    const spki = Buffer.concat([SPKI_OF_ED25519, key]);
    const publicKey = createPublicKey({ key: spki, format: "der", type: "spki" });
    return verifySignature(null, message, publicKey, signature);
  },

  async *inflate(pieces) {
    const unpacker = createInflateRaw();
    let given = 0;
    const count = async function* () {
      for await (const piece of pieces) {
        given += piece.length;
        yield piece;
      }
    };
    pipeline(Readable.from(count()), unpacker, () => undefined);
    yield* unpacker;
    if (unpacker.bytesWritten !== given) throw new Error("something follows the stream");
  },
};

/**
 * The verdict on the export at `path`.
 * @param {string} path
 * @param {{checkpoint?: string, key?: string}} [known] path of an older note or export; a public key
 * @returns {Promise<string>}
 */
export async function verify(path, { checkpoint, key } = {}) {
  const files = [];
  try {
    for (const name of checkpoint === undefined ? [path] : [path, checkpoint]) {
      files.push(await open(name));
    }
    const [source, older] = await Promise.all(files.map(sourceOf));
    return await core.verify(source, { older, key }, TOOLS);
  } finally {
    for (const file of files) await file.close();
  }
}

/** @param {import("node:fs/promises").FileHandle} file */
async function sourceOf(file) {
  const { size } = await file.stat();
  return {
    size,
    /** @type {(start: number, length: number) => Promise<Uint8Array>} */
    read: async (start, length) => {
      const { bytesRead, buffer } = await file.read(new Uint8Array(length), 0, length, start);
      if (bytesRead !== length) throw new Error("the file became shorter");
      return buffer;
    },
  };
}

async function main() {
  const { values, positionals } = parseArgs({
    allowPositionals: true,
    options: { checkpoint: { type: "string" }, key: { type: "string" } },
  });
  const [path] = positionals;
  if (path === undefined || positionals.length > 1) {
    process.stderr.write("usage: node verify.mjs FILE.zip [--checkpoint OLD] [--key K]\n");
    return 2;
  }
  try {
    const verdict = await verify(path, values);
    process.stdout.write(`${verdict}\n`);
    return verdict.startsWith("OK") ? 0 : 1;
  } catch (error) {
    if (!error.code) throw error;
    process.stderr.write(`${error.message}\n`);
    return 2;
  }
}

if (process.argv[1] && import.meta.url === pathToFileURL(realpathSync(process.argv[1])).href) {
  process.exitCode = await main();
}
