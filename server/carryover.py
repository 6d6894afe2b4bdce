"""Bringing the data of an older version along: the schema by its migrations, and what they cannot.

A migration has no keys. What must be opened and sealed anew for its new place is taken before and
put back after, in the one transaction of the migrations.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from datetime import datetime

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncSession

from recordings.vault import SealBroken
from server.db import EVERY_ORGANISATION, Database, OrganisationId, UtcDateTime
from server.errors import CommandFailed
from server.keyring import Keyring, Place
from server.migrations import upgrade
from server.models import Connector, DataKey, InboxMessage, MessageState
from server.sealed import seal_message

_TABLE = sa.table(
    "import_issue",
    sa.column("id", sa.String),
    sa.column("organisation_id", sa.String),
    sa.column("source_id", sa.String),
    sa.column("line", sa.Integer),
    sa.column("field", sa.String),
    sa.column("reason", sa.String),
    sa.column("sealed_raw", sa.LargeBinary),
    sa.column("created_at", UtcDateTime),
)
_WORDS = {"already_cancelled": "unreadable"}
"""What has no word of its own any more."""


@dataclass(frozen=True, slots=True)
class _RejectedRow:
    """A row of a CUP file that 0.1.0 could not apply."""

    id: str
    organisation_id: OrganisationId
    source_id: str
    line: int
    field: str
    reason: str
    sealed_raw: bytes
    created_at: datetime

    @property
    def place(self) -> Place:
        return Place(self.organisation_id, _TABLE.name, self.id, "raw", 1)


async def bring_up_to_date(database: Database, keyring: Keyring) -> None:
    """Bring the database to the newest revision with everything in it; all or nothing."""
    async with database.engine.begin() as connection:
        rejected = await _take_rejected_rows(connection, keyring)
        await connection.run_sync(upgrade)
        await _quarantine(connection, keyring, rejected)


def _session_over(connection: AsyncConnection) -> AsyncSession:
    return AsyncSession(connection, info={"organisation": EVERY_ORGANISATION})


async def _take_rejected_rows(
    connection: AsyncConnection, keyring: Keyring
) -> list[tuple[_RejectedRow, bytes]]:
    """The rows, each with its bytes opened.

    :raises CommandFailed: by other keys than ours.
    """
    is_there = await connection.run_sync(lambda c: sa.inspect(c).has_table(_TABLE.name))
    if not is_there:
        return []
    async with _session_over(connection) as session:
        rows = [_RejectedRow(*row) for row in await session.execute(sa.select(_TABLE))]
        try:
            return [(row, await keyring.unseal(session, row.place, row.sealed_raw)) for row in rows]
        except SealBroken as error:
            raise CommandFailed("The root key does not open this database: nothing is done") from (
                error
            )


async def _quarantine(
    connection: AsyncConnection, keyring: Keyring, rejected: list[tuple[_RejectedRow, bytes]]
) -> None:
    """They wait for a person, as such rows do now. 0.1.0 did not keep the header of the file, so
    they can be read and put aside, and come in again with the file."""
    async with _session_over(connection) as session:
        for row, raw in rejected:
            said = f"|{hashlib.sha256(raw).hexdigest()}"
            message = InboxMessage(
                id=row.id,
                organisation_id=row.organisation_id,
                source_id=row.source_id,
                connector=Connector.FHIR if raw.startswith(b"{") else Connector.CSV,
                content_digest=await keyring.blind_index(
                    session, row.organisation_id, "message", said
                ),
                state=MessageState.QUARANTINED,
                reason=_WORDS.get(row.reason, row.reason),
                field=row.field,
                line=row.line,
                received_at=row.created_at,
                decided_at=row.created_at,
            )
            await seal_message(keyring, session, message, raw)
            session.add(message)
            await session.flush()
            await session.execute(sa.delete(DataKey).where(DataKey.owner == row.place.owner))
