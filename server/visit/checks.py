"""The doctor's checks before or during the visit; they are never in the way of admitting."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

import msgspec
from aiohttp import web
from sqlalchemy.ext.asyncio import AsyncSession

from server.audit import Act, Fact, append
from server.auth import actor_of
from server.bodies import read_body
from server.errors import Conflict, InvalidInput
from server.keyring import Keyring
from server.models import Patient, Visit
from server.pages import json_response
from server.sealed import Eligibility, keep_value, open_identity, seal_eligibility
from server.services import DATABASE, KEYRING, now_of
from server.visit.acts import OVER, load_visit, make_entry


class Ground(StrEnum):
    """The five grounds of TV-03, of which one is enough."""

    CARE_PLAN = "care_plan"
    KNOWN_DISEASE = "known_disease"
    THERAPY = "therapy"
    TEST_PRESCRIPTION = "test_prescription"
    TEST_RESULTS = "test_results"


class IdentityForm(msgspec.Struct, frozen=True):
    is_confirmed: bool


class EligibilityForm(msgspec.Struct, frozen=True):
    """No ground: the confirmation is taken back."""

    ground: Ground | None
    reason: Annotated[str, msgspec.Meta(max_length=500)] = ""


async def confirm_identity(request: web.Request) -> web.StreamResponse:
    """TV-06: the doctor has looked at the person and a document; can be taken back."""
    form = await read_body(request, IdentityForm)
    actor, now = actor_of(request), now_of(request)
    async with request.app[DATABASE].begin(actor.organisation) as session:
        visit = await _load_open_visit(request, session)
        visit.identity_confirmed_at = now if form.is_confirmed else None
        facts: dict[str, Fact] = {"confirmed": form.is_confirmed}
        if form.is_confirmed:
            facts["person"] = await _keep_person(request.app[KEYRING], session, visit)
        entry = make_entry(actor, now, Act.IDENTITY_CONFIRMED, visit.id, facts)
        await append(session, actor.organisation, entry)
    return json_response({"is_confirmed": form.is_confirmed})


async def _keep_person(keyring: Keyring, session: AsyncSession, visit: Visit) -> str:
    """Who it was that the doctor knew again, for a proof in years: a personal value of the log."""
    patient = await session.get_one(Patient, visit.appointment.patient_id)
    identity = await open_identity(keyring, session, patient)
    words = f"{identity.full_name}, {identity.birth_date or ''}"
    return await keep_value(session, keyring, visit.organisation_id, words, visit.id)


async def confirm_eligibility(request: web.Request) -> web.StreamResponse:
    """TV-03: no complete examination is needed and one ground holds; TV-02: a first visit needs
    the doctor's reason. The ground is clinical: the log keeps only that it was confirmed."""
    form = await read_body(request, EligibilityForm)
    reason = form.reason.strip()
    actor, now = actor_of(request), now_of(request)
    async with request.app[DATABASE].begin(actor.organisation) as session:
        visit = await _load_open_visit(request, session)
        if form.ground and visit.appointment.is_first_visit and not reason:
            raise InvalidInput("reason", "missing")
        if form.ground:
            eligibility = Eligibility(ground=form.ground, reason=reason)
            await seal_eligibility(request.app[KEYRING], session, visit, eligibility)
            visit.eligibility_confirmed_at = now
        else:
            visit.sealed_eligibility = visit.eligibility_confirmed_at = None
        facts: dict[str, Fact] = {"confirmed": form.ground is not None}
        entry = make_entry(actor, now, Act.ELIGIBILITY_CONFIRMED, visit.id, facts)
        await append(session, actor.organisation, entry)
    return json_response({"ground": form.ground})


async def _load_open_visit(request: web.Request, session: AsyncSession) -> Visit:
    visit = await load_visit(request, session)
    if visit.state in OVER:
        raise Conflict(f"visit is {visit.state}")
    return visit
