/**
 * A decryptor of sealed values, written from recordings/FORMAT.md alone: node:crypto and nothing of
 * ours. Every failure is the same `Refused`.
 */

import { createDecipheriv, createHmac, timingSafeEqual } from "node:crypto";

const CHUNK = 16384;
const SEALED_CHUNK = 16400;
const TAG = 16;
const HEADER = 20;
const PREFIX = 56;

export class Refused extends Error {}

/**
 * @param {{root_key: string, organisation_keys: object[], data_keys: object[]}} keys
 * @param {object} place
 * @param {Buffer} sealed
 * @returns {Buffer}
 */
export function unseal(keys, place, sealed) {
  try {
    const id = readKeyId(sealed);
    const key = unwrapDataKey(keys, place.organisation, id);
    return openMessage(key, contextOf(place, id), sealed.subarray(HEADER));
  } catch {
    throw new Refused();
  }
}

function readKeyId(sealed) {
  const head = sealed.subarray(0, HEADER).toString("latin1");
  if (head.length !== HEADER || !head.startsWith("TV1\x01")) throw new Refused();
  return head.slice(4);
}

function unwrapDataKey(keys, organisation, id) {
  const row = keys.data_keys.find((one) => one.id === id && one.organisation_id === organisation);
  const above = keys.organisation_keys.find(
    (one) =>
      one.organisation_id === organisation &&
      one.purpose === "kek" &&
      one.version === row.kek_version,
  );
  const root = Buffer.from(keys.root_key, "base64");
  const own = `accanto|organisation-key|${organisation}|kek|${above.version}`;
  const kek = unwrap(root, above.wrapped, own);
  if (checkValue(root) !== above.root_id || checkValue(kek) !== above.check_value) {
    throw new Refused();
  }
  const aad = `accanto|data-key|${organisation}|${row.owner}|${row.id}|${row.kek_version}`;
  return unwrap(kek, row.wrapped, aad);
}

function unwrap(key, wrapped, aad) {
  const bytes = Buffer.from(wrapped, "base64");
  if (bytes.length !== 60) throw new Refused();
  return decrypt(key, bytes.subarray(0, 12), bytes.subarray(12), Buffer.from(aad, "utf8"));
}

function checkValue(key) {
  return createHmac("sha256", key).update("accanto|key-check").digest("hex").slice(0, 16);
}

function contextOf(place, keyId) {
  const fields = [
    "tv1",
    place.organisation,
    place.object_type,
    place.object_id,
    place.field,
    place.visit,
    String(place.version),
    keyId,
  ];
  return Buffer.concat(
    fields.flatMap((field) => {
      const bytes = Buffer.from(field, "utf8");
      const length = Buffer.alloc(4);
      length.writeUInt32BE(bytes.length);
      return [length, bytes];
    }),
  );
}

function openMessage(key, context, message) {
  const rest = (message.length - PREFIX) % SEALED_CHUNK;
  if (message.length < PREFIX + TAG || rest < TAG) throw new Refused();
  const info = Buffer.concat([
    Buffer.from("c2sp.org/chunked-encryption@v1+AEAD_AES_256_GCM\0", "latin1"),
    message.subarray(0, 24),
    context,
  ]);
  const okm = expand(key, info);
  if (!timingSafeEqual(okm.subarray(44, 76), message.subarray(24, PREFIX))) throw new Refused();
  const chunks = [];
  for (let start = PREFIX, number = 0; start < message.length; start += SEALED_CHUNK, number++) {
    const nonce = nonceOf(okm.subarray(32, 44), number);
    chunks.push(decrypt(okm.subarray(0, 32), nonce, message.subarray(start, start + SEALED_CHUNK)));
  }
  if (chunks.at(-1).length >= CHUNK) throw new Refused();
  return Buffer.concat(chunks);
}

function expand(key, info) {
  const first = createHmac("sha512", key).update(info).update("\x01").digest();
  const second = createHmac("sha512", key).update(first).update(info).update("\x02").digest();
  return Buffer.concat([first, second]).subarray(0, 76);
}

function nonceOf(base, number) {
  const nonce = Buffer.from(base);
  for (let place = 11, left = BigInt(number); left > 0n; place--, left >>= 8n) {
    nonce[place] ^= Number(left & 0xffn);
  }
  return nonce;
}

function decrypt(key, nonce, sealed, aad = Buffer.alloc(0)) {
  const decipher = createDecipheriv("aes-256-gcm", key, nonce, { authTagLength: TAG });
  decipher.setAAD(aad);
  decipher.setAuthTag(sealed.subarray(sealed.length - TAG));
  const plain = decipher.update(sealed.subarray(0, sealed.length - TAG));
  return Buffer.concat([plain, decipher.final()]);
}
