import assert from "node:assert/strict";
import { test } from "node:test";

import { Emitter } from "../../static/js/emitter.js";
import { Verification } from "../../static/js/verify.js";

const ROOM = "0123456789abcdef";
const key = (byte) => new Uint8Array(32).fill(byte);

/** What the browser gives: two ends of a data channel, in order, one task later. */
class Channel extends EventTarget {
  readyState = "connecting";
  /** @type {Channel} */ other;

  open() {
    this.readyState = "open";
    this.dispatchEvent(new Event("open"));
  }

  send(data) {
    queueMicrotask(() => this.other.dispatchEvent(new MessageEvent("message", { data })));
  }
}

/** One end of a connection: its channel, and the certificates of its transport. */
class End extends Emitter {
  channel = new Channel();

  constructor(own, peer) {
    super();
    this.certificates = own && { own: key(own), peer: key(peer) };
  }

  async fingerprints() {
    return this.certificates;
  }
}

class Pages {
  clinician = new Verification({ role: "clinician", room: ROOM });
  patient = new Verification({ role: "patient", room: ROOM });

  get standings() {
    return [this.clinician.standing, this.patient.standing];
  }

  /** A new connection; the keys are of (clinician, what she sees; patient, what he sees). */
  async connect([clinician, seen, patient, seenThere] = [1, 2, 2, 1]) {
    const [one, two] = [new End(clinician, seen), new End(patient, seenThere)];
    [one.channel.other, two.channel.other] = [two.channel, one.channel];
    this.clinician.follow(one);
    this.patient.follow(two);
    for (const end of [one, two]) end.emit("channel", end.channel);
    one.channel.open();
    two.channel.open();
    this.ends = [one, two];
    while (this.standings.includes("none")) await this.rest();
  }

  /** What is under way arrives; only an exchange takes longer. */
  rest() {
    return new Promise((resolve) => setTimeout(resolve, 0));
  }

  async verify() {
    this.clinician.tell("ask");
    this.clinician.tell("same");
    await this.rest();
  }
}

async function connected(keys) {
  const pages = new Pages();
  await pages.connect(keys);
  return pages;
}

test("both pages show the same figures, and the badge after the answer", async () => {
  const pages = await connected();
  assert.deepEqual(pages.standings, ["ready", "ready"]);
  assert.deepEqual(pages.clinician.figures, pages.patient.figures);

  await pages.verify();

  assert.deepEqual(pages.standings, ["verified", "verified"]);
});

test("a new connection between the same keys stays verified, with the same figures", async () => {
  const pages = await connected();
  await pages.verify();
  const { figures } = pages.clinician;

  pages.clinician.follow(null);
  assert.equal(pages.clinician.standing, "none");
  await pages.connect();

  assert.deepEqual(pages.standings, ["verified", "verified"]);
  assert.deepEqual(pages.clinician.figures, figures);
});

test("a reload of one page drops the badge on both", async () => {
  const pages = await connected();
  await pages.verify();
  let dropped = 0;
  pages.clinician.on("dropped", () => dropped++);

  pages.patient = new Verification({ role: "patient", room: ROOM });
  await pages.connect([1, 3, 3, 1]);

  assert.deepEqual(pages.standings, ["ready", "ready"]);
  assert.equal(dropped, 1);
});

test("another certificate drops the badge, though the other end says nothing", async () => {
  const pages = await connected();
  await pages.verify();

  const silent = new End(1, 9);
  silent.channel.other = new Channel();
  pages.clinician.follow(silent);
  silent.emit("channel", silent.channel);
  silent.channel.open();
  await pages.rest();

  assert.equal(pages.clinician.standing, "none");
  assert.equal(pages.clinician.figures, null);
});

test("a certificate that changes under a running connection drops the badge", async () => {
  const pages = await connected();
  await pages.verify();

  pages.ends[0].certificates = { own: key(1), peer: key(9) };
  await pages.clinician.check();

  assert.equal(pages.clinician.standing, "failed");
  assert.equal(pages.clinician.figures, null);
});

test("messages handed on between two other connections end in failure on both pages", async () => {
  const pages = await connected([1, 8, 2, 9]);

  assert.deepEqual(pages.standings, ["failed", "failed"]);
});

test("a page that lost its half of the exchange begins anew with the other", async () => {
  const pages = await connected();
  await pages.verify();

  pages.patient = new Verification({ role: "patient", room: ROOM });
  await pages.connect();

  assert.deepEqual(pages.standings, ["ready", "ready"]);
  assert.deepEqual(pages.clinician.figures, pages.patient.figures);
});

test("the patient's page cannot answer for the clinician", async () => {
  const pages = await connected();

  pages.patient.tell("same");
  await pages.rest();

  assert.equal(pages.clinician.standing, "ready");
});

test("an answer before there are figures is not believed", async () => {
  const pages = new Pages();
  const [one, two] = [new End(1, 2), new End(2, 1)];
  [one.channel.other, two.channel.other] = [two.channel, one.channel];
  pages.patient.follow(two);
  two.emit("channel", two.channel);
  two.channel.open();
  one.channel.send(JSON.stringify({ sas: { step: "same" } }));
  await pages.rest();

  assert.equal(pages.patient.standing, "none");
});

test("what an old connection still says is not taken", async () => {
  const pages = await connected();
  const [old] = pages.ends;
  await pages.connect([1, 3, 3, 1]);

  old.channel.send(JSON.stringify({ sas: { step: "reveal", value: "00".repeat(16) } }));
  old.channel.other.send(JSON.stringify({ sas: { step: "commit", value: "00".repeat(32) } }));
  await pages.rest();

  assert.deepEqual(pages.standings, ["ready", "ready"]);
});

test("different figures end it on both pages", async () => {
  const pages = await connected();
  const told = [];
  pages.patient.on("told", (word) => told.push(word));

  pages.clinician.tell("different");
  await pages.rest();

  assert.deepEqual(told, ["different"]);
  assert.deepEqual(pages.standings, ["none", "none"]);
});

test("a browser that does not tell its certificates is said on both pages", async () => {
  const pages = await connected([1, 2, 0, 0]);

  assert.deepEqual(pages.standings, ["unable", "unable"]);
});
