"""Whether the database still holds the session logs that were signed.

The signer's memory is out of the database's reach: it knows how far each log had grown. A database
that holds less has lost entries; most often an old backup was restored. Whether that is right only
people can say: two administrators accept it, the log keeps that they did, and is signed from its
beginning by a new key under a new origin, which ends in the number of its generation.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from pathlib import Path

from sqlalchemy import delete, select
from sqlalchemy.ext.asyncio import AsyncSession

from server.audit import Act, ActorRole, Entry, Fact, append
from server.db import EVERY_ORGANISATION, Database, OrganisationId
from server.logsigner.memory import Memory, MemoryBroken
from server.models import LogCheckpoint, LogHead, Organisation
from server.sequencing import StoredTree
from server.tlog.note import Checkpoint
from server.tlog.tree import subtree_root


class Breach(StrEnum):
    """What is wrong between a log and its signer."""

    BEHIND = "behind"
    """Fewer entries than were signed."""
    FORKED = "forked"
    """As many, but others."""
    LOST = "lost"
    """Signed once, but not by the signer that is here: its folder was lost, or is elsewhere."""
    BROKEN = "broken"
    """The signer's own files do not agree with each other."""


@dataclass(frozen=True, slots=True)
class Torn:
    """A log that is not the signed one any more. ``size``: entries in the database; ``signed``: in
    the signer's memory, 0 where that one is broken."""

    organisation: OrganisationId
    code: str
    breach: Breach
    size: int
    signed: int

    @property
    def sentence(self) -> str:
        """What a person at the machine has to know."""
        match self.breach:
            case Breach.BEHIND:
                return (
                    f"The session log of {self.code} is {self.signed - self.size} entries behind "
                    f"what was signed ({self.size} of {self.signed}): an old backup is back, or "
                    "entries were removed. If it is right so, two administrators say it with "
                    f"'accanto log accept --organisation {self.code}'"
                )
            case Breach.FORKED:
                return (
                    f"The session log of {self.code} is not the one that was signed: 'accanto log "
                    "export' and 'accanto log verify' say where"
                )
            case Breach.LOST:
                return (
                    f"The session log of {self.code} was signed by a signer that is not here: put "
                    "its folder (log_signer_dir) back. If it is lost, two administrators say it "
                    f"with 'accanto log accept --organisation {self.code}'"
                )
            case Breach.BROKEN:
                return f"The files of the signer of the session log of {self.code} are damaged"


async def find_torn(database: Database, folder: Path) -> list[Torn]:
    """The logs that do not hold what the signer in ``folder`` has signed of them."""
    async with database.read(EVERY_ORGANISATION) as session:
        bodies = list(await session.scalars(select(Organisation).order_by(Organisation.code)))
    found = [await _look(database, folder, body) for body in bodies]
    return [torn for torn in found if torn is not None]


async def _look(database: Database, folder: Path, body: Organisation) -> Torn | None:
    """The signer first: what a running server writes meanwhile only makes the log longer."""
    organisation = OrganisationId(body.id)
    try:
        last = await asyncio.to_thread(Memory(folder / organisation).load_last)
    except (MemoryBroken, ValueError):
        return Torn(organisation, body.code, Breach.BROKEN, 0, 0)
    async with database.read(organisation) as session:
        size = (await session.get_one(LogHead, organisation)).size
        breach = await _compare(session, organisation, size, last)
    signed = last.size if last else 0
    return Torn(organisation, body.code, breach, size, signed) if breach else None


async def _compare(
    session: AsyncSession, organisation: OrganisationId, size: int, last: Checkpoint | None
) -> Breach | None:
    if last is None:
        is_signed = await session.scalar(select(LogCheckpoint.size).limit(1)) is not None
        return Breach.LOST if is_signed else None
    if size < last.size:
        return Breach.BEHIND
    try:
        tree = StoredTree(session, organisation, size)
        is_same = last.size == 0 or await subtree_root(tree, 0, last.size) == last.root
    except (LookupError, ValueError):
        return Breach.FORKED
    return None if is_same else Breach.FORKED


async def accept_log(
    database: Database,
    folder: Path,
    realm: str,
    torn: Torn,
    users: tuple[str, str],
    now: datetime,
) -> str:
    """Go on from what the database holds: the log says so, then the signer's memory of before is
    put aside (``ORGANISATION.GENERATION``) and a new one begins. Returns the new origin.

    ``users``: the ids of two administrators, who are who they say.
    """
    generation = await asyncio.to_thread(_count_generations, folder, torn.organisation) + 1
    facts: dict[str, Fact] = {
        "entries": torn.size,
        "size": torn.signed,
        "user": users[1],
        "version": generation,
    }
    entry = Entry(
        now, Act.LOG_ACCEPTED, ActorRole.ADMINISTRATOR, users[0], facts=facts,
        object=f"log:{torn.organisation}", reason=torn.breach,
    )  # fmt: skip
    async with database.begin(torn.organisation) as session:
        await append(session, torn.organisation, entry)
        await session.execute(
            delete(LogCheckpoint).where(LogCheckpoint.organisation_id == torn.organisation)
        )
    origin = f"{realm}/log/{torn.code}/{generation}"
    await asyncio.to_thread(_begin_anew, folder, torn.organisation, generation, origin)
    return origin


def _count_generations(folder: Path, organisation: OrganisationId) -> int:
    return 1 + sum(1 for _ in folder.glob(f"{organisation}.*"))


def _begin_anew(folder: Path, organisation: OrganisationId, generation: int, origin: str) -> None:
    memory = Memory(folder / organisation)
    if memory.folder.exists():
        memory.folder.rename(folder / f"{organisation}.{generation - 1}")
    with memory.locked(origin):
        pass
