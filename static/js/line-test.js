// The patient's test of the line: step by step, then the server says what it makes of it.

import { DeviceTest } from "./device-test.js";
import { EchoLine } from "./line-test-echo.js";
import { probeRelay, probeSocket, relayStep, within } from "./line-test-probes.js";
import { findHook, onClick, pageData, post, RequestError, say, show } from "./page.js";
import { WakeLock } from "./wakelock.js";
import { socketUrl } from "./wire.js";

/** @typedef {import("./device-test.js").Device} Device */
/** @typedef {"ok" | "failed" | "skipped"} Result */
/** @typedef {{result: Result} & Record<string, string | number>} StepReport */
/** @typedef {{urls: string[], username?: string, credential?: string}} Server */

const CAMERA_WITHIN_MS = 60_000;
const BUSY_TRIES = 4;
const BUSY_PAUSE_MS = 5000;
const TOO_MANY = 429;
const DECIMALS = 10;

const { testUrl } = pageData();

/** @param {Record<string, number>} figures */
const rounded = (figures) =>
  Object.fromEntries(
    Object.entries(figures).map(([name, value]) => [name, Math.round(value * DECIMALS) / DECIMALS]),
  );

/** @param {unknown} error */
const isBusy = (error) => error instanceof RequestError && error.status === TOO_MANY;

/** @param {Record<string, number>} figures @returns {StepReport} */
const ok = (figures = {}) => ({ result: "ok", ...rounded(figures) });

class LineTest {
  #devices = new DeviceTest();
  /** @type {Map<Device, Result>} */
  #ticks = new Map();
  /** @type {Map<string, () => void>} */
  #waiting = new Map();
  /** @type {Record<string, StepReport>} */
  #steps = {};
  /** @type {EchoLine | null} */
  #line = null;

  start() {
    this.#devices.start();
    this.#devices.on("tick", ({ device, result }) => this.#tick(device, result));
    onClick("line-start", () => this.#run());
    onClick("line-save", () => this.#save());
    onClick("level-still", () => this.#tick("microphone", "failed"));
    addEventListener("pagehide", () => this.#line?.close());
    show("line-start", true);
  }

  async #run() {
    show("line-idle", false);
    show("line-running", true);
    new WakeLock().set(true);
    await this.#do("socket", async () => ok({ ms: await probeSocket(socketUrl(location)) }));
    this.#devices.open();
    await this.#do("camera", () => within(CAMERA_WITHIN_MS, this.#device("camera")));
    await this.#do("microphone", () => this.#device("microphone"));
    await this.#do("loudspeaker", () => this.#loudspeaker());
    await this.#relays();
    await this.#do("line", () => this.#measure());
    await this.#do("reconnect", () => this.#reconnect());
    this.#line?.close();
    this.#devices.close();
    await this.#save();
  }

  /**
   * @param {string} name
   * @param {() => Promise<StepReport>} act
   */
  async #do(name, act) {
    this.#mark(name, "running");
    this.#steps[name] = await act().catch(() => ({ result: /** @type {Result} */ ("failed") }));
    this.#mark(name, this.#steps[name].result);
  }

  /**
   * Shows where the test is, in the list and as one sentence.
   * @param {string} name
   * @param {Result | "running"} state
   */
  #mark(name, state) {
    const row = findHook(`row-${name}`, HTMLElement);
    if (!row) return;
    row.dataset.state = state;
    for (const words of row.querySelectorAll("[data-words]")) {
      const isSaid = words.getAttribute("data-words") === state;
      words.toggleAttribute("hidden", !isSaid);
      if (isSaid && state === "running") say("line-now", words.textContent ?? "");
    }
    for (const card of document.querySelectorAll("[data-device]")) {
      card.toggleAttribute("hidden", card.getAttribute("data-device") !== name);
    }
  }

  // ---- the devices -----------------------------------------------------------------------

  /**
   * @param {Device} device
   * @param {Result} result
   */
  #tick(device, result) {
    this.#ticks.set(device, result);
    this.#waiting.get(device)?.();
  }

  /**
   * @param {Device} device
   * @returns {Promise<StepReport>}
   */
  async #device(device) {
    if (!this.#ticks.has(device)) {
      await new Promise((resolve) => this.#waiting.set(device, () => resolve(undefined)));
    }
    return { result: this.#ticks.get(device) ?? "failed" };
  }

  async #loudspeaker() {
    await this.#devices.play();
    return this.#device("loudspeaker");
  }

  // ---- the line --------------------------------------------------------------------------

  async #relays() {
    this.#mark("relay", "running");
    /** @type {Server[]} */
    const servers = await this.#servers().catch(() => []);
    const found = new Set();
    for (const { urls, username, credential } of servers) {
      for (const url of urls) {
        const step = relayStep(url);
        if (!step || this.#steps[step]?.result === "ok") continue;
        await this.#do(step, async () =>
          ok({ ms: await probeRelay({ urls: url, username, credential }) }),
        );
        found.add(this.#steps[step]?.result);
      }
    }
    const result = found.has("ok") ? "ok" : found.has("failed") ? "failed" : "skipped";
    this.#mark("relay", result);
  }

  /** @returns {Promise<Server[]>} with fresh credentials, for minutes */
  async #servers() {
    return (await post(`${testUrl}/servers`)).servers;
  }

  /** @returns {Promise<StepReport>} skipped while all places are taken: that says nothing of the line */
  async #measure() {
    try {
      const line = await this.#connect();
      const ms = await line.open();
      return ok({ ms, ...(await line.measure()) });
    } catch (error) {
      if (isBusy(error)) return { result: "skipped" };
      throw error;
    }
  }

  /**
   * The page drops everything and comes back, as after a change of network.
   * @returns {Promise<StepReport>}
   */
  async #reconnect() {
    if (this.#steps.line?.result !== "ok") return { result: "skipped" };
    const startedAt = performance.now();
    this.#line?.close();
    const [line] = await Promise.all([this.#connect(), probeSocket(socketUrl(location))]);
    await line.open();
    return ok({ ms: performance.now() - startedAt });
  }

  async #connect() {
    const servers = await this.#servers();
    const { tracks } = this.#devices;
    this.#line = new EchoLine({ servers, tracks, fetchAnswer: (sdp) => this.#answer(sdp) });
    return this.#line;
  }

  /** @param {string} sdp */
  async #answer(sdp) {
    for (let tries = 1; ; tries += 1) {
      try {
        return (await post(`${testUrl}/echo`, { sdp })).sdp;
      } catch (error) {
        if (!isBusy(error) || tries === BUSY_TRIES) throw error;
        show("line-busy", true);
        await new Promise((resolve) => setTimeout(resolve, BUSY_PAUSE_MS));
        show("line-busy", false);
      }
    }
  }

  // ---- the end ---------------------------------------------------------------------------

  async #save() {
    show("line-not-saved", false);
    for (const [device, result] of this.#ticks) this.#steps[device] = { result };
    try {
      await post(`${testUrl}/result`, { steps: this.#steps });
    } catch {
      show("line-not-saved", true);
      return;
    }
    location.hash = "verdict";
    location.reload();
  }
}

new LineTest().start();
