"""What the patient's test of the line says before a visit, for all pages that speak of it.

The newest test of a visit counts. Taking a test is ``server.linetest``; here nothing is written.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Annotated, Final

import msgspec
from sqlalchemy import ScalarSelect, select
from sqlalchemy.ext.asyncio import AsyncSession

from server.models import Appointment, AppointmentStatus, LineTest, Visit, VisitState

MISSED_BEFORE: Final = timedelta(hours=24)
"""Who has not tested so long before the visit is called by the desk."""
NO_PROBLEMS: Final = "[]"
"""As :attr:`LineTest.problems` says it."""
_BEFORE_VISIT: Final = frozenset({VisitState.BOOKED, VisitState.CHECKED_IN})


_Figure = Annotated[float, msgspec.Meta(ge=0, le=1_000_000)]
_Percent = Annotated[float, msgspec.Meta(ge=0, le=100)]


class Step(StrEnum):
    """In the order in which they run."""

    SOCKET = "socket"
    CAMERA = "camera"
    MICROPHONE = "microphone"
    LOUDSPEAKER = "loudspeaker"
    RELAY_UDP = "relay_udp"
    RELAY_TCP = "relay_tcp"
    RELAY_TLS = "relay_tls"
    LINE = "line"
    """Sound, picture and data to the echo leg and back."""
    RECONNECT = "reconnect"


RELAYS: Final = (Step.RELAY_UDP, Step.RELAY_TCP, Step.RELAY_TLS)


class Result(StrEnum):
    OK = "ok"
    FAILED = "failed"
    SKIPPED = "skipped"


class StepReport(msgspec.Struct, frozen=True, omit_defaults=True, forbid_unknown_fields=True):
    """How one step went; ``ms``: how long until it worked. *up* is from the patient to us."""

    result: Result
    ms: _Figure | None = None
    up_kilobits: _Figure | None = None
    down_kilobits: _Figure | None = None
    up_loss_percent: _Percent | None = None
    down_loss_percent: _Percent | None = None
    up_jitter_ms: _Figure | None = None
    down_jitter_ms: _Figure | None = None
    rtt_ms: _Figure | None = None


class Problem(StrEnum):
    """What a person should hear of; the value is stored."""

    SOCKET = "socket"
    CAMERA = "camera"
    MICROPHONE = "microphone"
    LOUDSPEAKER = "loudspeaker"
    RELAY = "relay"
    """No relay can be reached, by no transport."""
    LINE_DEAD = "line_dead"
    """Sound and picture do not get through."""
    LINE_WEAK = "line_weak"
    RECONNECT = "reconnect"


def problems_of(test: LineTest) -> tuple[Problem, ...]:
    return msgspec.json.decode(test.problems, type=tuple[Problem, ...])


def steps_of(test: LineTest) -> Mapping[Step, StepReport]:
    """In the order in which they run."""
    steps = msgspec.json.decode(test.steps, type=dict[Step, StepReport])
    return {step: steps[step] for step in Step if step in steps}


def is_line_test_open(visit: Visit, appointment: Appointment, now: datetime, hours: int) -> bool:
    """Whether the patient may test: from ``hours`` before the visit until she waits or it ends."""
    is_booked = visit.state in _BEFORE_VISIT and appointment.status is AppointmentStatus.BOOKED
    return is_booked and appointment.start - timedelta(hours=hours) <= now < appointment.end


def newest_problems() -> ScalarSelect[str]:
    """In a query about visits: the problems of the newest test, as stored; null without a test."""
    return (
        select(LineTest.problems)
        .where(LineTest.visit_id == Visit.id)
        .order_by(LineTest.taken_at.desc(), LineTest.id.desc())
        .limit(1)
        .correlate(Visit)
        .scalar_subquery()
    )


async def load_newest_tests(
    session: AsyncSession, visit_ids: Iterable[str]
) -> Mapping[str, LineTest]:
    """The newest test of each visit that has one."""
    found = await session.scalars(
        select(LineTest)
        .where(LineTest.visit_id.in_(list(visit_ids)))
        .order_by(LineTest.taken_at, LineTest.id)
    )
    return {test.visit_id: test for test in found}
