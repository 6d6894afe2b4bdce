"""What CUP changes reaches open pages: rows of ``visit_change`` become events of the rooms.

The process that leads reads them, so a change by another process or by the command line is seen
too, half a second later. A page may be on its way into its room just then and hear nothing, so
each change is told again until the tickets from before it are void.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final, assert_never

from aiohttp import web
from sqlalchemy import Row, delete, func, select

from server.db import EVERY_ORGANISATION, Database
from server.models import (
    Appointment,
    Outcome,
    Visit,
    VisitChange,
    VisitChangeKind,
    VisitState,
)
from server.services import CLOCK, DATABASE, HUB
from server.visit.acts import OVER
from signaling.hub import Hub
from signaling.messages import Closed, Moved
from signaling.tickets import TICKET_SECONDS

logger = logging.getLogger(__name__)

_EVERY_SECONDS: Final = 0.5
_KEPT: Final = timedelta(hours=1)
"""The newest row stays even longer: SQLite would give its number to the next change, and whoever
has seen that number would not look at it."""
_SETTLED: Final = timedelta(minutes=1)
"""A change gets its number before its commit: a lower one may still appear for this long."""
_CLEAN_EVERY: Final = timedelta(minutes=5)
_FIRST_AGAIN: Final = timedelta(seconds=1)
_LAST_AGAIN: Final = timedelta(seconds=TICKET_SECONDS + 5)
"""A little longer than a ticket lives: clocks differ, and a room takes its time to open."""
_AT_ONCE: Final = 1000
"""Fewer than a statement may name."""

_Now = Row[str, VisitState, datetime]
"""Of a visit: its id, its state, and the start of its appointment."""


@dataclass(slots=True)
class _Telling:
    """A change that rooms are still told of."""

    visit_id: str
    kind: VisitChangeKind
    first_at: datetime
    due_at: datetime


def next_age(age: timedelta) -> timedelta | None:
    """How old a change told at this age is when it is told next: twice as old, for most pages
    come soon; None when nobody can come any more who has not heard of it."""
    return None if age >= _LAST_AGAIN else min(max(2 * age, _FIRST_AGAIN), _LAST_AGAIN)


class Changes:
    """Reads the changes of visits and tells the rooms of this server."""

    def __init__(self, database: Database, hub: Hub) -> None:
        self._database = database
        self._hub = hub
        self._floor = 0
        """Every change up to here has been seen, or was before our time."""
        self._seen: set[int] = set()
        self._tellings: dict[int, _Telling] = {}
        """By the number of the change."""
        self._cleaned_at: datetime | None = None

    async def start(self, now: datetime) -> None:
        """Leave out what happened before: rooms read it when they open. Of the last minute all is
        told, perhaps again: who led before may have died over it."""
        old = select(VisitChange.number).where(VisitChange.changed_at < now - _SETTLED)
        async with self._database.read(EVERY_ORGANISATION) as session:
            self._seen = set(await session.scalars(old))

    async def run_once(self, now: datetime) -> int:
        """Tell the rooms what is new or due again; returns how much it was."""
        await self._read_on(now)
        due = [number for number, telling in self._tellings.items() if telling.due_at <= now]
        if due:
            await self._tell(due[:_AT_ONCE], now)
        await self._clean(now)
        return len(due[:_AT_ONCE])

    async def _read_on(self, now: datetime) -> None:
        async with self._database.read(EVERY_ORGANISATION) as session:
            statement = select(VisitChange).where(VisitChange.number > self._floor)
            rows = list(await session.scalars(statement.order_by(VisitChange.number)))
        for row in rows:
            if row.number not in self._seen:
                self._tellings[row.number] = _Telling(row.visit_id, row.kind, now, now)
                self._seen.add(row.number)
        settled = [row.number for row in rows if row.changed_at < now - _SETTLED]
        self._floor = max(settled, default=self._floor)
        self._seen = {number for number in self._seen if number > self._floor}

    async def _tell(self, numbers: list[int], now: datetime) -> None:
        visits = await self._load_visits({self._tellings[number].visit_id for number in numbers})
        for number in numbers:
            telling = self._tellings[number]
            age = now - telling.first_at
            again = next_age(age)
            visit = visits.get(telling.visit_id)
            if visit is None or (age and not _is_still_so(telling.kind, visit.state)):
                again = None
            else:
                await self._hub.publish(telling.visit_id, _event_of(telling.kind, visit.start))
            if again is None:
                del self._tellings[number]
            else:
                telling.due_at = telling.first_at + again

    async def _load_visits(self, visit_ids: set[str]) -> dict[str, _Now]:
        statement = (
            select(Visit.id, Visit.state, Appointment.start)
            .join(Visit.appointment)
            .where(Visit.id.in_(visit_ids))
        )
        async with self._database.read(EVERY_ORGANISATION) as session:
            return {visit.id: visit for visit in await session.execute(statement)}

    async def _clean(self, now: datetime) -> None:
        if self._cleaned_at is not None and now - self._cleaned_at < _CLEAN_EVERY:
            return
        self._cleaned_at = now
        newest = select(func.max(VisitChange.number)).scalar_subquery()
        old = (VisitChange.changed_at < now - _KEPT) & (VisitChange.number < newest)
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


def _is_still_so(kind: VisitChangeKind, state: VisitState) -> bool:
    """False for the end of a visit that is open again: its room may be a new one."""
    return kind is VisitChangeKind.MOVED or state in OVER


def _event_of(kind: VisitChangeKind, start: datetime) -> Moved | Closed:
    match kind:
        case VisitChangeKind.MOVED:
            return Moved(start=start.isoformat())
        case VisitChangeKind.CANCELLED:
            return Closed(outcome=kind.value)
        case VisitChangeKind.ENDED:
            return Closed(outcome=Outcome.NO_SHOW_PATIENT)
        case _:
            assert_never(kind)
