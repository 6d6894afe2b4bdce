"""A rotation of all keys that is killed at a chosen point, while others read and write.

Run as a program it forks a rotation for each point that it is told: the n-th statement that goes
to the database or the n-th name that changes in the ``keys`` folder, whichever comes. There it
kills itself with SIGKILL.
"""

from __future__ import annotations

import asyncio
import itertools
import os
import random
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from sqlalchemy import event, func, select

from server.db import EVERY_ORGANISATION, Database, OrganisationId
from server.errors import CommandFailed
from server.keyring import KEK, Keyring, Place, load_keyring
from server.keys.rootchange import rewrap_under_root, rotate_root
from server.keys.rotation import rewrap, rotate
from server.models import DataKey, Organisation, OrganisationKey

WRITES_PER_SECOND = 50
_BATCH = 10
_CHANGES = frozenset({"os.link", "os.rename", "os.remove"})


# ---- the one who is killed ---------------------------------------------------------------


class _Fuse:
    """Counts points; kills at the chosen one. Nought never comes."""

    def __init__(self, point: int) -> None:
        self.passed = 0
        self._point = point

    def count(self) -> None:
        self.passed += 1
        if self.passed == self._point:
            os.kill(os.getpid(), signal.SIGKILL)


async def _rotate_everything(url: str, data_dir: Path, fuse: _Fuse) -> None:
    database, keyring = Database(url), load_keyring(data_dir)

    def on_statement(*_: Any) -> None:
        fuse.count()

    def on_change(name: str, _: Any) -> None:
        if name in _CHANGES:
            fuse.count()

    for moment in ("before_cursor_execute", "commit"):
        event.listen(database.engine.sync_engine, moment, on_statement)
    sys.addaudithook(on_change)
    now = datetime.now(UTC)
    async with database.read(EVERY_ORGANISATION) as session:
        organisations = list(await session.scalars(select(Organisation.id)))
    for organisation in organisations:
        await rotate(database, keyring, organisation, now)
    try:
        await rotate_root(database, keyring, data_dir, now)
    except CommandFailed as error:
        if "is not finished" not in str(error):
            raise
    await resume(database, data_dir)
    await database.close()


async def resume(database: Database, data_dir: Path) -> None:
    """What ``accanto keys rewrap`` does."""
    keyring, now = load_keyring(data_dir), datetime.now(UTC)
    await rewrap_under_root(database, keyring, data_dir, now)
    async with database.read(EVERY_ORGANISATION) as session:
        organisations = list(await session.scalars(select(Organisation.id)))
    for organisation in organisations:
        done = await rewrap(database, keyring, organisation, now, batch=_BATCH)
        assert not done.broken


def _main(url: str, data_dir: str) -> None:
    for line in sys.stdin:
        child = os.fork()
        if not child:
            fuse = _Fuse(int(line))
            asyncio.run(_rotate_everything(url, Path(data_dir), fuse))
            print(fuse.passed, flush=True)
            os._exit(0)
        _, status = os.waitpid(child, 0)
        if os.waitstatus_to_exitcode(status) != 0:
            print("killed" if os.WIFSIGNALED(status) else "failed", flush=True)


class Rotator:
    """The program, seen from a test."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process

    async def rotate(self, point: int) -> str:
        """``killed``, or how many points there were."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(f"{point}\n".encode())
        await self._process.stdin.drain()
        return (await self._process.stdout.readline()).decode().strip()


@asynccontextmanager
async def running_rotator(url: str, data_dir: Path) -> AsyncIterator[Rotator]:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tests.rotations", url, str(data_dir),
        stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE,
    )  # fmt: skip
    try:
        yield Rotator(process)
    finally:
        assert process.stdin is not None
        process.stdin.close()
        await process.wait()


# ---- those who write meanwhile -----------------------------------------------------------


@dataclass
class Records:
    """What was committed, and those who write and read it all the time."""

    database: Database
    data_dir: Path
    organisations: tuple[OrganisationId, ...]
    keyring: Keyring
    chance: random.Random
    kept: list[tuple[Place, bytes, bytes]] = field(default_factory=list)
    reads: int = 0
    _numbers: itertools.count[int] = field(default_factory=itertools.count)

    async def write(self) -> None:
        """Seal one field, for every second a visit that has no key yet."""
        number = next(self._numbers)
        organisation = self.chance.choice(self.organisations)
        older = [place for place, *_ in self.kept if place.organisation == organisation]
        visit = f"v{number}" if number % 2 or not older else self.chance.choice(older).visit
        place = Place(organisation, "note", visit, "text", number, visit=visit)
        content = f"Nota {number}".encode()
        async with self.database.begin(organisation) as session:
            sealed = await self.keyring.seal(session, place, content)
        self.kept.append((place, sealed, content))

    async def read_one(self) -> None:
        """As a server that has just been started."""
        place, sealed, content = self.chance.choice(self.kept)
        keyring = load_keyring(self.data_dir)
        async with self.database.read(place.organisation) as session:
            assert await keyring.unseal(session, place, sealed) == content
        self.reads += 1

    async def go_on(self, until: asyncio.Event) -> None:
        """Fifty writes a second; after every tenth a reading."""
        loop = asyncio.get_running_loop()
        due = loop.time()
        while not until.is_set():
            due += 1 / WRITES_PER_SECOND
            await self.write()
            if len(self.kept) % 10 == 0:
                await self.read_one()
            await asyncio.sleep(max(0.0, due - loop.time()))

    async def check_all(self) -> None:
        """Every field opens after a restart, and no key is under an older one."""
        fresh = load_keyring(self.data_dir)
        for organisation in self.organisations:
            async with self.database.read(organisation) as session:
                for place, sealed, content in self.kept:
                    if place.organisation == organisation:
                        assert await fresh.unseal(session, place, sealed) == content
        async with self.database.read(EVERY_ORGANISATION) as session:
            keks = list(
                await session.scalars(select(OrganisationKey).where(OrganisationKey.purpose == KEK))
            )
            assert len(keks) == len(self.organisations)
            for kek in keks:
                old = select(func.count()).where(
                    DataKey.organisation_id == kek.organisation_id,
                    DataKey.kek_version != kek.version,
                )
                assert await session.scalar(old) == 0
            roots = set(await session.scalars(select(OrganisationKey.root_id)))
        assert roots == {fresh.roots.current.id}
        assert fresh.roots.former == []
        assert fresh.installation == self.keyring.installation


async def kill_rotations(url: str, records: Records, points: int, seed: int) -> int:
    """Rotate, kill and resume at so many points under writes; how many were really killed."""
    chance = random.Random(seed)
    until, killed = asyncio.Event(), 0
    async with running_rotator(url, records.data_dir) as rotator:
        for _ in range(60):
            await records.write()
        total = int(await rotator.rotate(0))
        writing = asyncio.create_task(records.go_on(until))
        try:
            for _ in range(points):
                killed += await rotator.rotate(chance.randrange(1, total + 1)) == "killed"
                await resume(records.database, records.data_dir)
                if writing.done():
                    break
        finally:
            until.set()
            await writing
    await resume(records.database, records.data_dir)
    await records.check_all()
    return killed


if __name__ == "__main__":
    _main(sys.argv[1], sys.argv[2])
