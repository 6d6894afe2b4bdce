import assert from "node:assert/strict";
import { test } from "node:test";

import { applyEvent, roomFromWelcome } from "../../static/js/fold.js";
import { findQuestion } from "../../static/js/recording-consent.js";
import { findLeg } from "../../static/js/recording-leg.js";
import { changeWords, standingWords } from "../../static/js/recording-words.js";
import { badgeWords } from "../../static/js/verify-view.js";

const OFF = { microphone: true, camera: true, screen: false };
const person = (participant, generation, state = "connected") => ({
  participant, role: participant, state, generation, ...OFF,
});

/** The room as one of the two pages sees it, with the recorder there. */
function roomOf(you, ...people) {
  const welcome = {
    type: "welcome", version: 1, epoch: "e1", seq: 9, cseq: 0, you, role: you, polite: you === "patient",
    participants: [person("patient", 1), person("clinician", 2), ...people],
    resumed: false, resume: "token", late_minutes: 0, still: "", recording: null, outcome: null,
    ice_servers: [], relay_until_admitted: false, relay_always: false,
  };
  return roomFromWelcome(welcome, true);
}

const RECORDER = person("recorder", 5);
const ASKED = {
  type: "recording_asked", seq: 10, ask: "a1", participant: "clinician",
  purpose: "care", text_version: "1", text_hash: "00",
};
const YES = { type: "recording_answered", seq: 11, ask: "a1", participant: "patient", accepted: true };
const NO = { ...YES, accepted: false };
const STOPPED = { type: "recording_stopped", seq: 12, ask: "a1", participant: "patient" };
const fold = (room, ...events) => events.reduce(applyEvent, room);

test("a page connects to the recorder once its own person has agreed, and sends when all have", () => {
  const patient = roomOf("patient", RECORDER);
  const clinician = roomOf("clinician", RECORDER);
  assert.equal(findLeg(clinician), null);
  assert.equal(findLeg(fold(patient, ASKED)), null);
  assert.deepEqual(findLeg(fold(clinician, ASKED)), { to: "recorder", generation: 5, isSending: false });
  for (const room of [patient, clinician]) {
    assert.equal(findLeg(fold(room, ASKED, YES)).isSending, true);
    assert.equal(findLeg(fold(room, ASKED, NO)), null);
    assert.equal(findLeg(fold(room, ASKED, YES, STOPPED)), null);
  }
});

test("without a recorder in the room there is nobody to connect to", () => {
  assert.equal(findLeg(fold(roomOf("clinician"), ASKED)), null);
  const gone = { type: "gone", seq: 13, participant: "recorder" };
  assert.equal(findLeg(fold(roomOf("clinician", RECORDER), ASKED, YES, gone)), null);
});

test("a recorder that joins anew gets a new connection", () => {
  const joined = { type: "joined", seq: 20, participant: "recorder", role: "recorder", state: "admitted" };
  const room = fold(roomOf("patient", RECORDER), ASKED, YES, joined);
  assert.deepEqual(findLeg(room), { to: "recorder", generation: 20, isSending: true });
});

test("while the recording has failed the connection is kept and carries nothing", () => {
  const failed = { type: "recording_failed", seq: 13, ask: "a1", reason: "disk_full" };
  const resumed = { type: "recording_resumed", seq: 14, ask: "a1" };
  const room = fold(roomOf("patient", RECORDER), ASKED, YES, failed);
  assert.equal(findLeg(room).isSending, false);
  assert.equal(findLeg(fold(room, resumed)).isSending, true);
});

test("only who has not agreed is asked, and again after having left", () => {
  assert.equal(findQuestion(fold(roomOf("clinician"), ASKED)), "");
  const asked = fold(roomOf("patient"), ASKED);
  assert.equal(findQuestion(asked), "a1");
  assert.equal(findQuestion(fold(asked, YES)), "");
  assert.equal(findQuestion(fold(asked, NO)), "");
  const left = { type: "gone", seq: 13, participant: "patient" };
  const back = { type: "joined", seq: 14, participant: "patient", role: "patient", state: "admitted" };
  const again = fold(asked, YES, left, back);
  assert.equal(findQuestion(again), "a1");
  assert.equal(findLeg(again), null);
});

test("a patient who still waits is not asked", () => {
  const room = roomOf("patient");
  const waiting = { ...room, people: { ...room.people, patient: { ...room.people.patient, isAdmitted: false } } };
  assert.equal(findQuestion(fold(waiting, ASKED)), "");
});

test("each change is said once, and what it says tells an end from a no", () => {
  assert.equal(changeWords("on", "on"), "");
  assert.equal(changeWords("off", "on"), "From now on the visit is recorded.");
  assert.equal(changeWords("asked", "off"), "The visit is not recorded.");
  assert.equal(changeWords("paused", "off"), "The recording has ended.");
});

test("the indicator says it when this page's own voice does not reach the recording", () => {
  const { recording } = fold(roomOf("patient", RECORDER), ASKED, YES);
  assert.equal(standingWords(recording, true), "The visit is being recorded");
  assert.match(standingWords(recording, false), /but not you/);
  assert.equal(standingWords(null, true), "");
});

test("while it records, the badge says what the figures prove and what they do not", () => {
  const room = roomOf("patient", RECORDER);
  assert.equal(badgeWords(room, "Anna"), "Verified call");
  assert.equal(badgeWords(fold(room, ASKED, YES), "Anna"), "Verified call, recorded apart");
  const guest = { ...person("guest", 7), role: "patient" };
  assert.match(badgeWords(roomOf("patient", RECORDER, guest), "Anna"), /others take part/);
});
