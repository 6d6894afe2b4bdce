"""Making what a visit needs before the first booking: keys, schema, organisations, users.

Called by the command line and the demo; there is no page for it yet.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import joinedload

from server.carryover import bring_up_to_date
from server.db import EVERY_ORGANISATION, Database
from server.errors import CommandFailed
from server.keyring import Keyring, load_keyring
from server.keys.rotation import check_keys
from server.lineage import Breach, Torn, find_torn
from server.migrations import is_current, is_empty
from server.models import Appointment, LogHead, Organisation, User, UserRole, Visit
from server.settings import Settings


async def prepare(settings: Settings) -> None:
    """Make the data folder, the root key and the schema, as far as they are missing.

    A root key is made for an empty database only: with another one nothing sealed would open.
    """
    settings.data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    if not settings.database_url:
        settings.sqlite_file.touch(mode=0o600)
    database = Database(settings.database)
    try:
        keyring = load_keyring(settings.data_dir, create=await is_empty(database))
        await bring_up_to_date(database, keyring)
    finally:
        await database.close()


async def check_root_key(settings: Settings) -> None:
    """Look before a server starts whether its root key is the one of its database.

    :raises CommandFailed: missing or another one; says what to do.
    """
    async with open_database(settings) as database, database.read(EVERY_ORGANISATION) as session:
        await check_keys(load_keyring(settings.data_dir), session)


async def check_logs(settings: Settings) -> list[Torn]:
    """Look before a server starts whether its session logs hold what was signed of them.

    :raises CommandFailed: one is behind; says what to do.
    """
    async with open_database(settings) as database:
        found = await find_torn(database, settings.signer_folder)
    behind = [torn for torn in found if torn.breach is Breach.BEHIND]
    if behind:
        raise CommandFailed("\n".join(torn.sentence for torn in behind))
    return found


@asynccontextmanager
async def open_database(settings: Settings) -> AsyncIterator[Database]:
    """The database of an installation, for one command.

    :raises CommandFailed: it is not there, or its schema is not the one of this version.
    """
    is_there = settings.database_url or settings.sqlite_file.exists()
    database = Database(settings.database)
    try:
        if not is_there or not await is_current(database):
            raise CommandFailed("The database is not ready: run 'accanto migrate' first")
        yield database
    finally:
        await database.close()


async def add_organisation(
    session: AsyncSession, keyring: Keyring, organisation: Organisation
) -> None:
    """Store an organisation with its keys and its empty session log.

    :raises CommandFailed: the code is taken, or our root key is not the one of the others.
    """
    await check_keys(keyring, session)
    known = select(Organisation.id).where(Organisation.code == organisation.code)
    if await session.scalar(known) is not None:
        raise CommandFailed(f"There is already an organisation with the code {organisation.code}")
    session.add(organisation)
    await session.flush()
    await keyring.add_organisation(session, organisation.id)
    session.add(LogHead(organisation_id=organisation.id, size=0, frontier=b""))
    await session.flush()


async def add_user(session: AsyncSession, user: User) -> None:
    """Store a member of staff; usernames are kept in lower case.

    :raises CommandFailed: the username is taken, or a clinician has no code.
    """
    user.username = user.username.lower()
    if await session.scalar(select(User.id).where(User.username == user.username)) is not None:
        raise CommandFailed(f"There is already a user with the name {user.username}")
    if user.role is UserRole.CLINICIAN and not user.code:
        raise CommandFailed("A clinician needs the code that CUP uses for them (--code)")
    session.add(user)
    await session.flush()


async def load_organisation(session: AsyncSession, code: str) -> Organisation:
    """The organisation of a code.

    :raises CommandFailed: there is none; the codes that exist are named.
    """
    organisations = {row.code: row for row in await session.scalars(select(Organisation))}
    if code not in organisations:
        known = ", ".join(sorted(organisations)) or "none yet"
        raise CommandFailed(f"There is no organisation {code} (there are: {known})")
    return organisations[code]


async def load_visits(database: Database) -> list[tuple[Visit, str]]:
    """Every visit with its appointment and the code of its organisation, in order of time."""
    async with database.read(EVERY_ORGANISATION) as session:
        rows = await session.execute(
            select(Visit, Organisation.code)
            .join(Visit.appointment)
            .join(Organisation, Organisation.id == Visit.organisation_id)
            .options(joinedload(Visit.appointment))
            .order_by(Appointment.start, Appointment.booking_code)
        )
        return list(rows.all())
