import assert from "node:assert/strict";
import { readFileSync, readdirSync } from "node:fs";
import { test } from "node:test";

import { translator } from "../../static/js/i18n.js";

const ROOT = new URL("../../", import.meta.url);

test("a known sentence is translated and its values are filled in", () => {
  const _ = translator({ "{name} has left": "{name} è uscita" });

  assert.equal(_("{name} has left", { name: "Rosa" }), "Rosa è uscita");
});

test("an unknown sentence stays as it is, an unknown value keeps its name", () => {
  const _ = translator({});

  assert.equal(_("Wait {minutes} minutes"), "Wait {minutes} minutes");
});

test("every sentence of the modules has its Italian", () => {
  const catalogue = readFileSync(new URL("server/locales/it/js.po", ROOT), "utf8");
  const scripts = new URL("static/js/", ROOT);
  const sentences = readdirSync(scripts)
    .map((name) => readFileSync(new URL(name, scripts), "utf8"))
    .flatMap((text) => [...text.matchAll(/\b_\(\s*"((?:[^"\\]|\\.)*)"/g)])
    .map(([, sentence]) => sentence);

  const missing = sentences.filter((sentence) => !catalogue.includes(`msgid "${sentence}"\nmsgstr "`));

  assert.ok(sentences.length > 30);
  assert.deepEqual(missing, []);
});
