"""What the pages of both people ask and say about a recording. The room hears of each act after it
is kept; a browser that missed the room's word gets it with the next ``welcome``."""

from __future__ import annotations

from typing import Annotated, Final

import msgspec
from aiohttp import web
from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncSession

from server.auth import Actor, actor_of
from server.bodies import read_body
from server.db import EVERY_ORGANISATION
from server.errors import Conflict, InvalidInput, TooManyAttempts
from server.models import Kept, Organisation, Recording, RecordingAnswer, RecordingPurpose
from server.pages import json_response
from server.recording.keeper import KEEPER
from server.recording.rows import (
    LIVE,
    add_answer,
    add_ask,
    allowed_purposes,
    hold_visit,
    load_recording,
    load_visit,
    seat_of,
)
from server.recording.texts import RecordingText, find_text, purpose_label, recording_text
from server.services import DATABASE, HUB, PAGES, SETTINGS, now_of
from server.terms import load_terms
from signaling.messages import RoomEvent
from signaling.recordingevents import RecordingAnswered, RecordingAsked, RecordingStopped

_FULL_SECONDS: Final = 60
_Short = Annotated[str, msgspec.Meta(max_length=64)]


class AskForm(msgspec.Struct, frozen=True):
    """``text_hash`` is of what was on the screen."""

    purpose: _Short
    text_hash: _Short


class AnswerForm(msgspec.Struct, frozen=True):
    ask: _Short
    is_accepted: bool
    text_hash: _Short = ""


class StopForm(msgspec.Struct, frozen=True):
    ask: _Short


async def show_text(request: web.Request) -> web.StreamResponse:
    """What is agreed to: of the ask in ``?ask=``, else (for a clinician who is going to ask) of
    each purpose that is allowed; ``hash`` belongs to the words beside it."""
    actor, ask = actor_of(request), request.query.get("ask", "")
    words = request.app[PAGES].translator(request)
    async with request.app[DATABASE].read(actor.organisation) as session:
        visit = await load_visit(session, actor, request.match_info.get("visit_id", ""))
        organisation = await session.get_one(Organisation, actor.organisation)
        days = await _days(session, actor)
        asked = await load_recording(session, visit, ask) if ask else None
    purposes = [asked.purpose] if asked is not None else allowed_purposes(organisation)
    if not purposes:
        raise Conflict("no recording is allowed")
    shown = [
        {"word": one, "label": purpose_label(words, one)}
        | _shown(recording_text(words, one, organisation.name, days))
        for one in purposes
    ]
    first = recording_text(words, purposes[0], organisation.name, days)
    return json_response(_shown(first) | {"purposes": shown})


async def ask(request: web.Request) -> web.StreamResponse:
    """The clinician asks whether the visit may be recorded."""
    actor, now = actor_of(request), now_of(request)
    form = await read_body(request, AskForm)
    if await _is_full(request):
        raise TooManyAttempts(_FULL_SECONDS)
    async with request.app[DATABASE].begin(actor.organisation) as session:
        visit = await hold_visit(session, actor, request.match_info["visit_id"])
        organisation = await session.get_one(Organisation, actor.organisation)
        if form.purpose not in allowed_purposes(organisation):
            raise Conflict("this recording is not allowed")
        purpose = RecordingPurpose(form.purpose)
        text = await _find_text(request, session, actor, purpose, form.text_hash)
        recording = await add_ask(session, actor, visit, purpose, text, now)
    asked = RecordingAsked(
        ask=recording.id,
        participant=seat_of(actor),
        purpose=form.purpose,
        text_version=text.version,
        text_hash=text.hash,
    )
    await _tell(request, recording, asked)
    return json_response({"ask": recording.id})


async def answer(request: web.Request) -> web.StreamResponse:
    """Yes or no on the own screen; a no ends it for all, also later."""
    actor, now = actor_of(request), now_of(request)
    form = await read_body(request, AnswerForm)
    said = RecordingAnswer.ACCEPTED if form.is_accepted else RecordingAnswer.REFUSED
    async with request.app[DATABASE].begin(actor.organisation) as session:
        visit = await hold_visit(session, actor, request.match_info.get("visit_id", ""))
        recording = await load_recording(session, visit, form.ask)
        text = None
        if form.is_accepted or form.text_hash:
            purpose = recording.purpose
            text = await _find_text(request, session, actor, purpose, form.text_hash)
        await add_answer(session, actor, recording, said, text, now)
    answered = RecordingAnswered(
        ask=recording.id, participant=seat_of(actor), accepted=form.is_accepted
    )
    await _tell(request, recording, answered)
    return json_response({})


async def stop(request: web.Request) -> web.StreamResponse:
    """Either person's word is enough."""
    actor, now = actor_of(request), now_of(request)
    form = await read_body(request, StopForm)
    async with request.app[DATABASE].begin(actor.organisation) as session:
        visit = await hold_visit(session, actor, request.match_info.get("visit_id", ""))
        recording = await load_recording(session, visit, form.ask)
        await add_answer(session, actor, recording, RecordingAnswer.STOPPED, None, now)
    await _tell(request, recording, RecordingStopped(ask=recording.id, participant=seat_of(actor)))
    return json_response({})


async def _is_full(request: web.Request) -> bool:
    """Whether as many visits are recorded as the machine is good for."""
    count = select(func.count()).select_from(Recording).where(Recording.state.in_(LIVE))
    async with request.app[DATABASE].read(EVERY_ORGANISATION) as session:
        live = await session.scalar(count)
    return (live or 0) >= request.app[SETTINGS].recordings_at_once


def _shown(text: RecordingText) -> dict[str, object]:
    return {
        "sentence": text.sentence,
        "paragraphs": text.paragraphs,
        "hash": text.hash,
        "version": text.version,
    }


async def _days(session: AsyncSession, actor: Actor) -> int:
    return (await load_terms(session, actor.organisation))[Kept.RECORDING]


async def _find_text(
    request: web.Request,
    session: AsyncSession,
    actor: Actor,
    purpose: RecordingPurpose,
    text_hash: str,
) -> RecordingText:
    """:raises InvalidInput: no text of ours that this person can have seen."""
    organisation = await session.get_one(Organisation, actor.organisation)
    translators = request.app[PAGES].translators.values()
    days = await _days(session, actor)
    text = find_text(translators, purpose, organisation.name, days, text_hash)
    if text is None:
        raise InvalidInput("text_hash", "unknown")
    return text


async def _tell(request: web.Request, recording: Recording, event: RoomEvent) -> None:
    await request.app[HUB].publish(recording.visit_id, event)
    request.app[KEEPER].wake()
