"""What the room log holds: an event and where it came from. A type and nothing else."""

from __future__ import annotations

import msgspec

from signaling.messages import RoomEvent


class Entry(msgspec.Struct, gc=False, array_like=True):
    """One entry of the room log; only its ``event`` is ever sent to a client.

    The log numbers the event of the entry it is given; nobody changes it later.
    """

    event: RoomEvent
    node: str
    by: str = ""
    """The participant whose frame this is; empty when the server itself speaks."""
    socket: str = ""
    """The socket it came on: the fold hears only the newest socket of a participant."""
    cseq: int = 0
    reason: str = ""
    """Bye reason, when a participant leaves otherwise than by its own wish."""
    at: float = 0.0
    """Seconds since 1970 on the clock of the node that appended it; signals have none."""
    ticket: str = ""
    """What makes the ticket of a ``joined`` one of a kind: the fold takes it once."""
    number: int = 0
    """Counts the appends of its node, so that one sent twice is taken once."""
    epoch: str = ""
    """The numbering it was meant for."""
