"""What somebody with all rights on the database can do to the session log, nine ways of it.

Each attack changes rows by plain SQL in the caller's transaction and says where a verifier has to
find it. All entries of the log must be different texts.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from random import Random
from typing import Final

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from server.audit import leaf_of
from server.db import OrganisationId


@dataclass(frozen=True, slots=True)
class Victim:
    """One log under attack: ``size`` entries, all of them signed."""

    session: AsyncSession
    organisation: OrganisationId
    size: int
    chance: Random

    async def run(self, statement: str, **given: object) -> None:
        await self.session.execute(text(statement), {"o": self.organisation, **given})

    async def load(self, seq: int) -> str:
        found = await self.session.scalar(
            text("SELECT entry FROM log_entry WHERE organisation = :o AND seq = :seq"),
            {"o": self.organisation, "seq": seq},
        )
        return str(found)

    async def write(self, seq: int, entry: str) -> None:
        """Put another text in a place; a careful attacker gives it its leaf hash, too."""
        await self.run(
            "UPDATE log_entry SET entry = :entry WHERE organisation = :o AND seq = :seq",
            seq=seq, entry=entry,
        )  # fmt: skip
        if self.chance.random() < 0.5:
            await self.run(
                "UPDATE log_entry SET leaf = :leaf WHERE organisation = :o AND seq = :seq",
                seq=seq, leaf=leaf_of(entry),
            )  # fmt: skip

    async def move(self, first: int, by: int) -> None:
        """Give every entry from ``first`` on another number."""
        await self.run("DROP INDEX IF EXISTS ix_log_entry_place")
        await self.run(
            "UPDATE log_entry SET seq = seq + :by WHERE organisation = :o AND seq >= :first",
            by=by, first=first,
        )  # fmt: skip

    async def insert(self, seq: int, entry: str) -> None:
        await self.run("DROP INDEX IF EXISTS ix_log_entry_place")
        await self.run(
            "INSERT INTO log_entry (organisation, seq, entry, leaf) VALUES (:o, :seq, :entry, :l)",
            seq=seq, entry=entry, l=leaf_of(entry),
        )  # fmt: skip


RowAttack = Callable[[Victim], Awaitable[str]]


async def edit(victim: Victim) -> str:
    """Another person did it."""
    place = victim.chance.randrange(victim.size)
    await victim.write(place, (await victim.load(place)).replace('"actor":"', '"actor":"x'))
    return f"entry {place}: edited"


async def delete(victim: Victim) -> str:
    """One entry goes; the others may close up."""
    place = victim.chance.randrange(victim.size)
    await victim.run("DELETE FROM log_entry WHERE organisation = :o AND seq = :seq", seq=place)
    if victim.chance.random() < 0.5:
        await victim.move(place + 1, -1)
    return f"entry {place}: missing"


async def insert(victim: Victim) -> str:
    """An act that never was."""
    place = victim.chance.randrange(victim.size)
    entry = (await victim.load(place)).replace('"actor":"', '"actor":"y')
    await victim.move(place, 1)
    await victim.insert(place, entry)
    return f"entry {place}: inserted"


async def reorder(victim: Victim) -> str:
    """Two entries change places."""
    first, second = sorted(victim.chance.sample(range(victim.size), 2))
    one, other = await victim.load(first), await victim.load(second)
    await victim.write(first, other)
    await victim.write(second, one)
    return f"entry {first}: reordered"


async def truncate(victim: Victim) -> str:
    """Nothing is left."""
    await victim.run("DELETE FROM log_entry WHERE organisation = :o")
    return "entry 0: missing"


async def duplicate(victim: Victim) -> str:
    """An entry stands there once more: with its number, or further on with one of its own."""
    place = victim.chance.randrange(victim.size - 1)
    entry = await victim.load(place)
    if victim.chance.random() < 0.5:
        await victim.insert(place, entry)
        return f"entry {place}: duplicated"
    later = victim.chance.randrange(place + 1, victim.size)
    await victim.move(later, 1)
    await victim.insert(later, entry)
    return f"entry {later}: duplicated"


async def retime(victim: Victim) -> str:
    """It was at another time."""
    place = victim.chance.randrange(victim.size)
    await victim.write(place, (await victim.load(place)).replace('"at":"2026', '"at":"2025'))
    return f"entry {place}: edited"


async def replace(victim: Victim) -> str:
    """Another table in place of the table, with its three columns and one entry changed."""
    await victim.run("CREATE TABLE forged AS SELECT organisation, seq, entry FROM log_entry")
    await victim.run("DROP TABLE log_entry")
    await victim.run("ALTER TABLE forged RENAME TO log_entry")
    place = victim.chance.randrange(victim.size)
    entry = (await victim.load(place)).replace('"role":"patient"', '"role":"clinician"')
    await victim.run(
        "UPDATE log_entry SET entry = :entry WHERE organisation = :o AND seq = :seq",
        seq=place, entry=entry,
    )  # fmt: skip
    return f"entry {place}: edited"


async def drop_tail(victim: Victim) -> str:
    """The last entries go."""
    place = victim.chance.randrange(1, victim.size)
    await victim.run("DELETE FROM log_entry WHERE organisation = :o AND seq >= :seq", seq=place)
    return f"entry {place}: missing"


ROW_ATTACKS: Final[tuple[RowAttack, ...]] = (
    edit, delete, insert, reorder, truncate, duplicate, retime, replace, drop_tail,
)  # fmt: skip
