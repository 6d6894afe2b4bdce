import assert from "node:assert/strict";
import { test } from "node:test";

import { LineReport } from "../../static/js/line-report.js";
import { NO_WATCH, causeOf, finish, follow } from "../../static/js/outages.js";
import { RequestError } from "../../static/js/page.js";

// ---- outages ----------------------------------------------------------------------------

const FINE = {
  isWanted: true,
  isArriving: true,
  isLineUp: true,
  isOffline: false,
  isNetworkNew: false,
  isWireUp: true,
  isPeerAway: false,
};

/**
 * @param {number} seconds
 * @param {(second: number) => Partial<typeof FINE>} seen
 * @param {(second: number) => boolean} [isAwake]
 */
function live(seconds, seen, isAwake = () => true) {
  let watch = NO_WATCH;
  const outages = [];
  for (let second = 1; second <= seconds; second++) {
    if (!isAwake(second)) continue;
    const { watch: next, ended } = follow(watch, { ...FINE, ...seen(second), atMs: 1000 * second });
    watch = next;
    if (ended) outages.push(ended);
  }
  return { watch, outages };
}

const GONE = { isArriving: false };
/** Between the tenth second and the thirtieth. */
const inOutage = (/** @type {number} */ second) => second > 10 && second <= 30;

for (const [cause, during] of /** @type {[string, (second: number) => Partial<typeof FINE>][]} */ ([
  ["network_down", () => ({ ...GONE, isWireUp: false, isLineUp: false, isPeerAway: true })],
  ["network_down", () => ({ ...GONE, isOffline: true })],
  ["network_changed", (second) => ({ ...GONE, isNetworkNew: second < 15, isWireUp: false })],
  ["other_side_away", (second) => ({ ...GONE, isPeerAway: second > 16, isLineUp: second < 16 })],
  ["path_lost", () => ({ ...GONE, isLineUp: false })],
  ["media_stopped", () => GONE],
])) {
  test(`twenty seconds away by ${cause}`, () => {
    const { outages } = live(40, (second) => (inOutage(second) ? during(second) : {}));

    assert.deepEqual(outages, [{ fromMs: 10_000, seconds: 21, cause }]);
  });
}

test("a server that was lost well before the line is named", () => {
  const { outages } = live(40, (second) => ({
    isWireUp: second < 4,
    ...(inOutage(second) ? GONE : {}),
  }));

  assert.equal(outages[0]?.cause, "server_away");
});

test("a server that is away while the call goes on is no outage", () => {
  assert.deepEqual(live(40, (second) => ({ isWireUp: !inOutage(second) })).outages, []);
});

test("a page that slept says so", () => {
  const { outages } = live(40, () => ({}), (second) => !inOutage(second));

  assert.deepEqual(outages, [{ fromMs: 10_000, seconds: 21, cause: "page_asleep" }]);
});

test("a slow second is no outage, and neither is a side that shows and says nothing", () => {
  assert.deepEqual(live(40, (second) => (second === 12 ? GONE : {})).outages.filter(({ seconds }) => seconds > 2), []);
  assert.deepEqual(live(40, () => ({ ...GONE, isWanted: false })).outages, []);
  assert.deepEqual(live(40, () => ({}), (second) => second < 10 || second > 13).outages, []);
});

test("what is open when the call ends is closed there", () => {
  const { watch } = live(20, (second) => (inOutage(second) ? { ...GONE, isWireUp: false } : {}));

  assert.deepEqual(finish(watch, 25_000), { fromMs: 10_000, seconds: 15, cause: "network_down" });
  assert.equal(finish(NO_WATCH, 25_000), null);
});

test("what a page knows of itself comes before what it guesses of others", () => {
  const all = {
    wasAsleep: true, wasNetworkNew: true, wasOffline: true, wasServerLostFirst: true,
    wasPeerAway: true, wasWireDown: true, wasLineDown: true,
  };

  assert.equal(causeOf(all), "page_asleep");
  assert.equal(causeOf({ ...all, wasAsleep: false }), "network_changed");
  assert.equal(causeOf({ ...all, wasAsleep: false, wasNetworkNew: false }), "network_down");
});

// ---- the report -------------------------------------------------------------------------

class Storage {
  /** @type {Map<string, string>} */
  #items = new Map();
  getItem = (/** @type {string} */ key) => this.#items.get(key) ?? null;
  setItem = (/** @type {string} */ key, /** @type {string} */ value) => void this.#items.set(key, value);
  removeItem = (/** @type {string} */ key) => void this.#items.delete(key);
}

const row = (/** @type {number} */ number) => /** @type {any} */ ({ direction: "incoming", began_at: String(number) });

/** A server that can be away; it keeps what it took. */
class Server {
  /** @type {string[]} */
  taken = [];
  /** @type {Error | null} */
  refusal = null;
  send = async (/** @type {string} */ _url, /** @type {any} */ { intervals }) => {
    if (this.refusal) throw this.refusal;
    this.taken.push(...intervals.map(({ began_at }) => began_at));
    return {};
  };
}

test("rows of an outage of the server are kept and brought in order when it is back", async () => {
  const server = new Server();
  const report = new LineReport("/q", new Storage(), server.send);
  server.refusal = new TypeError("no network");
  for (let number = 0; number < 450; number++) {
    report.addIntervals([row(number)]);
    await report.flush();
  }
  assert.deepEqual(server.taken, []);

  server.refusal = null;
  await report.flush();

  assert.deepEqual(server.taken, Array.from({ length: 450 }, (_, number) => String(number)));
});

for (const status of [401, 429, 500, 503]) {
  test(`an answer ${status} is tried again`, async () => {
    const server = new Server();
    const report = new LineReport("/q", new Storage(), server.send);
    report.addIntervals([row(1)]);
    server.refusal = new RequestError(status, "x", null);
    await report.flush();
    server.refusal = null;
    await report.flush();

    assert.deepEqual(server.taken, ["1"]);
  });
}

test("a refused batch is not sent for ever", async () => {
  const server = new Server();
  const report = new LineReport("/q", new Storage(), server.send);
  report.addIntervals([row(1)]);
  server.refusal = new RequestError(400, "invalid_input", null);
  await report.flush();
  server.refusal = null;
  report.addIntervals([row(2)]);
  await report.flush();

  assert.deepEqual(server.taken, ["2"]);
});

test("rows that a page could not bring are brought by the next one", async () => {
  const keep = new Storage();
  const server = new Server();
  const first = new LineReport("/q", keep, server.send);
  first.addIntervals([row(1), row(2)]);
  const posted = [];
  const known = globalThis.fetch;
  globalThis.fetch = async (_url, options) => {
    posted.push(options);
    throw new TypeError("no network");
  };
  first.leave();
  globalThis.fetch = known;

  await new LineReport("/q", keep, server.send).flush();

  assert.equal(posted[0]?.keepalive, true);
  assert.deepEqual(server.taken, ["1", "2"]);
  assert.equal(keep.getItem("/q"), null);
});
