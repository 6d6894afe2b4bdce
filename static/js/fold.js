// The page's own fold of the room log: pure functions from welcome and events to a room.
// It decides what may be sent and played; it draws nothing and sends nothing.

import { recordingAfter, recordingFromWelcome } from "./consent-fold.js";

/** @typedef {import("./messages.js").Welcome} Welcome */
/** @typedef {import("./messages.js").RoomEvent} RoomEvent */
/** @typedef {import("./messages.js").Role} Role */
/** @typedef {import("./messages.js").State} State */
/** @typedef {import("./messages.js").Participant} Participant */

/** @typedef {import("./consent-fold.js").Recording} Recording */

/** @typedef {"here" | "away" | "gone" | "turned_away"} Presence */

/**
 * @typedef {object} Person
 * @property {string} id
 * @property {Role} role
 * @property {Presence} presence
 * @property {boolean} isAdmitted
 * @property {number} generation `seq` of the `joined` event of this person's page
 * @property {boolean} microphone
 * @property {boolean} camera
 * @property {boolean} screen
 */

/**
 * @typedef {object} Room
 * @property {string} epoch
 * @property {string} you
 * @property {Readonly<Record<string, Person>>} people
 * @property {number} lateMinutes
 * @property {{ask: string, state: import("./messages.js").StillState} | null} still the last ask for a photo
 * @property {Recording | null} recording asked for or running
 * @property {number} filesSeq grows when a file of the visit comes or goes
 * @property {string | null} outcome
 * @property {string | null} start of the appointment, once CUP has moved it
 */

const MEDIA_OFF = { microphone: false, camera: false, screen: false };

/**
 * @param {State} state
 * @returns {Presence}
 */
function presenceOf(state) {
  return state === "away" || state === "gone" || state === "turned_away" ? state : "here";
}

/**
 * @param {Participant} participant
 * @param {boolean} isVisitRunning tells of a person who is away now whether she was admitted
 * @returns {Person}
 */
function personFrom({ participant, state, role, generation, microphone, camera, screen }, isVisitRunning) {
  const isAdmitted =
    state === "admitted" || state === "connected" || (state === "away" && isVisitRunning);
  const presence = presenceOf(state);
  return { id: participant, role, presence, isAdmitted, generation, microphone, camera, screen };
}

/**
 * @param {Welcome} welcome of a join, not of a resume
 * @param {boolean} isVisitRunning
 * @returns {Room}
 */
export function roomFromWelcome(welcome, isVisitRunning) {
  const people = welcome.participants.map((participant) => personFrom(participant, isVisitRunning));
  return {
    epoch: welcome.epoch,
    you: welcome.you,
    people: Object.fromEntries(people.map((person) => [person.id, person])),
    lateMinutes: welcome.late_minutes,
    still: welcome.still ? { ask: welcome.still, state: "asked" } : null,
    recording: recordingFromWelcome(welcome.recording),
    filesSeq: welcome.seq,
    outcome: welcome.outcome,
    start: null,
  };
}

/**
 * @param {Room} room
 * @param {string} id
 * @param {Partial<Person>} change
 * @returns {Room}
 */
function withPerson(room, id, change) {
  const person = room.people[id];
  if (!person) return room;
  return { ...room, people: { ...room.people, [id]: { ...person, ...change } } };
}

/**
 * @param {Room} room
 * @param {Extract<RoomEvent, {type: "joined"}>} event
 * @returns {Room}
 */
function withNewPage(room, { participant, role, state, seq }) {
  const wasAdmitted = room.people[participant]?.isAdmitted ?? false;
  const isAdmitted = state === "admitted" || state === "connected" || (state === "away" && wasAdmitted);
  const presence = presenceOf(state);
  const person = { id: participant, role, presence, isAdmitted, generation: seq, ...MEDIA_OFF };
  return { ...room, people: { ...room.people, [participant]: person } };
}

/**
 * @param {Room} room
 * @param {RoomEvent} event
 * @returns {Room}
 */
export function applyEvent(room, event) {
  const after = afterEvent(room, event);
  const recording = recordingAfter(room.recording, event, after.people);
  return recording === after.recording ? after : { ...after, recording };
}

/**
 * @param {Room} room
 * @param {RoomEvent} event
 * @returns {Room}
 */
function afterEvent(room, event) {
  switch (event.type) {
    case "joined":
      return withNewPage(room, event);
    case "returned":
      return withPerson(room, event.participant, { presence: "here" });
    case "away":
    case "gone":
    case "turned_away":
      return withPerson(room, event.participant, { presence: event.type });
    case "admitted":
      return withPerson(room, event.participant, { isAdmitted: true });
    case "media_changed": {
      const { participant, microphone, camera, screen } = event;
      return withPerson(room, participant, { microphone, camera, screen });
    }
    case "late":
      return { ...room, lateMinutes: event.minutes };
    case "still_changed":
      return { ...room, still: { ask: event.ask, state: event.state } };
    case "files_changed":
      return { ...room, filesSeq: event.seq };
    case "moved":
      return { ...room, start: event.start };
    case "closed":
      return { ...room, outcome: event.outcome };
    default:
      return room;
  }
}

/** @param {Room} room */
export const selfOf = (room) => room.people[room.you];

/** @param {Room} room */
export const peerOf = (room) =>
  Object.values(room.people).find(({ id, role }) => id !== room.you && role !== "recorder");

/** @param {Room} room */
export const recorderOf = (room) => Object.values(room.people).find(({ role }) => role === "recorder");

/**
 * True when media may flow: the patient is admitted and the visit is not over.
 * @param {Room} room
 */
export function isAdmitted(room) {
  const patient = Object.values(room.people).find((person) => person.role === "patient");
  return Boolean(patient?.isAdmitted && patient.presence !== "turned_away" && !room.outcome);
}

/**
 * CUP has moved the appointment away from the start that a page shows.
 * @param {Room} room
 * @param {string} shown
 */
export const isMovedFrom = (room, shown) =>
  room.start !== null && Date.parse(room.start) !== Date.parse(shown);

/**
 * One of the two has left, or was not let in.
 * @param {Room} room
 */
export const isApart = (room) =>
  [selfOf(room), peerOf(room)].some(
    (person) => person?.presence === "gone" || person?.presence === "turned_away",
  );

/**
 * Names the one peer connection both pages should hold now; null when there is none to hold.
 * @param {Room} room
 * @returns {{generation: number, to: string} | null}
 */
export function findPair(room) {
  const self = selfOf(room);
  const peer = peerOf(room);
  if (!self || !peer || room.outcome || isApart(room)) return null;
  return { generation: Math.max(self.generation, peer.generation), to: peer.id };
}
