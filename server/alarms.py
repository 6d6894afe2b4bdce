"""The alarm of a seal that does not open: something in the records was altered or moved.

The keyring tells of each refused opening, wherever in the server it was asked for; here it
becomes a line of the session log, in a transaction of its own, and a figure for Prometheus.
Neither holds anything of the content. A page that cannot go on waits until the line is written.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from datetime import datetime
from typing import Final

from aiohttp import web
from sqlalchemy.exc import SQLAlchemyError

from server.audit import Act, ActorRole, Entry, Fact, append
from server.db import Database, OrganisationId
from server.keyring import Place
from server.logsigner.client import Refusal

logger = logging.getLogger(__name__)

_KEPT: Final = 10_000
"""Alarms that wait while the database is away; the oldest are dropped, and counted."""
_RETRY_SECONDS: Final = 5.0


class Alarms:
    """The alarms of one process. ``raised`` counts them since its start."""

    def __init__(self, database: Database, clock: Callable[[], datetime]) -> None:
        self._database = database
        self._clock = clock
        self._waiting: deque[tuple[Place, datetime]] = deque(maxlen=_KEPT)
        self._woken = asyncio.Event()
        self._turn = asyncio.Lock()
        self.raised = 0

    def sound(self, place: Place) -> None:
        """A seal of this place did not open."""
        self.raised += 1
        self._waiting.append((place, self._clock()))
        self._woken.set()
        logger.error(
            "seal broken table=%s object=%s field=%s",
            place.object_type, place.object_id, place.field,
        )  # fmt: skip

    async def note_refusal(self, organisation: OrganisationId, refusal: Refusal) -> None:
        """The signer does not sign the log of this organisation: it was altered, or an old backup
        is back."""
        self.raised += 1
        facts: dict[str, Fact] = {"problem": refusal.word, "size": refusal.size}
        entry = Entry(self._clock(), Act.LOG_REFUSED, ActorRole.SYSTEM, facts=facts)
        async with self._database.begin(organisation) as session:
            await append(session, organisation, entry)

    async def write(self) -> None:
        """Write what waits; returns when it is committed. What names an organisation that is not
        there has no log to stand in.

        :raises SQLAlchemyError: the database is away; what waits goes on waiting.
        """
        async with self._turn:
            while self._waiting:
                place, at = self._waiting[0]
                with suppress(LookupError):
                    async with self._database.begin(place.organisation) as session:
                        await append(session, place.organisation, _entry_of(place, at))
                self._waiting.popleft()

    async def lifetime(self, app: web.Application) -> AsyncIterator[None]:
        task = asyncio.create_task(self._run(), name="alarms")
        yield
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task
        with suppress(SQLAlchemyError, OSError):
            await self.write()
        if self._waiting:
            logger.error("alarms: %d entries are lost", len(self._waiting))

    async def _run(self) -> None:
        while True:
            await self._woken.wait()
            self._woken.clear()
            try:
                await self.write()
            except (SQLAlchemyError, OSError):
                logger.warning("alarms wait for the database count=%d", len(self._waiting))
                await asyncio.sleep(_RETRY_SECONDS)
                self._woken.set()


def _entry_of(place: Place, at: datetime) -> Entry:
    facts: dict[str, Fact] = {
        "table": place.object_type,
        "object": place.object_id,
        "field": place.field,
        "version": place.version,
    }
    return Entry(at, Act.SEAL_BROKEN, ActorRole.SYSTEM, visit=place.visit or None, facts=facts)


ALARMS: Final = web.AppKey("alarms", Alarms)
