"""Open problems: what somebody of the clinic should look at, the newest first, until taken in
charge. The page asks again by itself and hears only of what has changed."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from aiohttp import web
from sqlalchemy import or_, select
from sqlalchemy.ext.asyncio import AsyncSession

from server.audit import Act, Entry, Fact, append
from server.auth import actor_of
from server.errors import NotFound
from server.models import ProblemAcknowledgement, Visit, VisitState, VisitSummary
from server.pages import json_response
from server.services import DATABASE, PAGES, now_of
from server.sessionlog.rows import load_choices, load_staff_names
from server.summary import Problem, unpack_problems

OPEN_FOR: Final = timedelta(days=30)
_WAITS_LONG: Final = timedelta(minutes=20)
_WAITS_AT_MOST: Final = timedelta(hours=12)
_MOST_READ: Final = 1000
MOST_SHOWN: Final = 200


@dataclass(frozen=True, slots=True)
class Open:
    """The problems of one visit that nobody has taken in charge. ``is_now``: it still goes on."""

    summary: VisitSummary
    problems: Sequence[Problem]
    at: datetime
    is_now: bool


async def show_problems(request: web.Request) -> web.StreamResponse:
    """The page."""
    actor, now = actor_of(request), now_of(request)
    async with request.app[DATABASE].begin(actor.organisation) as session:
        found = await load_open(session, now)
        choices = await load_choices(session)
        facts: dict[str, Fact] = {"problems": len(found)}
        entry = Entry(now, Act.LOG_READ, actor.role, actor.id, facts=facts)
        await append(session, actor.organisation, entry)
    return request.app[PAGES].render(
        request,
        "staff/sessions_problems.html",
        actor=actor,
        found=found[:MOST_SHOWN],
        is_cut=len(found) > MOST_SHOWN,
        choices=choices,
        digest=digest_of(found),
        kinds=[problem.value for problem in Problem],
    )


async def poll_problems(request: web.Request) -> web.StreamResponse:
    """The list again for a page that has ``seen`` an older one; 204 as long as it is the same."""
    actor, now = actor_of(request), now_of(request)
    async with request.app[DATABASE].begin(actor.organisation) as session:
        found = await load_open(session, now)
        digest = digest_of(found)
        if request.query.get("seen") == digest:
            return web.Response(status=204)
        choices = await load_choices(session)
        facts: dict[str, Fact] = {"problems": len(found)}
        entry = Entry(now, Act.LOG_READ, actor.role, actor.id, facts=facts)
        await append(session, actor.organisation, entry)
    words = request.app[PAGES].translator(request)
    return json_response(
        {
            "digest": digest,
            "count": words.ngettext(
                "{count} visit to look at.", "{count} visits to look at.", len(found)
            ),
            "rows": [
                {
                    "visit": each.summary.visit_id,
                    "when": words.day_and_time(each.summary.start),
                    "clinic": choices.clinic(each.summary.clinic_id),
                    "clinician": choices.clinician(each.summary.clinician_id),
                    "problems": [problem.value for problem in each.problems],
                    "since": words.day_and_time(each.at),
                    "is_now": each.is_now,
                }
                for each in found[:MOST_SHOWN]
            ],
        }
    )


async def acknowledge(request: web.Request) -> web.StreamResponse:
    """Take the open problems of one visit in charge; doing it again changes nothing."""
    actor, now = actor_of(request), now_of(request)
    visit_id = request.match_info["visit_id"]
    async with request.app[DATABASE].begin(actor.organisation) as session:
        if await session.scalar(select(Visit.id).where(Visit.id == visit_id)) is None:
            raise NotFound
        summary = await session.scalar(
            select(VisitSummary).where(VisitSummary.visit_id == visit_id)
        )
        known = (await load_acknowledged(session, [visit_id])).get(visit_id, {})
        problems = _problems_now(summary, now) if summary else []
        new = [word for word in problems if word not in known]
        session.add_all(
            ProblemAcknowledgement(
                organisation_id=actor.organisation, visit_id=visit_id, kind=problem.value,
                user_id=actor.id, acknowledged_at=now,
            )
            for problem in new
        )  # fmt: skip
        facts: dict[str, Fact] = {"taken": ",".join(new)}
        entry = Entry(now, Act.PROBLEM_ACKNOWLEDGED, actor.role, actor.id, visit_id, facts)
        await append(session, actor.organisation, entry)
    if "application/json" in request.headers.get("Accept", ""):
        return json_response({})
    raise web.HTTPSeeOther("/sessions/problems")


@dataclass(frozen=True, slots=True)
class Acknowledged:
    """Who has taken a problem in charge, and when."""

    name: str
    at: datetime


async def load_acknowledged(
    session: AsyncSession, visit_ids: Collection[str]
) -> Mapping[str, Mapping[Problem, Acknowledged]]:
    """By visit and kind."""
    rows = list(
        await session.scalars(
            select(ProblemAcknowledgement).where(ProblemAcknowledgement.visit_id.in_(visit_ids))
        )
    )
    names = await load_staff_names(session, {row.user_id for row in rows})
    found: dict[str, dict[Problem, Acknowledged]] = {}
    for row in rows:
        kinds = found.setdefault(row.visit_id, {})
        kinds[Problem(row.kind)] = Acknowledged(names.get(row.user_id, ""), row.acknowledged_at)
    return found


async def load_open(session: AsyncSession, now: datetime) -> list[Open]:
    """What is open now, the newest first."""
    table = VisitSummary
    goes_on = (
        (table.state == VisitState.WAITING)
        & (table.start > now - _WAITS_AT_MOST)
        & (table.start <= now - _WAITS_LONG)
    )
    came_up = table.has_problem.is_(True) & (table.problem_at > now - OPEN_FOR)
    summaries = list(
        await session.scalars(
            select(table)
            .where(or_(came_up, goes_on))
            .order_by(table.problem_at.desc(), table.visit_id)
            .limit(_MOST_READ)
        )
    )
    known = await load_acknowledged(session, [each.visit_id for each in summaries])
    found: list[Open] = []
    for summary in summaries:
        own = known.get(summary.visit_id, {})
        problems = [word for word in _problems_now(summary, now) if word not in own]
        if problems:
            is_now = _waits_long(summary, now)
            at = summary.start + _WAITS_LONG if is_now else summary.problem_at or summary.start
            found.append(Open(summary, problems, at, is_now))
    return sorted(found, key=lambda each: (each.is_now, each.at), reverse=True)


def digest_of(found: Sequence[Open]) -> str:
    """Equal for equal lists; says nothing of them."""
    text = ";".join(
        f"{each.summary.visit_id}:{','.join(each.problems)}:{each.is_now}" for each in found
    )
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _problems_now(summary: VisitSummary, now: datetime) -> list[Problem]:
    problems = set(unpack_problems(summary.problems))
    if _waits_long(summary, now):
        problems.add(Problem.LONG_WAIT)
    return sorted(problems, key=list(Problem).index)


def _waits_long(summary: VisitSummary, now: datetime) -> bool:
    """Somebody sits in the waiting room long after the hour."""
    if summary.state is not VisitState.WAITING or summary.waiting_at is None:
        return False
    waited = now - max(summary.start, summary.waiting_at)
    return _WAITS_LONG <= waited < _WAITS_AT_MOST
