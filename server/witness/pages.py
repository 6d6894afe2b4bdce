"""For people: the head of their log to print and keep, and the whole log as a zip."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

from aiohttp import web
from sqlalchemy import func, select

from server.audit import Act, Entry, append
from server.auth import actor_of
from server.db import Database, OrganisationId
from server.errors import Unavailable
from server.i18n import ROME
from server.logexport import settle_log, write_log_bundle
from server.logexport.kept import read_note
from server.logsigner.client import SignerProcess
from server.logsigner.memory import Memory
from server.models import LogCheckpoint, Organisation
from server.services import DATABASE, PAGES, SETTINGS, now_of
from server.settings import Settings
from server.tlog.note import Checkpoint
from server.witness.public import PACE, Pace

logger = logging.getLogger(__name__)

_CHUNK_BYTES: Final = 1 << 18
_EXPORTS: Final = web.AppKey("log_exports", asyncio.Lock)
"""One whole log at a time: it is long work and a large file."""


@dataclass(frozen=True, slots=True)
class Head:
    """The newest checkpoint as it is shown."""

    checkpoint: Checkpoint
    note: str
    signed_at: datetime


def prepare(app: web.Application) -> None:
    """Put in the application what the handlers share."""
    app[PACE] = Pace()
    app[_EXPORTS] = asyncio.Lock()


async def show_head(request: web.Request) -> web.StreamResponse:
    """The newest checkpoint of the organisation's log, to be printed."""
    actor = actor_of(request)
    async with request.app[DATABASE].read(actor.organisation) as session:
        newest = select(LogCheckpoint).order_by(LogCheckpoint.size.desc()).limit(1)
        row = await session.scalar(newest)
        body = await session.get_one(Organisation, actor.organisation)
    checkpoint = read_note(row.note) if row else None
    head = Head(checkpoint, row.note, row.signed_at) if row and checkpoint else None
    memory = Memory(request.app[SETTINGS].signer_folder / actor.organisation)
    verifier = await asyncio.to_thread(memory.load_verifier)
    return request.app[PAGES].render(
        request,
        "staff/sessions_head.html",
        actor=actor,
        body=body,
        head=head,
        key=verifier.text() if verifier else "",
        signed_on=_write_moment(head.signed_at) if head else "",
        printed_on=_write_moment(now_of(request)),
    )


def _write_moment(moment: datetime) -> str:
    return f"{moment.astimezone(ROME):%d/%m/%Y, %H:%M:%S}"


async def download_log(request: web.Request) -> web.StreamResponse:
    """The whole log up to now, without what names persons.

    :raises Unavailable: the signer's folder is not on this machine.
    """
    actor, now = actor_of(request), now_of(request)
    async with request.app[_EXPORTS], _written(request, actor.organisation, now) as path:
        entry = Entry(
            now, Act.LOG_EXPORTED, actor.role, actor.id,
            object=f"log:{actor.organisation}",
        )  # fmt: skip
        async with request.app[DATABASE].begin(actor.organisation) as session:
            await append(session, actor.organisation, entry)
        response = web.StreamResponse()
        response.content_type = "application/zip"
        response.content_length = path.stat().st_size
        response.headers["Content-Disposition"] = f'attachment; filename="log-{now:%Y%m%d}.zip"'
        await response.prepare(request)
        with path.open("rb") as file:
            while chunk := await asyncio.to_thread(file.read, _CHUNK_BYTES):
                await response.write(chunk)
        await response.write_eof()
    return response


@asynccontextmanager
async def _written(
    request: web.Request, organisation: OrganisationId, now: datetime
) -> AsyncIterator[Path]:
    """The zip in a folder that nobody else can read, and that goes with it."""
    database, settings = request.app[DATABASE], request.app[SETTINGS]
    memory = Memory(settings.signer_folder / organisation)
    await _settle(database, settings, organisation, now)
    with TemporaryDirectory(prefix="accanto-log-") as folder:
        path = Path(folder) / "log.zip"
        async with database.read(organisation) as session:
            name = (await session.get_one(Organisation, organisation)).code
            await write_log_bundle(session, None, memory, organisation, path, name=name, now=now)
        yield path


async def _settle(
    database: Database, settings: Settings, organisation: OrganisationId, now: datetime
) -> None:
    """:raises Unavailable: the log is signed, but the signer's folder is not on this machine."""
    async with database.read(organisation) as session:
        is_signed = await session.scalar(select(func.count()).select_from(LogCheckpoint))
    memory = Memory(settings.signer_folder / organisation)
    if is_signed and await asyncio.to_thread(memory.load_verifier) is None:
        raise Unavailable
    signer = SignerProcess(settings.signer_folder)
    try:
        for complaint in await settle_log(database, signer, settings.realm, organisation, now):
            logger.error("an export of the session log of %s: %s", organisation, complaint)
    finally:
        await signer.stop()
