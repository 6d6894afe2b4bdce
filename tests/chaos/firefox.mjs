// Drives one Firefox over WebDriver BiDi for the chaos checks: one JSON order per line on standard
// input, one JSON answer per line on standard output. It touches pages by test id only.
//
//   {"do": "check_in", "url", "birth_date"} · {"do": "open_visit", "url", "username", "password"}
//   {"do": "evaluate", "code", "argument"} · {"do": "close"}

import { readFile } from "node:fs/promises";
import { createInterface } from "node:readline";
import puppeteer from "puppeteer-core";

const PATIENCE_MS = 60_000;
const STEPS = 8;
const [program, script] = process.argv.slice(2);

const browser = await puppeteer.launch({
  browser: "firefox",
  executablePath: program,
  headless: true,
  protocolTimeout: 4 * PATIENCE_MS,
  extraPrefsFirefox: {
    "media.navigator.streams.fake": true,
    "media.navigator.permission.disabled": true,
    "media.autoplay.default": 0,
    "intl.accept_languages": "it-IT",
  },
});
const page = await browser.newPage();
page.setDefaultTimeout(PATIENCE_MS);
await page.evaluateOnNewDocument(await readFile(script, "utf8"));

/** @param {string} id */
const byTestId = (id) => `[data-testid="${id}"]`;

/** @param {string} id */
const isVisible = async (id) => Boolean(await page.$(`${byTestId(id)}:not([hidden])`));

/** @param {string} id */
const click = async (id) => {
  await page.locator(byTestId(id)).click();
};

/** @param {string} id @param {string} text */
const fill = async (id, text) => {
  await page.locator(byTestId(id)).fill(text);
};

/** @param {string} id */
const clickAndNavigate = (id) => Promise.all([page.waitForNavigation(), click(id)]);

const orders = {
  /** @param {{url: string, birth_date: string}} order */
  async check_in({ url, birth_date }) {
    await page.goto(url);
    await fill("claim-birth-date", birth_date);
    await click("claim-submit");
    for (let step = 0; step < STEPS; step++) {
      const either = `${byTestId("enter-waiting-room")}, ${byTestId("checkin-next")}`;
      await page.waitForSelector(either, { visible: true });
      if (await isVisible("enter-waiting-room")) break;
      for (const consent of ["consent-visit", "consent-tool"]) {
        if (await isVisible(consent)) await click(consent);
      }
      await clickAndNavigate("checkin-next");
    }
    await click("enter-waiting-room");
    await page.waitForSelector(byTestId("waiting-status"), { visible: true });
  },

  /** @param {{url: string, username: string, password: string}} order */
  async open_visit({ url, username, password }) {
    await page.goto(url);
    await fill("login-username", username);
    await fill("login-password", password);
    await clickAndNavigate("login-submit");
    const row = '[data-testid="agenda-row"][data-state="waiting"]';
    await page.locator(`${row} ${byTestId("open-visit")}`).click();
    await page.locator(`${byTestId("admit")}:not([disabled])`).click();
  },

  /** @param {{code: string, argument: unknown}} order */
  async evaluate({ code, argument }) {
    // As playwright does: an expression, or a function that is given the argument.
    return await page.evaluate(`Promise.resolve(${code}).then((value) =>
      typeof value === "function" ? value(${JSON.stringify(argument ?? null)}) : value)`);
  },

  async close() {
    await browser.close();
  },
};

console.log(JSON.stringify({ value: await browser.version() }));
for await (const line of createInterface({ input: process.stdin })) {
  const order = JSON.parse(line);
  try {
    console.log(JSON.stringify({ value: (await orders[order.do](order)) ?? null }));
  } catch (problem) {
    const seen = await page.evaluate("document.body.innerText").catch(() => "");
    console.log(JSON.stringify({ problem: `${problem}\n${page.url()}\n${seen}` }));
  }
  if (order.do === "close") process.exit(0);
}
