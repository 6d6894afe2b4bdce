// The frames of the room protocol as types: the JSDoc twin of signaling/messages.py.

/** @typedef {"patient" | "clinician" | "recorder"} Role */
/** @typedef {"waiting" | "admitted" | "connected" | "away" | "gone" | "turned_away"} State */

/**
 * @typedef {object} Media
 * @property {boolean} microphone
 * @property {boolean} camera
 * @property {boolean} screen
 */

/**
 * @typedef {{participant: string, role: Role, state: State, generation: number} & Media} Participant
 */

/** @typedef {"off" | "asked" | "on" | "paused" | "failed"} RecordingState */

/**
 * @typedef {object} Recording
 * @property {RecordingState} state
 * @property {string} ask
 * @property {string} purpose
 * @property {string} text_version
 * @property {string} text_hash
 * @property {string[]} accepted
 * @property {boolean} has_begun
 * @property {string} reason
 */

/**
 * @typedef {object} Welcome
 * @property {"welcome"} type
 * @property {number} version
 * @property {string} epoch
 * @property {number} seq
 * @property {number} cseq
 * @property {string} you
 * @property {Role} role
 * @property {boolean} polite
 * @property {Participant[]} participants
 * @property {boolean} resumed
 * @property {string} resume
 * @property {number} late_minutes
 * @property {string} still
 * @property {Recording | null} recording
 * @property {string | null} outcome
 * @property {RTCIceServer[]} ice_servers
 * @property {boolean} relay_until_admitted
 * @property {boolean} relay_always
 */

/** @typedef {RTCSessionDescriptionInit | RTCIceCandidateInit[]} SignalPayload */
/** @typedef {"offer" | "answer" | "candidates"} SignalType */

/**
 * @typedef {object} SignalEvent
 * @property {SignalType} type
 * @property {number} seq
 * @property {string} sender
 * @property {string} to
 * @property {number} generation
 * @property {SignalPayload} payload
 */

/** @typedef {"asked" | "agreed" | "refused" | "taken"} StillState */

/**
 * @typedef {{type: "recording_asked", seq: number, ask: string, participant: string,
 *     purpose: string, text_version: string, text_hash: string}
 *   | {type: "recording_answered", seq: number, ask: string, participant: string, accepted: boolean}
 *   | {type: "recording_stopped", seq: number, ask: string, participant: string}
 *   | {type: "recording_failed", seq: number, ask: string, reason: string}
 *   | {type: "recording_resumed", seq: number, ask: string}} RecordingEvent
 */

/**
 * @typedef {SignalEvent
 *   | RecordingEvent
 *   | {type: "joined", seq: number, participant: string, role: Role, state: State}
 *   | {type: "returned" | "away" | "gone" | "admitted" | "turned_away", seq: number, participant: string}
 *   | {type: "media_changed", seq: number, participant: string} & Media
 *   | {type: "media_proven", seq: number, participant: string, of: string, audio: boolean, video: boolean}
 *   | {type: "late", seq: number, minutes: number}
 *   | {type: "moved", seq: number, start: string}
 *   | {type: "still_changed", seq: number, ask: string, state: StillState}
 *   | {type: "files_changed", seq: number}
 *   | {type: "closed", seq: number, outcome: string}} RoomEvent
 */

/** @typedef {{type: "ack", cseq: number}} Ack */
/** @typedef {{type: "pong"}} Pong */
/** @typedef {{type: "error", code: string, cseq: number | null}} Refusal */
/** @typedef {{type: "bye", reason: string, action: "stop" | "resume" | "reconnect"}} Bye */
/** @typedef {Welcome | Ack | Pong | Refusal | Bye | RoomEvent} ServerFrame */

/**
 * @typedef {{type: SignalType, to: string, generation: number, payload: SignalPayload}
 *   | {type: "set_media"} & Media
 *   | {type: "prove_media", of: string, audio: boolean, video: boolean}
 *   | {type: "admit" | "turn_away", participant: string}
 *   | {type: "leave"}} ClientMessage
 */

export {};
