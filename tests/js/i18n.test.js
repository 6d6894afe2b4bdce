import assert from "node:assert/strict";
import { test } from "node:test";

import { translator } from "../../static/js/i18n.js";

test("a known sentence is translated and its values are filled in", () => {
  const _ = translator({ "{name} has left": "{name} è uscita" });

  assert.equal(_("{name} has left", { name: "Rosa" }), "Rosa è uscita");
});

test("an unknown sentence stays as it is, an unknown value keeps its name", () => {
  const _ = translator({});

  assert.equal(_("Wait {minutes} minutes"), "Wait {minutes} minutes");
});
