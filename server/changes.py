"""What CUP changes reaches open pages: rows of ``visit_change`` become events of the rooms.

The process that leads reads them, so a change by another process or by the command line is seen
too, half a second later. No rule is here.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import suppress
from datetime import datetime, timedelta
from typing import Final, assert_never

from aiohttp import web
from sqlalchemy import delete, func, select

from server.db import EVERY_ORGANISATION, Database
from server.models import Outcome, VisitChange, VisitChangeKind
from server.services import CLOCK, DATABASE, HUB
from signaling.hub import Hub
from signaling.messages import Closed, Moved

logger = logging.getLogger(__name__)

_EVERY_SECONDS: Final = 0.5
_KEPT: Final = timedelta(hours=1)
_SETTLED: Final = timedelta(minutes=1)
"""A change gets its number before its commit: a lower one may still appear for this long."""
_CLEAN_EVERY: Final = timedelta(minutes=5)


class Changes:
    """Reads the changes of visits and tells the rooms of this server."""

    def __init__(self, database: Database, hub: Hub) -> None:
        self._database = database
        self._hub = hub
        self._floor = 0
        """Every change up to here has been told, or was before our time."""
        self._seen: set[int] = set()
        self._cleaned_at: datetime | None = None

    async def start(self, now: datetime) -> None:
        """Leave out what happened before: rooms read it when they open. Of the last minute all is
        told, perhaps again: who led before may have died over it."""
        old = select(VisitChange.number).where(VisitChange.changed_at < now - _SETTLED)
        async with self._database.read(EVERY_ORGANISATION) as session:
            self._seen = set(await session.scalars(old))

    async def run_once(self, now: datetime) -> int:
        """Tell the rooms what is new; returns how much it was."""
        async with self._database.read(EVERY_ORGANISATION) as session:
            statement = select(VisitChange).where(VisitChange.number > self._floor)
            rows = list(await session.scalars(statement.order_by(VisitChange.number)))
        told = 0
        for row in rows:
            if row.number in self._seen:
                continue
            await self._hub.publish(row.visit_id, _event_of(row.kind))
            self._seen.add(row.number)
            told += 1
        settled = [row.number for row in rows if row.changed_at < now - _SETTLED]
        self._floor = max(settled, default=self._floor)
        self._seen = {number for number in self._seen if number > self._floor}
        await self._clean(now)
        return told

    async def _clean(self, now: datetime) -> None:
        if self._cleaned_at is not None and now - self._cleaned_at < _CLEAN_EVERY:
            return
        self._cleaned_at = now
        old = VisitChange.changed_at < now - _KEPT
        async with self._database.read(EVERY_ORGANISATION) as session:
            count = await session.scalar(select(func.count()).select_from(VisitChange).where(old))
        if count:
            async with self._database.begin(EVERY_ORGANISATION) as session:
                await session.execute(
                    delete(VisitChange).where(old).execution_options(synchronize_session=False)
                )


async def lifetime(app: web.Application) -> AsyncIterator[None]:
    """Read changes while this process leads."""
    changes = Changes(app[DATABASE], app[HUB])
    await changes.start(app[CLOCK]())
    reader = asyncio.create_task(_read(changes, app))
    yield
    reader.cancel()
    with suppress(asyncio.CancelledError):
        await reader


async def _read(changes: Changes, app: web.Application) -> None:
    while True:
        try:
            await changes.run_once(app[CLOCK]())
        except Exception:
            logger.exception("changes by CUP are not read")
        await asyncio.sleep(_EVERY_SECONDS)


def _event_of(kind: VisitChangeKind) -> Moved | Closed:
    match kind:
        case VisitChangeKind.MOVED:
            return Moved()
        case VisitChangeKind.CANCELLED:
            return Closed(outcome=kind.value)
        case VisitChangeKind.ENDED:
            return Closed(outcome=Outcome.NO_SHOW_PATIENT)
        case _:
            assert_never(kind)
