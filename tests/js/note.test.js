import assert from "node:assert/strict";
import { test } from "node:test";

import {
  cleanText,
  contentOf,
  joinTexts,
  mergeCodes,
  mergeNotes,
  mergeText,
} from "../../static/js/note-content.js";
import { NoteModel } from "../../static/js/note-model.js";
import { findPhrase } from "../../static/js/phrases.js";

const note = (sections, more = {}) => contentOf({ sections, ...more });
const code = (number) => ({ system: "icd9_cm", code: number, display: "x" });
const saved = (sections, version) => ({ content: { sections }, version, saved_at: null });

/** A page that has loaded a note with a report of one letter. */
function openPage() {
  const page = new NoteModel();
  page.load(saved({ findings: "a" }, 1));
  return page;
}

test("a text that changed on one side only comes together", () => {
  assert.equal(mergeText("a", "a", "b"), "b");
  assert.equal(mergeText("a", "b", "a"), "b");
  assert.equal(mergeText("a", "b", "b"), "b");
  assert.equal(mergeText("a", "", "a"), "");
});

test("a text that changed on both sides is a conflict, unless one holds the other's change", () => {
  assert.equal(mergeText("a", "b", "c"), null);
  assert.equal(mergeText("a", "", "c"), null);
  assert.equal(mergeText("a", "abc", "ab"), "abc");
  assert.equal(mergeText("a", "ab", "abc"), "abc");
  assert.equal(mergeText("abc", "a", "abcd"), null);
  assert.equal(mergeText("a", "xyz", "x y", ["x y"]), "xyz");
});

test("codes are added and taken away by either side", () => {
  const merged = mergeCodes([code("1"), code("2")], [code("1"), code("3")], [code("2"), code("4")]);
  assert.deepEqual(merged.map((one) => one.code), ["4", "3"]);
});

test("sections come together one by one", () => {
  const { merged, conflicts } = mergeNotes(
    note({ findings: "a", plan: "p", free: "f" }),
    note({ findings: "b", plan: "p", history: "h" }),
    note({ findings: "c", plan: "q", free: "f" }),
  );
  assert.deepEqual(merged.sections, { findings: "b", plan: "q", history: "h" });
  assert.deepEqual(conflicts, ["findings"]);
});

test("cleaning is what the server does", () => {
  assert.equal(cleanText("a\u0000\u000b\ufffe\ud83db\r\nc\rd😀Σ<&>\t"), "ab\nc\nd😀Σ<&>\t");
  assert.deepEqual(note({ free: " \n\u00a0", plan: "x" }).sections, { plan: "x" });
});

test("a joined text has both, and none twice", () => {
  assert.equal(joinTexts("a", "b"), "a\n\nb");
  assert.equal(joinTexts("ab", "b"), "ab");
  assert.equal(joinTexts("", "b"), "b");
});

test("while a section is open the others are saved, and theirs is left as it is", () => {
  const page = openPage();
  page.write("findings", "mine");
  page.nextSave();
  page.onStale(saved({ findings: "theirs" }, 2));
  page.write("plan", "p");

  assert.deepEqual(page.conflicts, [
    { section: "findings", base: "a", mine: "mine", theirs: "theirs" },
  ]);
  const save = page.nextSave();
  assert.deepEqual(save?.content.sections, { findings: "theirs", plan: "p" });
  assert.equal(save?.version, 2);
});

test("before the other text is kept, both become a version", () => {
  const page = openPage();
  page.write("findings", "mine");
  page.onStale(saved({ findings: "theirs" }, 2));
  page.resolve("findings", "theirs");

  const kept = page.nextSave();
  assert.equal(kept?.content.sections.findings, "theirs\n\nmine");
  page.onSaved({ content: kept.content, version: 3, saved_at: null });
  const last = page.nextSave();
  assert.equal(last?.content.sections.findings, "theirs");
  page.onSaved({ content: last.content, version: 4, saved_at: null });
  assert.equal(page.isUnsaved, false);
});

test("a save whose answer was lost is no conflict", () => {
  const page = openPage();
  page.write("findings", "b");
  page.nextSave();
  page.write("findings", "c");
  page.onStale(saved({ findings: "b", plan: "of a colleague" }, 3));

  assert.deepEqual(page.conflicts, []);
  assert.deepEqual(page.content.sections, { findings: "c", plan: "of a colleague" });
});

test("what a page leaves behind is taken up by the next, joined with what came meanwhile", () => {
  const page = openPage();
  page.write("findings", "mine");
  page.lastSave();
  const next = new NoteModel();
  next.load(saved({ findings: "a", plan: "new" }, 2));
  next.takeUp(JSON.parse(JSON.stringify(page.draft)));

  assert.deepEqual(next.content.sections, { findings: "mine", plan: "new" });
  assert.equal(next.nextSave()?.version, 2);
});

test("a draft of before sections becomes working notes", () => {
  const page = openPage();
  page.takeUp({ text: "old words" });
  assert.deepEqual(page.content.sections, { findings: "a", free: "old words" });
});

test("a template fills what is empty", () => {
  const page = openPage();
  const template = note({ findings: "x", plan: "y" }, { diagnosis_codes: [code("1")] });
  page.useTemplate(template, "t1");
  assert.deepEqual(page.content.sections, { findings: "a", plan: "y" });
  assert.deepEqual(page.content.diagnosis_codes, [code("1")]);
  assert.equal(page.content.template_id, "t1");
});

test("a phrase is asked for by a point, its shortcut and a space", () => {
  const phrases = [{ shortcut: "pa", text: "Pressione" }];
  assert.deepEqual(findPhrase("Oggi .pa ", phrases), { length: 4, text: "Pressione" });
  assert.deepEqual(findPhrase(".pa\n", phrases), { length: 4, text: "Pressione" });
  for (const before of ["pa ", "x.pa ", ".pa", ".pax ", ".p "]) {
    assert.equal(findPhrase(before, phrases), null);
  }
});
