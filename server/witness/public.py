"""What a witness asks for, open to everybody: hashes and signatures, nothing of any entry.

``/log/CODE/checkpoint`` is where C2SP tlog-tiles has it, below the log's origin. A log that does
not exist, one without a checkpoint and a proof that cannot be made all answer 404.
"""

from __future__ import annotations

import asyncio
import re
from base64 import b64encode
from datetime import datetime, timedelta
from typing import Final

from aiohttp import web
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from server.addresses import client_of
from server.db import EVERY_ORGANISATION, OrganisationId
from server.errors import NotFound, TooManyAttempts
from server.logsigner.memory import Memory
from server.models import LogCheckpoint, LogHead, Organisation
from server.sequencing import StoredTree
from server.services import DATABASE, SETTINGS, now_of
from server.tlog.tree import prove_consistency

MOST_A_MINUTE: Final = 120
"""A witness needs two in each round; several may stand behind one address."""
_SIZE: Final = re.compile(r"(0|[1-9][0-9]{0,14})", re.ASCII)
_MOST_KEPT: Final = 10_000


class Pace:
    """How often each address has asked in the minute that runs."""

    def __init__(self) -> None:
        self._minute = 0
        self._counts: dict[str, int] = {}

    def count(self, address: str, now: datetime) -> None:
        """:raises TooManyAttempts: enough for this minute."""
        minute = int(now.timestamp()) // 60
        if minute != self._minute or len(self._counts) > _MOST_KEPT:
            self._minute, self._counts = minute, {}
        self._counts[address] = self._counts.get(address, 0) + 1
        if self._counts[address] > MOST_A_MINUTE:
            next_minute = timedelta(seconds=60 - now.timestamp() % 60)
            raise TooManyAttempts(int(next_minute.total_seconds()) + 1)


PACE: Final = web.AppKey("witness_pace", Pace)


async def send_key(request: web.Request) -> web.Response:
    """The log's public key, for a witness's first look. Who knows it from elsewhere trusts that."""
    _slow_down(request)
    async with request.app[DATABASE].read(EVERY_ORGANISATION) as session:
        organisation = await _find_log(session, request)
    memory = Memory(request.app[SETTINGS].signer_folder / organisation)
    verifier = await asyncio.to_thread(memory.load_verifier)
    if verifier is None:
        raise NotFound
    return web.Response(text=f"{verifier.text()}\n")


async def send_checkpoint(request: web.Request) -> web.Response:
    """The newest signed note."""
    _slow_down(request)
    async with request.app[DATABASE].read(EVERY_ORGANISATION) as session:
        organisation = await _find_log(session, request)
        note = await session.scalar(
            select(LogCheckpoint.note)
            .where(LogCheckpoint.organisation_id == organisation)
            .order_by(LogCheckpoint.size.desc())
            .limit(1)
        )
    if note is None:
        raise NotFound
    return web.Response(text=note)


async def send_consistency(request: web.Request) -> web.Response:
    """The proof that one size of the log grew into another, a base64 hash a line."""
    _slow_down(request)
    first, second = (request.match_info[name] for name in ("first", "second"))
    if not _SIZE.fullmatch(first) or not _SIZE.fullmatch(second):
        raise NotFound
    async with request.app[DATABASE].read(EVERY_ORGANISATION) as session:
        organisation = await _find_log(session, request)
        size = (await session.get_one(LogHead, organisation)).size
        if int(second) > size:
            raise NotFound
        tree = StoredTree(session, organisation, size)
        try:
            path = await prove_consistency(tree, int(first), int(second))
        except (LookupError, ValueError) as error:
            raise NotFound from error
    return web.Response(text="".join(f"{b64encode(step).decode()}\n" for step in path))


def _slow_down(request: web.Request) -> None:
    """:raises TooManyAttempts: this address has asked often enough."""
    request.app[PACE].count(str(client_of(request)), now_of(request))


async def _find_log(session: AsyncSession, request: web.Request) -> OrganisationId:
    """:raises NotFound: no organisation has this code."""
    code = request.match_info["code"]
    found = await session.scalar(select(Organisation.id).where(Organisation.code == code))
    if found is None:
        raise NotFound
    return OrganisationId(found)
