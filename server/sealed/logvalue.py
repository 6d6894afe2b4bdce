"""The personal values of the session log: a salted digest for the entry, the value beside it.

The digest is what an entry holds in place of the value (``server/tlog/FORMAT.md`` §2). Salt and
sealed value are a row of their own: once it is deleted, or the visit's key destroyed, nothing leads
from the digest back to the value, and no hash of the log has changed.
"""

from __future__ import annotations

import hashlib
import secrets
from base64 import b64encode
from collections.abc import Iterable
from contextlib import suppress
from typing import Final

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from server.db import OrganisationId, take_turn
from server.keyring import Keyring, Place, Shredded, visit_owner
from server.models import DataKey, LogValue, Visit

DIGEST_PREFIX: Final = "sha256:"
_SALT_BYTES: Final = 16
_SHARED_OWNER: Final = "log"
"""Of the key for values that belong to no visit."""
_ASKED_AT_ONCE: Final = 500


async def keep_value(
    session: AsyncSession,
    keyring: Keyring,
    organisation: OrganisationId,
    value: str,
    visit: str | None = None,
) -> str:
    """Keep a personal value in the caller's transaction; returns what stands in the entry,
    ``sha256:`` and the digest in base64. Empty stays empty.

    It is sealed with the key of the visit, and forgotten with it. The value of an act on a visit
    whose key is destroyed already is kept as one of the organisation.
    """
    if not value:
        return ""
    salt = secrets.token_bytes(_SALT_BYTES)
    digest = b64encode(hashlib.sha256(salt + value.encode()).digest()).decode()
    row = LogValue(organisation_id=organisation, digest=digest, visit_id=visit, salt=salt)
    await _hold_owner(session, organisation, visit)
    try:
        row.sealed_value = await keyring.seal(session, _place(row), value.encode())
    except Shredded:
        row.visit_id = None
        await _hold_owner(session, organisation, None)
        row.sealed_value = await keyring.seal(session, _place(row), value.encode())
    session.add(row)
    return DIGEST_PREFIX + digest


async def load_values(
    session: AsyncSession, keyring: Keyring, digests: Iterable[str]
) -> dict[str, str]:
    """The values by what stands in the entries; those that were erased are not among them.

    :raises SealBroken: a row was altered.
    """
    asked = sorted({digest.removeprefix(DIGEST_PREFIX) for digest in digests})
    found: dict[str, str] = {}
    for start in range(0, len(asked), _ASKED_AT_ONCE):
        some = asked[start : start + _ASKED_AT_ONCE]
        rows = (await session.scalars(select(LogValue).where(LogValue.digest.in_(some)))).all()
        await warm_values(keyring, session, rows)
        for row in rows:
            with suppress(Shredded):
                value = await open_log_value(keyring, session, row)
                found[DIGEST_PREFIX + row.digest] = value
    return found


async def warm_values(keyring: Keyring, session: AsyncSession, rows: Iterable[LogValue]) -> None:
    """Load the keys of many rows of one organisation in one query."""
    owners: dict[OrganisationId, set[str]] = {}
    for row in rows:
        owners.setdefault(row.organisation_id, set()).add(_place(row).owner)
    for organisation, wanted in owners.items():
        await keyring.warm(session, organisation, wanted)


async def open_log_value(keyring: Keyring, session: AsyncSession, row: LogValue) -> str:
    """The value of one row.

    :raises Shredded: the key of its visit was destroyed.
    """
    return (await keyring.unseal(session, _place(row), row.sealed_value)).decode()


def is_digest(fact: object) -> bool:
    """Whether a fact of an entry stands for a personal value."""
    return isinstance(fact, str) and fact.startswith(DIGEST_PREFIX)


async def _hold_owner(
    session: AsyncSession, organisation: OrganisationId, visit: str | None
) -> None:
    """Nobody else makes the same first key at the same time."""
    owner = visit_owner(visit) if visit else _SHARED_OWNER
    of_owner = select(DataKey.id).where(
        DataKey.organisation_id == organisation, DataKey.owner == owner
    )
    if await session.scalar(of_owner) is not None:
        return
    if visit:
        await session.execute(select(Visit.id).where(Visit.id == visit).with_for_update())
    else:
        await take_turn(session, f"log value key {organisation}")


def _place(row: LogValue) -> Place:
    return Place(
        row.organisation_id,
        "log_value",
        row.digest,
        "value",
        1,
        visit=row.visit_id or "",
        key_owner="" if row.visit_id else _SHARED_OWNER,
    )
