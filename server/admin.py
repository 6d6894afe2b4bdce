"""Making what a visit needs before the first booking: organisations, clinics, users.

Called by the command line and the demo; there is no page for it yet.
"""

from __future__ import annotations

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from server.errors import CommandFailed
from server.keyring import Keyring
from server.models import LogHead, Organisation, User, UserRole


async def add_organisation(
    session: AsyncSession, keyring: Keyring, organisation: Organisation
) -> None:
    """Store an organisation with its keys and its empty session log.

    :raises CommandFailed: the code is taken.
    """
    if await find_organisation(session, organisation.code) is not None:
        raise CommandFailed(f"There is already an organisation with the code {organisation.code}")
    session.add(organisation)
    await session.flush()
    keyring.add_organisation(session, organisation.id)
    session.add(LogHead(organisation_id=organisation.id, size=0))
    await session.flush()


async def add_user(session: AsyncSession, user: User) -> None:
    """Store a member of staff.

    :raises CommandFailed: the username is taken, or a clinician has no code.
    """
    if await session.scalar(select(User.id).where(User.username == user.username)) is not None:
        raise CommandFailed(f"There is already a user with the name {user.username}")
    if user.role is UserRole.CLINICIAN and not user.code:
        raise CommandFailed("A clinician needs the code that CUP uses for them (--code)")
    session.add(user)
    await session.flush()


async def find_organisation(session: AsyncSession, code: str) -> Organisation | None:
    return await session.scalar(select(Organisation).where(Organisation.code == code))


async def load_organisation(session: AsyncSession, code: str) -> Organisation:
    """The organisation of a code.

    :raises CommandFailed: there is none; the codes that exist are named.
    """
    organisation = await find_organisation(session, code)
    if organisation is None:
        codes = sorted(await session.scalars(select(Organisation.code)))
        known = ", ".join(codes) or "none yet"
        raise CommandFailed(f"There is no organisation {code} (there are: {known})")
    return organisation
