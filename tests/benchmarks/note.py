"""What the seal adds to the saving of a note: the server's own function, with the keyring and with
one that leaves everything in clear, on SQLite and on PostgreSQL.

One note of 4 kB grows by version after version on each side; the sides alternate in blocks, so
that what slows the machine slows both. PostgreSQL writes to the disk as it does in use, and its
own processes are not counted.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from server.audit import ActorRole
from server.auth import Actor
from server.db import EVERY_ORGANISATION, Database, OrganisationId
from server.keyring import Keyring, Place, load_keyring
from server.models import Note, User, Visit, VisitState
from server.notes.store import Basis, save_version
from server.sealed import NoteContent, Section
from tests.benchmarks.ground import make_ground
from tests.benchmarks.mllp import postgres_of
from tests.benchmarks.report import Goal, Report, Spread, ratios

_BLOCK: Final = 100
_BYTES: Final = 4096
_WORDS: Final = "Il paziente riferisce benessere; continua la terapia. "


class ClearKeyring(Keyring):
    """Leaves every note as it is."""

    async def seal(self, session: AsyncSession, place: Place, plaintext: bytes) -> bytes:
        return plaintext if _is_note(place) else await super().seal(session, place, plaintext)

    async def unseal(self, session: AsyncSession, place: Place, sealed: bytes) -> bytes:
        return sealed if _is_note(place) else await super().unseal(session, place, sealed)


def _is_note(place: Place) -> bool:
    return place.object_type == Note.__tablename__


@dataclass(slots=True)
class Side:
    """One note that is saved again and again."""

    database: Database
    keyring: Keyring
    author: Actor
    visit_id: str
    version: int = 0
    wall: list[float] = field(default_factory=list)
    cpu: list[float] = field(default_factory=list)

    async def save_block(self) -> None:
        """Each save has another text."""
        contents = list(_contents(self.version))
        now = datetime.now(UTC)
        wall, cpu = time.perf_counter(), time.process_time()
        for content in contents:
            saved = await save_version(
                self.database, self.keyring, self.author, self.visit_id, content,
                based_on=Basis(self.version), now=now,
            )  # fmt: skip
            self.version = saved.version
        self.wall.append((time.perf_counter() - wall) / _BLOCK)
        self.cpu.append((time.process_time() - cpu) / _BLOCK)


def _contents(since: int) -> Iterator[NoteContent]:
    for number in range(_BLOCK):
        text = f"{since + number} {_WORDS * 100}"[:_BYTES]
        yield NoteContent(sections={Section.FREE: text})


async def measure(folder: Path, rounds: int) -> Report:
    report = Report(
        "note",
        f"note: one save of {_BYTES} bytes, {rounds} rounds of {_BLOCK} (median [quartiles])",
        ("database", "sealed, ms", "in clear, ms", "÷ wall", "÷ CPU"),
    )
    async with AsyncExitStack() as stack:
        address = await stack.enter_async_context(postgres_of(folder / "postgres"))
        for name, url in (("SQLite", ""), ("PostgreSQL", address)):
            await _measure_database(report, name, folder / name, url, rounds)
    return report


async def _measure_database(report: Report, name: str, home: Path, url: str, rounds: int) -> None:
    sealed, clear = await _make_sides(home, url)
    for side in (sealed, clear):
        await side.save_block()
        side.wall.clear()
        side.cpu.clear()
    for number in range(rounds):
        for side in (sealed, clear) if number % 2 else (clear, sealed):
            await side.save_block()
    await sealed.database.close()
    wall, cpu = ratios(sealed.wall, clear.wall), ratios(sealed.cpu, clear.cpu)
    times = [Spread([1000 * second for second in side.wall]) for side in (sealed, clear)]
    report.rows.append((name, *(spread.text() for spread in times), wall.text(), cpu.text()))
    report.goals += [
        Goal(f"{name}: sealed ÷ in clear, time", wall.median, 1.3),
        Goal(f"{name}: sealed ÷ in clear, CPU", cpu.median, 1.5),
    ]
    report.figures[name] = {"wall": wall.content(), "cpu": cpu.content()}


async def _make_sides(home: Path, url: str) -> tuple[Side, Side]:
    ground = await make_ground(home, 8080, 2, VisitState.WAITING, database_url=url)
    keyring = load_keyring(home)
    clear = ClearKeyring(keyring.roots, keyring.installation)
    database = Database(url or f"sqlite+aiosqlite:///{home / 'accanto.db'}")
    async with database.read(EVERY_ORGANISATION) as session:
        user = (await session.scalars(select(User))).one()
        organisations = set(await session.scalars(select(Visit.organisation_id)))
    (organisation,) = organisations
    author = Actor(user.id, ActorRole.CLINICIAN, OrganisationId(organisation))
    one, other = ground.visits
    return Side(database, keyring, author, one.id), Side(database, clear, author, other.id)
