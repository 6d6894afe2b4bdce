"""The job of each night: finds what has come to its term, ends it one by one, sweeps the store of
files. Practice visits have come to theirs when their day is over (:mod:`server.retention.night`).

It may be killed anywhere: each end is one transaction, and files without a row go at the next turn.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Final

from aiohttp import web
from sqlalchemy import ColumnElement, delete, exists, func, or_, select
from sqlalchemy.ext.asyncio import AsyncSession

from server.db import EVERY_ORGANISATION, Database, OrganisationId, count_changed
from server.keyring import Keyring
from server.keys.shredding import Held
from server.models import (
    ERASED_BYTES,
    Appointment,
    DataKey,
    Device,
    InboxMessage,
    Kept,
    LegalHold,
    MessageState,
    Organisation,
    Recording,
    UserSession,
    Visit,
)
from server.retention.erasure import Month, erase_month, erase_recording, erase_visit
from server.retention.files import SealedFiles
from server.retention.logs import Emptied, LogTerms, erase_entries
from server.retention.night import end_practices, seconds_to_night, terms_of
from server.terms import load_terms

logger = logging.getLogger(__name__)

_FIRST_SECONDS: Final = 300.0
_CHUNK: Final = 100
_UNFINISHED_SECONDS: Final = 86_400.0
"""How old what has no row is before it is swept: an upload may be on its way."""
_MONTH_OWNER: Final = "inbox:"


@dataclass(slots=True)
class Done:
    """What one turn ended; ``held`` visits are over their term and under a legal hold."""

    visits: int = 0
    recordings: int = 0
    months: int = 0
    logins: int = 0
    files: int = 0
    held: int = 0
    practices: int = 0
    log: Emptied = field(default_factory=Emptied)


class Shredder:
    """Ends records of one installation."""

    def __init__(
        self,
        database: Database,
        keyring: Keyring,
        files: SealedFiles,
        clock: Callable[[], datetime],
    ) -> None:
        self._database = database
        self._keyring = keyring
        self._files = files
        self._clock = clock

    async def lifetime(self, app: web.Application) -> AsyncIterator[None]:
        """Soon after this process begins to lead, then every night."""
        task = asyncio.create_task(self._run(), name="retention")
        yield
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task

    async def _run(self) -> None:
        await asyncio.sleep(_FIRST_SECONDS)
        while True:
            try:
                await self.run_once(self._clock())
            except Exception:
                logger.exception("records were not ended: it is tried again")
            await asyncio.sleep(seconds_to_night(self._clock()))

    async def run_once(self, now: datetime) -> Done:
        """End everything that is due in every organisation."""
        done = Done()
        async with self._database.read(EVERY_ORGANISATION) as session:
            found = await session.execute(select(Organisation.id, Organisation.is_training))
            terms = {
                organisation: terms_of(
                    await load_terms(session, organisation), now, is_training=is_training
                )
                for organisation, is_training in found.all()
            }
        done.practices += await end_practices(self._database, now)
        for organisation, before in terms.items():
            await self._end_recordings(organisation, before[Kept.RECORDING], now, done)
            await self._end_visits(organisation, before[Kept.RECORD], now, done)
            await self._end_months(organisation, before[Kept.MESSAGES], now, done)
            await self._end_access(organisation, before[Kept.ACCESS], done)
            terms_of_log = LogTerms(before[Kept.LOG], before[Kept.LOG_ACCESS])
            done.log.add(await erase_entries(self._database, organisation, terms_of_log, now))
        done.files += await self._sweep_files()
        if done != Done():
            logger.info(
                "records ended visits=%d months=%d logins=%d files=%d held=%d entries=%d "
                "practices=%d recordings=%d",
                done.visits, done.months, done.logins, done.files, done.held, done.log.entries,
                done.practices, done.recordings,
            )  # fmt: skip
        return done

    async def _end_visits(
        self, organisation: OrganisationId, before: datetime, now: datetime, done: Done
    ) -> None:
        after = ""
        while visits := await self._find_visits(organisation, before, after):
            after = visits[-1]
            for visit_id in visits:
                try:
                    async with self._database.begin(organisation) as session:
                        left = await erase_visit(self._keyring, session, visit_id, now)
                except Held:
                    done.held += 1
                    continue
                done.files += await self._files.delete(left)
                done.visits += 1

    async def _find_visits(
        self, organisation: OrganisationId, before: datetime, after: str
    ) -> Sequence[str]:
        """Over their term, or without their key already, and with something sealed left."""
        is_shredded = exists().where(
            DataKey.owner == "visit:" + Visit.id, DataKey.shredded_at.is_not(None)
        )
        statement = (
            select(Visit.id)
            .join(Appointment, Visit.appointment_id == Appointment.id)
            .where(
                func.length(Appointment.sealed_details) > ERASED_BYTES,
                or_(Appointment.end < before, is_shredded),
                Visit.id > after,
            )
            .order_by(Visit.id)
            .limit(_CHUNK)
        )
        async with self._database.read(organisation) as session:
            return (await session.scalars(statement)).all()

    async def _end_months(
        self, organisation: OrganisationId, before: datetime, now: datetime, done: Done
    ) -> None:
        async with self._database.read(organisation) as session:
            rows = await session.scalars(
                select(DataKey.owner).where(
                    DataKey.owner.startswith(_MONTH_OWNER), DataKey.shredded_at.is_(None)
                )
            )
            months = [_month_of(organisation, owner) for owner in rows]
            due = [month for month in months if month.until <= before]
            free = [month for month in due if not await _is_in_use(session, month, now)]
        for month in free:
            async with self._database.begin(organisation) as session:
                await erase_month(self._keyring, session, month, now)
            done.months += 1

    async def _end_access(self, organisation: OrganisationId, before: datetime, done: Done) -> None:
        async with self._database.begin(organisation) as session:
            for statement in (
                delete(UserSession).where(UserSession.seen_at < before),
                delete(Device).where(Device.claimed_at < before, ~_is_held(Device.visit_id)),
            ):
                done.logins += await count_changed(session, statement)

    async def _end_recordings(
        self, organisation: OrganisationId, before: datetime, now: datetime, done: Done
    ) -> None:
        due = select(Recording.id).where(Recording.asked_at < before, ~_is_held(Recording.visit_id))
        async with self._database.read(organisation) as session:
            found = (await session.scalars(due.order_by(Recording.id))).all()
        for recording_id in found:
            try:
                async with self._database.begin(organisation) as session:
                    left = await erase_recording(self._keyring, session, recording_id, now)
            except Held:
                continue  # since it was found
            done.files += await self._files.delete(left)
            done.recordings += 1

    async def _sweep_files(self) -> int:
        async with self._database.read(EVERY_ORGANISATION) as session:
            return await self._files.sweep(session, _UNFINISHED_SECONDS)


def _month_of(organisation: OrganisationId, owner: str) -> Month:
    """``inbox:{source}:2026-11``, as :mod:`server.sealed.cup` names it."""
    source_id, year_and_month = owner.removeprefix(_MONTH_OWNER).rsplit(":", 1)
    since = datetime.strptime(year_and_month, "%Y-%m").replace(tzinfo=UTC)
    until = (since + timedelta(days=32)).replace(day=1)
    return Month(organisation, source_id, owner, since, until)


async def _is_in_use(session: AsyncSession, month: Month, now: datetime) -> bool:
    """A message of it waits for a person, or belongs to a visit that is held or still to come: the
    next message of that booking is read together with it."""
    to_come = exists().where(
        Visit.id == InboxMessage.visit_id,
        Visit.appointment_id == Appointment.id,
        Appointment.end >= now - timedelta(days=1),
    )
    waits = InboxMessage.state == MessageState.QUARANTINED
    used = select(InboxMessage.id).where(
        InboxMessage.source_id == month.source_id,
        InboxMessage.received_at >= month.since,
        InboxMessage.received_at < month.until,
        or_(waits, to_come, _is_held(InboxMessage.visit_id)),
    )
    return await session.scalar(used.limit(1)) is not None


def _is_held(visit_id: object) -> ColumnElement[bool]:
    return exists().where(LegalHold.visit_id == visit_id, LegalHold.lifted_at.is_(None))
