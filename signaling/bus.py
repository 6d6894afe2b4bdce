"""The room log: every change of a room goes through it, in one order for all nodes.

``RoomLog`` is the port. ``LocalRoomLog`` keeps the log in this process' memory; an adapter over
a shared stream has the same shape, because a node applies only what comes back from the log. The
log knows no room rules: it numbers, keeps, delivers and forgets.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Sequence
from itertools import count
from typing import Final, Protocol

import msgspec

from signaling.entries import Entry
from signaling.messages import SIGNAL_EVENTS, Signal

MAX_ENTRIES: Final = 500
MAX_PAYLOAD_BYTES: Final = 2 * 1024 * 1024

Deliver = Callable[[Entry], None]


class Gap(Exception):
    """The log no longer holds everything after the wanted number."""


class RoomLog(Protocol):
    """Port of the room log. ``deliver`` is called in order, once for each ``seq``."""

    def open(self, room_id: str, deliver: Deliver) -> str:
        """Subscribes to a room; entries it already holds are delivered first.

        Returns the epoch: another one means that the numbering has started again.
        """

    def append(self, room_id: str, entry: Entry) -> None:
        """Numbers the entry's event, which is the log's from here on, and delivers it, to this
        node before it returns."""

    def read(self, room_id: str, after: int) -> Sequence[Entry]:
        """The entries with a ``seq`` above ``after``; raises ``Gap`` when some are gone."""

    def trim(self, room_id: str, one: str, other: str | None, before: int) -> None:
        """Forgets the signals below ``before`` between two participants (or all of one)."""

    def close(self, room_id: str, deliver: Deliver) -> None:
        """Ends the subscription."""


class _Log:
    __slots__ = ("delivers", "entries", "epoch", "first_seq", "last_seq", "payload_bytes")

    def __init__(self, epoch: str) -> None:
        self.epoch = epoch
        self.entries: list[Entry] = []
        self.delivers: list[Deliver] = []
        self.first_seq = 1
        """Everything from here on is held, trimmed signals aside."""
        self.last_seq = 0
        self.payload_bytes = 0

    def drop_oldest(self) -> None:
        while len(self.entries) > MAX_ENTRIES or self.payload_bytes > MAX_PAYLOAD_BYTES:
            oldest = self.entries.pop(0)
            self.payload_bytes -= _payload_bytes(oldest)
            self.first_seq = oldest.event.seq + 1


class LocalRoomLog:
    """``RoomLog`` of one process: a bounded list for each open room."""

    __slots__ = ("_logs", "_numbers", "_origin")

    def __init__(self) -> None:
        self._logs: dict[str, _Log] = {}
        self._origin = secrets.token_hex(8)
        self._numbers = count(1)

    def open(self, room_id: str, deliver: Deliver) -> str:
        log = self._logs.get(room_id)
        if log is None:
            epoch = f"{self._origin}.{next(self._numbers)}"
            log = self._logs[room_id] = _Log(epoch)
        for entry in log.entries:
            deliver(entry)
        log.delivers.append(deliver)
        return log.epoch

    def append(self, room_id: str, entry: Entry) -> None:
        log = self._logs[room_id]
        event, entries = entry.event, log.entries
        log.last_seq += 1
        msgspec.structs.force_setattr(event, "seq", log.last_seq)
        entries.append(entry)
        if isinstance(event, SIGNAL_EVENTS):
            log.payload_bytes += len(event.payload)
        if len(entries) > MAX_ENTRIES or log.payload_bytes > MAX_PAYLOAD_BYTES:
            log.drop_oldest()
        for deliver in log.delivers:
            deliver(entry)

    def read(self, room_id: str, after: int) -> Sequence[Entry]:
        log = self._logs[room_id]
        if not log.first_seq - 1 <= after <= log.last_seq:
            raise Gap
        return [entry for entry in log.entries if entry.event.seq > after]

    def trim(self, room_id: str, one: str, other: str | None, before: int) -> None:
        log = self._logs[room_id]
        if not log.payload_bytes:
            return
        kept = [
            entry
            for entry in log.entries
            if entry.event.seq >= before
            or not isinstance(event := entry.event, Signal)
            or one not in (event.sender, event.to)
            or (other is not None and other not in (event.sender, event.to))
        ]
        log.entries = kept
        log.payload_bytes = sum(_payload_bytes(entry) for entry in kept)

    def close(self, room_id: str, deliver: Deliver) -> None:
        log = self._logs[room_id]
        log.delivers.remove(deliver)
        if not log.delivers:
            del self._logs[room_id]


def _payload_bytes(entry: Entry) -> int:
    return len(entry.event.payload) if isinstance(entry.event, Signal) else 0
