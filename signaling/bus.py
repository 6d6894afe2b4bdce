"""The room log: every change of a room goes through it, in one order for all nodes.

``RoomLog`` is the port. ``LocalRoomLog`` keeps the log in this process' memory; ``valkeylog.py``
has the one over a shared stream. Both have the same shape, because a node applies only what comes
back from the log. The log knows no room rules: it numbers, keeps, delivers and forgets.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Collection, Sequence
from itertools import count
from typing import Protocol

import msgspec

from signaling.entries import Entry
from signaling.messages import Participant
from signaling.seed import RoomSeed
from signaling.tape import Gap, Tape

__all__ = ["Gap", "LocalRoomLog", "RoomListener", "RoomLog"]


class RoomListener(Protocol):
    """A room of a node as the log sees it."""

    def on_open(self, epoch: str, seed: RoomSeed) -> None:
        """The log has the room; what it holds follows. Every node gets the same seed. Another
        epoch than before means that the numbering has started again."""

    def on_absent(self, token: str) -> None:
        """The log does not have the room and was given no seed that it may trust: ask the
        records, and open again with their seed and this token."""

    def on_entry(self, entry: Entry) -> None:
        """The next entry; called in order, once for each ``seq``."""

    def on_lost(self) -> None:
        """The log has lost the room: nothing comes any more, and what was appended and has not
        come back will not."""


class RoomLog(Protocol):
    """Port of the room log."""

    is_shared: bool
    """Whether other nodes hold the same rooms."""

    def open(
        self, room_id: str, listener: RoomListener, seed: RoomSeed | None, token: str = ""
    ) -> None:
        """Subscribes to a room, and starts its log when there is none. ``listener`` is told, at
        once or later."""

    def append(self, room_id: str, entry: Entry) -> None:
        """Takes over the entry of an open room, numbers and delivers it, at once or later."""

    def post(self, room_id: str, entry: Entry) -> None:
        """``append`` for a room that this node does not have open; without a log it is for the
        records alone, and no older seed opens the room any more."""

    def read(self, room_id: str, after: int) -> Sequence[Entry]:
        """The delivered entries with a ``seq`` above ``after``; raises ``Gap`` when some are
        gone."""

    def trim(self, room_id: str, one: str, other: str | None, before: int, *, is_own: bool) -> None:
        """Forgets the signals below ``before`` between two participants (or all of one).
        ``is_own``: it follows from an entry of this node."""

    def close(self, room_id: str, listener: RoomListener) -> None:
        """Ends the subscription."""

    async def load_presence(self, room_ids: Sequence[str]) -> dict[str, list[Participant]]:
        """Who is in rooms that this node does not have open, as another node last wrote."""

    def note_presence(self, room_id: str, participants: list[Participant]) -> None:
        """Writes it, after an entry of this node."""

    def beat(self, node: str, others: Collection[str], on_dead: Callable[[str], None]) -> None:
        """Shows that this node lives, and calls back with those of the others that have shown
        nothing for a while."""


class _Log:
    __slots__ = ("epoch", "listeners", "seed", "tape")

    def __init__(self, epoch: str, seed: RoomSeed) -> None:
        self.epoch = epoch
        self.seed = seed
        self.tape = Tape()
        self.listeners: list[RoomListener] = []


class LocalRoomLog:
    """``RoomLog`` of one process: a bounded list for each open room."""

    __slots__ = ("_logs", "_numbers", "_origin")

    is_shared = False

    def __init__(self) -> None:
        self._logs: dict[str, _Log] = {}
        self._origin = secrets.token_hex(8)
        self._numbers = count(1)

    def open(
        self, room_id: str, listener: RoomListener, seed: RoomSeed | None, token: str = ""
    ) -> None:
        log = self._logs.get(room_id)
        if log is None:
            if seed is None:
                listener.on_absent("")
                return
            epoch = f"{self._origin}.{next(self._numbers)}"
            log = self._logs[room_id] = _Log(epoch, seed)
        listener.on_open(log.epoch, log.seed)
        for entry in log.tape.entries:
            listener.on_entry(entry)
        log.listeners.append(listener)

    def append(self, room_id: str, entry: Entry) -> None:
        log = self._logs[room_id]
        msgspec.structs.force_setattr(entry.event, "seq", log.tape.last_seq + 1)
        log.tape.add(entry)
        for listener in log.listeners:
            listener.on_entry(entry)

    def post(self, room_id: str, entry: Entry) -> None:
        if room_id in self._logs:
            self.append(room_id, entry)

    def read(self, room_id: str, after: int) -> Sequence[Entry]:
        return self._logs[room_id].tape.read(after)

    def trim(self, room_id: str, one: str, other: str | None, before: int, *, is_own: bool) -> None:
        self._logs[room_id].tape.trim(one, other, before)

    def close(self, room_id: str, listener: RoomListener) -> None:
        log = self._logs.get(room_id)
        if log is not None and listener in log.listeners:
            log.listeners.remove(listener)
            if not log.listeners:
                del self._logs[room_id]

    async def load_presence(self, room_ids: Sequence[str]) -> dict[str, list[Participant]]:
        return {}

    def note_presence(self, room_id: str, participants: list[Participant]) -> None:
        """Nobody else would read it."""

    def beat(self, node: str, others: Collection[str], on_dead: Callable[[str], None]) -> None:
        """There are no others."""
