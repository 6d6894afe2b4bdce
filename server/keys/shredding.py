"""Destroying the data key of a visit: what it sealed is gone, here and in every backup of the data.

The row stays as a tombstone, with nothing wrapped in it, so that the key is neither made anew nor
brought back. A backup of the *keys* from before still holds the key: it must be destroyed too.
"""

from __future__ import annotations

from datetime import datetime
from typing import Final

import msgspec
from sqlalchemy import select, update
from sqlalchemy.ext.asyncio import AsyncSession

from server.audit import Act, ActorRole, Entry, append
from server.db import OrganisationId
from server.errors import Conflict
from server.keyring import Keyring, visit_owner
from server.models import DataKey, LegalHold, LogEntry, Visit, new_id

_NO_VERSION: Final = 0
"""Of a tombstone that never was a key."""


class Held(Conflict):
    """A legal hold runs."""


async def shred_visit(
    keyring: Keyring, session: AsyncSession, visit: Visit, now: datetime, actor: str = ""
) -> bool:
    """Destroy the key of a visit and note it in the session log; false when it is gone already.
    ``actor`` is a user, empty for the platform.

    :raises Held: a legal hold of the visit is not lifted.
    """
    await refuse_held(session, visit.id)
    key_id = await _bury(keyring, session, visit.organisation_id, visit_owner(visit.id), now)
    if key_id is None:
        return False
    role = ActorRole.ADMINISTRATOR if actor else ActorRole.SYSTEM
    entry = Entry(now, Act.KEY_SHREDDED, role, actor=actor, visit=visit.id, facts={"key": key_id})
    await append(session, visit.organisation_id, entry)
    return True


async def refuse_held(session: AsyncSession, visit_id: str) -> None:
    """Nobody places a hold on the visit before this transaction ends.

    :raises Held: a legal hold of it is not lifted.
    """
    await session.execute(select(Visit.id).where(Visit.id == visit_id).with_for_update())
    hold = select(LegalHold.id).where(LegalHold.visit_id == visit_id, LegalHold.lifted_at.is_(None))
    if await session.scalar(hold.limit(1)) is not None:
        raise Held(f"A legal hold of the visit {visit_id} runs: nothing of it is shredded")


async def shred_owner(
    keyring: Keyring, session: AsyncSession, organisation: OrganisationId, owner: str, now: datetime
) -> bool:
    """Destroy the key of another owner than a visit, such as a month of CUP's messages; the
    caller notes it. False when it is gone already."""
    return await _bury(keyring, session, organisation, owner, now) is not None


async def shred_again(keyring: Keyring, session: AsyncSession) -> int:
    """Destroy every key that the session log says was destroyed, after an older backup of the
    keys was brought back; returns how many."""
    count = 0
    entries = await session.execute(
        select(LogEntry.organisation_id, LogEntry.visit_id, LogEntry.entry).where(
            LogEntry.entry.contains(f'"{Act.KEY_SHREDDED}"')
        )
    )
    for organisation, visit_id, text in entries.all():
        entry = msgspec.json.decode(text)
        at = datetime.fromisoformat(entry["at"])
        owner = entry["facts"].get("owner") or visit_owner(str(visit_id))
        count += await _bury(keyring, session, organisation, owner, at) is not None
    return count


async def _bury(
    keyring: Keyring, session: AsyncSession, organisation: OrganisationId, owner: str, now: datetime
) -> str | None:
    """Leave a tombstone, also where there was no key yet; its id, or ``None`` if one is there."""
    of_owner = (DataKey.organisation_id == organisation, DataKey.owner == owner)
    buried = await session.scalar(
        update(DataKey)
        .where(*of_owner, DataKey.shredded_at.is_(None))
        .values(wrapped=b"", shredded_at=now)
        .returning(DataKey.id)
        .execution_options(synchronize_session="fetch")
    )
    keyring.forget(organisation, owner)
    if buried is not None:
        return str(buried)
    if await session.scalar(select(DataKey.id).where(*of_owner)) is not None:
        return None
    stone = DataKey(
        id=new_id(),
        organisation_id=organisation,
        owner=owner,
        kek_version=_NO_VERSION,
        wrapped=b"",
        created_at=now,
        shredded_at=now,
    )
    session.add(stone)
    await session.flush()
    return stone.id
