"""What the two pages measured of one call, as plain figures.

Each direction of a call is measured twice: where it is seen and heard, and, by what the browsers
tell each other, where it is sent. The first counts; the second fills in when a page went silent.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from server.models import CallInterval, CallOutage, Direction

PICTURE_OFF: Final = "off"
"""The rung of a person who shows no picture, camera and screen alike."""
_COVERS: Final = timedelta(seconds=8)


class Seat(StrEnum):
    """Whose page."""

    PATIENT = "patient"
    CLINICIAN = "clinician"

    @property
    def other(self) -> Seat:
        return Seat.CLINICIAN if self is Seat.PATIENT else Seat.PATIENT


class Cause(StrEnum):
    """Why a page was without a line, as far as it could know (``static/js/outages.js``)."""

    PAGE_ASLEEP = "page_asleep"
    NETWORK_CHANGED = "network_changed"
    NETWORK_DOWN = "network_down"
    SERVER_AWAY = "server_away"
    OTHER_SIDE_AWAY = "other_side_away"
    PATH_LOST = "path_lost"
    MEDIA_STOPPED = "media_stopped"


class Path(StrEnum):
    """How the two browsers reach each other; ``RELAY`` is one that the other side uses."""

    DIRECT = "direct"
    RELAY = "relay"
    RELAY_UDP = "relay_udp"
    RELAY_TCP = "relay_tcp"
    RELAY_TLS = "relay_tls"


class Rung(StrEnum):
    """Steps of the ladder, best first (``static/js/ladder.js``)."""

    HD = "hd"
    SD = "sd"
    LOW = "low"
    SLOW = "slow"
    VOICE = "voice"
    OFF = PICTURE_OFF


@dataclass(frozen=True, slots=True)
class Interval:
    """A few seconds of what ``sender`` sends."""

    sender: Seat
    is_received: bool
    """Measured where it is seen and heard."""
    began_at: datetime
    seconds: float
    loss_percent: float
    rtt_ms: int
    concealed_percent: float
    frozen_ms: int
    frames_per_second: float
    path: Path
    rung: Rung

    @property
    def ended_at(self) -> datetime:
        return self.began_at + timedelta(seconds=self.seconds)


@dataclass(frozen=True, slots=True)
class Outage:
    """A time without a line, as the page in ``seat`` lived it."""

    seat: Seat
    began_at: datetime
    seconds: float
    cause: Cause

    @property
    def ended_at(self) -> datetime:
        return self.began_at + timedelta(seconds=self.seconds)


@dataclass(frozen=True, slots=True)
class Measured:
    """All of one visit; each list in the order of time."""

    intervals: Sequence[Interval] = ()
    outages: Sequence[Outage] = ()

    def flow(self, sender: Seat) -> list[Interval]:
        """What one side sent, each moment once."""
        own = [interval for interval in self.intervals if interval.sender is sender]
        received = [interval for interval in own if interval.is_received]
        starts = [interval.began_at for interval in received]

        def is_covered(interval: Interval) -> bool:
            place = bisect_left(starts, interval.began_at)
            near = starts[max(0, place - 1) : place + 1]
            return any(abs(start - interval.began_at) < _COVERS for start in near)

        return [each for each in own if each.is_received or not is_covered(each)]


async def load_measured(session: AsyncSession, visit_id: str) -> Measured:
    """As columns, not objects: a long visit has some thousand rows."""
    intervals = await session.execute(
        select(
            CallInterval.seat,
            CallInterval.direction,
            CallInterval.began_at,
            CallInterval.seconds,
            CallInterval.loss_percent,
            CallInterval.rtt_ms,
            CallInterval.concealed_percent,
            CallInterval.frozen_ms,
            CallInterval.frames_per_second,
            CallInterval.path,
            CallInterval.rung,
        )
        .where(CallInterval.visit_id == visit_id)
        .order_by(CallInterval.began_at)
    )
    outages = await session.execute(
        select(CallOutage.seat, CallOutage.began_at, CallOutage.seconds, CallOutage.cause)
        .where(CallOutage.visit_id == visit_id)
        .order_by(CallOutage.began_at)
    )
    return Measured(
        [_interval(Seat(row[0]), row[1], *row[2:]) for row in intervals],
        [Outage(Seat(seat), at, seconds, Cause(word)) for seat, at, seconds, word in outages],
    )


def _interval(
    seat: Seat,
    direction: Direction,
    began_at: datetime,
    seconds: float,
    loss_percent: float,
    rtt_ms: int,
    concealed_percent: float,
    frozen_ms: int,
    frames_per_second: float,
    path: str,
    rung: str,
) -> Interval:
    is_received = direction is Direction.INCOMING
    return Interval(
        sender=seat.other if is_received else seat,
        is_received=is_received,
        began_at=began_at,
        seconds=seconds,
        loss_percent=loss_percent,
        rtt_ms=rtt_ms,
        concealed_percent=concealed_percent,
        frozen_ms=frozen_ms,
        frames_per_second=frames_per_second,
        path=Path(path),
        rung=Rung(rung),
    )
