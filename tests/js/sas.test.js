import assert from "node:assert/strict";
import { test } from "node:test";

import { Emitter } from "../../static/js/emitter.js";
import { Exchange, commitmentOf, deriveSas, toHex } from "../../static/js/sas.js";
import { Verification } from "../../static/js/verify.js";
import { Leg, ROOM, attack, commitTo, guessSas, numberOf } from "./evil.js";

const SESSIONS = 1000;
const KEYS = { clinician: new Uint8Array(32).fill(0xaa), patient: new Uint8Array(32).fill(0xbb) };
const bytes = (first) => Uint8Array.from({ length: 16 }, (_, place) => first + place);

/** The mutant: nonces are sent at once, nothing binds anybody. */
class Uncommitted extends Emitter {
  #options;
  #nonce = crypto.getRandomValues(new Uint8Array(16));

  constructor(options) {
    super();
    this.#options = options;
    options.send({ step: "reveal", value: toHex(this.#nonce) });
  }

  async receive({ step, value }) {
    if (step !== "reveal" || value.length !== 32) return;
    const { role, room, fingerprints } = this.#options;
    const nonce = Uint8Array.from(Buffer.from(value, "hex"));
    const nonces = { clinician: nonce, patient: nonce, [role]: this.#nonce };
    this.emit("done", await deriveSas(room, nonces, fingerprints));
  }
}

async function assertAllSeen(Side, sessions) {
  const result = await attack(Side, sessions);
  assert.equal(sessions - result.unseen, sessions, `attacks seen, ${JSON.stringify(result)}`);
  return result;
}

// ---- what is computed ------------------------------------------------------------------

test("the protocol computes what another implementation computes", async () => {
  const room = "v1s1t0room000001";
  const nonce = bytes(0);

  const commitment = await commitmentOf({ role: "clinician", room, fingerprint: KEYS.clinician, nonce });
  const sas = await deriveSas(room, { clinician: nonce, patient: bytes(16) }, KEYS);

  assert.equal(toHex(commitment), "4bad7f0370ba7a52ab47a8fb8644a4bdd1a2bbcb878685dcc8a988dcfcb89694");
  assert.deepEqual(sas, [31, 11, 14, 59]);
});

test("the evil node reads the protocol as the pages do", async () => {
  const nonces = { clinician: bytes(3), patient: bytes(90) };

  const own = await deriveSas(ROOM, nonces, KEYS);
  const commitment = await commitmentOf({
    role: "patient",
    room: ROOM,
    fingerprint: KEYS.patient,
    nonce: nonces.patient,
  });

  assert.equal(numberOf(own), guessSas(nonces, KEYS));
  assert.equal(toHex(commitment), commitTo("patient", KEYS.patient, nonces.patient));
});

test("two honest pages see the same four figures, and new ones each time", async () => {
  const seen = new Set();
  for (let round = 0; round < 20; round++) {
    const { clinician, patient } = await talk();
    assert.deepEqual(clinician.figures, patient.figures);
    assert.ok(clinician.figures.every((figure) => figure >= 0 && figure < 64));
    seen.add(numberOf(clinician.figures));
  }
  assert.ok(seen.size > 18);
});

test("nothing is revealed before the other one is bound", async () => {
  const clinician = new Leg(Exchange, "clinician", KEYS);
  await clinician.say("reveal", toHex(bytes(1)));

  assert.deepEqual(clinician.sent.map(({ step }) => step), ["commit"]);
});

// ---- the evil node ---------------------------------------------------------------------

test(`an evil node is seen in ${SESSIONS} of ${SESSIONS} sessions`, async (context) => {
  const result = await assertAllSeen(Exchange, SESSIONS);

  const chance = result.completed / 64;
  assert.ok(result.completed > 200, "attacks that finish on both sides");
  assert.ok(result.firstAlike <= chance + 6 * Math.sqrt(chance), "no better than one blind guess");
  context.diagnostic(
    `${SESSIONS} sessions, ${result.completed} finished on both sides, ${result.unseen} unseen;` +
      ` first figure alike in ${result.firstAlike} (blind guess ${chance.toFixed(1)});` +
      ` chance of one unseen by luck ${(result.completed / 2 ** 24).toExponential(1)}`,
  );
});

test("without commitments the same attacks go unseen", async (context) => {
  const started = Date.now();

  await assert.rejects(() => assertAllSeen(Uncommitted, 22), { code: "ERR_ASSERTION" });

  const { byName } = await attack(Uncommitted, 4, ["grind"]);
  assert.ok(byName.grind >= 1);
  context.diagnostic(`grinding broke ${byName.grind} of 4, all in ${Date.now() - started} ms`);
});

// ---- faults ----------------------------------------------------------------------------

/** Two pages and what a fault does to the messages between them; over when all are taken. */
async function talk({ onMessage = (message) => [message], patientSide = {} } = {}) {
  const [begun, taken] = [[], []];
  const sides = { clinician: { other: "patient" }, patient: { other: "clinician" } };
  const make = (role, changes) => {
    const state = Object.assign(sides[role], { figures: null, isAborted: false });
    begun.push(
      new Promise((resolve) => {
        const send = (message) => {
          const { exchange } = sides[state.other];
          taken.push(...onMessage(message, role).map((each) => exchange.receive(each)));
          resolve();
        };
        const options = { role, room: ROOM, fingerprints: KEYS, send, ...changes };
        state.exchange = new Exchange(options);
      }),
    );
    state.exchange.on("done", (figures) => (state.figures = figures));
    state.exchange.on("aborted", ({ reason }) => (state.isAborted = reason));
  };
  make("clinician", {});
  make("patient", patientSide);
  await Promise.all(begun);
  for (let next = taken.shift(); next; next = taken.shift()) await next;
  return sides;
}

const fromPatient = (change) => ({
  onMessage: (message, role) => (role === "patient" ? change(message) : [message]),
});
const only = (step, change) =>
  fromPatient((message) => (message.step === step ? change(message) : [message]));
const value = (make) => (message) => [{ ...message, value: make(message.value) }];

function flipped(hex) {
  return (parseInt(hex[0], 16) ^ 1).toString(16) + hex.slice(1);
}

/** What a patient's page said in an earlier exchange. */
async function earlier() {
  const said = [];
  await talk(fromPatient((message) => (said.push(message), [message])));
  return said;
}

/** The patient's message is withheld; the clinician's page gets its own one back. */
function reflecting(step) {
  let own = "";
  return {
    onMessage(message, role) {
      if (role === "patient") return message.step === step || step === "commit" ? [] : [message];
      if (message.step === step) own = message.value;
      return [message];
    },
    after: (clinician) => clinician.receive({ step, value: own }),
  };
}

const NOTHING = "00".repeat(16);
const otherKey = (role) => ({ ...KEYS, [role]: KEYS[role].map((byte) => byte ^ 1) });

/** Each with what the clinician's page says of it; "differ": both finish and the figures differ. */
const FAULTS = {
  "a commitment twice": ["repeated", only("commit", (message) => [message, message])],
  "another commitment after the first": [
    "repeated",
    only("commit", (message) => [message, { ...message, value: flipped(message.value) }]),
  ],
  "a nonce twice": ["repeated", only("reveal", (message) => [message, message])],
  "a commitment after the end": [
    "repeated",
    only("reveal", (message) => [message, { step: "commit", value: NOTHING.repeat(2) }]),
  ],
  "a nonce before the commitment": [
    "early",
    only("commit", (message) => [{ step: "reveal", value: NOTHING }, message]),
  ],
  "no commitment at all": ["early", only("commit", () => [{ step: "reveal", value: NOTHING }])],
  "commitment and nonce of an earlier exchange": [
    "differ",
    async () => {
      const [commitment, nonce] = await earlier();
      return fromPatient(({ step }) => [step === "commit" ? commitment : nonce]);
    },
  ],
  "the nonce of an earlier exchange": [
    "unmatched",
    async () => {
      const [, nonce] = await earlier();
      return only("reveal", () => [nonce]);
    },
  ],
  "the own commitment sent back": ["reflected", reflecting("commit")],
  "the own nonce sent back": ["unmatched", reflecting("reveal")],
  "the role of the other side": ["unmatched", { patientSide: { role: "clinician" } }],
  "another room": ["unmatched", { patientSide: { room: "fedcba9876543210" } }],
  "another certificate at the other end": [
    "unmatched",
    { patientSide: { fingerprints: otherKey("patient") } },
  ],
  "another certificate at this end": [
    "differ",
    { patientSide: { fingerprints: otherKey("clinician") } },
  ],
  "certificates the wrong way round": [
    "unmatched",
    { patientSide: { fingerprints: { clinician: KEYS.patient, patient: KEYS.clinician } } },
  ],
  "a changed commitment": ["unmatched", only("commit", value(flipped))],
  "a changed nonce": ["unmatched", only("reveal", value(flipped))],
  "a short nonce": ["malformed", only("reveal", value((hex) => hex.slice(2)))],
  "what is not hexadecimal": ["malformed", only("reveal", value((hex) => `${hex.slice(2)}zz`))],
  "an unknown step": ["malformed", only("reveal", (message) => [{ ...message, step: "rewind" }])],
};

test("there are twenty faults", () => assert.equal(Object.keys(FAULTS).length, 20));

for (const [name, [expected, made]] of Object.entries(FAULTS)) {
  test(`a fault is seen: ${name}`, async () => {
    const fault = typeof made === "function" ? await made() : made;
    const { clinician, patient } = await talk(fault);
    await fault.after?.(clinician.exchange);

    if (expected !== "differ") assert.equal(clinician.isAborted, expected);
    else assert.notDeepEqual(clinician.figures, patient.figures);
  });
}

for (const junk of [null, "commit", 7, [], { step: "commit" }, { step: "commit", value: 1 }]) {
  test(`what is no message ends it: ${JSON.stringify(junk)}`, async () => {
    const { clinician } = await talk();
    await clinician.exchange.receive(junk);

    assert.equal(clinician.isAborted, "malformed");
  });
}
