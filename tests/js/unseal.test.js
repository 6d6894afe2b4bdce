import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";
import { test } from "node:test";

import { Refused, unseal } from "./unseal.js";

const vectors = JSON.parse(readFileSync(new URL("../vectors/seal.json", import.meta.url), "utf8"));
const valueOf = Object.fromEntries(vectors.values.map((value) => [value.name, value]));
const bytesOf = (text) => Buffer.from(text, "base64");

const EDITS = {
  flip(sealed, [offset, bit]) {
    sealed[offset] ^= 1 << bit;
    return sealed;
  },
  cut: (sealed, length) => sealed.subarray(0, length),
  append: (sealed, more) => Buffer.concat([sealed, bytesOf(more)]),
  chunks(sealed, order) {
    const start = (number) => 76 + 16400 * number;
    const chunk = (number) => sealed.subarray(start(number), start(number + 1));
    return Buffer.concat([sealed.subarray(0, 76), ...order.map(chunk)]);
  },
};

test("every value opens as what was sealed", () => {
  assert.ok(vectors.values.length >= 10);
  for (const value of vectors.values) {
    const plain = unseal(vectors, value.place, bytesOf(value.sealed));

    assert.equal(plain.length, value.bytes, value.name);
    assert.equal(createHash("sha256").update(plain).digest("hex"), value.sha256, value.name);
    if (value.plaintext !== undefined) assert.deepEqual(plain, bytesOf(value.plaintext));
  }
});

test("every vector of a refusal is refused", () => {
  assert.ok(vectors.refusals.length >= 40);
  for (const refusal of vectors.refusals) {
    const value = valueOf[refusal.of];
    const place = { ...value.place, ...refusal.place };
    let sealed = bytesOf(value.sealed);
    for (const edit of refusal.edits ?? []) {
      for (const [name, argument] of Object.entries(edit)) sealed = EDITS[name](sealed, argument);
    }
    const replaced = refusal.data_keys ?? [];
    const others = vectors.data_keys.filter((row) => !replaced.some(({ id }) => id === row.id));
    const keys = { ...vectors, data_keys: [...others, ...replaced] };

    assert.throws(() => unseal(keys, place, sealed), Refused, refusal.name);
  }
});

test("every single flipped bit of a note is refused", () => {
  const { place, sealed } = valueOf["a note"];
  const whole = bytesOf(sealed);

  for (let bit = 0; bit < whole.length * 8; bit++) {
    const altered = Buffer.from(whole);
    altered[bit >> 3] ^= 1 << (bit & 7);
    assert.throws(() => unseal(vectors, place, altered), Refused, `bit ${bit}`);
  }
});
