"""The port towards CUP: one event as every language gets it, and what became of a sending.

Types only. A language turns an :class:`OutgoingEvent` into its own message and sends it with a
coroutine of the shape :data:`Sender`; order, repeats and phases are :mod:`server.cup.outbox`'s.
An event names a booking, not a person: CUP knows whose it is.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from server.models import EventKind
from server.sources import Outgoing


class Verdict(StrEnum):
    """What became of one sending."""

    DELIVERED = "delivered"
    """CUP has said that it has it."""
    REFUSED = "refused"
    """CUP has read it and will not take it; a repeat would change nothing."""
    RETRY = "retry"
    """No answer, or none that says either: it is sent again later."""
    NOT_WANTED = "not_wanted"
    """This source has no word for such an event; nothing was sent."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OutgoingEvent:
    """What CUP is told or asked of one booking.

    ``control_id`` is the same at every repeat, so that CUP can take an event once; so is
    ``sent_at``, the time of the act. ``start`` and ``end`` are the booking's times of now;
    when it really began and ended is in ``facts`` (``began_at``, ``ended_at``: ISO, UTC).
    """

    number: int
    """Rises from event to event of a source; may have gaps."""
    control_id: str
    """At most 20 characters, the shortest MSH-10 of all versions."""
    kind: EventKind
    facts: Mapping[str, str | int | bool]
    booking_code: str
    start: datetime
    end: datetime
    sent_at: datetime
    organisation_code: str = ""
    clinician_code: str = ""
    service_code: str = ""


Sender = Callable[[OutgoingEvent, Outgoing, str], "Awaitable[Verdict]"]
"""Sends one event: the event, where it goes, and the bearer token that CUP gave us (may be
empty). What it raises counts as :attr:`Verdict.RETRY`."""
