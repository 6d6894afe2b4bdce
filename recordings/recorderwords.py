"""What the server and the recorder process of one recording say to each other; loads no media
library.

Lines of JSON. In: :class:`Orders` first, then an answer to each :class:`NeedTicket`, and
:class:`Finish`. Out: the rest. A tape that :class:`TrackEnded` names is whole; that of a process
which ended without a word lacks its last second at most. Either way ``recordings.finishing``
makes the file of it and knows its figures.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Final

import msgspec

from recordings.echowords import Endpoint

LONGEST_LINE: Final = 128 * 1024
TAPE_SUFFIX: Final = ".tape"
"""A tape is the file ``{track}.tape`` of ``tape_folder``."""


class TroubleReason(StrEnum):
    DISK_FULL = "disk_full"
    DISK_FAILED = "disk_failed"


class GapReason(StrEnum):
    """Why nothing is there."""

    PAUSED = "paused"
    """Not everybody in the room had accepted, or the recording had failed."""
    DISK_FULL = "disk_full"
    DISK_FAILED = "disk_failed"
    LOST = "lost"
    """Nothing came: the line, or the sender."""
    CUT = "cut"
    """From here on nothing: the recorder ended without a word."""


class Word(msgspec.Struct, frozen=True, kw_only=True, tag_field="type"):
    """One line."""


# ---- server → recorder -----------------------------------------------------------------


class Orders(Word, frozen=True, tag="orders"):
    """The only line with a key in it."""

    socket_url: str
    origin: str
    ticket: str
    endpoint: Endpoint
    recording_id: str
    visit_id: str
    organisation: str
    key: bytes
    key_id: str
    tape_folder: str
    began_at: float = 0.0
    """When everybody had accepted, in seconds of the Unix epoch. 0: not yet; the recorder takes
    the moment in which its own fold says ``on``."""
    parts: dict[str, int] = {}
    """By participant: the number of the next part, where a recorder was here before."""


class Ticket(Word, frozen=True, tag="ticket"):
    """Answer to ``need_ticket``. Empty: there is no way in any more."""

    ticket: str


class Finish(Word, frozen=True, tag="finish"):
    """Close the tapes, leave the room, say ``done`` and end. The end of the input means the
    same."""


ServerWord = Orders | Ticket | Finish

# ---- recorder → server -----------------------------------------------------------------


class NeedTicket(Word, frozen=True, tag="need_ticket"):
    """The room wants a fresh join."""


class TrackBegan(Word, frozen=True, tag="track_began"):
    """Said before the first byte of the tape is on the disk."""

    track: str
    participant: str
    part: int
    offset_ms: int
    """From ``began_at`` to the first frame."""


class TrackEnded(Word, frozen=True, tag="track_ended"):
    """The tape is whole and on the disk."""

    track: str
    duration_ms: int
    frames: int
    """Of the picture."""
    packets: int
    """Of the sound."""
    bytes: int
    """Of the tape."""
    gaps: list[tuple[int, int, GapReason]]
    """From, to, by the time of the track."""


class Trouble(Word, frozen=True, tag="trouble"):
    """Nothing is kept until ``trouble_over``; the recorder tries again by itself."""

    reason: TroubleReason


class TroubleOver(Word, frozen=True, tag="trouble_over"):
    """There is room again."""


class Stats(Word, frozen=True, tag="stats"):
    """Every ten seconds and at the end, sums over all parts. Each frame that began is in one of the
    last four."""

    connections: int
    """That are up now."""
    received: int
    """RTP packets, those that came twice among them."""
    absent: int
    """RTP packets that never came, by the numbers of the others."""
    begun: int
    """Frames of picture and sound of which a packet came."""
    kept: int
    unwanted: int
    """Came while nothing may be kept: no consent, paused, trouble."""
    useless: int
    """Pictures that need one which was lost or came before."""
    lost: int
    """Never came whole; while it goes on, those that are coming, too."""


class Done(Word, frozen=True, tag="done"):
    """The last line."""

    reason: str
    """``finished``, or why the room ended it (a reason of ``bye``)."""


RecorderWord = NeedTicket | TrackBegan | TrackEnded | Trouble | TroubleOver | Stats | Done
