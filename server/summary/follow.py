"""Keeping the summaries up with the log: a step reads what is new in it and folds it in.

The log is never held up by this: the sequencer numbers in a transaction of its own, and how far the
summaries have come stands in ``summary_head``. Set back to nought, they are made anew.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator
from contextlib import suppress
from typing import Any, Final

import msgspec
from aiohttp import web
from sqlalchemy import bindparam, func, insert, select, update
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncSession

from server.db import EVERY_ORGANISATION, Base, Database, OrganisationId, is_away, take_turn
from server.keyring import Keyring
from server.models import LogEntry, LogHead, SummaryHead, VisitSummary
from server.summary.problems import unpack_problems
from server.summary.row import load_facts, make_row
from server.summary.told import TOLD_COLUMNS, Heard, Told, parse_heard

logger = logging.getLogger(__name__)

_EVERY_SECONDS: Final = 1.0
"""For what a command has numbered; the sequencer of this process says so itself."""
_PAUSE_SECONDS: Final = 10.0
_MOST_AT_ONCE: Final = 4096
_TABLE: Final = Base.metadata.tables[VisitSummary.__tablename__]


class Summaries:
    """The summaries of all organisations, at work in the process that leads."""

    def __init__(self, database: Database, keyring: Keyring) -> None:
        self._database = database
        self._keyring = keyring
        self._rests_until: dict[OrganisationId, float] = {}
        self._has_news = asyncio.Event()

    def wake(self) -> None:
        """There are new numbers."""
        self._has_news.set()

    async def lifetime(self, app: web.Application) -> AsyncIterator[None]:
        task = asyncio.create_task(self._run(), name="summaries")
        yield
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task

    async def _run(self) -> None:
        while True:
            self._has_news.clear()
            try:
                await self.follow_all()
            except (SQLAlchemyError, OSError) as error:
                logger.warning("the summaries wait for the database: %s", type(error).__name__)
            except Exception:
                logger.exception("the summaries do not follow the logs")
                await asyncio.sleep(_PAUSE_SECONDS)
            with suppress(TimeoutError):
                async with asyncio.timeout(_EVERY_SECONDS):
                    await self._has_news.wait()

    async def follow_all(self) -> None:
        """Bring every organisation's summaries up to its log. Rows are asked for by their own
        keys: with the organisation beside them SQLite would look through all visits."""
        async with self._database.read(EVERY_ORGANISATION) as session:
            heads = (
                await session.execute(
                    select(LogHead.organisation_id)
                    .outerjoin(SummaryHead, SummaryHead.organisation_id == LogHead.organisation_id)
                    .where(LogHead.size > func.coalesce(SummaryHead.size, 0))
                )
            ).scalars()
            behind = [OrganisationId(organisation) for organisation in heads]
        for organisation in behind:
            if time.monotonic() >= self._rests_until.get(organisation, 0.0):
                await self._follow(organisation)

    async def _follow(self, organisation: OrganisationId) -> None:
        """One log that cannot be followed does not keep the others back: it is tried later."""
        try:
            while True:
                async with self._database.begin(EVERY_ORGANISATION) as session:
                    count = await follow_log(session, self._keyring, organisation)
                if count < _MOST_AT_ONCE:
                    return
        except Exception as error:
            if is_away(error):
                raise
            self._rests_until[organisation] = time.monotonic() + _PAUSE_SECONDS
            logger.exception("the summaries of %s do not follow the log", organisation)


async def follow_log(session: AsyncSession, keyring: Keyring, organisation: OrganisationId) -> int:
    """Fold the next entries in, a few thousand at most; the caller's transaction is for this
    alone. Returns how many were read: nought when the summaries are up with the log."""
    await take_turn(session, f"summaries {organisation}")
    size = await session.scalar(select(LogHead.size).where(LogHead.organisation_id == organisation))
    head = await session.get(SummaryHead, organisation)
    if head is None:
        head = SummaryHead(organisation_id=organisation, size=0)
        session.add(head)
    end = min(size or 0, head.size + _MOST_AT_ONCE)
    count = end - head.size
    if count <= 0:
        return 0
    rows = await session.execute(
        select(LogEntry.visit_id, LogEntry.entry)
        .where(LogEntry.organisation_id == organisation, LogEntry.visit_id.is_not(None))
        .where(LogEntry.seq >= head.size, LogEntry.seq < end)
        .order_by(LogEntry.seq)
    )
    heard: dict[str, list[Heard]] = {}
    for visit_id, text in rows:
        with suppress(msgspec.DecodeError):
            heard.setdefault(str(visit_id), []).append(parse_heard(text))
    await _fold(session, keyring, organisation, heard)
    head.size = end
    return count


async def _fold(
    session: AsyncSession,
    keyring: Keyring,
    organisation: OrganisationId,
    heard: dict[str, list[Heard]],
) -> None:
    facts = await load_facts(session, keyring, heard)
    known = {
        row.visit_id: row
        for row in await session.execute(select(_TABLE).where(_TABLE.c.visit_id.in_(heard)))
    }
    rows = []
    for visit_id, entries in heard.items():
        if visit_id not in facts or facts[visit_id].visit.organisation_id != organisation:
            continue
        told = _told_of(known.get(visit_id))
        for entry in entries:
            told.hear(entry)
        rows.append(make_row(facts[visit_id], told, known.get(visit_id)))
    await _store(session, rows, set(known))


def _told_of(row: Any) -> Told:
    if row is None:
        return Told()
    told = Told(**{name: getattr(row, name) for name in TOLD_COLUMNS})
    told.problems = set(unpack_problems(row.problems))
    return told


async def _store(session: AsyncSession, rows: list[dict[str, Any]], known: set[str]) -> None:
    new = [row for row in rows if row["visit_id"] not in known]
    if new:
        await session.execute(insert(_TABLE), new)
    changed = [row | {"known_id": row["visit_id"]} for row in rows if row["visit_id"] in known]
    if changed:
        change = update(_TABLE).where(_TABLE.c.visit_id == bindparam("known_id"))
        await session.execute(change, changed)
