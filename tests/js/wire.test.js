import assert from "node:assert/strict";
import { afterEach, beforeEach, mock, test } from "node:test";

import { Wire, socketUrl } from "../../static/js/wire.js";

/** The network, as the browser shows it: a socket the test opens, feeds and kills. */
class Socket extends EventTarget {
  static opened = [];
  readyState = 0;
  sent = [];
  isClosed = false;

  constructor(url) {
    super();
    this.url = url;
    Socket.opened.push(this);
  }

  send(text) {
    this.sent.push(JSON.parse(text));
  }

  close() {
    this.isClosed = true;
  }

  async open() {
    this.readyState = 1;
    this.dispatchEvent(new Event("open"));
    await settle();
  }

  say(frame) {
    this.dispatchEvent(Object.assign(new Event("message"), { data: JSON.stringify(frame) }));
  }

  die(wasClean = false) {
    this.readyState = 3;
    this.dispatchEvent(Object.assign(new Event("close"), { wasClean }));
  }

  get acts() {
    return this.sent.filter((frame) => "cseq" in frame);
  }
}

const settle = async () => {
  for (let turn = 0; turn < 5; turn += 1) await Promise.resolve();
};
const last = () => Socket.opened.at(-1);
const welcome = (changes = {}) => ({
  type: "welcome",
  epoch: "e1",
  seq: 5,
  cseq: 0,
  resume: "r1",
  resumed: false,
  participants: [],
  ...changes,
});
const admit = { type: "admit", participant: "p1" };
const offer = { type: "offer", to: "p1", generation: 1, payload: {} };

/** A network in which nothing answers. */
const unreachable = () => new Promise(() => undefined);

/** @returns {Promise<{wire: Wire, seen: object[]}>} */
async function joined({ fetchTicket = async () => "t1", reach = unreachable } = {}) {
  const wire = new Wire({ url: "ws://host/ws", fetchTicket, Socket, reach });
  const seen = [];
  for (const name of ["welcome", "event", "up", "down", "stopped", "refused"]) {
    wire.on(name, (detail) => seen.push([name, detail]));
  }
  wire.start();
  await last().open();
  last().say(welcome());
  return { wire, seen };
}

async function resumed(changes = {}) {
  mock.timers.tick(250);
  await last().open();
  last().say(welcome({ resumed: true, ...changes }));
}

beforeEach(() => {
  Socket.opened = [];
  mock.timers.enable({ apis: ["setTimeout", "setInterval", "Date"], now: 1_000_000 });
});

afterEach(() => mock.timers.reset());

test("the socket is on the page's own host and as safe as the page", () => {
  assert.equal(socketUrl({ protocol: "https:", host: "a.it" }), "wss://a.it/ws");
  assert.equal(socketUrl({ protocol: "http:", host: "a:1" }), "ws://a:1/ws");
});

test("a join shows its ticket", async () => {
  await joined();

  assert.deepEqual(last().sent, [{ type: "hello", versions: [1], ticket: "t1" }]);
});

test("events pass in order and never twice", async () => {
  const { seen } = await joined();

  for (const seq of [5, 6, 6, 7]) last().say({ type: "late", seq, minutes: seq });

  const events = seen.filter(([name]) => name === "event").map(([, event]) => event.seq);
  assert.deepEqual(events, [6, 7]);
});

test("a lost socket is resumed after 250 ms from the last event, and unacknowledged frames are resent", async () => {
  const { wire } = await joined();
  wire.send(admit);
  wire.send(offer);
  last().say({ type: "late", seq: 6, minutes: 5 });
  last().die();
  wire.send({ type: "set_media", microphone: true, camera: false, screen: false });

  await resumed({ cseq: 1 });

  const [hello, ...rest] = last().sent;
  assert.deepEqual(hello, { type: "hello", versions: [1], resume: "r1", epoch: "e1", seq: 6 });
  assert.deepEqual(rest.map(({ type, cseq }) => [type, cseq]), [["offer", 2], ["set_media", 3]]);
});

test("acknowledged frames are not resent", async () => {
  const { wire } = await joined();
  wire.send(admit);
  last().say({ type: "ack", cseq: 1 });
  last().die();

  await resumed({ cseq: 1 });

  assert.deepEqual(last().acts, []);
});

test("a refused frame is reported and not resent", async () => {
  const { wire, seen } = await joined();
  wire.send(offer);
  last().say({ type: "error", code: "stale_generation", cseq: 1 });
  last().die();

  await resumed();

  assert.deepEqual(seen.find(([name]) => name === "refused")?.[1], { code: "stale_generation" });
  assert.deepEqual(last().acts, []);
});

test("a fresh join keeps what a person did and drops the signals of the old page", async () => {
  const { wire } = await joined();
  wire.send(offer);
  wire.send(admit);
  last().say({ type: "bye", reason: "unknown_epoch", action: "reconnect" });

  mock.timers.tick(250);
  await last().open();
  last().say(welcome({ epoch: "e2", seq: 1, cseq: 7 }));

  assert.equal(last().sent[0].ticket, "t1");
  assert.deepEqual(last().acts, [{ ...admit, cseq: 8 }]);
});

test("a resume that the server hangs up on becomes a fresh join", async () => {
  await joined();
  last().die();
  mock.timers.tick(250);
  await last().open();
  last().die(true);

  mock.timers.tick(1000);
  await last().open();

  assert.equal(last().sent[0].ticket, "t1");
});

test("a resume cut by the network is tried again", async () => {
  await joined();
  last().die();
  mock.timers.tick(250);
  await last().open();
  last().die();

  mock.timers.tick(1000);
  await last().open();

  assert.equal(last().sent[0].resume, "r1");
});

test("a silent socket is asked, and abandoned within 3 s without waiting for it to close", async () => {
  const { seen } = await joined();
  const silent = last();

  for (let quarter = 0; quarter < 8; quarter += 1) mock.timers.tick(250);
  assert.equal(silent.isClosed, false);
  for (let quarter = 0; quarter < 4; quarter += 1) mock.timers.tick(250);

  assert.ok(silent.sent.filter(({ type }) => type === "ping").length >= 2);
  assert.ok(silent.isClosed);
  assert.notEqual(last(), silent);
  assert.deepEqual(seen.at(-1), ["down", { reason: "" }]);
});

test("frames may stay unacknowledged for long: the socket that answers is kept", async () => {
  const { wire } = await joined();
  wire.send(admit);
  for (let second = 0; second < 60; second += 1) {
    mock.timers.tick(1000);
    last().say({ type: "pong" });
  }

  assert.equal(Socket.opened.length, 1);
  assert.equal(last().acts.length, 1);
});

test("a socket that answers is kept", async () => {
  await joined();
  for (let second = 0; second < 30; second += 1) {
    mock.timers.tick(1000);
    last().say({ type: "pong" });
  }

  assert.equal(Socket.opened.length, 1);
});

test("what an abandoned socket still says is not heard", async () => {
  const { wire, seen } = await joined();
  const old = last();
  wire.wake(true);

  old.say({ type: "closed", seq: 6, outcome: "completed" });

  assert.equal(seen.some(([name]) => name === "event"), false);
});

test("a page that wakes up asks, and resumes at once when nobody answers", async () => {
  const { wire } = await joined();
  mock.timers.tick(10);
  wire.wake(false);
  assert.equal(last().sent.at(-1).type, "ping");

  mock.timers.tick(1000);
  await last().open();

  assert.equal(Socket.opened.length, 2);
  assert.equal(last().sent[0].resume, "r1");
});

test("a connection that does not open is begun again, patiently", async () => {
  await joined();
  last().die();
  mock.timers.tick(250);
  const begun = Socket.opened.length;

  for (let quarter = 0; quarter < 40; quarter += 1) mock.timers.tick(250);

  const attempts = Socket.opened.length - begun;
  assert.ok(attempts >= 4 && attempts <= 8, `${attempts} in ten seconds`);
});

test("the first sign of life of the network opens a new socket at once", async () => {
  let revive = () => undefined;
  const reach = () => new Promise((resolve) => void (revive = resolve));
  const { wire } = await joined({ reach });
  wire.wake(true);
  mock.timers.tick(700);
  const begun = Socket.opened.length;

  revive();
  await settle();

  assert.equal(Socket.opened.length, begun + 1);
});

test("an attempt from before the request that was answered is not waited for, however young", async () => {
  let revive = () => undefined;
  const reach = () => new Promise((resolve) => void (revive = resolve));
  const { wire } = await joined({ reach });
  mock.timers.tick(60);
  wire.wake(true);
  const first = last();
  while (last() === first) mock.timers.tick(50);
  mock.timers.tick(100);
  const fallen = last();
  const begun = Socket.opened.length;

  revive();
  await settle();

  assert.equal(Socket.opened.length, begun + 1);
  assert.equal(fallen.isClosed, true);
});

test("an attempt begun on a sign of life is not given up for five seconds", async () => {
  let revive = () => undefined;
  const reach = () => new Promise((resolve) => void (revive = resolve));
  const { wire } = await joined({ reach });
  wire.wake(true);
  mock.timers.tick(700);
  revive();
  await settle();
  const attempt = last();

  for (let quarter = 0; quarter < 18; quarter += 1) mock.timers.tick(250);

  assert.equal(last(), attempt);
  assert.equal(attempt.isClosed, false);
});

test("a page that is sent elsewhere resumes there within a second, each at its own moment", async () => {
  const { seen } = await joined();
  last().say({ type: "bye", reason: "restarting", action: "resume" });
  assert.deepEqual(seen.at(-1), ["down", { reason: "restarting" }]);

  mock.timers.tick(1000);
  await last().open();

  assert.equal(Socket.opened.length, 2);
  assert.equal(last().sent[0].resume, "r1");
});

test("a lost log is joined afresh with a new ticket", async () => {
  await joined();
  last().say({ type: "bye", reason: "log_lost", action: "reconnect" });

  mock.timers.tick(250);
  await last().open();

  assert.equal(last().sent[0].ticket, "t1");
});

test("joining afresh keeps the old seat until there is a ticket", async () => {
  let give = () => undefined;
  const tickets = [Promise.resolve("t1"), new Promise((resolve) => void (give = resolve))];
  const { wire } = await joined({ fetchTicket: () => tickets.shift() });
  const old = last();

  const joining = wire.rejoin();
  assert.equal(old.isClosed, false);
  give("t2");
  assert.equal(await joining, true);
  await last().open();

  assert.ok(old.isClosed);
  assert.equal(last().sent[0].ticket, "t2");
});

test("without a ticket the old seat stays", async () => {
  const tickets = [Promise.resolve("t1"), Promise.reject(new Error("the records are away"))];
  const { wire } = await joined({ fetchTicket: () => tickets.shift() });

  assert.equal(await wire.rejoin(), false);

  assert.equal(Socket.opened.length, 1);
  assert.ok(wire.isUp);
});

test("a sign of life leaves a greeting be that has just gone out", async () => {
  const { wire } = await joined();
  wire.wake(true);
  mock.timers.tick(400);
  await last().open();
  const begun = Socket.opened.length;

  mock.timers.tick(400);
  wire.wake(false);

  assert.equal(Socket.opened.length, begun);
});

test("a new network does not wait for the backoff", async () => {
  const { wire } = await joined();
  last().die();

  wire.wake(true);

  assert.equal(Socket.opened.length, 2);
});

test("an unreachable server is tried ever more slowly, at least every 4 s", async () => {
  await joined();
  for (let turn = 0; turn < 8; turn += 1) {
    last().die();
    mock.timers.tick(4000);
  }

  assert.equal(Socket.opened.length, 9);
});

test("bye stop ends here", async () => {
  const { seen } = await joined();

  last().say({ type: "bye", reason: "replaced", action: "stop" });
  mock.timers.tick(60_000);

  assert.deepEqual(seen.at(-1), ["stopped", { reason: "replaced" }]);
  assert.equal(Socket.opened.length, 1);
});

test("a refused ticket ends here, an unreachable ticket office is tried again", async () => {
  const refusals = [{ status: 0 }, { status: 503, code: "starting" }, { status: 404, code: "not_found" }];
  const seen = [];
  const fetchTicket = () => Promise.reject(refusals.shift());
  const wire = new Wire({ url: "ws://host/ws", fetchTicket, Socket, reach: unreachable });
  wire.on("stopped", (detail) => seen.push(detail));
  wire.start();
  for (let turn = 0; turn < 3; turn += 1) {
    await settle();
    mock.timers.tick(1000);
  }

  assert.deepEqual(seen, [{ reason: "not_found" }]);
  assert.equal(Socket.opened.length, 3);
});

test("leave waits for the room to know, then stops", async () => {
  const { wire } = await joined();

  const leaving = wire.leave();
  last().say({ type: "ack", cseq: 1 });
  mock.timers.tick(20);
  await leaving;

  assert.equal(last().acts[0].type, "leave");
  assert.ok(last().isClosed);
});
