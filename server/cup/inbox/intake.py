"""The inbox: messages of a source are kept and applied, each once, in one transaction.

Only after its commit is anything said to the sender. When one of the messages of a call breaks it,
each is taken again in a savepoint of its own, so that what cannot be applied is still kept.
"""

from __future__ import annotations

import logging
import traceback
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from itertools import groupby, islice
from pathlib import Path
from typing import BinaryIO, Final

from sqlalchemy import bindparam, select
from sqlalchemy.exc import DBAPIError, InterfaceError, OperationalError
from sqlalchemy.ext.asyncio import AsyncSession

from server.cup.booking import Fault, Field, FileRejected, Message, Reason
from server.cup.csvfile.mapping import parse_csv
from server.cup.fhir.document import FILE_BYTES, parse_fhir
from server.cup.inbox.receipt import Receipt
from server.cup.inbox.taking import Taking
from server.cup.inbox.work import Work
from server.db import EVERY_ORGANISATION, Database, OrganisationId
from server.keyring import Keyring
from server.models import Organisation, Source
from server.sources import SourceSettings, settings_of

__all__ = ["ImportReport", "Inbox", "Receipt", "RowError", "import_file", "open_work"]

logger = logging.getLogger(__name__)

_SOURCE_CODE: Final = "cup"
"""The feed of files that name no other: the same booking may come by FHIR today and by CSV
tomorrow."""
_ROWS_PER_TRANSACTION: Final = 100
"""Few enough that a running server waits for the session log a fraction of a second."""
_JSON_STARTS: Final = (b"{", b"[")
_TRIES: Final = 3
_LOCK: Final = (
    select(Organisation)
    .join(Source, Source.organisation_id == Organisation.id)
    .where(Source.id == bindparam("source"))
    .with_for_update(of=Source)
)
_OWN_TROUBLE: Final = frozenset({"08", "40", "53", "55", "57", "58"})
"""PostgreSQL: connection, rollback, resources, locks, intervention, system."""
_LOST_RACES: Final = frozenset({"40001", "40P01"})
"""PostgreSQL: could not serialise, deadlock. Nothing was written; the next try goes through."""


class Inbox:
    """Takes in messages, of any source."""

    def __init__(self, database: Database, keyring: Keyring) -> None:
        self._database = database
        self._keyring = keyring

    async def receive(
        self, source: Source, messages: Sequence[Message], now: datetime
    ) -> list[Receipt]:
        """Keep and apply messages in their order; returns once they are committed.

        A bad message is no exception: its receipt says so.
        """
        is_careful = False
        for _ in range(_TRIES - 1):
            try:
                return await self._receive(source, messages, now, is_careful=is_careful)
            except Exception as error:
                if _is_lost_race(error):
                    continue
                if is_careful or _is_ours(error):
                    raise
                name = type(error).__name__
                logger.warning("source %s: messages are taken one by one: %s", source.id, name)
                is_careful = True
        return await self._receive(source, messages, now, is_careful=is_careful)

    async def _receive(
        self, source: Source, messages: Sequence[Message], now: datetime, *, is_careful: bool
    ) -> list[Receipt]:
        """All at once, and nothing is written when one of them breaks it; or each by itself."""
        async with self._database.begin(source.organisation_id) as session:
            with session.no_autoflush:
                if is_careful:
                    return [
                        await self._take_alone(session, source, message, now)
                        for message in messages
                    ]
                work = await open_work(session, self._keyring, source, now)
                await work.load(messages)
                taking = Taking(work)
                receipts = [await taking.take(message) for message in messages]
                await work.close()
                await work.finish()
        return receipts

    async def _take_alone(
        self, session: AsyncSession, source: Source, message: Message, now: datetime
    ) -> Receipt:
        """Apply one message in its own savepoint; twice, because another source may have made
        the same patient in between. What still cannot be applied is kept."""
        for is_broken in (False, False, True):
            work = await open_work(session, self._keyring, source, now)
            try:
                async with session.begin_nested():
                    await work.load([message])
                    taking = Taking(work)
                    take = taking.keep_broken if is_broken else taking.take
                    receipt = await take(message)
                    await work.close()
            except Exception as error:
                if is_broken or _is_ours(error):
                    raise
                self._keyring.forget_made(session)
                _log_without_values(source, error)
                continue
            await work.finish()
            return receipt
        raise AssertionError("unreachable")


async def open_work(session: AsyncSession, keyring: Keyring, source: Source, now: datetime) -> Work:
    """Begin with a source; its messages take turns, also of two servers: its row is locked
    (SQLite has locked everything)."""
    organisation = await session.scalar(_LOCK, {"source": source.id})
    if organisation is None:
        raise LookupError("no such source")
    return Work(session, keyring, source, organisation, now)


def _is_ours(error: Exception) -> bool:
    """Whether it is the database's own trouble and nobody's message: the sender comes again."""
    if not isinstance(error, DBAPIError):
        return False
    return (
        isinstance(error, OperationalError | InterfaceError)
        or error.connection_invalidated
        or _state_of(error)[:2] in _OWN_TROUBLE
    )


def _is_lost_race(error: Exception) -> bool:
    return isinstance(error, DBAPIError) and _state_of(error) in _LOST_RACES


def _log_without_values(source: Source, error: Exception) -> None:
    """Where a message broke us. Its exception may hold a row, and stays out of the log."""
    frames = "".join(traceback.format_tb(error.__traceback__))
    logger.error(
        "source %s: a message is not applied: %s\n%s", source.id, type(error).__name__, frames
    )


def _state_of(error: DBAPIError) -> str:
    return str(getattr(error.orig, "sqlstate", ""))


# ---- files -----------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class RowError:
    """A row that was not applied. ``field`` is what the file calls the column."""

    line: int
    field: str
    reason: Reason


@dataclass(slots=True)
class ImportReport:
    """What a file did. ``to_assign`` holds the booking codes without a known clinician."""

    imported: int = 0
    updated: int = 0
    moved: int = 0
    cancelled: int = 0
    ended: int = 0
    unchanged: int = 0
    to_assign: dict[str, None] = field(default_factory=dict)
    errors: list[RowError] = field(default_factory=list)

    def count(self, line: int, receipt: Receipt) -> None:
        if receipt.fault is not None:
            field_name = receipt.fault.path
            self.errors.append(RowError(line, field_name, receipt.fault.reason))
            return
        name = receipt.effect.value
        setattr(self, name, getattr(self, name) + 1)
        if receipt.is_to_assign:
            self.to_assign[receipt.booking_code] = None


async def import_file(
    database: Database,
    keyring: Keyring,
    path: Path,
    *,
    organisation_code: str | None,
    now: datetime,
    source: Source | None = None,
) -> ImportReport:
    """Apply a file, FHIR or CSV by its content. Good rows are in whatever the others are.

    Without a ``source`` rows choose the organisation, and ``organisation_code`` is for those that
    do not name theirs; it may be left out where there is only one.

    :raises FileRejected: the file as a whole cannot be read, or no such organisation.
    """
    try:
        file = path.open("rb")
    except OSError as error:
        raise FileRejected(f"Cannot read {path}: {error.strerror}") from error
    with file:
        importer = _Importer(database, keyring, now)
        if source is not None:
            importer.only = source
        else:
            await importer.choose(organisation_code)
        settings = settings_of(source) if source is not None else SourceSettings()
        messages = _parse(file, settings, now)
        while batch := list(islice(messages, _ROWS_PER_TRANSACTION)):
            await importer.apply(batch)
    return importer.report


def _parse(file: BinaryIO, settings: SourceSettings, now: datetime) -> Iterator[Message]:
    start = file.read(64).removeprefix(b"\xef\xbb\xbf").lstrip()
    file.seek(0)
    if not start.startswith(_JSON_STARTS):
        return parse_csv(file, settings, now)
    messages = parse_fhir(file.read(FILE_BYTES + 1), settings, now)
    for message in messages:
        if isinstance(message.body, Fault) and message.body.field is Field.MESSAGE:
            raise FileRejected(f"The file cannot be read as FHIR: {message.body.reason.words}")
    return iter(messages)


class _Importer:
    """One run over one file."""

    def __init__(self, database: Database, keyring: Keyring, now: datetime) -> None:
        self._database = database
        self._inbox = Inbox(database, keyring)
        self._now = now
        self._organisations: dict[str, OrganisationId] = {}
        self._default: OrganisationId | None = None
        self._sources: dict[OrganisationId, Source] = {}
        self.only: Source | None = None
        """The source of all rows."""
        self.report = ImportReport()

    async def choose(self, organisation_code: str | None) -> None:
        """Know the organisations that rows may name, and the one of rows that name none."""
        async with self._database.read(EVERY_ORGANISATION) as session:
            rows = await session.execute(select(Organisation.code, Organisation.id))
            self._organisations = {row[0]: row[1] for row in rows}
        if not self._organisations:
            raise FileRejected("There is no organisation yet: see 'accanto organisation add'")
        if organisation_code is not None and organisation_code not in self._organisations:
            known = ", ".join(sorted(self._organisations))
            raise FileRejected(f"There is no organisation {organisation_code} (there are: {known})")
        if organisation_code is not None:
            self._default = self._organisations[organisation_code]
        elif len(self._organisations) == 1:
            (self._default,) = self._organisations.values()

    async def apply(self, batch: Sequence[Message]) -> None:
        """Apply some rows in their order, each run of one organisation in one transaction."""
        addressed = [(self._address(message), message) for message in batch]
        for owner, run in groupby(addressed, key=lambda pair: pair[0]):
            messages = [message for _, message in run]
            if owner is None:
                self.report.errors += [self._homeless(message) for message in messages]
                continue
            source = await self._load_source(owner)
            receipts = await self._inbox.receive(source, messages, self._now)
            for message, receipt in zip(messages, receipts, strict=True):
                self.report.count(message.line, receipt)

    def _address(self, message: Message) -> OrganisationId | None:
        """Whose row it is; nobody's when it names an organisation that is not here."""
        if self.only is not None:
            return self.only.organisation_id
        for code in message.organisation_codes:
            if code in self._organisations:
                return self._organisations[code]
        if message.organisation_codes and not isinstance(message.body, Fault):
            return None
        return self._default

    def _homeless(self, message: Message) -> RowError:
        """A row of nobody is reported and not kept: there is no key to seal it with."""
        if isinstance(message.body, Fault):
            return RowError(message.line, message.body.path, message.body.reason)
        reason = Reason.NOT_KNOWN if message.organisation_codes else Reason.ORGANISATION_NEEDED
        return RowError(message.line, message.paths.get(Field.ORGANISATION, ""), reason)

    async def _load_source(self, organisation: OrganisationId) -> Source:
        if self.only is not None:
            return self.only
        if organisation not in self._sources:
            async with self._database.begin(organisation) as session:
                self._sources[organisation] = await load_usual_source(session, organisation)
        return self._sources[organisation]


async def load_usual_source(session: AsyncSession, organisation: OrganisationId) -> Source:
    """Where files go that name no source: the one called ``cup``, else the organisation's only
    one, else a new one."""
    sources = {source.code: source for source in await session.scalars(select(Source))}
    if _SOURCE_CODE in sources:
        return sources[_SOURCE_CODE]
    if len(sources) == 1:
        return next(iter(sources.values()))
    source = Source(organisation_id=organisation, code=_SOURCE_CODE)
    session.add(source)
    return source
