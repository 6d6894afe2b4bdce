"""Taking visits out of the session log: tables and AuditEvents of what a filter asks for."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable
from typing import Final

import msgspec
from aiohttp import web
from sqlalchemy import func, select

from server.audit import Act, Entry, Fact, append
from server.auth import actor_of
from server.errors import NotFound
from server.models import Visit
from server.services import DATABASE, KEYRING, PAGES, SETTINGS, now_of
from server.sessionexport.balp import Place, audit_event
from server.sessionexport.entries import (
    Found,
    load_entries,
    load_entries_of,
    load_place,
    load_whole_log,
)
from server.sessionexport.spoken import Spoken
from server.sessionexport.stream import send_file
from server.sessionexport.table import Row, columns_of, csv_lines, load_rows, ndjson_lines
from server.spreadsheets import BYTE_ORDER_MARK, csv_line
from server.summary import Wish, parse_wish

_NDJSON: Final = "application/x-ndjson"
_FHIR_NDJSON: Final = "application/fhir+ndjson"
_encode: Final = msgspec.json.Encoder().encode


async def send_csv(request: web.Request) -> web.StreamResponse:
    """A line for each visit, in the language of the reader."""
    wish = await _note_export(request, "csv")
    columns = columns_of(actor_of(request).role)
    say = Spoken(request.app[PAGES], request.app[PAGES].translator(request))
    yes_and_no = (say.words.gettext("yes"), say.words.gettext("no"))

    async def chunks() -> AsyncIterator[bytes]:
        head = csv_line(say("column", column.name) for column in columns)
        yield (BYTE_ORDER_MARK + head).encode()
        async for rows in _rows(request, wish):
            yield "".join(csv_lines(columns, rows, say, yes_and_no)).encode()

    return await send_file(request, _name(wish, "csv"), "text/csv; charset=utf-8", chunks())


async def send_ndjson(request: web.Request) -> web.StreamResponse:
    """The same for programs."""
    wish = await _note_export(request, "ndjson")
    columns = columns_of(actor_of(request).role)

    async def chunks() -> AsyncIterator[bytes]:
        async for rows in _rows(request, wish):
            yield b"".join(ndjson_lines(columns, rows))

    return await send_file(request, _name(wish, "ndjson"), _NDJSON, chunks())


async def send_audit_events(request: web.Request) -> web.StreamResponse:
    """The entries of all these visits as AuditEvents, one a line (FHIR bulk data)."""
    wish = await _note_export(request, "fhir")
    actor, database, keyring = actor_of(request), request.app[DATABASE], request.app[KEYRING]

    async def chunks() -> AsyncIterator[bytes]:
        place = await _load_place(request)
        async for group in load_entries(database, keyring, actor, wish):
            yield _events(group, place)

    return await send_file(request, _name(wish, "fhir.ndjson"), _FHIR_NDJSON, chunks())


async def send_log_events(request: web.Request) -> web.StreamResponse:
    """Every entry of these days, of visits or not: logins, settings, exports, readings."""
    wish = await _note_export(request, "fhir_log")
    actor, database, keyring = actor_of(request), request.app[DATABASE], request.app[KEYRING]

    async def chunks() -> AsyncIterator[bytes]:
        place = await _load_place(request)
        async for group in load_whole_log(database, keyring, actor, wish):
            yield _events(group, place)

    name = f"registro-{wish.first_day}-{wish.last_day}.fhir.ndjson"
    return await send_file(request, name, _FHIR_NDJSON, chunks())


async def send_visit_events(request: web.Request) -> web.StreamResponse:
    """The same of one visit."""
    actor, now = actor_of(request), now_of(request)
    async with request.app[DATABASE].begin(actor.organisation) as session:
        visit = await session.get(Visit, request.match_info["visit_id"])
        if visit is None:
            raise NotFound
        facts: dict[str, Fact] = {"what": "fhir"}
        entry = Entry(now, Act.LOG_EXPORTED, actor.role, actor.id, visit.id, facts)
        await append(session, actor.organisation, entry)
    place = await _load_place(request)
    async with request.app[DATABASE].read(actor.organisation) as session:
        found = await load_entries_of(session, request.app[KEYRING], actor, [visit.id])

    async def chunks() -> AsyncIterator[bytes]:
        yield _events(found, place)

    return await send_file(request, f"visita-{visit.id}.fhir.ndjson", _FHIR_NDJSON, chunks())


async def _load_place(request: web.Request) -> Place:
    organisation = actor_of(request).organisation
    async with request.app[DATABASE].read(organisation) as session:
        return await load_place(session, organisation, request.app[SETTINGS].base_url)


def _rows(request: web.Request, wish: Wish) -> AsyncIterator[list[Row]]:
    return load_rows(request.app[DATABASE], request.app[KEYRING], actor_of(request), wish)


def _events(entries: Iterable[Found], place: Place) -> bytes:
    events = (audit_event(each.seq, each.written, place, each.patient) for each in entries)
    return b"".join(_encode(event) + b"\n" for event in events)


def _name(wish: Wish, ending: str) -> str:
    return f"visite-{wish.first_day}-{wish.last_day}.{ending}"


async def _note_export(request: web.Request, what: str) -> Wish:
    """Write into the log what is taken out, before it is."""
    actor, now = actor_of(request), now_of(request)
    wish = parse_wish(request.query, now)
    every = wish.statement().order_by(None).subquery()
    async with request.app[DATABASE].begin(actor.organisation) as session:
        filters: dict[str, Fact] = {
            "clinic": wish.clinic_id,
            "clinician": wish.clinician_id,
            "result": wish.result,
            "verdict": wish.verdict,
            "only_problem": wish.problem,
        }
        facts: dict[str, Fact] = {
            "what": what,
            "first_day": str(wish.first_day),
            "last_day": str(wish.last_day),
            "visits": await session.scalar(select(func.count()).select_from(every)),
            **{name: value for name, value in filters.items() if value},
        }
        entry = Entry(now, Act.LOG_EXPORTED, actor.role, actor.id, facts=facts, object="log:visits")
        await append(session, actor.organisation, entry)
    return wish
