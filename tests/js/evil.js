// An evil signaling node for sas.test.js: it has swapped the certificates both ways and stands in
// the middle of a call. It computes with node:crypto, so it is also a second reading of the protocol.

import { createHash, createHmac } from "node:crypto";

export const ROOM = "0123456789abcdef";
const TAG = Buffer.from("tv-sas-1");
/** Tries a side (twice as many at the other) that almost always find two that meet in 24 bits. */
const ENOUGH = 1 << 13;
/** Finds two that meet in one of eight sessions. */
const SOME = 1 << 10;

const sha256 = (bytes) => createHash("sha256").update(bytes).digest();

function fields(...parts) {
  return Buffer.concat(
    parts.flatMap((part) => {
      const length = Buffer.alloc(2);
      length.writeUInt16BE(Buffer.byteLength(part));
      return [length, Buffer.from(part)];
    }),
  );
}

export const commitTo = (role, fingerprint, nonce) =>
  sha256(fields(TAG, role, ROOM, fingerprint, nonce)).toString("hex");

const SALT = sha256(ROOM);

/** The 24 bits as one number; HKDF of RFC 5869 in its two steps. */
export function guessSas(nonces, fingerprints) {
  const material = Buffer.concat([nonces.clinician, nonces.patient]);
  const info = fields(TAG, fingerprints.clinician, fingerprints.patient);
  const key = createHmac("sha256", SALT).update(material).digest();
  return createHmac("sha256", key).update(info).update(Buffer.of(1)).digest().readUIntBE(0, 3);
}

export const numberOf = (figures) => figures.reduce((sum, figure) => sum * 64 + figure, 0);

/** Seeded: the same attacks in every run. */
export function dice(seed) {
  let state = seed >>> 0;
  const next = () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return state;
  };
  const below = (limit) => Math.floor((next() / 2 ** 32) * limit);
  return { below, bytes: (count) => Buffer.from(Array.from({ length: count }, () => below(256))) };
}

/** One honest page as the one in the middle meets it. */
export class Leg {
  sent = [];
  figures = null;
  isAborted = false;

  constructor(Side, role, fingerprints) {
    this.role = role;
    this.fingerprints = fingerprints;
    this.first = new Promise((resolve) => {
      const send = (message) => {
        this.sent.push(message);
        resolve(message);
      };
      this.side = new Side({ role, room: ROOM, fingerprints, send });
    });
    this.side.on("done", (figures) => (this.figures = figures));
    this.side.on("aborted", () => (this.isAborted = true));
  }

  get mine() {
    return this.role === "patient" ? "clinician" : "patient";
  }

  /** Says something in the other one's name. */
  async say(step, value) {
    await this.first;
    await this.side.receive({ step, value });
  }

  commit(nonce) {
    return this.say("commit", commitTo(this.mine, this.fingerprints[this.mine], nonce));
  }

  reveal(nonce) {
    return this.say("reveal", nonce.toString("hex"));
  }

  /** The honest nonce, once it was given away. */
  get nonce() {
    const reveal = this.sent.find(({ step }) => step === "reveal");
    return reveal && Buffer.from(reveal.value, "hex");
  }

  sasWith(nonce) {
    return guessSas({ [this.role]: this.nonce, [this.mine]: nonce }, this.fingerprints);
  }
}

/** Two nonces, one for each leg, that make both pages show the same. */
function searchTwo(clinician, patient, random, tries) {
  const first = new Map();
  for (let count = 0; count < tries; count++) {
    const nonce = random.bytes(16);
    first.set(clinician.sasWith(nonce), nonce);
  }
  for (let count = 0; count < 2 * tries; count++) {
    const nonce = random.bytes(16);
    const fit = first.get(patient.sasWith(nonce));
    if (fit) return [fit, nonce];
  }
  return [random.bytes(16), random.bytes(16)];
}

/** The best of a few nonces for one leg against a wanted result. */
function searchOne(leg, wanted, random) {
  let nonce = random.bytes(16);
  for (let count = 0; count < 128 && leg.sasWith(nonce) !== wanted; count++) nonce = random.bytes(16);
  return nonce;
}

async function finish(leg, nonce) {
  await leg.commit(nonce);
  await leg.reveal(nonce);
}

const wholeOf = (leg) => (leg.figures ? numberOf(leg.figures) : 0);

/** What it can do. Each gets both legs and the dice. */
export const STRATEGIES = {
  /** Waits for every nonce that is given away unasked, then searches for two that meet. */
  async grind(clinician, patient, random) {
    await Promise.all([clinician.first, patient.first]);
    const isOpen = clinician.nonce && patient.nonce;
    const [one, two] = isOpen
      ? searchTwo(clinician, patient, random, ENOUGH)
      : [random.bytes(16), random.bytes(16)];
    if (!isOpen) await Promise.all([clinician.commit(one), patient.commit(two)]);
    await Promise.all([clinician.reveal(one), patient.reveal(two)]);
  },
  async relay(clinician, patient) {
    await Promise.all([clinician.first, patient.first]);
    for (let place = 0; place < 4; place++) {
      const [one, two] = [clinician.sent[place], patient.sent[place]];
      if (two) await clinician.say(two.step, two.value);
      if (one) await patient.say(one.step, one.value);
    }
  },
  async ownNonces(clinician, patient, random) {
    await Promise.all([clinician, patient].map((leg) => finish(leg, random.bytes(16))));
  },
  async sameNonce(clinician, patient, random) {
    const nonce = random.bytes(16);
    await Promise.all([clinician, patient].map((leg) => finish(leg, nonce)));
  },
  /** One leg is held back until the result of the other is known. */
  async oneAfterTheOther(clinician, patient, random) {
    const [first, second] = random.below(2) ? [clinician, patient] : [patient, clinician];
    await finish(first, random.bytes(16));
    const nonce = random.bytes(16);
    await second.commit(nonce);
    await second.reveal(random.below(2) ? nonce : searchOne(second, wholeOf(first), random));
  },
  async revealAnother(clinician, patient, random) {
    await Promise.all([clinician, patient].map((leg) => leg.commit(random.bytes(16))));
    const [one, two] = searchTwo(clinician, patient, random, SOME);
    await Promise.all([clinician.reveal(one), patient.reveal(two)]);
  },
  async commitAgain(clinician, patient, random) {
    await finish(clinician, random.bytes(16));
    await patient.commit(random.bytes(16));
    const nonce = searchOne(patient, wholeOf(clinician), random);
    await patient.commit(nonce);
    await patient.reveal(nonce);
  },
  async revealFirst(clinician, patient, random) {
    await Promise.all([clinician, patient].map((leg) => leg.reveal(random.bytes(16))));
    await Promise.all([clinician, patient].map((leg) => finish(leg, random.bytes(16))));
  },
  async reflect(clinician, patient) {
    for (const leg of [clinician, patient]) {
      const own = await leg.first;
      await leg.say(own.step, own.value);
      for (const { step, value } of leg.sent.slice(1)) await leg.say(step, value);
    }
  },
  /** Borrows one side's commitment to make the other one open first. */
  async borrow(clinician, patient, random) {
    const { step, value } = await patient.first;
    await clinician.say(step, value);
    await patient.commit(random.bytes(16));
    if (patient.nonce) await clinician.reveal(patient.nonce);
    if (clinician.nonce) await patient.reveal(clinician.nonce);
  },
  async mangle(clinician, patient, random) {
    await Promise.all([clinician.first, patient.first]);
    for (let place = 0; place < 2; place++) {
      for (const [from, to] of [[clinician, patient], [patient, clinician]]) {
        const { step, value } = from.sent[place] ?? { step: "reveal", value: "" };
        const at = random.below(value.length + 1);
        await to.say(step, value.slice(0, at) + random.below(16).toString(16) + value.slice(at + 1));
      }
    }
  },
};

/**
 * Runs sessions under attack.
 * @returns what people would have seen
 */
export async function attack(Side, sessions, names = Object.keys(STRATEGIES)) {
  const random = dice(20261126);
  const result = { unseen: 0, completed: 0, firstAlike: 0, byName: {} };
  for (let session = 0; session < sessions; session++) {
    const name = names[session % names.length];
    const keys = [random.bytes(32), random.bytes(32), random.bytes(32)];
    const evil = random.below(2) ? keys[2] : random.bytes(32);
    const clinician = new Leg(Side, "clinician", { clinician: keys[0], patient: keys[2] });
    const patient = new Leg(Side, "patient", { clinician: evil, patient: keys[1] });
    await STRATEGIES[name](clinician, patient, random);
    const isWhole = [clinician, patient].every((leg) => leg.figures && !leg.isAborted);
    if (!isWhole) continue;
    const isUnseen = numberOf(clinician.figures) === numberOf(patient.figures);
    result.completed += 1;
    result.unseen += Number(isUnseen);
    result.firstAlike += Number(clinician.figures[0] === patient.figures[0]);
    result.byName[name] = (result.byName[name] ?? 0) + Number(isUnseen);
  }
  return result;
}
