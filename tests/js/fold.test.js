import assert from "node:assert/strict";
import { test } from "node:test";

import { applyEvent, findPair, isAdmitted, isMovedFrom, peerOf, roomFromWelcome } from "../../static/js/fold.js";

const OFF = { microphone: false, camera: false, screen: false };

function welcome(participants, changes = {}) {
  return {
    type: "welcome",
    version: 1,
    epoch: "e1",
    seq: 9,
    cseq: 0,
    you: "patient",
    role: "patient",
    polite: true,
    participants,
    resumed: false,
    resume: "token",
    late_minutes: 0,
    still: "",
    recording: null,
    outcome: null,
    ice_servers: [],
    relay_until_admitted: false,
    relay_always: false,
    ...changes,
  };
}

const patient = (state, generation = 1) => ({
  participant: "patient",
  role: "patient",
  state,
  generation,
  ...OFF,
});
const clinician = (state, generation = 2) => ({
  participant: "clinician",
  role: "clinician",
  state,
  generation,
  ...OFF,
});
const fold = (room, ...events) => events.reduce(applyEvent, room);
const waitingRoom = () => roomFromWelcome(welcome([patient("waiting")]), false);
const bothPresent = () =>
  roomFromWelcome(welcome([patient("waiting"), clinician("connected")]), false);

test("a waiting patient is not admitted, even with the clinician in the room", () => {
  assert.equal(isAdmitted(bothPresent()), false);
});

test("admission is an event of the log and survives a lost socket", () => {
  const room = fold(
    bothPresent(),
    { type: "admitted", seq: 10, participant: "patient" },
    { type: "away", seq: 11, participant: "patient" },
    { type: "returned", seq: 12, participant: "patient" },
  );

  assert.equal(isAdmitted(room), true);
});

test("a refreshed page says by its own state that it is still admitted", () => {
  const joined = { type: "joined", seq: 10, participant: "patient", role: "patient", state: "admitted" };

  assert.equal(isAdmitted(fold(waitingRoom(), joined)), true);
});

test("of a patient who is away, the visit's state tells whether she was admitted", () => {
  const away = welcome([patient("away"), clinician("connected")]);

  assert.equal(isAdmitted(roomFromWelcome(away, false)), false);
  assert.equal(isAdmitted(roomFromWelcome(away, true)), true);
});

test("the pair's generation is that of the newest page", () => {
  const room = fold(bothPresent(), {
    type: "joined",
    seq: 10,
    participant: "clinician",
    role: "clinician",
    state: "connected",
  });

  assert.deepEqual(findPair(bothPresent()), { generation: 2, to: "clinician" });
  assert.deepEqual(findPair(room), { generation: 10, to: "clinician" });
});

test("a lost socket keeps the pair, leaving and the outcome end it", () => {
  const away = fold(bothPresent(), { type: "away", seq: 10, participant: "clinician" });
  const gone = fold(bothPresent(), { type: "gone", seq: 10, participant: "clinician" });
  const closed = fold(bothPresent(), { type: "closed", seq: 10, outcome: "completed" });

  assert.equal(findPair(away)?.generation, 2);
  assert.equal(findPair(gone), null);
  assert.equal(findPair(closed), null);
});

test("nothing flows after the outcome", () => {
  const room = fold(
    bothPresent(),
    { type: "admitted", seq: 10, participant: "patient" },
    { type: "closed", seq: 11, outcome: "completed" },
  );

  assert.equal(isAdmitted(room), false);
});

test("media flags and delay are kept; a new page starts with media off", () => {
  const media = { type: "media_changed", seq: 10, participant: "clinician", ...OFF, camera: true };
  const joined = { type: "joined", seq: 12, participant: "clinician", role: "clinician", state: "connected" };
  const room = fold(bothPresent(), media, { type: "late", seq: 11, minutes: 15 });

  assert.equal(peerOf(room)?.camera, true);
  assert.equal(room.lateMinutes, 15);
  assert.equal(peerOf(fold(room, joined))?.camera, false);
});

test("a page has been moved when it shows another instant than the last one told", () => {
  const told = "2026-03-02T09:15:00+00:00";
  const room = fold(
    bothPresent(),
    { type: "moved", seq: 10, start: "2026-03-02T10:00:00+00:00" },
    { type: "moved", seq: 11, start: told },
  );

  assert.equal(isMovedFrom(bothPresent(), told), false);
  assert.equal(isMovedFrom(room, "2026-03-02T09:00:00+00:00"), true);
  assert.equal(isMovedFrom(room, told), false);
  assert.equal(isMovedFrom(room, "2026-03-02T10:15:00+01:00"), false);
});

test("an ask for a photo is kept until it is answered, and met again by who joins", () => {
  const asked = fold(bothPresent(), { type: "still_changed", seq: 10, ask: "a1", state: "asked" });
  const refused = fold(asked, { type: "still_changed", seq: 11, ask: "a1", state: "refused" });
  const joined = roomFromWelcome(welcome([patient("admitted")], { still: "a2" }), true);

  assert.equal(bothPresent().still, null);
  assert.deepEqual(asked.still, { ask: "a1", state: "asked" });
  assert.deepEqual(refused.still, { ask: "a1", state: "refused" });
  assert.deepEqual(joined.still, { ask: "a2", state: "asked" });
});

test("a file that comes or goes moves the number that lists are compared by", () => {
  assert.equal(fold(bothPresent(), { type: "files_changed", seq: 10 }).filesSeq, 10);
});

test("an unknown event and a stranger change nothing", () => {
  const room = bothPresent();

  assert.equal(applyEvent(room, { type: "weather", seq: 10 }), room);
  assert.equal(applyEvent(room, { type: "admitted", seq: 10, participant: "nobody" }), room);
});

const recorder = { participant: "recorder", role: "recorder", state: "admitted", generation: 3, ...OFF };
const inVisit = (recording = null) =>
  roomFromWelcome(welcome([patient("connected"), clinician("connected"), recorder], { recording }), true);
const asked = { type: "recording_asked", seq: 20, ask: "r1", participant: "clinician", purpose: "care", text_version: "1", text_hash: "h" };
const answered = (participant, accepted, ask = "r1") => ({ type: "recording_answered", seq: 21, ask, participant, accepted });
const joinedAgain = (participant, role) => ({ type: "joined", seq: 22, participant, role, state: "admitted" });

test("the recorder is never the other person", () => {
  const room = inVisit();

  assert.equal(peerOf(room).id, "clinician");
  assert.deepEqual(findPair(room), { generation: 2, to: "clinician" });
});

test("a recording is on once everybody has agreed, and off as soon as anybody says no", () => {
  const on = fold(inVisit(), asked, answered("patient", true));

  assert.equal(fold(inVisit(), asked).recording.state, "asked");
  assert.equal(fold(inVisit(), asked, answered("patient", true, "r0")).recording.state, "asked");
  assert.equal(on.recording.state, "on");
  assert.equal(fold(on, answered("patient", false)).recording, null);
  assert.equal(fold(on, { type: "recording_stopped", seq: 30, ask: "r1", participant: "patient" }).recording, null);
  assert.equal(fold(on, { type: "closed", seq: 30, outcome: "completed" }).recording, null);
});

test("a recording pauses for who comes back after leaving, not for a new page", () => {
  const on = fold(inVisit(), asked, answered("patient", true));
  const left = fold(on, { type: "gone", seq: 30, participant: "patient" });
  const back = fold(left, joinedAgain("patient", "patient"));

  assert.equal(fold(on, joinedAgain("patient", "patient")).recording.state, "on");
  assert.equal(back.recording.state, "paused");
  assert.equal(fold(back, answered("patient", true)).recording.state, "on");
  assert.equal(fold(left, { type: "gone", seq: 31, participant: "clinician" }).recording, null);
});

test("a failure stands over everything but the end, and welcome tells of it", () => {
  const shown = { state: "failed", ask: "r1", purpose: "care", text_version: "1", text_hash: "h", accepted: ["clinician", "patient"], has_begun: true, reason: "disk_full" };
  const failed = inVisit(shown);

  assert.equal(failed.recording.state, "failed");
  assert.equal(fold(failed, joinedAgain("patient", "patient")).recording.state, "failed");
  assert.equal(fold(failed, { type: "recording_resumed", seq: 30, ask: "r1" }).recording.state, "on");
});
