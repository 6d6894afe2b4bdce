// Many questions to the verifier in Node: a JSON line in, a JSON line out. tests/nodeverifier.py asks.

import { createInterface } from "node:readline";

import { TOOLS, makeTree, verify } from "../server/tlog/verify.mjs";

const tree = makeTree(TOOLS);
const hash = (text) => Buffer.from(text ?? "", "base64");
const hashes = (texts) => (texts ?? []).map(hash);

const ANSWERS = {
  verify: ({ path, checkpoint, key }) =>
    verify(path, { checkpoint: checkpoint ?? undefined, key: key ?? undefined }),
  included: ({ leaf, index, size, path, root }) =>
    tree.isIncluded(hash(leaf), index, size, hashes(path), hash(root)),
  consistent: ({ first, second, path, firstRoot, secondRoot }) =>
    tree.isConsistent(first, second, hashes(path), hash(firstRoot), hash(secondRoot)),
  signed: ({ key, message, signature }) =>
    TOOLS.isSigned(hash(key), hash(message), hash(signature)),
  roots: ({ leaves, sizes }) => {
    const roots = tree.rootsAt(hash(leaves), sizes);
    return sizes.map((size) => Buffer.from(roots.get(size)).toString("base64"));
  },
};

for await (const line of createInterface({ input: process.stdin })) {
  const { what, ...rest } = JSON.parse(line);
  process.stdout.write(`${JSON.stringify(await ANSWERS[what](rest))}\n`);
}
