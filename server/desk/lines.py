"""Loading the lines of the board: one day of the organisation, or the hits of a search."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import UTC, date, datetime, time, timedelta
from enum import StrEnum
from typing import Final

from aiohttp import web
from sqlalchemy import ColumnElement, Select, func, or_, select
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import contains_eager, joinedload

from server.desk.board import NOBODY, Line, Presence, in_order, make_line, matches
from server.i18n import ROME
from server.joinlink import ROOM_CLOSES, ROOM_OPENS
from server.models import (
    Appointment,
    AppointmentStatus,
    CheckIn,
    Device,
    Patient,
    Visit,
    VisitState,
)
from server.readiness import (
    MISSED_BEFORE,
    NO_PROBLEMS,
    load_newest_tests,
    newest_problems,
)
from server.sealed import Answers, open_answers, open_identity, warm_keys
from server.services import HUB, KEYRING
from signaling.messages import Participant, ParticipantState

_LONGEST_SEARCH: Final = 50
_LONGEST_LIST: Final = 200
_LIVE: Final = (VisitState.WAITING, VisitState.IN_VISIT)
_HERE: Final = frozenset(
    {ParticipantState.WAITING, ParticipantState.ADMITTED, ParticipantState.CONNECTED}
)


class ToDo(StrEnum):
    """What of the coming bookings waits for the desk, on whatever day."""

    ASSIGN = "assign"
    COMPLETE = "complete"
    CANCEL = "cancel"
    """The patient has asked to cancel and CUP has not answered yet."""
    LINE = "line"
    """The red list of the line tests: the two below together."""
    LINE_FAILED = "line_failed"
    LINE_MISSING = "line_missing"
    """Nobody has tested, and the visit is near."""


LINE_LISTS: Final = (ToDo.LINE, ToDo.LINE_FAILED, ToDo.LINE_MISSING)


def _conditions(now: datetime) -> dict[ToDo, ColumnElement[bool]]:
    newest = newest_problems()
    is_failed = newest != NO_PROBLEMS
    is_missing = newest.is_(None) & (Appointment.start <= now + MISSED_BEFORE)
    return {
        ToDo.ASSIGN: Appointment.clinician_id.is_(None),
        ToDo.COMPLETE: Patient.is_to_complete.is_(True),
        ToDo.CANCEL: Appointment.cancel_asked_at.is_not(None),
        ToDo.LINE: or_(is_failed, is_missing),
        ToDo.LINE_FAILED: is_failed,
        ToDo.LINE_MISSING: is_missing,
    }


def today(now: datetime) -> date:
    return now.astimezone(ROME).date()


async def load_day(
    request: web.Request, session: AsyncSession, day: date, now: datetime
) -> list[Line]:
    """All visits of one day in Europe/Rome, problems first. Those whose room is open, and those
    that are not finished, are on today's board also around midnight."""
    is_shown: ColumnElement[bool] = (Appointment.start >= _midnight(day)) & (
        Appointment.start < _midnight(day + timedelta(days=1))
    )
    if day == today(now):
        is_open = (Appointment.start <= now + ROOM_OPENS) & (Appointment.end > now - ROOM_CLOSES)
        is_shown = or_(is_shown, is_open, Visit.state.in_(_LIVE))
    return await _load_lines(request, session, _visits(is_shown), now)


async def search(
    request: web.Request, session: AsyncSession, sought: str, day: date, now: datetime
) -> list[Line]:
    """A booking code on any day, else a name or a telephone number within the day.

    Names and numbers are sealed, so a day is opened in memory and nothing is indexed.
    """
    by_code = _visits(Appointment.booking_code == sought.upper()).limit(_LONGEST_SEARCH)
    found = await _load_lines(request, session, by_code, now)
    if found:
        return found
    return [line for line in await load_day(request, session, day, now) if matches(line, sought)]


async def load_to_do(
    request: web.Request, session: AsyncSession, to_do: ToDo, now: datetime
) -> list[Line]:
    """The coming bookings of one list, the next one first; nothing is opened to find them."""
    wanted = (
        _visits(_conditions(now)[to_do], *_coming(now))
        .join(Appointment.patient)
        .limit(_LONGEST_LIST)
    )
    lines = await _load_lines(request, session, wanted, now)
    return sorted(lines, key=lambda line: line.visit.appointment.start)


async def count_to_do(session: AsyncSession, now: datetime) -> dict[ToDo, int]:
    """How long each list is."""
    conditions = _conditions(now)
    counts = [func.count().filter(condition) for condition in conditions.values()]
    found = await session.execute(
        select(*counts)
        .select_from(Visit)
        .join(Visit.appointment)
        .join(Appointment.patient)
        .where(*_coming(now))
    )
    return dict(zip(conditions, found.one(), strict=True))


def _coming(now: datetime) -> tuple[ColumnElement[bool], ...]:
    return (
        Visit.state.in_((VisitState.BOOKED, VisitState.CHECKED_IN)),
        Appointment.status == AppointmentStatus.BOOKED,
        Appointment.end > now,
    )


async def load_visit_line(
    request: web.Request, session: AsyncSession, visit_id: str, now: datetime
) -> Line | None:
    """The line of one visit."""
    lines = await _load_lines(request, session, _visits(Visit.id == visit_id), now)
    return lines[0] if lines else None


def _visits(*conditions: ColumnElement[bool]) -> Select[Visit]:
    return (
        select(Visit)
        .join(Visit.appointment)
        .where(*conditions)
        .options(
            contains_eager(Visit.appointment).options(
                joinedload(Appointment.patient),
                joinedload(Appointment.clinic),
                joinedload(Appointment.clinician),
            )
        )
        .order_by(Appointment.start, Visit.id)
    )


async def _load_lines(
    request: web.Request, session: AsyncSession, wanted: Select[Visit], now: datetime
) -> list[Line]:
    keyring = request.app[KEYRING]
    visits = list(await session.scalars(wanted))
    await warm_keys(keyring, session, visits)
    check_ins = await _load_check_ins(session, visits)
    claimed = await _load_claimed(session, visits)
    line_tests = await load_newest_tests(session, [visit.id for visit in visits])
    people = await request.app[HUB].presence([visit.id for visit in visits])
    lines: list[Line] = []
    for visit in visits:
        check_in = check_ins.get(visit.id)
        lines.append(
            make_line(
                visit,
                await open_identity(keyring, session, visit.appointment.patient),
                await open_answers(keyring, session, check_in) if check_in else Answers(),
                _presence_of(people.get(visit.id, ())),
                has_device=visit.id in claimed,
                now=now,
                line_test=line_tests.get(visit.id),
            )
        )
    return in_order(lines)


async def _load_check_ins(session: AsyncSession, visits: Sequence[Visit]) -> dict[str, CheckIn]:
    ids = [visit.id for visit in visits]
    found = await session.scalars(select(CheckIn).where(CheckIn.visit_id.in_(ids)))
    return {check_in.visit_id: check_in for check_in in found}


async def _load_claimed(session: AsyncSession, visits: Sequence[Visit]) -> set[str]:
    """The visits whose link has been opened with the birth date on a device that still counts."""
    ids = [visit.id for visit in visits]
    found = await session.scalars(
        select(Device.visit_id).where(Device.visit_id.in_(ids)).where(Device.ended_at.is_(None))
    )
    return set(found)


def _presence_of(people: Collection[Participant]) -> Presence:
    if not people:
        return NOBODY
    return Presence(
        here=frozenset(person.participant for person in people if person.state in _HERE),
        away=frozenset(
            person.participant for person in people if person.state is ParticipantState.AWAY
        ),
    )


def _midnight(day: date) -> datetime:
    return datetime.combine(day, time(), ROME).astimezone(UTC)
