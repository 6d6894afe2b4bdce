"""Log rows of running calls on their way: into the spool at once, into the database in groups."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import AsyncIterator, Sequence
from contextlib import suppress
from typing import Final

from aiohttp import web

from server.audit import store_in_turn, store_once
from server.db import Database, OrganisationId, is_away
from server.waiting.spool import Remnant, Row, Spool

logger = logging.getLogger(__name__)

_GROUP_SECONDS: Final = 0.25
_RETRY_SECONDS: Final = 1.0
_ADOPT_SECONDS: Final = 60.0
_LAST_SECONDS: Final = 8.0
"""How long the end of the application waits for a database that is away."""
LONGEST_QUEUE: Final = 10_000
_ADOPTED_AT_ONCE: Final = 500


class RowWriter:
    """Calls go on while the database is away: rows wait in memory, and in the spool for whoever
    comes after. What memory has no room for is read from the spool again."""

    def __init__(self, database: Database, spool: Spool) -> None:
        self._database = database
        self._spool = spool
        self._queue: list[Row] = []
        self._has_rows = asyncio.Event()
        self._is_uncertain = False
        """A group may be committed although the answer was lost."""
        self._is_overflowing = False
        """There are rows in the spool that the queue does not hold."""

    def put(self, row: Row) -> None:
        """Take a row; when this returns the operating system has it."""
        is_spooled = self._spool.write(row)
        if len(self._queue) < LONGEST_QUEUE:
            self._queue.append(row)
        elif is_spooled:
            self._is_overflowing = True
        else:
            logger.error("session log: an entry of room %s is lost", row.visit_id)
        self._has_rows.set()

    async def lifetime(self, app: web.Application) -> AsyncIterator[None]:
        """Run while the application runs; write the rest at the end."""
        task = asyncio.create_task(self._run())
        keeper = threading.Thread(target=self._spool.keep_safe, name="spool", daemon=True)
        keeper.start()
        yield
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task
        with suppress(TimeoutError):
            async with asyncio.timeout(_LAST_SECONDS):
                while self._queue:
                    await self._try_to_write()
        if self._queue:
            logger.warning("session log: %d entries wait in the spool", len(self._queue))
        self._spool.leave()
        await asyncio.to_thread(keeper.join)
        with suppress(OSError):
            self._spool.sync()
        self._spool.close()

    async def _run(self) -> None:
        time = asyncio.get_running_loop().time
        while True:
            await self._adopt()
            until = time() + _ADOPT_SECONDS
            while time() < until:
                await self._wait_for_rows(until)
                if self._queue:
                    await asyncio.sleep(_GROUP_SECONDS)
                    await self._try_to_write()

    async def _wait_for_rows(self, until: float) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout_at(until):
                await self._has_rows.wait()

    async def _try_to_write(self) -> None:
        try:
            await self._write_queued()
        except Exception as error:
            count = len(self._queue)
            if is_away(error):
                logger.warning("session log: %d entries wait for the database", count)
            else:
                logger.exception("session log: %d entries wait to be written", count)
            await asyncio.sleep(_RETRY_SECONDS)

    async def _write_queued(self) -> None:
        """Write all queued rows; they leave queue and spool only once they are committed."""
        write = store_once if self._is_uncertain else store_in_turn
        self._is_uncertain = True
        for organisation in {row.organisation for row in self._queue}:
            rows = [row for row in self._queue if row.organisation == organisation]
            async with self._database.begin(organisation) as session:
                await write(session, organisation, _pairs(rows))
            written = set(map(id, rows))
            self._queue = [row for row in self._queue if id(row) not in written]
        self._is_uncertain = False
        if self._queue:
            if self._spool.is_long and not self._is_overflowing:
                self._spool.begin_anew(self._queue)
            return
        self._has_rows.clear()
        if self._is_overflowing:
            self._is_overflowing = False
            self._spool.set_aside()
            await self._adopt()
        else:
            self._spool.clear()

    async def _adopt(self) -> None:
        """Store what processes that are gone have left in their spools."""
        try:
            for remnant in self._spool.adopt():
                await self._store_remnant(remnant)
        except Exception as error:
            if is_away(error):
                logger.warning("session log: entries in a spool wait for the database")
            else:
                logger.exception("session log: entries in a spool wait to be written")

    async def _store_remnant(self, remnant: Remnant) -> None:
        is_stored = False
        try:
            rows = await asyncio.to_thread(remnant.rows)
            for organisation in {row.organisation for row in rows}:
                theirs = [row for row in rows if row.organisation == organisation]
                for start in range(0, len(theirs), _ADOPTED_AT_ONCE):
                    await self._store_again(organisation, theirs[start : start + _ADOPTED_AT_ONCE])
            is_stored = True
            if rows:
                logger.warning("session log: %d entries came from a spool", len(rows))
        finally:
            remnant.close(is_stored=is_stored)

    async def _store_again(self, organisation: OrganisationId, rows: Sequence[Row]) -> None:
        async with self._database.begin(organisation) as session:
            await store_once(session, organisation, _pairs(rows))


def _pairs(rows: Sequence[Row]) -> list[tuple[str, str]]:
    return [(row.visit_id, row.entry) for row in rows]
