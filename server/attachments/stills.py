"""A photo of the patient's rear camera: asked by the clinician, agreed to on the patient's screen,
taken there, seen there first, and sent. Every step is in the session log."""

from __future__ import annotations

from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final

import msgspec
from aiohttp import web

from server.attachments.asks import Ask, Asks
from server.attachments.contents import PDF, FileRefused, Prepared, Problem
from server.attachments.patientpages import answer_refusal, take_in
from server.attachments.receiving import Received
from server.attachments.rows import add_file, added_facts, load_open_visit, load_own_visit
from server.attachments.texts import StillText, still_text
from server.audit import Act, ActorRole, Entry, Fact, append
from server.auth import Actor, actor_of
from server.bodies import read_body
from server.caseload import load_visit_of
from server.errors import Conflict, InvalidInput
from server.models import Attachment, AttachmentKind, Visit, VisitState, new_id
from server.pages import json_response
from server.sealed import AttachmentWords
from server.services import DATABASE, HUB, KEYRING, PAGES, now_of
from signaling.messages import StillChanged, StillState

_LONGEST_AGE: Final = timedelta(minutes=20)


class Facing(StrEnum):
    """Which camera took the picture, as the browser says."""

    ENVIRONMENT = "environment"
    USER = "user"
    UNKNOWN = "unknown"


class Method(StrEnum):
    """How: a photo of the whole sensor, or one frame of the video."""

    PHOTO = "photo"
    FRAME = "frame"


class AnswerForm(msgspec.Struct, frozen=True):
    """The patient's answer; ``text_hash`` is of what was on the screen."""

    ask: str
    is_agreed: bool
    text_hash: str = ""


async def ask(request: web.Request) -> web.StreamResponse:
    """The clinician asks for a photo; the room tells the patient's page."""
    actor, now = actor_of(request), now_of(request)
    async with request.app[DATABASE].begin(actor.organisation) as session:
        visit = await load_visit_of(session, actor.id, request.match_info["visit_id"])
        if visit.state is not VisitState.IN_VISIT:
            raise Conflict("the patient is not in the visit")
        made = _asks(request).make_ask(visit.id, now)
        entry = Entry(now, Act.STILL_ASKED, ActorRole.CLINICIAN, actor.id, visit.id)
        await append(session, actor.organisation, entry)
    await _tell(request, visit.id, made, StillState.ASKED)
    return json_response({"ask": made})


async def show_text(request: web.Request) -> web.StreamResponse:
    """What the patient agrees to, as it is to be shown."""
    actor = actor_of(request)
    async with request.app[DATABASE].read(actor.organisation) as session:
        visit = await load_own_visit(session, actor)
    text = still_text(request.app[PAGES].translator(request), _doctor_of(visit))
    return json_response(
        {"sentence": text.sentence, "paragraphs": text.paragraphs, "hash": text.hash}
    )


async def answer(request: web.Request) -> web.StreamResponse:
    """Yes gives the page the consent that the picture must bring; no, or a change of mind, ends
    the ask."""
    actor, now = actor_of(request), now_of(request)
    form = await read_body(request, AnswerForm)
    asked = _asks(request).open_ask(actor.visit_id, form.ask, now)
    async with request.app[DATABASE].begin(actor.organisation) as session:
        visit = await load_open_visit(session, actor, now)
        entry = _answer_entry(request, actor, visit, form, now)
        await append(session, actor.organisation, entry)
    state = StillState.AGREED if form.is_agreed else StillState.REFUSED
    await _tell(request, visit.id, form.ask, state)
    if not form.is_agreed:
        return json_response({"consent": ""})
    consent = _asks(request).make_consent(visit.id, asked, form.text_hash, now)
    return json_response({"consent": consent})


async def send(request: web.Request) -> web.StreamResponse:
    """The picture, with the consent to it."""
    actor, now = actor_of(request), now_of(request)
    try:
        received, prepared = await take_in(request)
        if prepared.media_type == PDF:
            raise FileRefused(Problem.UNKNOWN_TYPE)
        consent = _consent_of(request, actor, received, now)
        row = _row_of(actor, received, prepared, consent, now)
        words = _words_of(received, prepared)
        facts = added_facts(row, prepared) | {"text_hash": words.consent_hash}
        entry = Entry(now, Act.STILL_TAKEN, ActorRole.PATIENT, actor.id, actor.visit_id, facts)
        await add_file(request, actor, row, prepared, words, [entry])
    except FileRefused as refusal:
        return await answer_refusal(request, actor, now, refusal)
    await _tell(request, actor.visit_id, consent.id, StillState.TAKEN)
    return json_response({"id": row.id})


def _answer_entry(
    request: web.Request, actor: Actor, visit: Visit, form: AnswerForm, now: datetime
) -> Entry:
    if not form.is_agreed:
        return Entry(now, Act.STILL_REFUSED, ActorRole.PATIENT, actor.id, visit.id)
    text = _find_text(request, visit, form.text_hash)
    facts: dict[str, Fact] = {
        "kind": AttachmentKind.STILL.value,
        "text_version": text.version,
        "text_hash": text.hash,
        "language": text.language,
    }
    return Entry(now, Act.CONSENT_GIVEN, ActorRole.PATIENT, actor.id, visit.id, facts)


def _find_text(request: web.Request, visit: Visit, text_hash: str) -> StillText:
    """:raises InvalidInput: no text of ours that this patient can have seen."""
    for words in request.app[PAGES].translators.values():
        text = still_text(words, _doctor_of(visit))
        if text.hash == text_hash:
            return text
    raise InvalidInput("text_hash", "unknown")


def _doctor_of(visit: Visit) -> str:
    clinician = visit.appointment.clinician
    return clinician.display_name if clinician else ""


def _consent_of(request: web.Request, actor: Actor, received: Received, now: datetime) -> Ask:
    fields = received.fields
    text, text_hash = fields.get("consent", ""), fields.get("text_hash", "")
    return _asks(request).open_consent(actor.visit_id, text, text_hash, now)


def _row_of(
    actor: Actor, received: Received, prepared: Prepared, consent: Ask, now: datetime
) -> Attachment:
    """``taken_at`` by our clock: the page says how many milliseconds ago."""
    age_ms = received.fields.get("age_ms", "0")
    age = timedelta(milliseconds=int(age_ms) if age_ms.isdecimal() and len(age_ms) < 8 else 0)
    return Attachment(
        id=new_id(),
        organisation_id=actor.organisation,
        visit_id=actor.visit_id,
        kind=AttachmentKind.STILL,
        media_type=prepared.media_type,
        taken_at=max(now - min(age, _LONGEST_AGE), consent.at),
        received_at=now,
        consented_at=consent.at,
    )


def _words_of(received: Received, prepared: Prepared) -> AttachmentWords:
    facing, method = received.fields.get("facing"), received.fields.get("method")
    facing_word = Facing(facing) if facing in list(Facing) else Facing.UNKNOWN
    method_word = Method(method) if method in list(Method) else Method.FRAME
    return AttachmentWords(
        device=f"{facing_word} {method_word} {prepared.width}x{prepared.height}",
        consent_hash=received.fields.get("text_hash", ""),
    )


async def _tell(request: web.Request, visit_id: str, ask: str, state: StillState) -> None:
    await request.app[HUB].publish(visit_id, StillChanged(ask=ask, state=state))


def _asks(request: web.Request) -> Asks:
    return Asks(request.app[KEYRING].derive("still-asks"))
