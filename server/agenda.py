"""The clinician's day: a column of visits, each with what is true of it now.

The page is written once; afterwards ``/agenda/states`` sends the changing words, without names.
What happens inside one visit is ``server.visit``.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, time, timedelta
from typing import Final

from aiohttp import web
from sqlalchemy import or_, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from server.audit import (
    Act,
    ActorRole,
    Entry,
    Fact,
    append,
    append_alone,
    leaves,
    leaves_none,
    may_leave,
)
from server.auth import CLINICIAN, Actor, Route, actor_of
from server.caseload import (
    LATE_CHOICES,
    STILL_TO_COME,
    age_on,
    load_unassigned,
    load_visit_of,
    visits_of,
)
from server.chips import LIVE, Chip, Signs, chip_of, waiting_minutes
from server.errors import Conflict, InvalidInput
from server.i18n import ROME, Translator
from server.joinlink import ROOM_CLOSES, ROOM_OPENS
from server.mail.queue import queue_message
from server.models import (
    Appointment,
    CheckIn,
    Device,
    MessageKind,
    Visit,
    VisitState,
)
from server.pages import json_response
from server.readiness import load_newest_tests
from server.report.unsigned import load_unsigned
from server.report.watch import count_owed
from server.sealed import (
    Answers,
    Details,
    Identity,
    open_answers,
    open_details,
    open_identity,
    warm_keys,
)
from server.services import DATABASE, HUB, KEYRING, PAGES, now_of
from signaling.messages import Late, Participant, ParticipantState, Role

_WRITTEN_BEFORE: Final = timedelta(hours=3)
"""How long before the visit a patient gets a message that the clinician is late."""
_OUT: Final = (ParticipantState.AWAY, ParticipantState.GONE)


@dataclass(frozen=True, slots=True)
class Row:
    """One visit as the page shows it."""

    visit: Visit
    identity: Identity
    details: Details
    age: int | None
    chip: Chip
    words: str


def day_bounds(now: datetime) -> tuple[datetime, datetime]:
    """The local day of ``now``: 23 or 25 hours long when the clock changes."""
    today = now.astimezone(ROME).date()
    start, end = (
        datetime.combine(day, time(), tzinfo=ROME) for day in (today, today + timedelta(days=1))
    )
    return start, end


# ---- pages -----------------------------------------------------------------------------


async def show_agenda(request: web.Request) -> web.StreamResponse:
    """The day."""
    actor, now = actor_of(request), now_of(request)
    words = request.app[PAGES].translator(request)
    async with request.app[DATABASE].read(actor.organisation) as session:
        visits = await _load_day(session, actor, now)
        await warm_keys(request.app[KEYRING], session, visits)
        signs = await _load_signs(request, session, visits)
        rows = [await _make_row(request, session, visit, signs, words) for visit in visits]
        line_tests = await load_newest_tests(session, [visit.id for visit in visits])
        unassigned = await load_unassigned(session, *day_bounds(now))
        unsigned = await load_unsigned(session, actor.id, now)
        owed, owed_soon = await count_owed(session, now, actor.id)
        to_sign = [
            (one, await open_identity(request.app[KEYRING], session, one.visit.appointment.patient))
            for one in unsigned
        ]
    facts: dict[str, Fact] = {"list": "agenda", "visits": len(rows) + len(to_sign)}
    entry = Entry(now, Act.LIST_OPENED, ActorRole.CLINICIAN, actor.id, facts=facts)
    await append_alone(request.app[DATABASE], actor.organisation, entry)
    return request.app[PAGES].render(
        request,
        "staff/agenda.html",
        actor=actor,
        now=now,
        rows=rows,
        unassigned=unassigned,
        to_sign=to_sign,
        owed=owed,
        owed_soon=owed_soon,
        line_tests=line_tests,
        next_row=next((row for row in rows if row.visit.appointment.start > now), None),
        late_minutes=max((row.visit.late_minutes for row in rows), default=0),
        late_choices=LATE_CHOICES,
        page_data={"statesUrl": "/agenda/states"},
    )


async def send_states(request: web.Request) -> web.StreamResponse:
    """What changes while the page is open: no names, no reasons."""
    actor, now = actor_of(request), now_of(request)
    words = request.app[PAGES].translator(request)
    async with request.app[DATABASE].read(actor.organisation) as session:
        visits = await _load_day(session, actor, now)
        signs = await _load_signs(request, session, visits)
    states = [
        {"id": visit.id, "state": visit.state, "chip": chip, "words": _say(words, visit, chip, now)}
        for visit in visits
        for chip in (chip_of(visit, signs.get(visit.id, Signs()), now),)
    ]
    return json_response({"visits": states})


async def announce_late(request: web.Request) -> web.StreamResponse:
    """One click tells everybody of the rest of the day."""
    minutes = _parse_minutes(str((await request.post()).get("minutes", "")))
    actor, now = actor_of(request), now_of(request)
    async with request.app[DATABASE].begin(actor.organisation) as session:
        visits = [
            visit
            for visit in await _load_day(session, actor, now)
            if visit.state in STILL_TO_COME and now < visit.appointment.end + ROOM_CLOSES
        ]
        await _set_late(session, actor, visits, minutes, now)
    for visit in visits:
        await request.app[HUB].publish(visit.id, Late(minutes=minutes))
    raise web.HTTPSeeOther("/agenda")


async def announce_late_to_one(request: web.Request) -> web.StreamResponse:
    """The same for one visit, from its page."""
    minutes = _parse_minutes(str((await request.post()).get("minutes", "")))
    actor, visit_id = actor_of(request), request.match_info["visit_id"]
    async with request.app[DATABASE].begin(actor.organisation) as session:
        visit = await load_visit_of(session, actor.id, visit_id)
        if visit.state not in STILL_TO_COME:
            raise Conflict(f"visit is {visit.state}")
        await _set_late(session, actor, [visit], minutes, now_of(request))
    await request.app[HUB].publish(visit_id, Late(minutes=minutes))
    raise web.HTTPSeeOther(f"/visits/{visit_id}")


def _parse_minutes(text: str) -> int:
    if not text.isascii() or not text.isdigit() or int(text) not in (0, *LATE_CHOICES):
        raise InvalidInput("minutes", "unknown_choice")
    return int(text)


async def _set_late(
    session: AsyncSession, actor: Actor, visits: Sequence[Visit], minutes: int, now: datetime
) -> None:
    ids = [visit.id for visit in visits]
    await session.execute(update(Visit).where(Visit.id.in_(ids)).values(late_minutes=minutes))
    entries = [
        Entry(now, Act.LATE_ANNOUNCED, ActorRole.CLINICIAN, actor.id, id_, {"minutes": minutes})
        for id_ in ids
    ]
    await append(session, actor.organisation, *entries)
    await _write_to_absent(session, visits, minutes, now)


async def _write_to_absent(
    session: AsyncSession, visits: Sequence[Visit], minutes: int, now: datetime
) -> None:
    """A message to those who come soon: who waits already reads it on the page. The same delay is
    said once a day."""
    if not minutes:
        return
    occasion = f"{now.astimezone(ROME).date()} {minutes}"
    for visit in visits:
        is_soon = now < visit.appointment.end and visit.appointment.start <= now + _WRITTEN_BEFORE
        if is_soon and visit.state is not VisitState.WAITING:
            await queue_message(
                session,
                visit,
                MessageKind.LATE,
                now,
                occasion=occasion,
                parameters={"minutes": minutes},
            )


async def _load_day(session: AsyncSession, actor: Actor, now: datetime) -> Sequence[Visit]:
    """The visits of the local day, those whose room is open, and those that are not closed: at
    23:58 the one of 00:05 is here, and yesterday's unfinished one stays until it is finished."""
    start, end = day_bounds(now)
    found = await session.scalars(
        visits_of(actor.id)
        .where(
            or_(
                Appointment.start.between(start, end - timedelta(microseconds=1)),
                (Appointment.start <= now + ROOM_OPENS) & (Appointment.end > now - ROOM_CLOSES),
                Visit.state.in_(LIVE),
            )
        )
        .order_by(Appointment.start, Visit.id)
    )
    return found.all()


async def _load_signs(
    request: web.Request, session: AsyncSession, visits: Sequence[Visit]
) -> Mapping[str, Signs]:
    coming = [visit.id for visit in visits if visit.state in STILL_TO_COME]
    check_ins = await session.scalars(select(CheckIn).where(CheckIn.visit_id.in_(coming)))
    answers = {
        row.visit_id: await open_answers(request.app[KEYRING], session, row) for row in check_ins
    }
    opened = await session.scalars(
        select(Device.visit_id).where(Device.visit_id.in_(coming)).where(Device.ended_at.is_(None))
    )
    links = set(opened)
    presence = await request.app[HUB].presence([visit.id for visit in visits])
    return {
        visit.id: Signs(
            answers=answers.get(visit.id, Answers()),
            is_link_open=visit.id in links,
            is_patient_out=_is_patient_out(presence.get(visit.id, ())),
        )
        for visit in visits
    }


def _is_patient_out(people: Iterable[Participant]) -> bool:
    return any(person.role is Role.PATIENT and person.state in _OUT for person in people)


async def _make_row(
    request: web.Request,
    session: AsyncSession,
    visit: Visit,
    signs: Mapping[str, Signs],
    words: Translator,
) -> Row:
    keyring, now = request.app[KEYRING], now_of(request)
    identity = await open_identity(keyring, session, visit.appointment.patient)
    chip = chip_of(visit, signs[visit.id], now)
    today = now.astimezone(ROME).date()
    return Row(
        visit=visit,
        identity=identity,
        details=await open_details(keyring, session, visit.appointment),
        age=age_on(today, identity.birth_date) if identity.birth_date else None,
        chip=chip,
        words=_say(words, visit, chip, now),
    )


def _say(words: Translator, visit: Visit, chip: Chip, now: datetime) -> str:
    """The chip in words of the person's language."""
    _ = words.gettext
    if chip is Chip.WAITING:
        minutes = waiting_minutes(visit, now)
        if minutes < 1:
            return _("Has just arrived")
        return words.ngettext("Waiting for {count} minute", "Waiting for {count} minutes", minutes)
    return {
        Chip.TO_DO: _("To do"),
        Chip.LINK_OPEN: _("Link opened"),
        Chip.TEST_OK: _("Device test passed"),
        Chip.TEST_FAILED: _("Device test not passed"),
        Chip.CONFIRMED: _("Confirmed by the patient"),
        Chip.CANCEL_ASKED: _("Has asked to cancel"),
        Chip.AWAY: _("Left the room, can come back"),
        Chip.IN_VISIT: _("In the visit"),
        Chip.TO_CLOSE: _("To be closed: outcome missing"),
        Chip.ENDED: _("Ended"),
        Chip.CANCELLED: _("Cancelled"),
    }[chip]


ROUTES: Final = (
    Route("GET", "/agenda", show_agenda, CLINICIAN, leaves(Act.LIST_OPENED)),
    Route(
        "GET",
        "/agenda/states",
        send_states,
        CLINICIAN,
        leaves_none(
            "states of the visits of a list whose opening is logged", opens={"check_in.answers"}
        ),
    ),
    Route(
        "POST",
        "/agenda/late",
        announce_late,
        CLINICIAN,
        may_leave(Act.LATE_ANNOUNCED, why="there may be nobody left to tell"),
    ),
    Route(
        "POST",
        "/visits/{visit_id}/late",
        announce_late_to_one,
        CLINICIAN,
        leaves(Act.LATE_ANNOUNCED),
    ),
)
