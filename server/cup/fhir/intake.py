"""What a source sends by FHIR, on its way to the inbox: each appointment with all it refers to.

Resources that appointments refer to are kept sealed, because a CUP may send them one by one and in
any order. An appointment that came before its patient waits in quarantine and is tried again when
the patient comes; one that was applied without its prescription is completed by it.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Collection, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

import msgspec
from sqlalchemy import delete, select
from sqlalchemy.ext.asyncio import AsyncSession

from server.cup.booking import Fault, Message, Reason
from server.cup.fhir.document import (
    is_booking,
    load_document,
    parse_entries,
    read_entries,
    unreadable,
)
from server.cup.fhir.tree import LINKS, Closure, Entry, Missing, Resource, index_entries, text
from server.cup.inbox.intake import Inbox, Receipt
from server.cup.inbox.replay import replay
from server.db import Database
from server.errors import Conflict
from server.keyring import Keyring
from server.models import (
    FhirAwaited,
    FhirResource,
    InboxMessage,
    MessageState,
    Source,
    new_id,
)
from server.sealed import open_message, open_resource, seal_message, seal_resource
from server.sources import settings_of

APPOINTMENT: Final = "Appointment"
KEPT: Final = frozenset(LINKS) - {APPOINTMENT}
_CHUNK: Final = 500
"""How many ids go into one query."""


@dataclass(frozen=True, slots=True)
class Kept:
    """A resource that is kept for the appointments that refer to it."""

    id: str
    version: int
    is_new: bool
    updated_at: datetime


@dataclass(slots=True)
class Taken:
    """What became of the entries, by their number from 1."""

    receipts: dict[int, Receipt] = field(default_factory=dict)
    kept: dict[int, Kept] = field(default_factory=dict)

    @property
    def faults(self) -> list[Receipt]:
        return [receipt for receipt in self.receipts.values() if not receipt.is_taken]


class Intake:
    """The FHIR of one source."""

    def __init__(self, database: Database, keyring: Keyring, source: Source) -> None:
        self._database = database
        self._keyring = keyring
        self._source = source
        self._settings = settings_of(source)
        self._inbox = Inbox(database, keyring)

    async def take(
        self, entries: Sequence[Entry], timestamp: str, now: datetime, *, is_atomic: bool = False
    ) -> Taken:
        """Keep and apply the entries. ``is_atomic``: when one cannot be read, only that one goes
        to quarantine and nothing else is taken."""
        known = await self._complete(entries)
        messages = parse_entries(known, timestamp, self._settings, now)
        faulty = [message for message in messages if isinstance(message.body, Fault)]
        taken = Taken()
        if is_atomic and faulty:
            await self._receive(faulty, now, taken)
            return taken
        waiting = await self._keep(entries, now, taken)
        await self._receive(messages, now, taken)
        waiting |= await self._note(known, messages, taken, now)
        for appointment in sorted(waiting):
            await self._try_again(appointment, now)
        return taken

    async def quarantine(self, raw: bytes, reason: Reason, now: datetime) -> Receipt:
        """Keep a body that is of no use, as it came."""
        message = unreadable(raw, reason, now)
        (receipt,) = await self._inbox.receive(self._source, [message], now)
        return receipt

    def name_resource(self, query: str) -> str:
        """The logical id of what has none: the same for the same search, and not to be guessed."""
        key = self._keyring.derive("fhir-ids")
        return hmac.digest(key, f"{self._source.id}|{query}".encode(), hashlib.sha256).hex()[:32]

    async def _receive(self, messages: Sequence[Message], now: datetime, taken: Taken) -> None:
        receipts = await self._inbox.receive(self._source, messages, now)
        taken.receipts.update(
            (message.line, receipt) for message, receipt in zip(messages, receipts, strict=True)
        )

    # ---- resources that appointments refer to ------------------------------------------

    async def _complete(self, entries: Sequence[Entry]) -> list[Entry]:
        """The entries, and after them what they refer to and what was kept of it before."""
        known, tried = list(entries), set[Missing]()
        async with self._database.read(self._source.organisation_id) as session:
            while missing := set(_missing_of(known)) - tried:
                tried |= missing
                known += await self._load(session, missing)
        return known

    async def _load(self, session: AsyncSession, missing: Collection[Missing]) -> list[Entry]:
        indexes = [await self._index(session, each.kind, each.id) for each in sorted(missing)]
        found = []
        for row in (await self._find_rows(session, indexes)).values():
            content = await open_resource(self._keyring, session, row)
            if content:
                found.append(Entry("", msgspec.json.decode(content)))
        return found

    async def _keep(self, entries: Sequence[Entry], now: datetime, taken: Taken) -> set[str]:
        """Keep what appointments refer to; returns the appointments that waited for it."""
        kept = {
            number: entry.resource
            for number, entry in enumerate(entries, start=1)
            if text(entry.resource, "resourceType") in KEPT
        }
        if not kept:
            return set()
        async with self._database.begin(self._source.organisation_id) as session:
            await self._take_turn(session)
            indexes = {
                number: await self._index(
                    session, text(resource, "resourceType"), text(resource, "id")
                )
                for number, resource in kept.items()
            }
            rows = await self._find_rows(session, list(indexes.values()))
            for number, resource in kept.items():
                row = rows.get(indexes[number])
                is_new = row is None
                row = row or await self._add_row(
                    session, indexes[number], text(resource, "resourceType"), now
                )
                rows[indexes[number]] = row
                await self._write(session, row, msgspec.json.encode(resource), now)
                taken.kept[number] = Kept(text(resource, "id"), row.version, is_new, row.updated_at)
            return await self._find_waiting(session, list(indexes.values()))

    async def _write(
        self, session: AsyncSession, row: FhirResource, content: bytes, now: datetime
    ) -> None:
        before = await open_resource(self._keyring, session, row)
        if before == content:
            return
        row.version += 1 if before else 0
        row.updated_at = now
        await seal_resource(self._keyring, session, row, content)

    async def _find_waiting(self, session: AsyncSession, indexes: list[str]) -> set[str]:
        waiting: set[str] = set()
        for chunk in _chunks(indexes):
            waiting.update(
                await session.scalars(
                    select(FhirAwaited.appointment_id).where(FhirAwaited.resource_index.in_(chunk))
                )
            )
        return waiting

    # ---- appointments --------------------------------------------------------------------

    async def _note(
        self, known: list[Entry], messages: Sequence[Message], taken: Taken, now: datetime
    ) -> set[str]:
        """Remember under which id each appointment came, and what it still waits for; returns
        those that wait."""
        index, waiting = index_entries(known), set[str]()
        async with self._database.begin(self._source.organisation_id) as session:
            await self._take_turn(session)
            for message in messages:
                entry = known[message.line - 1]
                row = await self._find_appointment(session, entry.resource, message, now)
                await self._replace_message(session, row, taken.receipts[message.line], now)
                missing = Closure(entry, index).missing
                await self._await(session, row, missing)
                if missing:
                    waiting.add(row.id)
        return waiting

    async def _replace_message(
        self, session: AsyncSession, row: FhirResource, receipt: Receipt, now: datetime
    ) -> None:
        """A new try of what waits in quarantine takes its place there."""
        if row.message_id and row.message_id != receipt.message_id:
            before = await session.get_one(InboxMessage, row.message_id)
            if before.state is MessageState.QUARANTINED:
                before.state, before.decided_at = MessageState.DISCARDED, now
        row.message_id = receipt.message_id

    async def _find_appointment(
        self, session: AsyncSession, resource: Resource, message: Message, now: datetime
    ) -> FhirResource:
        """The row of an appointment, by its booking code or else by its id; made when new."""
        given = text(resource, "id")
        logical_id = given or new_id()
        index = await self._index(session, APPOINTMENT, logical_id)
        row = (await self._find_rows(session, [index])).get(index)
        if row is None and message.booking_code:
            row = await session.scalar(
                select(FhirResource)
                .where(FhirResource.source_id == self._source.id)
                .where(FhirResource.booking_code == message.booking_code)
            )
        row = row or await self._add_row(session, index, APPOINTMENT, now)
        if given or not row.logical_id:
            row.resource_index, row.logical_id = index, logical_id
        row.booking_code = message.booking_code or row.booking_code
        row.updated_at = now
        return row

    async def _await(
        self, session: AsyncSession, row: FhirResource, missing: Sequence[Missing]
    ) -> None:
        await session.execute(delete(FhirAwaited).where(FhirAwaited.appointment_id == row.id))
        session.add_all(
            [
                FhirAwaited(
                    organisation_id=row.organisation_id,
                    resource_index=await self._index(session, each.kind, each.id),
                    appointment_id=row.id,
                )
                for each in missing
            ]
        )

    async def _try_again(self, appointment_id: str, now: datetime) -> None:
        """Apply an appointment once more, when something that it waited for is here."""
        organisation = self._source.organisation_id
        async with self._database.read(organisation) as session:
            row = await session.get_one(FhirResource, appointment_id)
            message = await session.get_one(InboxMessage, row.message_id)
            raw = await open_message(self._keyring, session, message)
        document = load_document(raw)
        entries = read_entries(document)
        known = await self._complete(entries)
        if len(known) == len(entries) or message.state in {
            MessageState.SUPERSEDED,
            MessageState.DISCARDED,
        }:
            return
        (completed,) = parse_entries(known, text(document, "timestamp"), self._settings, now)
        message_id = message.id
        if message.state is MessageState.QUARANTINED:
            await self._replay(message.id, completed.raw, now)
        else:
            (receipt,) = await self._inbox.receive(self._source, [completed], now)
            message_id = receipt.message_id
        async with self._database.begin(organisation) as session:
            await self._take_turn(session)
            row = await session.get_one(FhirResource, appointment_id)
            if row.message_id == message.id:  # else a newer one has come meanwhile
                row.message_id = message_id
                await self._await(session, row, list(_missing_of(known)))

    async def _replay(self, message_id: str, raw: bytes, now: datetime) -> None:
        """Try a message in quarantine again, with what it waited for."""
        organisation = self._source.organisation_id
        async with self._database.begin(organisation) as session:
            message = await session.get_one(InboxMessage, message_id)
            await seal_message(self._keyring, session, message, raw)
        with suppress(Conflict):  # a person was faster, or a newer message
            await replay(self._database, self._keyring, organisation, message_id, now)

    # ---- rows ------------------------------------------------------------------------------

    async def _index(self, session: AsyncSession, kind: str, logical_id: str) -> str:
        return await resource_index(self._keyring, session, self._source, kind, logical_id)

    async def _find_rows(
        self, session: AsyncSession, indexes: list[str]
    ) -> dict[str, FhirResource]:
        rows: dict[str, FhirResource] = {}
        for chunk in _chunks(indexes):
            found = await session.scalars(
                select(FhirResource).where(FhirResource.resource_index.in_(chunk))
            )
            rows.update((row.resource_index, row) for row in found)
        return rows

    async def _add_row(
        self, session: AsyncSession, index: str, kind: str, now: datetime
    ) -> FhirResource:
        row = FhirResource(
            organisation_id=self._source.organisation_id,
            source_id=self._source.id,
            resource_index=index,
            kind=kind,
            updated_at=now,
        )
        session.add(row)
        await session.flush()
        return row

    async def _take_turn(self, session: AsyncSession) -> None:
        """The requests of a source write one after the other, as its messages do."""
        await session.execute(
            select(Source.id).where(Source.id == self._source.id).with_for_update()
        )


async def resource_index(
    keyring: Keyring, session: AsyncSession, source: Source, kind: str, logical_id: str
) -> str:
    """The keyed hash under which a source's resource is found."""
    name = f"{source.id}/{kind}/{logical_id}"
    return await keyring.blind_index(session, source.organisation_id, "fhir", name)


def _missing_of(known: list[Entry]) -> Iterator[Missing]:
    index = index_entries(known)
    for entry in known:
        if is_booking(entry.resource):
            yield from Closure(entry, index).missing


def _chunks(indexes: list[str]) -> Iterator[list[str]]:
    for start in range(0, len(indexes), _CHUNK):
        yield indexes[start : start + _CHUNK]
