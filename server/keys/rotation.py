"""New versions of an organisation's KEK, and bringing every data key under the newest.

Both run beside a served installation. ``rewrap`` unwraps and wraps data keys, batch by batch, each
in a transaction of its own: killed at any moment it goes on where it was when it is run again. An
old version is deleted when nothing is left under it; who is about to wrap with it is waited for.
No sealed field is opened.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final

from sqlalchemy import Row, bindparam, func, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncSession

from recordings.vault import SealBroken
from server.audit import Act, ActorRole, Entry, append
from server.db import Base, Database, OrganisationId
from server.errors import CommandFailed, Conflict
from server.keyring import KEK, Keyring, Wrapper, check_value, data_key_aad
from server.models import DataKey, OrganisationKey

BATCH: Final = 500
_TABLE = Base.metadata.tables[DataKey.__tablename__]
_EXCHANGE = (
    update(_TABLE)
    .where(
        _TABLE.c.id == bindparam("of"),
        _TABLE.c.kek_version == bindparam("old_version"),
        _TABLE.c.shredded_at.is_(None),
    )
    .values(kek_version=bindparam("new_version"), wrapped=bindparam("new_wrapped"))
)
"""One that was rewrapped or shredded meanwhile stays as it is."""


@dataclass(slots=True)
class Rewrapped:
    """What was done for one organisation. ``broken`` are ids of data keys that do not open: their
    KEK version is kept."""

    keys: int = 0
    removed: list[int] = field(default_factory=list)
    broken: list[str] = field(default_factory=list)


async def rotate(
    database: Database, keyring: Keyring, organisation: OrganisationId, now: datetime
) -> int:
    """Make a new KEK version, with which everything new is wrapped from now on.

    :raises Conflict: somebody else rotates.
    """
    try:
        async with database.begin(organisation) as session:
            version = max(await load_versions(session, organisation)) + 1
            await keyring.add_secret(session, organisation, KEK, version)
            await _note(session, organisation, Act.KEY_ROTATED, now, version=version)
    except IntegrityError as error:
        raise Conflict("Another rotation of this organisation runs") from error
    return version


async def rewrap(
    database: Database,
    keyring: Keyring,
    organisation: OrganisationId,
    now: datetime,
    batch: int = BATCH,
) -> Rewrapped:
    """Bring every data key under the newest KEK version, then delete the older ones."""
    done = Rewrapped()
    while True:
        await _pass_once(database, keyring, organisation, batch, done)
        async with database.begin(organisation) as session:
            if await _drop_versions(session, organisation, done):
                if done.keys or done.removed:
                    facts = {"keys": done.keys, "removed": len(done.removed)}
                    await _note(session, organisation, Act.KEYS_REWRAPPED, now, **facts)
                return done


async def load_versions(session: AsyncSession, organisation: OrganisationId) -> list[int]:
    """The KEK versions that are there, the oldest first."""
    versions = select(OrganisationKey.version).where(
        OrganisationKey.organisation_id == organisation, OrganisationKey.purpose == KEK
    )
    return sorted(await session.scalars(versions))


async def _pass_once(
    database: Database, keyring: Keyring, organisation: OrganisationId, batch: int, done: Rewrapped
) -> None:
    """Every data key that is now under an older version, in the order of their ids."""
    last = ""
    done.broken.clear()
    while True:
        async with database.begin(organisation) as session:
            newest = (await load_versions(session, organisation))[-1]
            rows = (
                await session.execute(
                    select(DataKey.id, DataKey.owner, DataKey.kek_version, DataKey.wrapped)
                    .where(
                        DataKey.organisation_id == organisation,
                        DataKey.id > last,
                        DataKey.kek_version < newest,
                        DataKey.shredded_at.is_(None),
                    )
                    .order_by(DataKey.id)
                    .limit(batch)
                )
            ).all()
            if not rows:
                return
            wrappers = {
                version: Wrapper(await keyring.load_secret(session, organisation, KEK, version))
                for version in {newest, *(row.kek_version for row in rows)}
            }
            changes, broken = exchange(organisation, rows, wrappers, newest)
            if changes:
                await session.execute(_EXCHANGE, changes)
        last = rows[-1].id
        done.keys += len(changes)
        done.broken += broken


def exchange(
    organisation: OrganisationId,
    rows: Sequence[Row[str, str, int, bytes]],
    wrappers: dict[int, Wrapper],
    newest: int,
) -> tuple[list[dict[str, Any]], list[str]]:
    """The new wraps of some data keys, and the ids of those that do not open."""
    changes: list[dict[str, Any]] = []
    broken: list[str] = []
    for id_, owner, version, wrapped in rows:
        try:
            aad = data_key_aad(organisation, owner, id_, version)
            key = wrappers[version].unwrap(wrapped, aad)
        except SealBroken:
            broken.append(id_)
            continue
        aad = data_key_aad(organisation, owner, id_, newest)
        changes.append({
            "of": id_,
            "old_version": version,
            "new_version": newest,
            "new_wrapped": wrappers[newest].wrap(key, aad),
        })  # fmt: skip
    return changes, broken


async def _drop_versions(
    session: AsyncSession, organisation: OrganisationId, done: Rewrapped
) -> bool:
    """Delete the older versions with nothing under them; false when there is more to rewrap.

    The lock waits for those who wrap with the version; what they stored is seen after it.
    """
    for version in (await load_versions(session, organisation))[:-1]:
        of_it = (organisation, KEK, version)
        row = await session.get(OrganisationKey, of_it, with_for_update=True)
        if row is None:
            continue
        left = select(func.count()).where(
            DataKey.organisation_id == organisation,
            DataKey.kek_version == version,
            DataKey.shredded_at.is_(None),
            DataKey.id.not_in(done.broken),
        )
        if await session.scalar(left):
            return False
        if not done.broken:
            await session.delete(row)
            done.removed.append(version)
    await session.flush()
    return True


async def _note(
    session: AsyncSession, organisation: OrganisationId, act: Act, now: datetime, **facts: int
) -> None:
    await append(session, organisation, Entry(now, act, ActorRole.SYSTEM, facts=dict(facts)))


async def check_keys(keyring: Keyring, session: AsyncSession) -> None:
    """Look whether every key of every organisation opens; rows of before 0004 get their check
    values. What a transit service wraps is only asked for where there is none yet.

    :raises RootKeyWrong: by another root key than ours.
    :raises CommandFailed: a row was altered.
    """
    for row in list(await session.scalars(select(OrganisationKey))):
        root = keyring.roots.find(row.root_id)
        if row.root_id and root.is_remote:
            continue
        try:
            found = check_value(await keyring.open_organisation_key(row))
        except SealBroken:
            found = ""
        if found != (row.check_value or found) or not found:
            raise CommandFailed(
                f"The {row.purpose} of the organisation {row.organisation_id} was altered in the "
                "database: nothing is done, bring a backup back"
            )
        row.root_id, row.check_value = root.id, found
    await session.flush()
