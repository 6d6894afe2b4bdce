"""The clinician's note: sealed from the first byte, every version kept.

A save names the version it was written on (``If-Match``). When another page of the same
clinician was first, nothing is written and the answer brings the current text, so that
``note.js`` can show both.
"""

from __future__ import annotations

import hashlib
from datetime import datetime
from typing import Final

import msgspec
from aiohttp import web
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncSession

from server.audit import Act, ActorRole, Entry, Fact, append
from server.auth import CLINICIAN, Actor, Route, actor_of
from server.bodies import read_body
from server.caseload import load_visit_of
from server.errors import InvalidInput
from server.keyring import Keyring
from server.models import Note, Visit
from server.pages import json_response
from server.sealed import NoteContent, Section, load_last_note, open_note, seal_note
from server.services import DATABASE, KEYRING, now_of

MAX_CHARACTERS: Final = 40_000
"""Fits into the largest body, however its letters are written in JSON."""


class NoteForm(msgspec.Struct, frozen=True):
    """What the page saves."""

    text: str


class Stale(Exception):
    """The save was written on a version that is not the last one."""


async def send_note(request: web.Request) -> web.StreamResponse:
    """The text and its version; that it was opened is written down."""
    actor, now = actor_of(request), now_of(request)
    async with request.app[DATABASE].begin(actor.organisation) as session:
        visit = await load_visit_of(session, actor.id, request.match_info["visit_id"])
        note = await load_last_note(session, visit.id)
        facts: dict[str, Fact] = {"version": note.version if note else 0}
        entry = Entry(now, Act.NOTE_OPENED, ActorRole.CLINICIAN, actor.id, visit.id, facts)
        await append(session, actor.organisation, entry)
        return await _answer(request.app[KEYRING], session, note)


async def save_note(request: web.Request) -> web.StreamResponse:
    """One more version, if it was written on the last one."""
    actor, visit_id = actor_of(request), request.match_info["visit_id"]
    based_on = _parse_version(request.headers.get("If-Match", ""))
    text = (await read_body(request, NoteForm)).text
    if len(text) > MAX_CHARACTERS:
        raise InvalidInput("text", "too_long")
    try:
        async with request.app[DATABASE].begin(actor.organisation) as session:
            visit = await load_visit_of(session, actor.id, visit_id)
            note = await _save(request, session, visit, text, based_on)
            return await _answer(request.app[KEYRING], session, note)
    except (Stale, IntegrityError):  # two first saves at once meet in the primary key
        async with request.app[DATABASE].read(actor.organisation) as session:
            last = await load_last_note(session, visit_id)
            return await _answer(request.app[KEYRING], session, last, status=412)


async def _save(
    request: web.Request, session: AsyncSession, visit: Visit, text: str, based_on: int
) -> Note:
    keyring, actor, now = request.app[KEYRING], actor_of(request), now_of(request)
    last = await load_last_note(session, visit.id)
    if based_on != (last.version if last else 0):
        raise Stale
    content = NoteContent(sections={Section.FREE: text})
    if last is not None and await open_note(keyring, session, last) == content:
        return last
    note = Note(
        organisation_id=actor.organisation,
        visit_id=visit.id,
        version=based_on + 1,
        author_id=actor.id,
        saved_at=now,
    )
    await seal_note(keyring, session, note, content)
    session.add(note)
    await session.flush()
    await append(session, actor.organisation, _saved_entry(note, actor, now))
    return note


def _saved_entry(note: Note, actor: Actor, now: datetime) -> Entry:
    digest = hashlib.sha256(note.sealed_text).hexdigest()
    facts: dict[str, Fact] = {"version": note.version, "sha256": digest}
    return Entry(now, Act.NOTE_SAVED, ActorRole.CLINICIAN, actor.id, note.visit_id, facts)


async def _answer(
    keyring: Keyring, session: AsyncSession, note: Note | None, *, status: int = 200
) -> web.Response:
    version = note.version if note else 0
    content = await open_note(keyring, session, note) if note else NoteContent()
    response = json_response(
        {
            "text": content.text_of(Section.FREE),
            "version": version,
            "saved_at": note.saved_at.isoformat() if note else None,
        },
        status=status,
    )
    response.headers["ETag"] = f'"{version}"'
    return response


def _parse_version(text: str) -> int:
    """The number of a strong entity tag such as ``"3"``.

    :raises InvalidInput: a save must say what it was written on.
    """
    digits = text.strip().removeprefix('"').removesuffix('"')
    if not digits.isascii() or not digits.isdigit() or len(digits) > 9:
        raise InvalidInput("If-Match", "missing")
    return int(digits)


ROUTES: Final = (
    Route("GET", "/visits/{visit_id}/note", send_note, CLINICIAN),
    Route("PUT", "/visits/{visit_id}/note", save_note, CLINICIAN),
)
