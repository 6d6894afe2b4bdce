"""The four steps: who, consents, devices, place. Plain forms that also work without scripts."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import msgspec
from aiohttp import web

from server.audit import Act, Fact
from server.auth import actor_of
from server.checkin.pages import load_open_progress, render, require_open
from server.checkin.store import (
    Progress,
    complete_if_ready,
    load_identity,
    load_progress,
    save_answers,
)
from server.checkin.store import save_consents as store_consents
from server.checkin.texts import ConsentText, consent_text
from server.errors import InvalidInput
from server.models import ConsentKind
from server.sealed import Answers
from server.services import DATABASE, KEYRING, PAGES, now_of

_RESULTS: Final = frozenset({"ok", "failed", "skipped"})
_DEVICES: Final = ("camera", "microphone", "loudspeaker")
_LONGEST_ADDRESS: Final = 300
_LONGEST_COMPANIONS: Final = 200


# ---- 1 who -----------------------------------------------------------------------------


async def show_who(request: web.Request) -> web.StreamResponse:
    """The name as in CUP."""
    progress = await load_open_progress(request)
    async with request.app[DATABASE].read(progress.visit.organisation_id) as session:
        identity = await load_identity(session, request.app[KEYRING], progress)
    return render(request, progress, "patient/who.html", step=1, name=identity.full_name)


async def save_who(request: web.Request) -> web.StreamResponse:
    """*That is me*: the check-in begins."""
    progress = await load_open_progress(request)
    if progress.check_in is None:
        await _save(request, lambda answers: answers, {"step": "who"})
    raise _next(progress, "consents")


# ---- 2 consents ------------------------------------------------------------------------


async def show_consents(request: web.Request) -> web.StreamResponse:
    """Two cards, each with its own yes."""
    return _consents_page(request, await load_open_progress(request))


async def save_consents(request: web.Request) -> web.StreamResponse:
    """Both, or a kind word about the missing one; ``answer=refuse`` is the way out."""
    actor, now = actor_of(request), now_of(request)
    form = await request.post()
    is_refusal = form.get("answer") == "refuse"
    ticked = frozenset(kind for kind in ConsentKind if form.get(kind) == "yes")
    act = Act.CONSENT_REFUSED if is_refusal else Act.CONSENT_GIVEN
    async with request.app[DATABASE].begin(actor.organisation) as session:
        keyring = request.app[KEYRING]
        progress = await load_progress(session, keyring, actor)
        require_open(progress, now)
        if not is_refusal and ticked != frozenset(ConsentKind):
            return _consents_page(request, progress, ticked=ticked, status=400)
        await store_consents(session, actor, now, _texts(request, progress), act=act)
        await complete_if_ready(session, keyring, actor, now)
    if is_refusal:
        raise web.HTTPSeeOther(f"/v/{progress.visit.locator}/in-person")
    raise _next(progress, "devices")


def _texts(request: web.Request, progress: Progress) -> list[ConsentText]:
    words = request.app[PAGES].translator(request)
    return [consent_text(kind, words, progress.organisation) for kind in ConsentKind]


def _consents_page(
    request: web.Request,
    progress: Progress,
    *,
    ticked: frozenset[ConsentKind] | None = None,
    status: int = 200,
) -> web.Response:
    return render(
        request,
        progress,
        "patient/consents.html",
        status=status,
        step=2,
        texts=_texts(request, progress),
        ticked=progress.given if ticked is None else ticked,
        has_consents=progress.has_consents,
        is_missing=ticked is not None,
    )


# ---- 3 devices -------------------------------------------------------------------------


async def show_devices(request: web.Request) -> web.StreamResponse:
    """Camera, microphone, loudspeaker; nothing here is required."""
    progress = await load_open_progress(request)
    return render(request, progress, "patient/devices.html", step=3, answers=progress.answers)


async def save_devices(request: web.Request) -> web.StreamResponse:
    """The results; what was not tried is *skipped*."""
    form = await request.post()
    results = {name: str(form.get(name, "")) or "skipped" for name in _DEVICES}
    wrong = next((name for name in _DEVICES if results[name] not in _RESULTS), None)
    if wrong is not None:
        raise InvalidInput(wrong, "unknown_result")
    progress = await load_open_progress(request)
    await _save(
        request,
        lambda answers: msgspec.structs.replace(answers, **results),
        {"step": "devices", **results},
    )
    raise _next(progress, "place")


# ---- 4 place ---------------------------------------------------------------------------


async def show_place(request: web.Request) -> web.StreamResponse:
    """Where the patient is now, prefilled with the address of the booking."""
    progress = await load_open_progress(request)
    address, answers = progress.answers.address, progress.answers
    if not address:
        async with request.app[DATABASE].read(progress.visit.organisation_id) as session:
            address = (await load_identity(session, request.app[KEYRING], progress)).address
    _ = request.app[PAGES].translator(request).gettext
    is_alone = answers.companions == _("Nobody")
    return render(
        request,
        progress,
        "patient/place.html",
        step=4,
        address=address,
        company="alone" if is_alone else "with" if answers.companions else "",
        companions="" if is_alone else answers.companions,
        is_missing=False,
    )


async def save_place(request: web.Request) -> web.StreamResponse:
    """The address for emergencies, and in the patient's words who is there."""
    form = await request.post()
    address = str(form.get("address", "")).strip()[:_LONGEST_ADDRESS]
    company, companions = str(form.get("company", "")), str(form.get("companions", "")).strip()
    progress = await load_open_progress(request)
    if not address:
        return render(
            request,
            progress,
            "patient/place.html",
            status=400,
            step=4,
            address="",
            company=company,
            companions=companions,
            is_missing=True,
        )
    present = _companions(request, company, companions)
    await _save(
        request,
        lambda answers: msgspec.structs.replace(answers, address=address, companions=present),
        {"step": "place", "has_companions": company == "with" or bool(companions)},
    )
    raise _next(progress, "ready" if progress.has_consents else "consents")


def _companions(request: web.Request, company: str, companions: str) -> str:
    """The words for the clinician; empty is *not answered*."""
    _ = request.app[PAGES].translator(request).gettext
    if company == "alone":
        return _("Nobody")
    if companions:
        return companions[:_LONGEST_COMPANIONS]
    return _("Somebody") if company == "with" else ""


# ---- saving ----------------------------------------------------------------------------


async def _save(
    request: web.Request, change: Callable[[Answers], Answers], facts: dict[str, Fact]
) -> None:
    actor = actor_of(request)
    async with request.app[DATABASE].begin(actor.organisation) as session:
        await save_answers(session, request.app[KEYRING], actor, now_of(request), change, facts)


def _next(progress: Progress, step: str) -> web.HTTPSeeOther:
    """On to the next step; after a change of one thing back to the summary."""
    step = "ready" if progress.is_complete else step
    return web.HTTPSeeOther(f"/v/{progress.visit.locator}/check-in/{step}")
