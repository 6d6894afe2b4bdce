"""Workers of one machine: the connection goes to the worker that has the room, or stays."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from signaling.messages import Role
from signaling.roomtable import RoomTable, mark_of
from signaling.siblings import Siblings
from tests.roomlogs import PATIENCE_SECONDS, make_log, valkey
from tests.test_sockets import Build, House, build

__all__ = ["build", "make_log", "valkey"]

pytestmark = pytest.mark.parametrize("make_log", ["valkey"], indirect=True)


@pytest.fixture
async def workers(build: Build, tmp_path: Path) -> tuple[House, House, Path]:
    folder = tmp_path / "workers"
    north, south = await build(), await build()
    for house, name in ((north, "north"), (south, "south")):
        house.hub.join_siblings(Siblings(folder, name))
    for house in (north, south):
        async with asyncio.timeout(PATIENCE_SECONDS):
            while len(house.hub._siblings._names) < 2:
                await asyncio.sleep(0.01)
    return north, south, folder


Workers = tuple[House, House, Path]


def siblings_of(house: House) -> Siblings:
    siblings = house.hub._siblings
    assert siblings is not None
    return siblings


async def test_both_people_of_a_room_come_to_one_worker(workers: Workers) -> None:
    north, south, _ = workers

    anna = await south.join("room", "anna")
    bruno = await north.join("room", "bruno", Role.CLINICIAN)
    await anna.wait("joined")

    assert (north.hub.open_sockets, south.hub.open_sockets) == (0, 2)
    assert (north.hub.open_rooms, south.hub.open_rooms) == (0, 1)
    await bruno.act("admit", participant="anna")
    assert (await anna.wait("admitted"))["participant"] == "anna"


async def test_a_handed_page_is_heard_and_may_resume(workers: Workers) -> None:
    north, south, _ = workers
    anna = await south.join("room", "anna")
    bruno = await north.join("room", "bruno", Role.CLINICIAN)
    anna.cut()
    await bruno.wait("away")

    again = await north.resume(anna)

    assert (await again.wait("welcome"))["resumed"]
    assert (north.hub.open_sockets, south.hub.open_sockets) == (0, 2)


async def test_a_connection_stays_where_it_is_when_the_chosen_worker_is_gone(
    workers: Workers,
) -> None:
    north, south, folder = workers
    assert siblings_of(south).choose("room") == "south"
    siblings_of(south).stop()
    (folder / "south").touch()

    await north.join("room", "anna")

    assert north.hub.open_sockets == 1
    assert siblings_of(north).choose("room") == "north"
    assert not (folder / "south").exists()


async def test_a_worker_that_drains_takes_nobody(workers: Workers) -> None:
    north, south, _ = workers
    assert siblings_of(south).choose("room") == "south"

    await south.hub.drain(seconds=0.01)
    await north.join("room", "anna")

    assert (north.hub.open_sockets, south.hub.open_sockets) == (1, 0)


async def test_a_room_that_is_open_no_more_is_for_whoever_comes_first(workers: Workers) -> None:
    north, south, _ = workers
    anna = await south.join("room", "anna")
    assert siblings_of(north).choose("room") == "south"

    south.hub.beat(asyncio.get_running_loop().time())
    assert siblings_of(north).choose("room") == "south"

    await anna.act("leave")
    async with asyncio.timeout(PATIENCE_SECONDS):
        while south.hub.open_rooms:
            await asyncio.sleep(0.01)
    south.hub.beat(asyncio.get_running_loop().time())
    await north.join("room", "bruno", Role.CLINICIAN)

    assert (north.hub.open_sockets, south.hub.open_sockets) == (1, 0)


async def test_a_room_of_a_worker_that_nobody_knows_is_taken(workers: Workers) -> None:
    north, _, folder = workers
    table = RoomTable(folder / ".rooms")
    table["room"] = mark_of("west")

    await north.join("room", "anna")

    assert table["room"] == mark_of("north")
