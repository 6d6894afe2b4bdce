"""What both room logs promise: gap-free numbers, one order, bounded memory, honest gaps."""

from __future__ import annotations

import random

import msgspec
import pytest

from signaling.bus import Gap, RoomLog
from signaling.entries import Entry
from signaling.messages import Away, CandidatesEvent, Gone, Late, RoomEvent
from signaling.tape import MAX_ENTRIES, MAX_PAYLOAD_BYTES, Tape
from tests.roomlogs import SEED, Ear, MakeLog, make_log, open_room, valkey

__all__ = ["make_log", "valkey"]


def an_entry(event: RoomEvent, node: str = "n1") -> Entry:
    return Entry(event=event, node=node)


def a_signal(sender: str, to: str, size: int = 10) -> Entry:
    payload = msgspec.Raw(b'"' + b"x" * (size - 2) + b'"')
    return an_entry(CandidatesEvent(sender=sender, to=to, generation=1, payload=payload))


def seqs(entries: list[Entry]) -> list[int]:
    return [entry.event.seq for entry in entries]


@pytest.fixture
async def log(make_log: MakeLog) -> RoomLog:
    return make_log()


async def test_entries_are_numbered_without_gaps_and_delivered_in_order(log: RoomLog) -> None:
    ear = await open_room(log)

    for minutes in range(5):
        log.append("visit", an_entry(Late(minutes=minutes)))

    heard = await ear.hears(5)
    assert [entry.event for entry in heard] == [Late(seq=n + 1, minutes=n) for n in range(5)]


async def test_a_second_node_first_gets_what_it_missed(make_log: MakeLog) -> None:
    log, other_log = make_log(), make_log()
    ear = await open_room(log)
    log.append("visit", an_entry(Late(minutes=5)))
    await ear.hears(1)

    late_comer = await open_room(other_log, seed=None)
    log.append("visit", an_entry(Late(minutes=9)))

    assert seqs(await late_comer.hears(2)) == [1, 2]
    assert (late_comer.epoch, late_comer.seed) == (ear.epoch, SEED)


async def test_all_nodes_start_from_the_seed_of_the_first(make_log: MakeLog) -> None:
    await open_room(make_log())
    other_seed = msgspec.structs.replace(SEED, admitted=frozenset({"anna"}))

    late_comer = await open_room(make_log(), seed=other_seed)

    assert late_comer.seed == SEED


async def test_a_room_without_a_log_asks_the_records(log: RoomLog) -> None:
    ear = Ear()
    log.open("visit", ear, None)
    await ear.wait(lambda ear: ear.tokens)
    assert not ear.epoch

    log.open("visit", ear, SEED, ear.tokens[0])

    await ear.wait(lambda ear: ear.epoch)
    assert ear.seed == SEED


async def test_two_nodes_hear_the_same_in_the_same_order(make_log: MakeLog) -> None:
    logs = [make_log(), make_log()]
    ears = [await open_room(log) for log in logs]
    chance = random.Random(4)
    for number in range(300):
        node = chance.randrange(2)
        logs[node].append("visit", an_entry(Late(minutes=number), node=f"n{node}"))
        if chance.random() < 0.1:
            await ears[node].hears(number // 2)

    first, second = [await ear.hears(300) for ear in ears]

    assert seqs(first) == list(range(1, 301))
    assert [entry.event for entry in first] == [entry.event for entry in second]


async def test_an_act_for_a_room_of_another_node_is_heard_there(make_log: MakeLog) -> None:
    log, other_log = make_log(), make_log()
    ear = await open_room(log)

    other_log.post("visit", an_entry(Gone(participant="anna"), node="n2"))

    assert (await ear.hears(1))[0].event == Gone(seq=1, participant="anna")


async def test_rooms_do_not_hear_each_other(log: RoomLog) -> None:
    first, second = await open_room(log, "one"), await open_room(log, "two")

    log.append("one", an_entry(Late(minutes=5)))
    log.append("two", an_entry(Late(minutes=6)))

    await first.hears(1)
    await second.hears(1)
    assert [ear.entries[0].event for ear in (first, second)] == [
        Late(seq=1, minutes=5),
        Late(seq=1, minutes=6),
    ]


async def test_read_gives_what_follows_a_number(log: RoomLog) -> None:
    ear = await open_room(log)
    for minutes in range(5):
        log.append("visit", an_entry(Late(minutes=minutes)))
    await ear.hears(5)

    assert seqs(list(log.read("visit", 3))) == [4, 5]
    assert list(log.read("visit", 5)) == []
    with pytest.raises(Gap):
        log.read("visit", 6)


async def test_trimmed_signals_are_gone_for_who_comes_later(make_log: MakeLog) -> None:
    log = make_log()
    ear = await open_room(log)
    log.append("visit", a_signal("anna", "bruno"))
    log.append("visit", a_signal("carla", "bruno"))
    log.append("visit", an_entry(Late(minutes=5)))
    await ear.hears(3)

    log.trim("visit", "bruno", "anna", 3, is_own=True)
    log.append("visit", an_entry(Late(minutes=6)))
    await ear.hears(4)

    late_comer = await open_room(make_log())
    assert seqs(await late_comer.hears(3)) == [2, 3, 4]
    assert seqs(list(log.read("visit", 0))) == [2, 3, 4]


# ---- the tape ----------------------------------------------------------------------------------


def filled_tape(*entries: Entry) -> Tape:
    tape = Tape()
    for entry in entries:
        msgspec.structs.force_setattr(entry.event, "seq", tape.last_seq + 1)
        tape.add(entry)
    return tape


def test_a_long_tape_forgets_its_start_and_says_so() -> None:
    tape = filled_tape(*(an_entry(Away(participant="anna")) for _ in range(MAX_ENTRIES + 10)))

    assert len(tape.read(10)) == MAX_ENTRIES
    with pytest.raises(Gap):
        tape.read(9)


def test_large_payloads_are_bounded_by_bytes() -> None:
    tape = filled_tape(*(a_signal("anna", "bruno", 60_000) for _ in range(100)))

    kept = tape.read(100 - MAX_PAYLOAD_BYTES // 60_000)
    assert len(kept) == MAX_PAYLOAD_BYTES // 60_000
    with pytest.raises(Gap):
        tape.read(0)


def test_trim_forgets_the_signals_of_the_pair_and_nothing_else() -> None:
    tape = filled_tape(
        a_signal("anna", "bruno"),
        a_signal("bruno", "anna"),
        a_signal("carla", "bruno"),
        an_entry(Late(minutes=5)),
        a_signal("anna", "bruno"),
    )

    assert tape.trim("bruno", "anna", 5) == [1, 2]
    assert seqs(list(tape.read(0))) == [3, 4, 5]

    assert tape.trim("bruno", None, 6) == [3, 5]
    assert seqs(list(tape.read(0))) == [4]
