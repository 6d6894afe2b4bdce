"""The desk uploads a file of bookings; what could not be read is named by line and field."""

from __future__ import annotations

from typing import Final

from aiohttp import web
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from server.audit import Act, Entry, Fact, append
from server.auth import Actor, actor_of
from server.cup.booking import FileRejected
from server.cup.inbox.intake import ImportReport, import_file, load_usual_source
from server.errors import InvalidInput, NotFound
from server.models import Source
from server.services import DATABASE, KEYRING, PAGES, now_of
from server.uploads import LONGEST_UPLOAD_BYTES, Upload, receive_upload

_MOST_SHOWN: Final = 200


async def show_form(request: web.Request) -> web.StreamResponse:
    return await _render(request)


async def take_file(request: web.Request) -> web.StreamResponse:
    """Apply the file and say what became of each row."""
    try:
        async with receive_upload(request) as upload:
            report = await _import(request, upload)
    except InvalidInput as error:
        return await _render(request, wrong=error.reason)
    except FileRejected:
        return await _render(request, wrong="rejected")
    return await _render(request, report=report)


async def _import(request: web.Request, upload: Upload) -> ImportReport:
    actor, now = actor_of(request), now_of(request)
    async with request.app[DATABASE].begin(actor.organisation) as session:
        source = await _load_or_make_source(session, actor, upload.fields.get("source", ""))
    report = await import_file(
        request.app[DATABASE],
        request.app[KEYRING],
        upload.path,
        organisation_code=None,
        now=now,
        source=source,
    )
    facts: dict[str, Fact] = {
        "sha256": upload.sha256,
        "wrong_rows": len(report.errors),
        "source": source.code,
    }
    async with request.app[DATABASE].begin(actor.organisation) as session:
        entry = Entry(now, Act.CUP_FILE_UPLOADED, actor.role, actor.id, facts=facts)
        await append(session, actor.organisation, entry)
    return report


async def _load_or_make_source(session: AsyncSession, actor: Actor, source_id: str) -> Source:
    """The source that was chosen, else the usual one."""
    if not source_id:
        return await load_usual_source(session, actor.organisation)
    source = await session.scalar(select(Source).where(Source.id == source_id))
    if source is None:
        raise NotFound
    return source


async def _render(
    request: web.Request, *, report: ImportReport | None = None, wrong: str = ""
) -> web.Response:
    actor = actor_of(request)
    async with request.app[DATABASE].read(actor.organisation) as session:
        sources = list(await session.scalars(select(Source).order_by(Source.code)))
    return request.app[PAGES].render(
        request,
        "staff/upload.html",
        status=400 if wrong else 200,
        actor=actor,
        sources=sources,
        report=report,
        errors=report.errors[:_MOST_SHOWN] if report else [],
        most_megabytes=LONGEST_UPLOAD_BYTES // 1024 // 1024,
        wrong=wrong,
    )
