"""Bringing the data of an older version along: the schema by its migrations, and what they cannot.

A migration has no keys. What must be opened and sealed anew for its new place is taken before and
put back after, in the one transaction of the migrations. The key check values that older versions
did not write are filled there, too.
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
from server.keys.rotation import check_keys
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
    """Bring the database to the newest revision with everything in it; all or nothing.

    :raises CommandFailed: its keys are of another root key, or altered.
    """
    async with database.engine.begin() as connection:
        rejected = await _take_rejected_rows(connection)
        await connection.run_sync(upgrade)
        async with _session_over(connection) as session:
            await check_keys(keyring, session)
            await _quarantine(keyring, session, rejected)


def _session_over(connection: AsyncConnection) -> AsyncSession:
    return AsyncSession(connection, info={"organisation": EVERY_ORGANISATION})


async def _take_rejected_rows(connection: AsyncConnection) -> list[_RejectedRow]:
    """The rows as they are. Their keys stay when their table goes."""
    is_there = await connection.run_sync(lambda c: sa.inspect(c).has_table(_TABLE.name))
    if not is_there:
        return []
    async with _session_over(connection) as session:
        return [_RejectedRow(*row) for row in await session.execute(sa.select(_TABLE))]


async def _quarantine(
    keyring: Keyring, session: AsyncSession, rejected: list[_RejectedRow]
) -> None:
    """They wait for a person, as such rows do now. 0.1.0 did not keep the header of the file, so
    they can be read and put aside, and come in again with the file."""
    for row in rejected:
        try:
            raw = await keyring.unseal(session, row.place, row.sealed_raw)
        except SealBroken as error:
            text = f"The rejected row {row.id} was altered: nothing is done"
            raise CommandFailed(text) from error
        said = f"|{hashlib.sha256(raw).hexdigest()}"
        message = InboxMessage(
            id=row.id,
            organisation_id=row.organisation_id,
            source_id=row.source_id,
            connector=Connector.FHIR if raw.startswith(b"{") else Connector.CSV,
            content_digest=await keyring.blind_index(session, row.organisation_id, "message", said),
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
