"""Every message of the room protocol, as types.

This is the wire contract and nothing else: no I/O, no room rules. Its prose twin is
``PROTOCOL.md`` (a test keeps the two equal); its JavaScript twin is ``static/js/wire.js``.
Frames are UTF-8 JSON texts of at most 64 KiB. Unknown fields are ignored, an unknown
``type`` is answered with an error. Fields marked ``PII`` or ``SECRET`` never reach a log.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Final

import msgspec

from signaling.recordingevents import (
    RecordingAnswered,
    RecordingAsked,
    RecordingFailed,
    RecordingResumed,
    RecordingShown,
    RecordingStopped,
)
from signaling.wire import Counter, Event, Message, Pii, Secret, ShortText

PROTOCOL_VERSION: Final = 1
MAX_FRAME_BYTES: Final = 64 * 1024


class Role(StrEnum):
    """Who a participant is; decided by the ticket, never by the client."""

    PATIENT = "patient"
    CLINICIAN = "clinician"
    RECORDER = "recorder"
    """A process of the server that takes part in order to record; never one of the two people."""


class ParticipantState(StrEnum):
    """``waiting → admitted → connected ⇄ away → gone`` and ``waiting → turned_away``."""

    WAITING = "waiting"
    ADMITTED = "admitted"
    CONNECTED = "connected"
    AWAY = "away"
    GONE = "gone"
    TURNED_AWAY = "turned_away"


class StillState(StrEnum):
    """Where an ask for a photo stands: ``asked → agreed → taken``, or ``refused`` at any moment."""

    ASKED = "asked"
    AGREED = "agreed"
    REFUSED = "refused"
    TAKEN = "taken"


class ByeAction(StrEnum):
    """What the client does after ``bye``: end here, resume this socket, or join afresh."""

    STOP = "stop"
    RESUME = "resume"
    RECONNECT = "reconnect"


# ---- client → server -------------------------------------------------------------------


class Hello(Message, frozen=True, tag="hello"):
    """First frame of a socket. Exactly one of ``ticket`` (join) and ``resume`` is given."""

    versions: list[int]
    ticket: Annotated[str, msgspec.Meta(max_length=1024), Secret] | None = None
    resume: Annotated[str, msgspec.Meta(max_length=1024), Secret] | None = None
    epoch: ShortText | None = None
    """The log epoch of the last ``welcome``; needed to resume."""
    seq: Counter = 0
    """The last event this client has applied; needed to resume."""


class Ping(Message, frozen=True, tag="ping"):
    """Application heartbeat; answered by ``pong`` at once."""


class ClientMessage(Message, frozen=True):
    """A numbered frame: kept by the client until acknowledged, resent after a resume."""

    cseq: Annotated[int, msgspec.Meta(ge=1)]


class Offer(ClientMessage, frozen=True, tag="offer"):
    """An SDP offer for ``to``; ``payload`` is forwarded as raw bytes, never parsed."""

    to: ShortText
    generation: Counter
    payload: Annotated[msgspec.Raw, Pii]


class Answer(ClientMessage, frozen=True, tag="answer"):
    to: ShortText
    generation: Counter
    payload: Annotated[msgspec.Raw, Pii]


class Candidates(ClientMessage, frozen=True, tag="candidates"):
    """A batch of ICE candidates (the client joins those of about 50 ms)."""

    to: ShortText
    generation: Counter
    payload: Annotated[msgspec.Raw, Pii]


class SetMedia(ClientMessage, frozen=True, tag="set_media"):
    """What this participant sends now, so that the other side can say it in words."""

    microphone: bool
    camera: bool
    screen: bool = False


class ProveMedia(ClientMessage, frozen=True, tag="prove_media"):
    """This participant has decoded frames of ``of``: media is proven in one direction."""

    of: ShortText
    audio: bool
    video: bool


class Admit(ClientMessage, frozen=True, tag="admit"):
    """A clinician lets one waiting participant in."""

    participant: ShortText


class TurnAway(ClientMessage, frozen=True, tag="turn_away"):
    participant: ShortText


class Leave(ClientMessage, frozen=True, tag="leave"):
    """Hanging up. The visit is not finished by it."""


SIGNAL_FRAMES: Final = (Candidates, Offer, Answer)
"""What most frames are, the most frequent first."""
ClientFrame = (
    Hello | Ping | Offer | Answer | Candidates | SetMedia | ProveMedia | Admit | TurnAway | Leave
)

# ---- server → client, outside the log --------------------------------------------------


class Participant(msgspec.Struct, frozen=True, kw_only=True):
    """One person of the room as ``welcome`` shows it."""

    participant: str
    role: Role
    state: ParticipantState
    generation: int
    """``seq`` of the ``joined`` event of this participant's page."""
    microphone: bool = False
    camera: bool = False
    screen: bool = False


class Welcome(Message, frozen=True, tag="welcome"):
    """Answer to ``hello``. After a join: the room as of ``seq``. After a resume: the missed
    events follow as ordinary frames and ``participants`` still shows the room as of now."""

    version: int
    epoch: str
    seq: int
    cseq: int
    """The last client frame the room has applied; the client drops those up to it."""
    you: str
    role: Role
    polite: bool
    participants: list[Participant]
    resumed: bool
    resume: Annotated[str, Secret]
    late_minutes: int
    still: str
    """The ask for a photo that has no answer yet, or none."""
    recording: RecordingShown | None
    """The recording that is asked for or running; after a resume as of now, as the participants."""
    outcome: str | None
    ice_servers: Annotated[list[dict[str, str | list[str]]], Secret]
    relay_until_admitted: bool
    relay_always: bool


class Ack(Message, frozen=True, tag="ack"):
    """The server has taken the client's frames up to ``cseq``."""

    cseq: int


class Pong(Message, frozen=True, tag="pong"):
    """Answer to ``ping``."""


class Error(Message, frozen=True, tag="error"):
    """A frame was refused; the socket stays open. ``code`` is stable."""

    code: str
    cseq: int | None = None


class Bye(Message, frozen=True, tag="bye"):
    """Last frame of the server; ``reason`` is stable, ``action`` says what to do next."""

    reason: str
    action: ByeAction


# ---- events: the room log, sent in order with ``seq`` ----------------------------------


class Joined(Event, frozen=True, tag="joined", kw_only=True):
    """A new page of this participant is in the room: connections of older ones are void."""

    participant: str
    role: Role
    state: ParticipantState


class Returned(Event, frozen=True, tag="returned", kw_only=True):
    """The same page is back after a lost socket; its peer connections are still good."""

    participant: str


class Away(Event, frozen=True, tag="away", kw_only=True):
    """The socket of this participant was lost."""

    participant: str


class Gone(Event, frozen=True, tag="gone", kw_only=True):
    """This participant left on purpose."""

    participant: str


class Admitted(Event, frozen=True, tag="admitted", kw_only=True):
    participant: str


class TurnedAway(Event, frozen=True, tag="turned_away", kw_only=True):
    participant: str


class Signal(Event, frozen=True, kw_only=True):
    """Base of the forwarded offer, answer and candidates."""

    sender: str
    to: str
    generation: int
    payload: Annotated[msgspec.Raw, Pii]


class OfferEvent(Signal, frozen=True, tag="offer", kw_only=True):
    pass


class AnswerEvent(Signal, frozen=True, tag="answer", kw_only=True):
    pass


class CandidatesEvent(Signal, frozen=True, tag="candidates", kw_only=True):
    pass


SIGNAL_EVENTS: Final = (CandidatesEvent, OfferEvent, AnswerEvent)


class MediaChanged(Event, frozen=True, tag="media_changed", kw_only=True):
    participant: str
    microphone: bool
    camera: bool
    screen: bool


class MediaProven(Event, frozen=True, tag="media_proven", kw_only=True):
    """``participant`` has seen or heard ``of``."""

    participant: str
    of: str
    audio: bool
    video: bool


class Late(Event, frozen=True, tag="late", kw_only=True):
    """The clinician runs late by this many minutes (0: no longer)."""

    minutes: int


class Moved(Event, frozen=True, tag="moved", kw_only=True):
    """CUP moved the appointment; a page that shows another start reloads itself. May be said
    again: a page that was just coming in has not heard it."""

    start: str = ""
    """The new start, an ISO instant; empty in what an older version has logged."""


class StillChanged(Event, frozen=True, tag="still_changed", kw_only=True):
    """The clinician asks the patient for a photo of the rear camera, or the patient has answered.
    The picture itself travels over HTTPS."""

    ask: ShortText
    state: StillState


class FilesChanged(Event, frozen=True, tag="files_changed", kw_only=True):
    """A file of the visit has come or gone; pages that list them ask for the list again."""


class Closed(Event, frozen=True, tag="closed", kw_only=True):
    """The visit is over. ``outcome`` is an outcome value, or ``cancelled``."""

    outcome: str


RoomEvent = (
    Joined
    | Returned
    | Away
    | Gone
    | Admitted
    | TurnedAway
    | OfferEvent
    | AnswerEvent
    | CandidatesEvent
    | MediaChanged
    | MediaProven
    | Late
    | Moved
    | StillChanged
    | FilesChanged
    | RecordingAsked
    | RecordingAnswered
    | RecordingStopped
    | RecordingFailed
    | RecordingResumed
    | Closed
)
ServerFrame = Welcome | Ack | Pong | Error | Bye | RoomEvent
