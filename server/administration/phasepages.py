"""Phases and rules of the organisation: what may leave it, and until when a patient may cancel."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from aiohttp import web
from holidays.countries.italy import Italy
from multidict import MultiMapping
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from server.administration.show import render
from server.audit import Act, Entry, Fact, append
from server.auth import actor_of
from server.errors import Conflict, InvalidInput
from server.models import Clinic, NoticeRule, Organisation, Phase, User
from server.phases import change_phase, load_history
from server.services import DATABASE, now_of

PROVINCES: Final = tuple(sorted(code for code in Italy.subdivisions if len(code) == 2))
_MOST_NOTICE_DAYS: Final = 30


@dataclass(frozen=True, slots=True)
class Wish:
    """The phase somebody asks for, with its pilot clinics by code."""

    phase: Phase
    clinics: tuple[str, ...]


async def show_phases(request: web.Request) -> web.StreamResponse:
    """The phase of now, its history, and the rules of notice."""
    async with request.app[DATABASE].read(actor_of(request).organisation) as session:
        organisation = await _load(request, session)
        return await _render(request, session, organisation)


async def review_phase(request: web.Request) -> web.StreamResponse:
    """Say in words what a change would let out, before it is made."""
    form = await request.post()
    async with request.app[DATABASE].read(actor_of(request).organisation) as session:
        organisation = await _load(request, session)
        clinics = await _load_clinics(session)
        wish = parse_wish(form, clinics)
        if wish.phase is Phase.SPERIMENTALE and not wish.clinics:
            return await _render(request, session, organisation, is_clinic_missing=True)
    if (wish.phase, wish.clinics) == (organisation.phase, tuple(organisation.pilot_clinics)):
        raise web.HTTPSeeOther("/admin/phases")
    return render(
        request,
        "phase_review",
        organisation=organisation,
        wish=wish,
        chosen=[clinic for clinic in clinics if clinic.code in wish.clinics],
    )


async def save_phase(request: web.Request) -> web.StreamResponse:
    """Change the phase, unless it is not the one the person saw any more."""
    actor, form = actor_of(request), await request.post()
    async with request.app[DATABASE].begin(actor.organisation) as session:
        organisation = await _load(request, session)
        wish = parse_wish(form, await _load_clinics(session))
        if wish.phase is Phase.SPERIMENTALE and not wish.clinics:
            raise InvalidInput("clinic", "missing")
        if str(form.get("seen", "")) != organisation.phase.value:
            raise Conflict("the phase was changed meanwhile")
        await change_phase(
            session, organisation, wish.phase, wish.clinics, by=actor.id, now=now_of(request)
        )
    raise web.HTTPSeeOther("/admin/phases")


async def save_rules(request: web.Request) -> web.StreamResponse:
    """Keep the region's rule for cancelling in time."""
    actor, form = actor_of(request), await request.post()
    province = str(form.get("province", ""))
    days, rule = str(form.get("notice_days", "")), str(form.get("notice_rule", ""))
    if province and province not in PROVINCES:
        raise InvalidInput("province", "unknown")
    if not (days.isascii() and days.isdigit() and int(days[:4]) <= _MOST_NOTICE_DAYS):
        raise InvalidInput("notice_days", "unknown")
    if rule not in list(NoticeRule):
        raise InvalidInput("notice_rule", "unknown")
    facts: dict[str, Fact] = {"province": province, "days": int(days), "rule": rule}
    async with request.app[DATABASE].begin(actor.organisation) as session:
        organisation = await _load(request, session)
        organisation.province = province
        organisation.notice_days = int(days)
        organisation.notice_rule = NoticeRule(rule)
        entry = Entry(now_of(request), Act.NOTICE_RULE_CHANGED, actor.role, actor.id, facts=facts)
        await append(session, actor.organisation, entry)
    raise web.HTTPSeeOther("/admin/phases")


def parse_wish(form: MultiMapping[object], clinics: list[Clinic]) -> Wish:
    """The phase and the clinics of a form; clinics count in the phase *sperimentale* only.

    :raises InvalidInput: no such phase or clinic.
    """
    word = str(form.get("phase", ""))
    if word not in list(Phase):
        raise InvalidInput("phase", "unknown")
    phase = Phase(word)
    codes = sorted({str(code) for code in form.getall("clinic", [])})
    if phase is not Phase.SPERIMENTALE:
        return Wish(phase, ())
    if not set(codes) <= {clinic.code for clinic in clinics}:
        raise InvalidInput("clinic", "unknown")
    return Wish(phase, tuple(codes))


async def _load(request: web.Request, session: AsyncSession) -> Organisation:
    return await session.get_one(Organisation, actor_of(request).organisation)


async def _load_clinics(session: AsyncSession) -> list[Clinic]:
    return list(await session.scalars(select(Clinic).order_by(Clinic.name, Clinic.code)))


async def _render(
    request: web.Request,
    session: AsyncSession,
    organisation: Organisation,
    *,
    is_clinic_missing: bool = False,
) -> web.Response:
    users = {user.id: user.display_name for user in await session.scalars(select(User))}
    return render(
        request,
        "phases",
        status=400 if is_clinic_missing else 200,
        organisation=organisation,
        is_clinic_missing=is_clinic_missing,
        clinics=await _load_clinics(session),
        phases=list(Phase),
        history=await load_history(session, organisation.id),
        users=users,
        provinces=PROVINCES,
        rules=list(NoticeRule),
        most_days=_MOST_NOTICE_DAYS,
    )
