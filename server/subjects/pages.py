"""The pages: facts of the processing for the administrator, consents for clinician and desk."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from aiohttp import web
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import contains_eager, joinedload

from server.audit import Act, ActorRole, Entry, append
from server.auth import Actor, actor_of
from server.caseload import load_visit_of
from server.errors import Erased, NotFound
from server.i18n import ROME
from server.models import Appointment, Consent, ConsentKind, Visit
from server.sealed import open_identity
from server.services import DATABASE, KEYRING, PAGES, SETTINGS, now_of
from server.subjects.facts import load_facts


class Answer(StrEnum):
    GIVEN = "given"
    REFUSED = "refused"
    WITHDRAWN = "withdrawn"


@dataclass(frozen=True, slots=True)
class Told:
    """One answer to one consent, and what it changed."""

    consent: Consent
    answer: Answer


@dataclass(frozen=True, slots=True)
class VisitConsents:
    """The answers of one visit, the newest first."""

    visit: Visit
    told: Sequence[Told]


async def show_facts(request: web.Request) -> web.StreamResponse:
    """What the processing record and the impact assessment ask for."""
    actor, now = actor_of(request), now_of(request)
    async with request.app[DATABASE].read(actor.organisation) as session:
        facts = await load_facts(
            request.app[SETTINGS], request.app[KEYRING], session, actor.organisation, now
        )
    return request.app[PAGES].render(
        request, "subjects/facts.html", actor=actor, now=now, stamp=stamp, facts=facts
    )


async def show_consents(request: web.Request) -> web.StreamResponse:
    """Every answer of the patient of one visit: to a clinician those of her own visits."""
    actor, now = actor_of(request), now_of(request)
    async with request.app[DATABASE].begin(actor.organisation) as session:
        visit = await _load_visit(session, actor, request.match_info["visit_id"])
        identity = await open_identity(request.app[KEYRING], session, visit.appointment.patient)
        history = await _load_history(session, actor, visit)
        is_desk = actor.role is ActorRole.DESK
        act = Act.CONTACT_OPENED if is_desk else Act.CARD_OPENED
        entry = Entry(now, act, actor.role, actor.id, visit.id, {"kind": "consents"})
        await append(session, actor.organisation, entry)
    return request.app[PAGES].render(
        request,
        "subjects/consents.html",
        actor=actor,
        stamp=stamp,
        back=f"/desk/visits/{visit.id}" if is_desk else f"/visits/{visit.id}",
        identity=identity,
        history=history,
    )


async def _load_visit(session: AsyncSession, actor: Actor, visit_id: str) -> Visit:
    """:raises NotFound: there is none, or it is not theirs.
    :raises Erased: its term is over."""
    if actor.role is ActorRole.CLINICIAN:
        return await load_visit_of(session, actor.id, visit_id)
    of_patient = joinedload(Visit.appointment).joinedload(Appointment.patient)
    visit = await session.scalar(select(Visit).where(Visit.id == visit_id).options(of_patient))
    if visit is None:
        raise NotFound
    if visit.appointment.is_erased:
        raise Erased
    return visit


async def _load_history(session: AsyncSession, actor: Actor, visit: Visit) -> list[VisitConsents]:
    """All visits of the patient that the reader may see, the newest first."""
    wanted = (
        select(Visit)
        .join(Visit.appointment)
        .where(Appointment.patient_id == visit.appointment.patient_id)
        .options(contains_eager(Visit.appointment).joinedload(Appointment.clinic))
        .order_by(Appointment.start.desc(), Visit.id)
    )
    if actor.role is ActorRole.CLINICIAN:
        wanted = wanted.where(Appointment.clinician_id == actor.id)
    visits = (await session.scalars(wanted)).all()
    ids = [each.id for each in visits]
    answers = await session.scalars(
        select(Consent).where(Consent.visit_id.in_(ids)).order_by(Consent.answered_at, Consent.id)
    )
    told = tell_answers(answers.all())
    return [
        VisitConsents(each, [one for one in reversed(told) if one.consent.visit_id == each.id])
        for each in visits
    ]


def tell_answers(consents: Sequence[Consent]) -> list[Told]:
    """What each answer was, in order: a no after a yes takes the consent back."""
    given: set[tuple[str, ConsentKind]] = set()
    told = []
    for consent in consents:
        about = consent.visit_id, consent.kind
        if consent.is_given:
            answer = Answer.GIVEN
            given.add(about)
        else:
            answer = Answer.WITHDRAWN if about in given else Answer.REFUSED
            given.discard(about)
        told.append(Told(consent, answer))
    return told


def stamp(moment: datetime) -> str:
    """``26/11/2026 10:40``, in Europe/Rome."""
    return moment.astimezone(ROME).strftime("%d/%m/%Y %H:%M")
