"""The shared room log when Valkey is paused, killed or emptied, and when a node dies."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from signaling.entries import Entry
from signaling.messages import Late, Participant, ParticipantState, Role
from signaling.valkeylog import ValkeyRoomLog
from tests.roomlogs import PATIENCE_SECONDS, SEED, Ear, open_room, valkey
from tests.valkeys import ValkeyServer

__all__ = ["valkey"]


@pytest.fixture
async def logs(valkey: ValkeyServer) -> AsyncIterator[tuple[ValkeyRoomLog, ValkeyRoomLog]]:
    valkey.flush()
    logs = ValkeyRoomLog(valkey.url), ValkeyRoomLog(valkey.url)
    for log in logs:
        log.start()
        await until_ready(log)
    yield logs
    for log in logs:
        await log.stop()


Logs = tuple[ValkeyRoomLog, ValkeyRoomLog]


def say(log: ValkeyRoomLog, minutes: int, node: str = "n1") -> None:
    log.append("visit", Entry(event=Late(minutes=minutes), node=node))


def heard(ear: Ear) -> list[int]:
    return [entry.event.minutes for entry in ear.entries if isinstance(entry.event, Late)]


async def until_ready(log: ValkeyRoomLog) -> None:
    async with asyncio.timeout(PATIENCE_SECONDS):
        while True:
            try:
                await log.check()
            except TimeoutError:
                await asyncio.sleep(0.05)
            else:
                return


async def test_frames_wait_while_valkey_is_paused_and_flow_when_it_goes_on(
    logs: Logs, valkey: ValkeyServer
) -> None:
    ears = [await open_room(log) for log in logs]
    say(logs[0], 1)
    await ears[1].hears(1)

    valkey.pause()
    for number in (2, 3, 4):
        say(logs[0], number)
    await asyncio.sleep(0.3)
    assert heard(ears[0]) == [1]
    valkey.go_on()

    for ear in ears:
        await ear.hears(4)
        assert heard(ear) == [1, 2, 3, 4]


async def test_what_was_sent_twice_is_taken_once(logs: Logs, valkey: ValkeyServer) -> None:
    ears = [await open_room(log) for log in logs]
    for number in range(200):
        say(logs[number % 2], number, f"n{number % 2}")
        if number % 20 == 7:
            await asyncio.sleep(0)
            transport = logs[number % 2]._valkey._transport
            if transport is not None:
                transport.abort()
        if number % 20 == 17:
            await until_ready(logs[number % 2])

    for ear in ears:
        await ear.hears(200)
    assert heard(ears[0]) == heard(ears[1])
    assert sorted(heard(ears[0])) == list(range(200))
    for node in range(2):
        of_node = [number for number in heard(ears[0]) if number % 2 == node]
        assert of_node == sorted(of_node)


async def test_an_emptied_valkey_is_noticed_by_who_speaks_and_by_who_listens(
    logs: Logs, valkey: ValkeyServer
) -> None:
    speaker, listener = [await open_room(log) for log in logs]

    valkey.flush()
    say(logs[0], 1)
    await speaker.wait(lambda ear: ear.is_lost)
    again = await open_room(logs[0])
    say(logs[0], 2)

    await listener.wait(lambda ear: ear.is_lost)
    assert again.epoch not in ("", speaker.epoch)
    await again.hears(1)
    assert heard(again) == [2]
    assert heard(speaker) == heard(listener) == []


async def test_a_valkey_that_comes_back_empty_is_noticed_without_a_word(
    logs: Logs, valkey: ValkeyServer
) -> None:
    ears = [await open_room(log) for log in logs]

    valkey.kill()
    say(logs[0], 1)
    valkey.start()

    for ear in ears:
        await ear.wait(lambda ear: ear.is_lost)
        assert heard(ear) == []


async def test_a_room_is_opened_when_valkey_comes(logs: Logs, valkey: ValkeyServer) -> None:
    valkey.kill()
    ear = Ear()
    logs[0].open("visit", ear, SEED)

    valkey.start()

    await ear.wait(lambda ear: ear.epoch)


async def test_a_seed_older_than_an_act_is_not_believed(logs: Logs) -> None:
    logs[1].post("visit", Entry(event=Late(minutes=5), node="n2"))
    await logs[1].check()
    ear = Ear()

    logs[0].open("visit", ear, SEED)
    await ear.wait(lambda ear: ear.tokens)
    assert ear.tokens[0]
    logs[0].open("visit", ear, SEED, ear.tokens[0])

    await ear.wait(lambda ear: ear.epoch)


async def test_an_act_between_the_records_and_the_log_is_not_lost(logs: Logs) -> None:
    ear = Ear()
    logs[0].open("visit", ear, None)
    await ear.wait(lambda ear: ear.tokens)

    logs[1].post("visit", Entry(event=Late(minutes=5), node="n2"))
    await logs[1].check()
    logs[0].open("visit", ear, SEED, ear.tokens[0])

    await ear.wait(lambda ear: len(ear.tokens) == 2)
    assert not ear.epoch


async def test_an_act_of_a_node_that_opens_the_room_meanwhile_is_heard_by_it(logs: Logs) -> None:
    ear = Ear()

    logs[0].post("visit", Entry(event=Late(minutes=5), node="n1"))
    logs[0].open("visit", ear, SEED)

    await ear.hears(1)
    assert heard(ear) == [5]


async def test_a_node_that_gives_no_sign_is_dead_at_the_second_look(logs: Logs) -> None:
    dead: list[str] = []
    logs[1].beat("n2", (), dead.append)
    await logs[1].check()

    for _ in range(3):
        logs[0].beat("n1", ("n2", "n3"), dead.append)
        await logs[0].check()
        if not dead:
            assert logs[0]._misses == {"n3": 1}

    assert dead == ["n3", "n3"]


async def test_who_is_in_a_room_elsewhere_can_be_read(logs: Logs) -> None:
    anna = Participant(
        participant="anna", role=Role.PATIENT, state=ParticipantState.WAITING, generation=1
    )
    logs[0].note_presence("visit", [anna])

    async with asyncio.timeout(PATIENCE_SECONDS):
        while not (found := await logs[1].load_presence(["visit", "nowhere"])):
            await asyncio.sleep(0.02)
    assert found == {"visit": [anna]}
