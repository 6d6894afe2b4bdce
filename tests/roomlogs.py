"""The room logs under test, each as an installation makes them: one object for each node."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass, field

import pytest

from signaling.bus import LocalRoomLog, RoomLog
from signaling.entries import Entry
from signaling.seed import RoomSeed
from signaling.valkeylog import ValkeyRoomLog
from tests.valkeys import ValkeyServer, running_valkey

SEED = RoomSeed(frozenset(), 0, None, relay_until_admitted=True, relay_always=False)
PATIENCE_SECONDS = 10

MakeLog = Callable[[], RoomLog]
"""The room log of one more node of the same installation."""


@pytest.fixture(scope="module")
def valkey() -> Iterator[ValkeyServer]:
    with running_valkey() as server:
        yield server


@pytest.fixture(params=["local", "valkey"])
async def make_log(request: pytest.FixtureRequest) -> AsyncIterator[MakeLog]:
    if request.param == "local":
        only = LocalRoomLog()
        yield lambda: only
        return
    server: ValkeyServer = request.getfixturevalue("valkey")
    server.flush()
    logs: list[ValkeyRoomLog] = []

    def make() -> RoomLog:
        logs.append(ValkeyRoomLog(server.url))
        logs[-1].start()
        return logs[-1]

    yield make
    for log in logs:
        await log.stop()


@dataclass
class Ear:
    """A listener that keeps what it hears."""

    entries: list[Entry] = field(default_factory=list)
    epoch: str = ""
    seed: RoomSeed | None = None
    tokens: list[str] = field(default_factory=list)
    is_lost: bool = False
    _changed: asyncio.Event = field(default_factory=asyncio.Event)

    def on_open(self, epoch: str, seed: RoomSeed) -> None:
        self.epoch, self.seed = epoch, seed
        self._changed.set()

    def on_absent(self, token: str) -> None:
        self.tokens.append(token)
        self._changed.set()

    def on_entry(self, entry: Entry) -> None:
        self.entries.append(entry)
        self._changed.set()

    def on_lost(self) -> None:
        self.is_lost = True
        self._changed.set()

    async def wait(self, condition: Callable[[Ear], object]) -> None:
        async with asyncio.timeout(PATIENCE_SECONDS):
            while not condition(self):
                self._changed.clear()
                await self._changed.wait()

    async def hears(self, count: int) -> list[Entry]:
        await self.wait(lambda ear: len(ear.entries) >= count)
        return self.entries


async def open_room(log: RoomLog, room: str = "visit", seed: RoomSeed | None = SEED) -> Ear:
    """A node that has the room open."""
    ear = Ear()
    log.open(room, ear, seed)
    await ear.wait(lambda ear: ear.epoch)
    return ear
