"""The routes of the note."""

from __future__ import annotations

import re

import msgspec
from aiohttp import web
from sqlalchemy.ext.asyncio import AsyncSession

from server.audit import Act, ActorRole, Entry, append
from server.auth import actor_of
from server.bodies import read_body
from server.caseload import load_visit_of
from server.errors import InvalidInput
from server.i18n import time_with_seconds
from server.models import Visit
from server.notes.content import NoteForm, cleaned
from server.notes.store import (
    Basis,
    Saved,
    Stale,
    load_history,
    open_last,
    open_version,
    save_version,
)
from server.pages import json_response
from server.sealed import Section, open_identity
from server.services import DATABASE, KEYRING, PAGES, now_of

_MAX_DIGITS = 9
_DIGEST = re.compile('"[0-9a-f]{64}"')


async def send_note(request: web.Request) -> web.StreamResponse:
    """The note and its version; that it was opened is written down."""
    actor = actor_of(request)
    async with request.app[DATABASE].begin(actor.organisation) as session:
        visit = await _load_visit(request, session)
        saved = await open_last(request.app[KEYRING], session, visit)
        await _write_down(request, session, Act.NOTE_OPENED, saved.version)
    return _answer(saved)


async def save_note(request: web.Request) -> web.StreamResponse:
    """One more version, if it was written on the last one; else 412 with the last one."""
    actor, visit_id = actor_of(request), request.match_info["visit_id"]
    based_on = _parse_basis(request.headers.get("If-Match", ""))
    content = cleaned(await read_body(request, NoteForm))
    database, keyring = request.app[DATABASE], request.app[KEYRING]
    try:
        saved = await save_version(
            database, keyring, actor, visit_id, content, based_on=based_on, now=now_of(request)
        )
    except Stale:
        async with database.read(actor.organisation) as session:
            visit = await _load_visit(request, session)
            return _answer(await open_last(keyring, session, visit), status=412)
    return _answer(saved)


async def send_history(request: web.Request) -> web.StreamResponse:
    """Who saved which version when; no text."""
    actor = actor_of(request)
    async with request.app[DATABASE].read(actor.organisation) as session:
        visit = await _load_visit(request, session)
        versions = await load_history(session, visit.id)
    return json_response(
        {
            "versions": [
                {"version": one.version, "saved_at": one.saved_at.isoformat(), "author": one.author}
                for one in versions
            ]
        }
    )


async def send_version(request: web.Request) -> web.StreamResponse:
    """An older version (``?version=3``; without it the last); that it was opened is written
    down."""
    actor, keyring = actor_of(request), request.app[KEYRING]
    wanted = request.query.get("version", "")
    async with request.app[DATABASE].begin(actor.organisation) as session:
        visit = await _load_visit(request, session)
        if wanted:
            saved = await open_version(keyring, session, visit, _parse_version(wanted))
        else:
            saved = await open_last(keyring, session, visit)
        await _write_down(request, session, Act.NOTE_HISTORY_OPENED, saved.version)
    return _answer(saved)


async def print_note(request: web.Request) -> web.StreamResponse:
    """The last saved version as a page for paper; written down."""
    actor, keyring = actor_of(request), request.app[KEYRING]
    async with request.app[DATABASE].begin(actor.organisation) as session:
        visit = await _load_visit(request, session)
        saved = await open_last(keyring, session, visit)
        identity = await open_identity(keyring, session, visit.appointment.patient)
        versions = await load_history(session, visit.id)
        await _write_down(request, session, Act.NOTE_PRINTED, saved.version)
    return request.app[PAGES].render(
        request,
        "staff/note_print.html",
        actor=actor,
        visit=visit,
        appointment=visit.appointment,
        identity=identity,
        saved=saved,
        sections=[section.value for section in Section],
        author=versions[0].author if versions else "",
        time_with_seconds=time_with_seconds,
    )


async def _load_visit(request: web.Request, session: AsyncSession) -> Visit:
    return await load_visit_of(session, actor_of(request).id, request.match_info["visit_id"])


async def _write_down(request: web.Request, session: AsyncSession, act: Act, version: int) -> None:
    actor, visit_id = actor_of(request), request.match_info["visit_id"]
    entry = Entry(
        now_of(request), act, ActorRole.CLINICIAN, actor.id, visit_id, {"version": version}
    )
    await append(session, actor.organisation, entry)


def _answer(saved: Saved, *, status: int = 200) -> web.Response:
    response = json_response(
        {
            "content": msgspec.to_builtins(saved.content),
            "version": saved.version,
            "saved_at": saved.saved_at.isoformat() if saved.saved_at else None,
        },
        status=status,
    )
    response.headers["ETag"] = f'"{saved.version}"'
    return response


def _parse_basis(text: str) -> Basis:
    """The version, and the digest of a save that may have become the last one: ``"3", "e3b0…"``.

    :raises InvalidInput: a save must say what it was written on.
    """
    version, comma, digest = text.partition(", ")
    if comma and not _DIGEST.fullmatch(digest):
        raise InvalidInput("version", "malformed")
    return Basis(_parse_version(version), digest.strip('"'))


def _parse_version(text: str) -> int:
    """The number of a strong entity tag such as ``"3"``.

    :raises InvalidInput: it is none.
    """
    digits = text.strip().removeprefix('"').removesuffix('"')
    if not digits.isascii() or not digits.isdigit() or len(digits) > _MAX_DIGITS:
        raise InvalidInput("version", "malformed")
    return int(digits)
