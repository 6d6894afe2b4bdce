"""How a visit ends: one outcome, once, and what the report must say of it."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import Final

import msgspec
from aiohttp import web
from sqlalchemy import update
from sqlalchemy.ext.asyncio import AsyncSession

from server.audit import Act, Fact, append
from server.auth import Actor, actor_of
from server.bodies import read_body
from server.db import count_changed
from server.errors import Conflict, InvalidInput
from server.line.measured import load_measured
from server.line.verdict import judge, limits_of
from server.models import EventKind, Outcome, Suitability, Visit, VisitState
from server.outbox import tell_cup
from server.pages import json_response
from server.services import DATABASE, HUB, SETTINGS, now_of
from server.visit.acts import OVER, load_visit, make_entry
from signaling.messages import Closed

_TO_REBOOK: Final = frozenset(
    {Outcome.CONVERTED_TO_IN_PERSON, Outcome.TECHNICAL_FAILURE, Outcome.NO_SHOW_CLINICIAN}
)
"""The visit is still owed to the patient: CUP is asked for a new slot, with the reason."""

_WITHOUT_VISIT: Final = frozenset({Outcome.NO_SHOW_PATIENT, Outcome.NO_SHOW_CLINICIAN})


class OutcomeReason(StrEnum):
    """Why a visit went on in person or failed; ``visit.outcome_reason`` holds one."""

    NONE = ""
    WEAK_LINE = "weak_line"
    EXAM_NEEDED = "exam_needed"
    PATIENT_DEVICE = "patient_device"
    CLINICIAN_DEVICE = "clinician_device"
    PATIENT_CHOICE = "patient_choice"


class Presence(StrEnum):
    """Who took part, for the report (TV-12)."""

    PATIENT = "patient"
    CAREGIVER = "caregiver"
    INTERPRETER = "interpreter"
    PROFESSIONAL = "professional"


class FinishForm(msgspec.Struct, frozen=True, kw_only=True):
    """The outcome, what the line was good for, and who was there (TV-12)."""

    outcome: Outcome
    reason: OutcomeReason = OutcomeReason.NONE
    suitability: Suitability | None = None
    """The doctor's own statement; the report repeats it. None for a visit that was none."""
    present: list[Presence] = []

    def facts(self) -> dict[str, Fact]:
        """What the session log keeps of the outcome."""
        return {
            "outcome": self.outcome.value,
            "reason": self.reason.value,
            "present": ",".join(sorted(word.value for word in set(self.present))),
        }


async def finish(request: web.Request) -> web.StreamResponse:
    """End the visit with its outcome; the same outcome twice is one act."""
    form = await read_body(request, FinishForm)
    actor, now = actor_of(request), now_of(request)
    async with request.app[DATABASE].begin(actor.organisation) as session:
        visit = await load_visit(request, session)
        if visit.state is VisitState.ENDED and visit.outcome is form.outcome:
            return json_response({"outcome": form.outcome})
        await _end(session, visit, form, actor, now)
        await _tell_cup(session, visit, form, now)
        entries = [
            make_entry(actor, now, Act.FINISHED, visit.id, {"state": visit.state.value}),
            make_entry(actor, now, Act.OUTCOME, visit.id, form.facts()),
        ]
        if form.suitability is not None:
            facts = await _statement_facts(request, session, visit.id, form.suitability)
            entries.append(make_entry(actor, now, Act.SUITABILITY_STATED, visit.id, facts))
        await append(session, actor.organisation, *entries)
    await request.app[HUB].publish(visit.id, Closed(outcome=form.outcome))
    return json_response({"outcome": form.outcome})


async def _statement_facts(
    request: web.Request, session: AsyncSession, visit_id: str, stated: Suitability
) -> dict[str, Fact]:
    """The statement, and what was proposed: who reads the log sees whether they differ."""
    measured = await load_measured(session, visit_id)
    proposed = judge(measured, limits_of(request.app[SETTINGS])).suitability
    return {"stated": stated.value, "proposed": proposed.value if proposed else None}


async def _end(
    session: AsyncSession, visit: Visit, form: FinishForm, actor: Actor, now: datetime
) -> None:
    """A person who has waited is never a no-show, also when she comes in this very moment."""
    is_stated = form.suitability is not None
    change = (
        update(Visit)
        .where(Visit.id == visit.id)
        .where(Visit.state.not_in(OVER))
        .values(
            state=VisitState.ENDED,
            outcome=form.outcome,
            outcome_reason=form.reason.value,
            ended_at=now,
            suitability=form.suitability,
            suitability_stated_at=now if is_stated else None,
            suitability_stated_by=actor.id if is_stated else None,
        )
        .execution_options(synchronize_session=False)
    )
    if is_stated and form.outcome in _WITHOUT_VISIT:
        raise InvalidInput("suitability", "nothing_took_place")
    if form.outcome is Outcome.NO_SHOW_PATIENT:
        if visit.waiting_since is not None:
            raise InvalidInput("outcome", "patient_waited")
        change = change.where(Visit.waiting_since.is_(None))
    if not await count_changed(session, change):
        raise Conflict("the visit is over, or has changed")


async def _tell_cup(session: AsyncSession, visit: Visit, form: FinishForm, now: datetime) -> None:
    """The outcome, and a request for a new slot where the visit is still owed.

    ``visit`` is as it was before it ended: a visit that was admitted has its time in it.
    """
    reason = form.reason.value
    facts = {
        "outcome": form.outcome.value,
        "reason": reason,
        "began_at": visit.admitted_at.isoformat() if visit.admitted_at else "",
        "ended_at": now.isoformat(),
        "waited": visit.waiting_since is not None,
    }
    await tell_cup(session, visit, EventKind.ENDED, now, facts)
    if form.outcome in _TO_REBOOK:
        asked = {"outcome": form.outcome.value, "reason": reason or form.outcome.value}
        await tell_cup(session, visit, EventKind.REBOOKING_ASKED, now, asked)
