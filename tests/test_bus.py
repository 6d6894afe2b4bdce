"""The room log of one process: gap-free numbers, one order, bounded memory, honest gaps."""

from __future__ import annotations

import msgspec
import pytest

from signaling.bus import MAX_ENTRIES, MAX_PAYLOAD_BYTES, Gap, LocalRoomLog
from signaling.entries import Entry
from signaling.messages import Away, CandidatesEvent, Late, RoomEvent


def an_entry(event: RoomEvent) -> Entry:
    return Entry(event=event, node="n1")


def a_signal(sender: str, to: str, size: int = 10) -> Entry:
    payload = msgspec.Raw(b'"' + b"x" * (size - 2) + b'"')
    return an_entry(CandidatesEvent(sender=sender, to=to, generation=1, payload=payload))


def seqs(entries: list[Entry]) -> list[int]:
    return [entry.event.seq for entry in entries]


def test_entries_are_numbered_without_gaps_and_delivered_in_order() -> None:
    log, heard = LocalRoomLog(), list[Entry]()
    log.open("visit", heard.append)

    for minutes in range(5):
        log.append("visit", an_entry(Late(minutes=minutes)))

    assert seqs(heard) == [1, 2, 3, 4, 5]
    assert [entry.event for entry in heard] == [Late(seq=n + 1, minutes=n) for n in range(5)]


def test_a_second_node_first_gets_what_it_missed() -> None:
    log, late_comer = LocalRoomLog(), list[Entry]()
    epoch = log.open("visit", list[Entry]().append)
    log.append("visit", an_entry(Late(minutes=5)))

    same_epoch = log.open("visit", late_comer.append)
    log.append("visit", an_entry(Late(minutes=9)))

    assert same_epoch == epoch
    assert seqs(late_comer) == [1, 2]


def test_rooms_do_not_hear_each_other() -> None:
    log, first, second = LocalRoomLog(), list[Entry](), list[Entry]()
    log.open("one", first.append)
    log.open("two", second.append)

    log.append("one", an_entry(Late(minutes=5)))

    assert (len(first), len(second)) == (1, 0)


def test_read_gives_what_follows_a_number() -> None:
    log = LocalRoomLog()
    log.open("visit", list[Entry]().append)
    for minutes in range(5):
        log.append("visit", an_entry(Late(minutes=minutes)))

    assert seqs(list(log.read("visit", 3))) == [4, 5]
    assert list(log.read("visit", 5)) == []
    with pytest.raises(Gap):
        log.read("visit", 6)


def test_a_long_log_forgets_its_start_and_says_so() -> None:
    log = LocalRoomLog()
    log.open("visit", list[Entry]().append)
    for _ in range(MAX_ENTRIES + 10):
        log.append("visit", an_entry(Away(participant="anna")))

    assert len(log.read("visit", 10)) == MAX_ENTRIES
    with pytest.raises(Gap):
        log.read("visit", 9)


def test_large_payloads_are_bounded_by_bytes() -> None:
    log = LocalRoomLog()
    log.open("visit", list[Entry]().append)
    for _ in range(100):
        log.append("visit", a_signal("anna", "bruno", 60_000))

    kept = log.read("visit", 100 - MAX_PAYLOAD_BYTES // 60_000)
    assert len(kept) == MAX_PAYLOAD_BYTES // 60_000
    with pytest.raises(Gap):
        log.read("visit", 0)


def test_trim_forgets_the_signals_of_the_pair_and_nothing_else() -> None:
    log = LocalRoomLog()
    log.open("visit", list[Entry]().append)
    log.append("visit", a_signal("anna", "bruno"))
    log.append("visit", a_signal("bruno", "anna"))
    log.append("visit", a_signal("carla", "bruno"))
    log.append("visit", an_entry(Late(minutes=5)))
    log.append("visit", a_signal("anna", "bruno"))

    log.trim("visit", "bruno", "anna", 5)
    assert seqs(list(log.read("visit", 0))) == [3, 4, 5]

    log.trim("visit", "bruno", None, 6)
    assert seqs(list(log.read("visit", 0))) == [4]


def test_a_room_opened_again_has_another_epoch() -> None:
    log, heard = LocalRoomLog(), list[Entry]()
    first = log.open("visit", heard.append)
    log.close("visit", heard.append)

    second = log.open("visit", heard.append)

    assert first != second
