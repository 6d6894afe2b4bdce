import assert from "node:assert/strict";
import { createHash, randomBytes } from "node:crypto";
import { test } from "node:test";

import { sha256 } from "../../static/js/sha256.js";

const known = (bytes) => createHash("sha256").update(bytes).digest("hex");
const found = (bytes) => Buffer.from(sha256(bytes)).toString("hex");

test("hashes of all small lengths are those of the library", () => {
  for (let length = 0; length < 300; length += 1) {
    const bytes = new Uint8Array(randomBytes(length));
    assert.equal(found(bytes), known(bytes));
  }
});

test("the example of FIPS 180-4", () => {
  assert.equal(
    found(new TextEncoder().encode("abc")),
    "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad",
  );
});

test("a part of a larger buffer, and a long text", () => {
  const bytes = new Uint8Array(randomBytes(1_000_003));
  assert.equal(found(bytes), known(bytes));
  assert.equal(found(bytes.subarray(77, 5001)), known(bytes.subarray(77, 5001)));
});
