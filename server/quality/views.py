"""Where the two pages bring their measures, and where the clinician's asks for the verdict."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Final

from aiohttp import web

from server.auth import actor_of
from server.caseload import load_visit_of
from server.errors import Conflict
from server.line.measured import Seat, load_measured
from server.line.verdict import judge, limits_of
from server.models import Visit, VisitState
from server.pages import json_response
from server.quality.batch import parse_batch
from server.quality.store import save_batch
from server.services import DATABASE, SETTINGS, now_of

_TAKEN_AFTER_END: Final = timedelta(hours=1)
"""A page that lost the server brings its rows when it is back."""


async def take_from_patient(request: web.Request) -> web.StreamResponse:
    """The patient's rows."""
    actor, now = actor_of(request), now_of(request)
    batch = parse_batch(await request.read(), now)
    async with request.app[DATABASE].begin(actor.organisation) as session:
        visit = await session.get_one(Visit, actor.visit_id)
        _check_open(visit, now)
        await save_batch(session, actor.organisation, visit.id, Seat.PATIENT, batch)
    return json_response({})


async def take_from_clinician(request: web.Request) -> web.StreamResponse:
    """The clinician's rows."""
    actor, now = actor_of(request), now_of(request)
    batch = parse_batch(await request.read(), now)
    async with request.app[DATABASE].begin(actor.organisation) as session:
        visit = await load_visit_of(session, actor.id, request.match_info["visit_id"])
        _check_open(visit, now)
        await save_batch(session, actor.organisation, visit.id, Seat.CLINICIAN, batch)
    return json_response({})


async def show_verdict(request: web.Request) -> web.StreamResponse:
    """What the line was good for until now, by what both pages measured."""
    actor = actor_of(request)
    async with request.app[DATABASE].read(actor.organisation) as session:
        visit = await load_visit_of(session, actor.id, request.match_info["visit_id"])
        measured = await load_measured(session, visit.id)
    verdict = judge(measured, limits_of(request.app[SETTINGS]))
    return json_response(
        {
            "verdict": verdict.suitability,
            "reasons": list(verdict.flaws),
            "breaks": len(verdict.breaks),
            "broken_seconds": round(verdict.broken_seconds),
        }
    )


def _check_open(visit: Visit, now: datetime) -> None:
    is_late = visit.ended_at is not None and now - visit.ended_at > _TAKEN_AFTER_END
    if is_late or visit.state is VisitState.CANCELLED:
        raise Conflict(f"visit is {visit.state}")
