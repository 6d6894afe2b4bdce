// Whether the visit may be recorded now, from the events of the room: the twin of
// signaling/recording.py. Pure; nothing is recorded unless everybody in the room has agreed.

/** @typedef {import("./messages.js").RecordingEvent} RecordingEvent */
/** @typedef {import("./messages.js").Recording} ShownRecording */
/** @typedef {import("./messages.js").RecordingState} RecordingState */
/** @typedef {import("./fold.js").Room} Room */
/** @typedef {import("./fold.js").Person} Person */

/**
 * @typedef {object} Recording
 * @property {RecordingState} state
 * @property {string} ask
 * @property {string} purpose
 * @property {string} textVersion
 * @property {readonly string[]} accepted who has agreed and has not left since
 * @property {boolean} hasBegun it was on before
 * @property {string} reason why it has failed; empty: it has not
 */

const FEWEST = 2;

/** @param {Person} person */
const isIn = ({ role, presence }) =>
  role !== "recorder" && presence !== "gone" && presence !== "turned_away";

/**
 * @param {Room["people"]} people
 * @returns {string[]} who must agree
 */
const humansOf = (people) => Object.values(people).filter(isIn).map(({ id }) => id);

/**
 * @param {ShownRecording | null} shown
 * @returns {Recording | null}
 */
export function recordingFromWelcome(shown) {
  if (!shown) return null;
  const { state, ask, purpose, accepted, reason } = shown;
  return {
    state, ask, purpose, accepted, reason,
    textVersion: shown.text_version,
    hasBegun: shown.has_begun,
  };
}

/**
 * @param {Recording} recording
 * @param {readonly string[]} humans
 * @returns {Recording}
 */
function settled(recording, humans) {
  const doAllAgree = humans.length >= FEWEST && humans.every((id) => recording.accepted.includes(id));
  const hasBegun = recording.hasBegun || doAllAgree;
  /** @returns {RecordingState} */
  const stateOf = () => {
    if (recording.reason) return "failed";
    if (!hasBegun) return "asked";
    return doAllAgree ? "on" : "paused";
  };
  return { ...recording, hasBegun, state: stateOf() };
}

/**
 * @param {Recording | null} recording
 * @param {RecordingEvent} event
 * @param {readonly string[]} humans
 * @returns {Recording | null}
 */
function afterOwn(recording, event, humans) {
  if (event.type === "recording_asked") {
    const { ask, participant, purpose, text_version: textVersion } = event;
    if (!humans.includes(participant)) return null;
    return { state: "asked", ask, purpose, textVersion, accepted: [participant], hasBegun: false, reason: "" };
  }
  if (!recording || event.ask !== recording.ask) return recording;
  switch (event.type) {
    case "recording_answered":
      if (!event.accepted) return null;
      if (!humans.includes(event.participant) || recording.accepted.includes(event.participant)) return recording;
      return { ...recording, accepted: [...recording.accepted, event.participant] };
    case "recording_stopped":
      return null;
    case "recording_failed":
      return { ...recording, reason: event.reason };
    case "recording_resumed":
      return { ...recording, reason: "" };
  }
}

/**
 * The recording after an event whose effect on the people of the room is already in `people`.
 * @param {Recording | null} recording
 * @param {import("./messages.js").RoomEvent} event
 * @param {Room["people"]} people
 * @returns {Recording | null}
 */
export function recordingAfter(recording, event, people) {
  const humans = humansOf(people);
  let next = recording;
  switch (event.type) {
    case "joined":
      break;
    case "gone":
    case "turned_away":
      next = recording && { ...recording, accepted: recording.accepted.filter((id) => id !== event.participant) };
      if (humans.length === 0) next = null;
      break;
    case "closed":
      next = null;
      break;
    case "recording_asked":
    case "recording_answered":
    case "recording_stopped":
    case "recording_failed":
    case "recording_resumed":
      next = afterOwn(recording, event, humans);
      break;
    default:
      return recording;
  }
  return next && settled(next, humans);
}
