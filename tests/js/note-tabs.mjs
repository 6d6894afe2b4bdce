// Pages of a doctor for the interleavings of tests/interleavings.py: the real model of the note, one
// act a line on stdin, its answer a line on stdout.

import { createInterface } from "node:readline";

import { digestOf, textOf } from "../../static/js/note-content.js";
import { NoteModel } from "../../static/js/note-model.js";

const tabs = new Map();

const named = async (save) => save && { ...save, digest: await digestOf(save.content) };

const ACTS = {
  state: () => undefined,
  open({ tab, saved, draft }) {
    const model = new NoteModel();
    model.load(saved);
    if (draft) model.takeUp(draft);
    tabs.set(tab, model);
  },
  write: ({ model, section, text }) => model.write(section, text),
  choose: ({ model, codes }) => model.choose("diagnosis_codes", codes),
  nextSave: ({ model }) => named(model.nextSave()),
  lastSave: ({ model }) => named(model.lastSave()),
  onSaved: ({ model, saved }) => model.onSaved(saved),
  onStale: ({ model, saved }) => model.onStale(saved),
  resolve: ({ model, section, choice }) => model.resolve(section, choice),
  draft: ({ model }) => model.draft,
  forget: () => tabs.clear(),
};

for await (const line of createInterface({ input: process.stdin })) {
  const { act, tab, ...more } = JSON.parse(line);
  const result = (await ACTS[act]({ tab, model: tabs.get(tab), ...more })) ?? null;
  const model = tabs.get(tab);
  const state = model && {
    content: model.content,
    version: model.version,
    isUnsaved: model.isUnsaved,
    conflicts: model.conflicts,
    texts: Object.fromEntries(["findings", "therapy"].map((name) => [name, textOf(model.content, name)])),
  };
  process.stdout.write(`${JSON.stringify({ result, state: state ?? null })}\n`);
}
