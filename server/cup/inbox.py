"""The inbox: a CUP file becomes patients, appointments and visits.

Idempotent: a booking that has not changed since its last import changes nothing and leaves no
line in the session log. CUP is the master of the booking, not of the visit: a visit that has begun
is neither moved nor cancelled by a file. Wrong rows are kept sealed and named by line and field.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from itertools import islice
from pathlib import Path
from typing import BinaryIO, Final

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from server.cup.apply import Applied, BookingInbox, Effect
from server.cup.booking import Field, FieldError, FileRejected, ParsedRow, Reason, RowError
from server.cup.csvfile import parse_csv
from server.cup.fhir import parse_fhir
from server.db import EVERY_ORGANISATION, Database, OrganisationId
from server.keyring import Keyring, Place
from server.models import ImportIssue, Organisation, Source

SOURCE_CODE: Final = "cup"
"""One feed per organisation: the same booking may come by FHIR today and by CSV tomorrow."""
_ROWS_PER_TRANSACTION: Final = 25
"""Few enough that a running server waits for the session log a fraction of a second."""
_JSON_STARTS: Final = (b"{", b"[")


class ChangeKind(StrEnum):
    """What people with the page open must hear of."""

    MOVED = "moved"
    CANCELLED = "cancelled"


@dataclass(frozen=True, slots=True)
class Change:
    kind: ChangeKind
    organisation: OrganisationId
    visit_id: str


@dataclass(slots=True)
class ImportReport:
    """What a file did. ``to_assign`` holds the booking codes without a known clinician."""

    imported: int = 0
    updated: int = 0
    moved: int = 0
    cancelled: int = 0
    unchanged: int = 0
    to_assign: list[str] = field(default_factory=list)
    errors: list[RowError] = field(default_factory=list)
    changes: list[Change] = field(default_factory=list)
    """For a running server, to tell who has the page open."""

    def count(self, applied: Applied) -> None:
        name = applied.effect.value
        setattr(self, name, getattr(self, name) + 1)
        if applied.is_to_assign and applied.booking_code not in self.to_assign:
            self.to_assign.append(applied.booking_code)
        if applied.effect in {Effect.MOVED, Effect.CANCELLED}:
            kind = ChangeKind(applied.effect.value)
            self.changes.append(Change(kind, applied.organisation, applied.visit_id))


async def import_file(
    database: Database,
    keyring: Keyring,
    path: Path,
    *,
    organisation_code: str | None,
    now: datetime,
) -> ImportReport:
    """Apply a file, FHIR or CSV by its content. Good rows are in whatever the others are.

    ``organisation_code`` is for rows that do not name theirs; it may be left out where there is
    only one organisation.

    :raises FileRejected: the file as a whole cannot be read, or no such organisation.
    """
    try:
        file = path.open("rb")
    except OSError as error:
        raise FileRejected(f"Cannot read {path}: {error.strerror}") from error
    with file:
        importer = await _start(database, keyring, organisation_code, now)
        rows = _parse(file)
        while batch := list(islice(rows, _ROWS_PER_TRANSACTION)):
            await importer.apply(batch)
    return importer.report


def _parse(file: BinaryIO) -> Iterator[ParsedRow | RowError]:
    start = file.read(64).removeprefix(b"\xef\xbb\xbf").lstrip()
    file.seek(0)
    return parse_fhir(file) if start.startswith(_JSON_STARTS) else parse_csv(file)


async def _start(
    database: Database, keyring: Keyring, organisation_code: str | None, now: datetime
) -> _Importer:
    async with database.read(EVERY_ORGANISATION) as session:
        rows = await session.execute(select(Organisation.code, Organisation.id))
        organisations = dict(rows.all())
    if not organisations:
        raise FileRejected("There is no organisation yet: see 'accanto organisation add'")
    if organisation_code is not None and organisation_code not in organisations:
        known = ", ".join(sorted(organisations))
        raise FileRejected(f"There is no organisation {organisation_code} (there are: {known})")
    only = next(iter(organisations)) if len(organisations) == 1 else None
    return _Importer(database, keyring, organisations, organisation_code or only, now)


class _Importer:
    """One run over one file."""

    def __init__(
        self,
        database: Database,
        keyring: Keyring,
        organisations: dict[str, OrganisationId],
        default: str | None,
        now: datetime,
    ) -> None:
        self._database = database
        self._keyring = keyring
        self._organisations = organisations
        self._default = organisations[default] if default is not None else None
        self._now = now
        self.report = ImportReport()

    async def apply(self, batch: Sequence[ParsedRow | RowError]) -> None:
        """Apply some rows in their order, each run of one organisation in one transaction."""
        run: list[ParsedRow | RowError] = []
        owner: OrganisationId | None = None
        for row in batch:
            row, organisation = self._address(row)
            if run and organisation != owner:
                await self._apply_run(owner, run)
                run = []
            run.append(row)
            owner = organisation
        await self._apply_run(owner, run)

    def _address(
        self, row: ParsedRow | RowError
    ) -> tuple[ParsedRow | RowError, OrganisationId | None]:
        """Find whose row it is; a row that names an unknown organisation is wrong."""
        codes = row.organisation_codes
        for code in codes:
            if code in self._organisations:
                return row, self._organisations[code]
        if isinstance(row, ParsedRow) and (codes or self._default is None):
            reason = Reason.NOT_KNOWN if codes else Reason.ORGANISATION_NEEDED
            row = RowError(row.line, row.columns[Field.ORGANISATION], reason, row.raw)
        return row, self._default

    async def _apply_run(
        self, organisation: OrganisationId | None, rows: Sequence[ParsedRow | RowError]
    ) -> None:
        if organisation is None:
            self.report.errors += [row for row in rows if isinstance(row, RowError)]
            return
        async with self._database.begin(organisation) as session:
            source = await load_source(session, organisation)
            inbox = BookingInbox(session, self._keyring, organisation, source, self._now)
            for row in rows:
                outcome = await _apply_row(inbox, row)
                if isinstance(outcome, RowError):
                    self.report.errors.append(outcome)
                    await self._keep(session, source, outcome)
                else:
                    self.report.count(outcome)

    async def _keep(self, session: AsyncSession, source: Source, error: RowError) -> None:
        """Keep a wrong row, once however often it comes."""
        organisation = source.organisation_id
        fingerprint = f"{source.id}|{error.line}|{error.field}|{error.reason}|{error.raw.hex()}"
        issue_id = await self._keyring.blind_index(session, organisation, "issue", fingerprint)
        if await session.get(ImportIssue, issue_id) is not None:
            return
        place = Place(organisation, "import_issue", issue_id, "raw", 1)
        session.add(
            ImportIssue(
                id=issue_id,
                organisation_id=organisation,
                source_id=source.id,
                line=error.line,
                field=error.field[:64],
                reason=error.reason.value,
                sealed_raw=await self._keyring.seal(session, place, error.raw),
                created_at=self._now,
            )
        )


async def _apply_row(inbox: BookingInbox, row: ParsedRow | RowError) -> Applied | RowError:
    if isinstance(row, RowError):
        return row
    try:
        return await inbox.apply(row.booking)
    except FieldError as error:
        return RowError(row.line, row.columns[error.field], error.reason, row.raw)


async def load_source(session: AsyncSession, organisation: OrganisationId) -> Source:
    """The feed, locked: two imports of one organisation take turns."""
    statement = select(Source).where(Source.code == SOURCE_CODE).with_for_update()
    source = await session.scalar(statement)
    if source is None:
        source = Source(organisation_id=organisation, code=SOURCE_CODE)
        session.add(source)
        await session.flush()
    return source
