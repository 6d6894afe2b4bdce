"""The outbox to CUP, the sending half: at least once, in the order of each source.

The line of a source is sent by one server at a time, which holds it for :data:`LEASE` and says so
again before each event. While the head of a line gets no answer the line waits, and so events of
one booking never overtake each other; other sources go on. The time of the next attempt is
written before an attempt begins: whatever dies in between, the event goes out again with the same
control id. Nothing is held in the database while CUP thinks.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Final

from aiohttp import web
from sqlalchemy import ColumnElement, and_, func, or_, select, update
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import joinedload

from server.cup.csvfile.out import CsvFolder
from server.cup.fhir.out import send as send_fhir
from server.cup.hl7v2.mllp import send as send_hl7
from server.cup.outbox.outgoing import Sender, Verdict
from server.cup.outbox.parcels import (
    SEND_SECONDS,
    Parcel,
    Result,
    Senders,
    Trouble,
    describe_event,
    send_parcel,
)
from server.db import EVERY_ORGANISATION, Database, OrganisationId, count_changed
from server.keyring import Keyring
from server.models import (
    Connector,
    EventState,
    OutboxEvent,
    Source,
    Visit,
    new_id,
)
from server.phases import load_may_leave
from server.sealed import open_outgoing_token
from server.services import CLOCK, DATABASE, KEYRING, SETTINGS
from server.sources import Outgoing, settings_of

logger = logging.getLogger(__name__)

LEASE: Final = timedelta(seconds=2 * SEND_SECONDS)
"""Longer than a sending takes: who is still sending still holds the line."""
GIVEN_UP_AFTER: Final = timedelta(hours=72)
_FIRST_WAIT: Final = timedelta(seconds=10)
_LONGEST_WAIT: Final = timedelta(minutes=15)
_LOOK_SECONDS: Final = 0.5
_STATES: Final = {
    Verdict.DELIVERED: EventState.DELIVERED,
    Verdict.NOT_WANTED: EventState.NO_ROUTE,
    Verdict.REFUSED: EventState.DEAD,
    Verdict.RETRY: EventState.QUEUED,
}


@dataclass(frozen=True, slots=True)
class Line:
    """The events of one source, in their order."""

    organisation: OrganisationId
    source_id: str


class Deliverer:
    """One server's share of the work."""

    def __init__(
        self,
        database: Database,
        keyring: Keyring,
        senders: Senders,
        clock: Callable[[], datetime],
    ) -> None:
        self._database = database
        self._keyring = keyring
        self._senders = senders
        self._clock = clock
        self._name = new_id()
        self._busy: set[Line] = set()

    async def run(self) -> None:
        """Deliver until cancelled, each line by its own task."""
        async with asyncio.TaskGroup() as group:
            while True:
                for line in await self._look():
                    if line not in self._busy:
                        self._busy.add(line)
                        group.create_task(self._deliver_calmly(line))
                await asyncio.sleep(_LOOK_SECONDS)

    async def load_due_lines(self) -> list[Line]:
        """The lines whose head wants to go now and that nobody else holds."""
        now = self._clock()
        heads = (
            select(func.min(OutboxEvent.number).label("number"))
            .where(OutboxEvent.state == EventState.QUEUED)
            .group_by(OutboxEvent.source_id)
            .subquery()
        )
        statement = (
            select(OutboxEvent.organisation_id, OutboxEvent.source_id)
            .join(heads, heads.c.number == OutboxEvent.number)
            .join(Source, Source.id == OutboxEvent.source_id)
            .where(OutboxEvent.next_attempt_at <= now)
            .where(self._is_free(now))
        )
        async with self._database.read(EVERY_ORGANISATION) as session:
            return [Line(*row) for row in await session.execute(statement)]

    async def deliver(self, line: Line) -> None:
        """Send from the head on, until the line is empty or its head must wait."""
        try:
            while (parcel := await self._take_head(line)) is not None:
                await self._settle(line, parcel, await send_parcel(parcel, self._senders))
        finally:
            await self._release(line)

    async def _look(self) -> list[Line]:
        try:
            return await self.load_due_lines()
        except Exception:
            logger.exception("outbox: the database does not answer")
            return []

    async def _deliver_calmly(self, line: Line) -> None:
        try:
            await self.deliver(line)
        except Exception:
            logger.exception("outbox: the line of source %s has stopped for now", line.source_id)
        finally:
            self._busy.discard(line)

    async def _take_head(self, line: Line) -> Parcel | None:
        """Hold the line and write down the attempt; None when there is nothing to send now."""
        now = self._clock()
        async with self._database.begin(line.organisation) as session:
            hold = update(Source).where(Source.id == line.source_id).where(self._is_free(now))
            values = {"delivery_holder": self._name, "delivery_until": now + LEASE}
            if not await count_changed(session, hold.values(values)):
                return None
            source = await session.get_one(Source, line.source_id)
            outgoing = settings_of(source).outgoing
            while (event := await _load_head(session, source)) is not None:
                if event.next_attempt_at is not None and event.next_attempt_at > now:
                    return None
                visit = await _load_visit(session, event)
                if not await load_may_leave(session, visit.appointment):
                    event.state = EventState.WITHHELD
                elif outgoing is None:
                    event.state = EventState.NO_ROUTE
                else:
                    return await self._prepare(session, source, outgoing, event, visit, now)
                event.next_attempt_at = None
                await session.flush()
        return None

    async def _prepare(
        self,
        session: AsyncSession,
        source: Source,
        outgoing: Outgoing,
        event: OutboxEvent,
        visit: Visit,
        now: datetime,
    ) -> Parcel:
        event.attempts += 1
        event.tried_since = event.tried_since or now
        event.next_attempt_at = now + wait_after(event.attempts)
        return Parcel(
            event=await describe_event(session, self._keyring, event, visit),
            outgoing=outgoing,
            token=await open_outgoing_token(self._keyring, session, source),
            attempts=event.attempts,
            is_last_attempt=now - event.tried_since >= GIVEN_UP_AFTER,
        )

    async def _settle(self, line: Line, parcel: Parcel, result: Result) -> None:
        """Write what became of this attempt, unless another has been made since."""
        reason, state = result.reason, _STATES[result.verdict]
        if result.verdict is Verdict.RETRY and parcel.is_last_attempt:
            reason, state = Trouble.TRIED_TOO_LONG, EventState.DEAD
        now = self._clock()
        values = {
            "state": state,
            "reason": reason,
            "next_attempt_at": None,
            "delivered_at": now if state is EventState.DELIVERED else None,
        }
        if state is EventState.QUEUED:
            values["next_attempt_at"] = now + wait_after(parcel.attempts)
        if state in {EventState.QUEUED, EventState.DEAD}:
            logger.warning("event %s did not go through: %s", parcel.event.control_id, reason)
        change = (
            update(OutboxEvent)
            .where(OutboxEvent.id == parcel.event.control_id)
            .where(OutboxEvent.state == EventState.QUEUED)
            .where(OutboxEvent.attempts == parcel.attempts)
            .values(values)
        )
        async with self._database.begin(line.organisation) as session:
            await count_changed(session, change)

    async def _release(self, line: Line) -> None:
        change = (
            update(Source)
            .where(Source.id == line.source_id)
            .where(Source.delivery_holder == self._name)
            .values(delivery_holder="", delivery_until=None)
        )
        async with self._database.begin(line.organisation) as session:
            await count_changed(session, change)

    def _is_free(self, now: datetime) -> ColumnElement[bool]:
        """Whether this server may send the line of a source."""
        return and_(
            ~Source.is_paused,
            or_(
                Source.delivery_holder == self._name,
                Source.delivery_until.is_(None),
                Source.delivery_until <= now,
            ),
        )


def wait_after(attempts: int) -> timedelta:
    """How long an event rests after so many attempts: 10 s, doubled each time, to 15 min."""
    doublings = min(attempts - 1, 10)
    return min(_FIRST_WAIT * (1 << doublings), _LONGEST_WAIT)


async def run_once(database: Database, keyring: Keyring, now: datetime, senders: Senders) -> None:
    """Send everything that may go at this moment."""
    deliverer = Deliverer(database, keyring, senders, lambda: now)
    async with asyncio.TaskGroup() as group:
        for line in await deliverer.load_due_lines():
            group.create_task(deliverer.deliver(line))


async def lifetime(app: web.Application) -> AsyncIterator[None]:
    """Deliver while the application runs."""
    senders = make_senders(app[SETTINGS].data_dir)
    deliverer = Deliverer(app[DATABASE], app[KEYRING], senders, app[CLOCK])
    runner = asyncio.create_task(deliverer.run())
    yield
    runner.cancel()
    with suppress(asyncio.CancelledError):
        await runner


def make_senders(data_folder: Path) -> dict[Connector, Sender]:
    """How each language is sent."""
    return {
        Connector.HL7V2: send_hl7,
        Connector.FHIR: send_fhir,
        Connector.CSV: CsvFolder(data_folder).send,
    }


async def _load_head(session: AsyncSession, source: Source) -> OutboxEvent | None:
    return await session.scalar(
        select(OutboxEvent)
        .where(OutboxEvent.source_id == source.id)
        .where(OutboxEvent.state == EventState.QUEUED)
        .order_by(OutboxEvent.number)
        .limit(1)
    )


async def _load_visit(session: AsyncSession, event: OutboxEvent) -> Visit:
    options = [joinedload(Visit.appointment)]
    return await session.get_one(Visit, event.visit_id, options=options)
