"""What the clinician answered when asked whether both pages show the same four figures.

The comparison itself is made by the two pages (``static/js/sas.js``) and by two people; the server
could be the one in the middle, so nothing here says whether a call *is* verified. It only keeps
the clinician's statement in the session log.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Final

import msgspec
from aiohttp import web

from server.audit import Act, ActorRole, Entry, append, may_leave
from server.auth import CLINICIAN, Route, actor_of
from server.bodies import read_body
from server.caseload import load_visit_of
from server.errors import Conflict
from server.models import VisitState
from server.pages import json_response
from server.services import DATABASE, now_of


class Answer(StrEnum):
    """``same`` and ``different`` are about the figures; ``skipped``: they were not compared."""

    SAME = "same"
    DIFFERENT = "different"
    SKIPPED = "skipped"


_ACTS: Final = {
    Answer.SAME: Act.SAS_CONFIRMED,
    Answer.DIFFERENT: Act.SAS_MISMATCH,
    Answer.SKIPPED: Act.SAS_SKIPPED,
}


class AnswerForm(msgspec.Struct, frozen=True):
    answer: Answer


async def answer(request: web.Request) -> web.StreamResponse:
    """Every answer is an act of its own: after a reload the figures are new and asked again."""
    form = await read_body(request, AnswerForm)
    actor, now = actor_of(request), now_of(request)
    async with request.app[DATABASE].begin(actor.organisation) as session:
        visit = await load_visit_of(session, actor.id, request.match_info["visit_id"])
        if visit.state is not VisitState.IN_VISIT:
            raise Conflict(f"visit is {visit.state}")
        entry = Entry(now, _ACTS[form.answer], ActorRole.CLINICIAN, actor.id, visit.id)
        await append(session, actor.organisation, entry)
    return json_response({"answer": form.answer})


ROUTES: Final = (
    Route(
        "POST",
        "/visits/{visit_id}/verification",
        answer,
        CLINICIAN,
        may_leave(
            Act.SAS_CONFIRMED, Act.SAS_MISMATCH, Act.SAS_SKIPPED, why="an answer is taken once"
        ),
    ),
)
