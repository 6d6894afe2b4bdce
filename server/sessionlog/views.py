"""The list of sessions and the page of one, and what they load."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from aiohttp import web
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import joinedload

from server.audit import Act, Entry, Fact, append
from server.auth import Actor, actor_of
from server.errors import NotFound
from server.i18n import time_with_seconds
from server.keyring import Keyring
from server.line.drawing import draw_line
from server.line.measured import load_measured
from server.line.verdict import limits_of
from server.models import Appointment, LogEntry, Outcome, Visit, VisitState, VisitSummary
from server.sealed import is_digest, load_values
from server.services import DATABASE, KEYRING, PAGES, SETTINGS, now_of
from server.sessionlog.problems import load_acknowledged
from server.sessionlog.proofs import load_proofs
from server.sessionlog.rows import load_choices, load_rows, load_staff_names, name_patient
from server.sessionlog.saved import load_views
from server.sessionlog.sight import SIGHTS, Sight
from server.sessionlog.timeline import Timeline, draw, find_break, mark_row
from server.summary import Problem, Wish, parse_wish, unpack_problems
from server.summary.wish import MOST_COUNTED, PAGE_ROWS, PROBLEMS, RESULTS, VERDICTS, Place


async def list_sessions(request: web.Request) -> web.StreamResponse:
    """The visits that a filter asks for, a page at a time."""
    actor, now = actor_of(request), now_of(request)
    sight = SIGHTS[actor.role]
    wish = scoped(parse_wish(request.query, now), actor, sight)
    async with request.app[DATABASE].begin(actor.organisation) as session:
        found = list(await session.scalars(wish.page()))
        is_all = wish.after is None and len(found) <= PAGE_ROWS
        count = len(found) if is_all else await session.scalar(wish.count()) or 0
        shown = found[:PAGE_ROWS]
        rows = await load_rows(session, request.app[KEYRING], actor, sight, shown)
        choices = await load_choices(session)
        views = await load_views(session, actor)
        facts: dict[str, Fact] = {
            "visits": len(rows),
            "first_day": str(wish.first_day),
            "last_day": str(wish.last_day),
        }
        entry = Entry(now, Act.LOG_READ, actor.role, actor.id, facts=facts)
        await append(session, actor.organisation, entry)
    next_page = ""
    if len(found) > PAGE_ROWS:
        next_page = wish.query(Place(shown[-1].start, shown[-1].visit_id))
    return request.app[PAGES].render(
        request,
        "staff/sessions.html",
        actor=actor,
        sight=sight,
        wish=wish,
        query=wish.query(),
        next_page=next_page,
        rows=rows,
        count=count,
        most_counted=MOST_COUNTED,
        results=RESULTS,
        verdicts=VERDICTS,
        problems=PROBLEMS,
        choices=choices,
        views=views,
    )


def scoped(wish: Wish, actor: Actor, sight: Sight) -> Wish:
    """What may be asked for: one's own visits only, nothing of the line for who sees none."""
    if sight.is_own_only:
        wish = replace(wish, clinician_id=actor.id)
    if not sight.has_line:
        wish = replace(wish, verdict="", problem="")
    return wish


@dataclass(frozen=True, slots=True)
class Session:
    """One visit as its page says it; texts are empty for who may not see them."""

    visit: Visit
    summary: VisitSummary | None
    """``None`` for the second that a new visit needs."""
    booking_code: str
    pseudonym: str
    problems: Sequence[Problem]

    @property
    def result(self) -> Outcome | VisitState:
        return self.visit.outcome or self.visit.state

    @property
    def minutes(self) -> int | None:
        if self.summary is None or self.summary.visit_seconds is None:
            return None
        return round(self.summary.visit_seconds / 60)

    @property
    def drops(self) -> int:
        return self.summary.drops if self.summary else 0


async def show_session(request: web.Request) -> web.StreamResponse:
    """One visit as a timeline."""
    actor, now = actor_of(request), now_of(request)
    sight = SIGHTS[actor.role]
    async with request.app[DATABASE].begin(actor.organisation) as session:
        visit = await _load_visit(session, request.match_info["visit_id"], actor, sight)
        entry = Entry(now, Act.LOG_READ, actor.role, actor.id, visit.id)
        await append(session, actor.organisation, entry)
        await session.flush()
        shown = await _load_session(session, request.app[KEYRING], actor, sight, visit)
        entries = await session.scalars(
            select(LogEntry).where(LogEntry.visit_id == visit.id).order_by(LogEntry.id)
        )
        timeline = draw(list(entries), sight)
        actors = {line.actor for line in timeline.lines} if sight.has_names else set()
        names = await load_staff_names(session, actors)
        values = await _load_values(session, request.app[KEYRING], sight, timeline)
        measured = await load_measured(session, visit.id) if sight.has_line else None
        acknowledged = await load_acknowledged(session, [visit.id])
        proofs = await load_proofs(session, visit) if sight.has_proofs else {}
    return request.app[PAGES].render(
        request,
        "staff/sessions_visit.html",
        actor=actor,
        sight=sight,
        shown=shown,
        timeline=timeline,
        visit=visit,
        line=draw_line(measured, limits_of(request.app[SETTINGS])) if measured else None,
        names=names,
        values=values,
        acknowledged=acknowledged,
        proofs=proofs,
        mark_row=mark_row,
        find_break=find_break,
        time_with_seconds=time_with_seconds,
        now=now,
    )


async def _load_visit(session: AsyncSession, visit_id: str, actor: Actor, sight: Sight) -> Visit:
    wanted = (
        select(Visit)
        .join(Visit.appointment)
        .where(Visit.id == visit_id)
        .options(
            joinedload(Visit.appointment).options(
                joinedload(Appointment.clinic), joinedload(Appointment.clinician)
            )
        )
    )
    if sight.is_own_only:
        wanted = wanted.where(Appointment.clinician_id == actor.id)
    visit = await session.scalar(wanted)
    if visit is None:
        raise NotFound
    return visit


async def _load_session(
    session: AsyncSession, keyring: Keyring, actor: Actor, sight: Sight, visit: Visit
) -> Session:
    summary = await session.get(VisitSummary, visit.id)
    patient_id = visit.appointment.patient_id
    return Session(
        visit,
        summary,
        visit.appointment.booking_code if sight.has_bookings else "",
        await name_patient(session, keyring, actor, sight, patient_id),
        unpack_problems(summary.problems) if summary and sight.has_line else (),
    )


async def _load_values(
    session: AsyncSession, keyring: Keyring, sight: Sight, timeline: Timeline
) -> dict[str, str]:
    """The personal values of the shown entries, for who may see them; who the patient was is not
    for this page."""
    if not sight.has_bookings:
        return {}
    digests = {
        str(value)
        for line in timeline.lines
        for name, value in line.facts.items()
        if is_digest(value) and name != "person"
    }
    return await load_values(session, keyring, digests)
