"""Another root key: made, taken into use, and the former one removed when nothing needs it.

With the root key in a file a new one is made here. In a transit service it gets its new version
there. Moving from the file to a transit service is the same: set it, then rewrap.
"""

from __future__ import annotations

import os
import secrets
from datetime import datetime
from pathlib import Path

from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncSession

from recordings.vault import KEY_BYTES
from server.audit import Act, ActorRole, Entry, append
from server.db import EVERY_ORGANISATION, Database
from server.errors import CommandFailed
from server.keyring import (
    FORMER_ROOT_FILE,
    ROOT_KEY_FILE,
    Keyring,
    check_value,
    organisation_key_aad,
    renew_installation,
    save_installation,
    sync_folder,
    write_new,
)
from server.models import Organisation, OrganisationKey


async def rotate_root(database: Database, keyring: Keyring, data_dir: Path, now: datetime) -> str:
    """Make a new root key file; the former one stays beside it until :func:`rewrap_under_root`.
    Returns the check value of the new one.

    :raises CommandFailed: the root key is not a file, or the last rotation is not finished.
    """
    former, path = data_dir / FORMER_ROOT_FILE, data_dir / ROOT_KEY_FILE
    if keyring.roots.current.is_remote:
        raise CommandFailed(
            "The root key is in the transit service: make its new version there "
            "('bao write -f transit/keys/NAME/rotate'), then run 'accanto keys rewrap'"
        )
    if former.exists():
        raise CommandFailed("A rotation of the root key is not finished: run 'accanto keys rewrap'")
    key = secrets.token_bytes(KEY_BYTES)
    async with database.begin(EVERY_ORGANISATION) as session:
        await note_everywhere(session, Act.KEY_ROTATED, now, root=check_value(key))
        save_installation(data_dir, keyring.installation, keyring.roots.current)
        unfinished = path.with_name(f"{path.name}.new")
        unfinished.unlink(missing_ok=True)
        write_new(unfinished, key)
        os.link(path, former)
        sync_folder(path.parent)
        os.replace(unfinished, path)
        sync_folder(path.parent)
    return check_value(key)


async def rewrap_under_root(
    database: Database, keyring: Keyring, data_dir: Path, now: datetime
) -> int:
    """Bring the keys of every organisation under the newest root key, then remove the former
    root key files. Returns how many keys were rewrapped."""
    async with database.begin(EVERY_ORGANISATION) as session:
        rows = await session.scalars(select(OrganisationKey).with_for_update())
        count = sum([await _renew(keyring, row) for row in rows])
        if count:
            root = keyring.roots.current.id
            await note_everywhere(session, Act.KEYS_REWRAPPED, now, keys=count, root=root)
    renew_installation(data_dir, keyring)
    async with database.read(EVERY_ORGANISATION) as session:
        others = OrganisationKey.root_id != keyring.roots.current.id
        if not await session.scalar(select(func.count()).where(others)):
            _remove_former(keyring, data_dir)
    return count


async def note_everywhere(
    session: AsyncSession, act: Act, now: datetime, **facts: str | int
) -> None:
    """A line in the session log of each organisation: the root key is everybody's."""
    for organisation in list(await session.scalars(select(Organisation.id))):
        await append(session, organisation, Entry(now, act, ActorRole.SYSTEM, facts=dict(facts)))


async def _renew(keyring: Keyring, row: OrganisationKey) -> bool:
    root = keyring.roots.current
    aad = organisation_key_aad(row.organisation_id, row.purpose, row.version)
    if row.root_id == root.id:
        wrapped = await keyring.roots.renew(row.wrapped, aad)
        if wrapped == row.wrapped:
            return False
        row.wrapped = wrapped
        return True
    secret = await keyring.open_organisation_key(row)
    row.root_id, row.wrapped = await keyring.roots.wrap(secret, aad)
    row.check_value = check_value(secret)
    return True


def _remove_former(keyring: Keyring, data_dir: Path) -> None:
    """Their installation secret is under the newest root key by now, too."""
    names = [FORMER_ROOT_FILE]
    if keyring.roots.current.is_remote:
        names.append(ROOT_KEY_FILE)
    for name in names:
        (data_dir / name).unlink(missing_ok=True)
    if (data_dir / ROOT_KEY_FILE.parent).exists():
        sync_folder(data_dir / ROOT_KEY_FILE.parent)
