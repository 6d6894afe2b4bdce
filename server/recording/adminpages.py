"""The administrator's switch: whether visits of the organisation may be recorded, and for what."""

from __future__ import annotations

from aiohttp import web
from sqlalchemy import select

from server.audit import Act, Entry, Fact, append
from server.auth import actor_of
from server.errors import InvalidInput
from server.models import Kept, Organisation, Recording, RecordingPurpose, RecordingState
from server.recording.keeper import KEEPER
from server.recording.rows import LIVE, end_recording
from server.recording.texts import purpose_label
from server.services import DATABASE, HUB, PAGES, now_of
from server.terms import load_terms
from signaling.recordingevents import RecordingStopped

_PATH = "/admin/recording"
_NOT_ALLOWED = "not_allowed"


async def show_switch(request: web.Request) -> web.StreamResponse:
    return await _show(request)


async def save_switch(request: web.Request) -> web.StreamResponse:
    """Keep both; what is being recorded and is not allowed any more ends at once."""
    actor, now, form = actor_of(request), now_of(request), await request.post()
    wanted = {str(word) for word in form.getall("purpose", [])}
    if not wanted <= set(RecordingPurpose):
        raise InvalidInput("purpose", "unknown")
    is_allowed = bool(form.get("is_allowed"))
    if is_allowed and not wanted:
        return await _show(request, is_purpose_missing=True)
    purposes = [one.value for one in RecordingPurpose if one in wanted]
    facts: dict[str, Fact] = {"recording_allowed": is_allowed, "purposes": ", ".join(purposes)}
    async with request.app[DATABASE].begin(actor.organisation) as session:
        organisation = await session.get_one(Organisation, actor.organisation)
        organisation.is_recording_allowed = is_allowed
        organisation.recording_purposes = purposes
        entry = Entry(now, Act.ORGANISATION_CHANGED, actor.role, actor.id, facts=facts)
        await append(session, actor.organisation, entry)
        live = await session.scalars(select(Recording).where(Recording.state.in_(LIVE)))
        ended = [one for one in live if not is_allowed or one.purpose not in wanted]
        for recording in ended:
            await end_recording(session, recording, RecordingState.ENDED, _NOT_ALLOWED, now)
    for recording in ended:
        stopped = RecordingStopped(ask=recording.id, participant="")
        await request.app[HUB].publish(recording.visit_id, stopped)
    request.app[KEEPER].wake()
    raise web.HTTPSeeOther(_PATH)


async def _show(request: web.Request, *, is_purpose_missing: bool = False) -> web.StreamResponse:
    actor, pages = actor_of(request), request.app[PAGES]
    words = pages.translator(request)
    async with request.app[DATABASE].read(actor.organisation) as session:
        organisation = await session.get_one(Organisation, actor.organisation)
        days = (await load_terms(session, actor.organisation))[Kept.RECORDING]
    return pages.render(
        request,
        "admin/recording.html",
        status=400 if is_purpose_missing else 200,
        actor=actor,
        now=now_of(request),
        organisation=organisation,
        purposes={one.value: purpose_label(words, one) for one in RecordingPurpose},
        days=days,
        is_purpose_missing=is_purpose_missing,
    )
