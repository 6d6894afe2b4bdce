"""Handing out the proof of one visit: to managers and auditors, and to the patient her own."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

from aiohttp import web

from server.audit import Act, Entry, append
from server.auth import actor_of
from server.errors import Conflict, NotFound
from server.keyring import Keyring
from server.line.verdict import limits_of
from server.logexport import NoKey, NothingSigned, write_visit_bundle
from server.logsigner.memory import Memory, MemoryBroken
from server.models import Visit
from server.services import DATABASE, KEYRING, PAGES, SETTINGS, now_of
from server.sessionexport.proof.pdf import render_proof
from server.sessionexport.proof.told import load_story
from server.sessionexport.proof.words import describe_proof
from server.sessionexport.spoken import Spoken
from server.sessionexport.stream import send_file

_CHUNK_BYTES: Final = 1 << 16
SUMMARY_NAMES: Final = {"it": "riepilogo.pdf", "en": "summary.pdf"}


async def send_proof(request: web.Request) -> web.StreamResponse:
    """Without the personal values beside the log: entries and proofs hold without them."""
    return await _send(request, request.match_info["visit_id"], None)


async def send_own_proof(request: web.Request) -> web.StreamResponse:
    """With the values: they are the patient's own."""
    return await _send(request, actor_of(request).visit_id, request.app[KEYRING])


async def _send(request: web.Request, visit_id: str, values: Keyring | None) -> web.StreamResponse:
    actor, now = actor_of(request), now_of(request)
    async with request.app[DATABASE].begin(actor.organisation) as session:
        if await session.get(Visit, visit_id) is None:
            raise NotFound
        entry = Entry(now, Act.LOG_EXPORTED, actor.role, actor.id, visit_id, {"what": "proof"})
        await append(session, actor.organisation, entry)
    with TemporaryDirectory(prefix="accanto-proof-") as folder:
        path = Path(folder) / "proof.zip"
        try:
            await _write(request, visit_id, values, path, now)
        except (NoKey, NothingSigned, MemoryBroken) as error:
            raise NotSignedYet from error
        name = f"prova-visita-{visit_id}.zip"
        return await send_file(request, name, "application/zip", _read(path))


class NotSignedYet(Conflict):
    """A minute later there is something to prove."""

    code = "not_signed_yet"


async def _write(
    request: web.Request, visit_id: str, values: Keyring | None, path: Path, now: datetime
) -> None:
    app, organisation = request.app, actor_of(request).organisation
    memory = Memory(app[SETTINGS].signer_folder / organisation)
    checkpoint = await asyncio.to_thread(memory.load_last)
    if checkpoint is None:
        raise NothingSigned(visit_id)
    async with app[DATABASE].read(organisation) as session:
        limits = limits_of(app[SETTINGS])
        story = await load_story(session, app[KEYRING], visit_id, checkpoint, limits, now)
        words = app[PAGES].translator(request)
        content = describe_proof(story, words, Spoken(app[PAGES], words))
        pdf = await asyncio.to_thread(render_proof, content, now)
        extra = {SUMMARY_NAMES[words.language]: pdf}
        await write_visit_bundle(
            session, values, memory, organisation, visit_id, path, extra, now=now
        )


async def _read(path: Path) -> AsyncIterator[bytes]:
    with path.open("rb") as file:
        while chunk := await asyncio.to_thread(file.read, _CHUNK_BYTES):
            yield chunk
