"""Secrets of seats in a real Valkey: the newest is valid, the revoked never again."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from datetime import UTC, datetime, timedelta

import pytest

from server.turn import seats as turn_seats
from server.turn.seats import LIFETIME_MS, SLACK_MS, TurnSeats
from signaling.ice import EVERYBODY
from signaling.valkey import Valkey
from tests.valkeys import ValkeyServer, running_valkey

NOW = datetime(2026, 3, 2, 9, 0, tzinfo=UTC)
SECRETS = "turn/realm/asl.test/secret"
SLACK = timedelta(milliseconds=SLACK_MS)


class Reader:
    """What coturn sees."""

    def __init__(self, url: str) -> None:
        self.valkey = Valkey(url, self)
        self.is_up = asyncio.Event()

    def on_connected(self) -> None:
        self.valkey.send_first("PING", on_reply=lambda _: self.is_up.set())

    def on_push(self, channel: bytes, payload: bytes) -> None:
        raise AssertionError("nothing is subscribed to")

    async def secrets(self) -> set[bytes]:
        return set(await self.valkey.ask("SMEMBERS", SECRETS))


@pytest.fixture
def server() -> Iterator[ValkeyServer]:
    with running_valkey() as running:
        yield running


@pytest.fixture
async def reader(server: ValkeyServer) -> AsyncIterator[Reader]:
    reader = Reader(server.url)
    reader.valkey.start()
    await asyncio.wait_for(reader.is_up.wait(), 5)
    yield reader
    await reader.valkey.stop()


@pytest.fixture
async def seats(server: ValkeyServer) -> AsyncIterator[TurnSeats]:
    seats = TurnSeats(server.url, "asl.test")
    async with seats.connected():
        await told(seats)
        yield seats


async def told(*all_seats: TurnSeats) -> None:
    for each in all_seats:
        await asyncio.wait_for(each.wait_until_told(), 5)


async def until(reader: Reader, is_so: Callable[[set[bytes]], bool]) -> None:
    async with asyncio.timeout(10):
        while not is_so(await reader.secrets()):
            await asyncio.sleep(0.02)


async def test_a_seat_has_one_secret_the_newest(seats: TurnSeats, reader: Reader) -> None:
    first = seats.issue("room.patient", NOW)
    second = seats.issue("room.patient", NOW + timedelta(minutes=1))
    other = seats.issue("room.clinician", NOW)
    await told(seats)

    assert first != second
    assert await reader.secrets() == {second, other}


async def test_a_revoked_seat_has_none(seats: TurnSeats, reader: Reader) -> None:
    seats.issue("room.patient", NOW)
    other = seats.issue("room.clinician", NOW)

    seats.revoke("room", "patient", (NOW + timedelta(minutes=1)).timestamp())
    await told(seats)

    assert await reader.secrets() == {other}


async def test_the_end_of_a_visit_revokes_all_its_seats(seats: TurnSeats, reader: Reader) -> None:
    seats.issue("room.patient", NOW)
    seats.issue("room.clinician", NOW)
    other = seats.issue("room2.patient", NOW)

    seats.revoke("room", EVERYBODY, (NOW + timedelta(minutes=1)).timestamp())
    await told(seats)

    assert await reader.secrets() == {other}


async def test_an_old_end_told_again_does_not_end_the_new_seat(
    seats: TurnSeats, reader: Reader
) -> None:
    left_at = NOW + timedelta(minutes=1)
    back = seats.issue("room.patient", left_at + timedelta(minutes=1))

    seats.revoke("room", "patient", left_at.timestamp())
    seats.revoke("room", EVERYBODY, left_at.timestamp())
    await told(seats)

    assert await reader.secrets() == {back}


async def test_another_node_revokes(server: ValkeyServer, seats: TurnSeats, reader: Reader) -> None:
    other = TurnSeats(server.url, "asl.test")
    async with other.connected():
        seats.issue("room.patient", NOW)
        await told(seats, other)

        other.revoke("room", "patient", (NOW + timedelta(minutes=1)).timestamp())
        await told(other)

        assert await reader.secrets() == set()


async def test_what_another_node_revoked_is_not_told_again(
    server: ValkeyServer, seats: TurnSeats, reader: Reader, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(turn_seats, "LOOK_SECONDS", 0.02)
    one = TurnSeats(server.url, "asl.test")
    async with one.connected():
        one.issue("room.patient", NOW)
        await told(one, seats)
        seats.revoke("room", "patient", (NOW + timedelta(minutes=1)).timestamp())
        await told(seats)

        await reader.valkey.ask("DEL", one.mark)
        async with asyncio.timeout(10):
            while not await reader.valkey.ask("EXISTS", one.mark):
                await asyncio.sleep(0.02)

    assert await reader.secrets() == set()


async def test_clocks_may_be_a_little_apart(seats: TurnSeats, reader: Reader) -> None:
    seats.issue("room.patient", NOW)

    seats.revoke("room", "patient", (NOW - SLACK / 2).timestamp())
    await told(seats)

    assert await reader.secrets() == set()


async def test_two_realms_share_a_valkey(
    server: ValkeyServer, seats: TurnSeats, reader: Reader
) -> None:
    elsewhere = TurnSeats(server.url, "other.test")
    async with elsewhere.connected():
        seats.issue("room.patient", NOW)
        elsewhere.issue("room.patient", NOW)
        newest = seats.issue("room.patient", NOW + timedelta(minutes=1))
        await told(elsewhere, seats)

        assert await reader.secrets() == {newest}


async def test_dead_secrets_are_swept(seats: TurnSeats, reader: Reader) -> None:
    seats.issue("room.patient", NOW)
    later = NOW + timedelta(milliseconds=LIFETIME_MS + 1)

    live = seats.issue("room2.patient", later)
    await told(seats)

    assert await reader.secrets() == {live}


async def test_a_valkey_that_was_killed_is_told_again(
    server: ValkeyServer, seats: TurnSeats, reader: Reader
) -> None:
    live = seats.issue("room.patient", NOW)
    seats.issue("room.clinician", NOW)
    await told(seats)
    server.kill()
    seats.revoke("room", "clinician", (NOW + timedelta(minutes=1)).timestamp())
    reader.is_up.clear()

    server.start()
    await asyncio.wait_for(reader.is_up.wait(), 10)

    await until(reader, lambda found: found == {live})


async def test_a_valkey_that_was_emptied_is_told_again(
    server: ValkeyServer, seats: TurnSeats, reader: Reader, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(turn_seats, "LOOK_SECONDS", 0.02)
    watched = TurnSeats(server.url, "asl.test")
    async with watched.connected():
        live = watched.issue("room.patient", NOW)
        await told(watched)

        server.flush()

        await until(reader, lambda found: found == {live})


async def test_secrets_are_not_shown(seats: TurnSeats) -> None:
    secret = seats.issue("room.patient", NOW).decode()

    assert secret not in repr(seats._orders)
