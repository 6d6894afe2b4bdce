"""The open rooms of this node: folds entries of the log and performs what concerns its sockets.

It knows no HTTP and no frames from clients (``hub.py``) and no room rules (``room.py``).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import datetime
from functools import partial
from typing import Final, Protocol

from signaling.bus import RoomLog
from signaling.entries import Entry
from signaling.messages import SIGNAL_EVENTS, RoomEvent
from signaling.room import Deliver, Dismiss, Room, Trim
from signaling.seed import RoomSeed
from signaling.sockets import Socket, encode

EMPTY_ROOM_SECONDS: Final = 180.0
SEED_SECONDS: Final = 60.0
"""Longer than a ticket lives: what changed within it may be newer than the seed of a ticket."""


class RoomHooks(Protocol):
    """What the web application does for the rooms. Signaling itself knows no database."""

    async def load(self, room_id: str) -> RoomSeed:
        """Read what is kept of a room when this node opens it; raises ``Refused`` when there
        is no such room. Spared when the ticket carries a seed that cannot be stale."""

    def opened(self, room_id: str, seed: RoomSeed) -> None:
        """This node has the room now. Must be quick and must not raise."""

    def closed(self, room_id: str) -> None:
        """This node has forgotten the room. As ``opened``."""

    async def admit(self, room_id: str, by: str, participant: str) -> None:
        """Keep the act before the room sees it; raises ``Refused``. May be repeated for the
        same participant when the clinician's socket is lost meanwhile."""

    async def turn_away(self, room_id: str, by: str, participant: str) -> None:
        """As ``admit``."""

    def observe(self, room_id: str, event: RoomEvent) -> None:
        """Called once for each event, signals aside, that came from this node and counted.
        Must be quick and must not raise."""


class OpenRoom:
    """A room with what this node alone has of it: its sockets and the log's epoch."""

    __slots__ = ("deliver", "empty_since", "epoch", "guests", "room", "room_id", "seed", "sockets")

    def __init__(self, room_id: str, seed: RoomSeed, now: float) -> None:
        self.room_id = room_id
        self.seed = seed
        self.room = Room(seed.admitted, seed.late_minutes, seed.outcome)
        self.epoch = ""
        self.sockets: dict[str, Socket] = {}
        """By participant; a socket is here from its ``welcome`` on."""
        self.guests = 0
        """Sockets that hold this room, from before their ``welcome`` to after their end."""
        self.empty_since = now
        self.deliver: Callable[[Entry], None]


class Rooms:
    """All open rooms of this node over one ``RoomLog``."""

    __slots__ = ("_changed_at", "_clock", "_hooks", "_log", "_node", "_open", "_opening")

    def __init__(
        self, log: RoomLog, hooks: RoomHooks, node: str, clock: Callable[[], datetime]
    ) -> None:
        self._log = log
        self._hooks = hooks
        self._node = node
        self._clock = clock
        self._open: dict[str, OpenRoom] = {}
        self._opening: dict[str, asyncio.Task[None]] = {}
        self._changed_at: dict[str, float] = {}
        """When a room that is not open was last open or told of an act."""

    def __len__(self) -> int:
        return len(self._open)

    def find(self, room_id: str) -> OpenRoom | None:
        return self._open.get(room_id)

    async def find_or_wait(self, room_id: str) -> OpenRoom | None:
        """The room if it is open or just being opened."""
        opening = self._opening.get(room_id)
        if opening is not None:
            await asyncio.wait({opening})
        return self._open.get(room_id)

    def enter(self, room_id: str, seed: RoomSeed | None = None) -> OpenRoom | None:
        """The room when it is open or ``seed`` can open it. None when the records must be asked:
        then ``load_and_enter``. Whoever enters calls ``leave`` in the end."""
        opened = self._open.get(room_id)
        if opened is None:
            if seed is None or room_id in self._changed_at or room_id in self._opening:
                return None
            opened = self._start(room_id, seed)
        opened.guests += 1
        return opened

    async def load_and_enter(self, room_id: str) -> OpenRoom:
        """The room, read from the records once for all who come meanwhile."""
        while (opened := self._open.get(room_id)) is None:
            opening = self._opening.get(room_id)
            if opening is None:
                opening = self._opening[room_id] = asyncio.create_task(self._load(room_id))
            await asyncio.shield(opening)
        opened.guests += 1
        return opened

    async def _load(self, room_id: str) -> None:
        try:
            self._start(room_id, await self._hooks.load(room_id))
        finally:
            del self._opening[room_id]

    def _start(self, room_id: str, seed: RoomSeed) -> OpenRoom:
        opened = OpenRoom(room_id, seed, asyncio.get_running_loop().time())
        opened.deliver = partial(self._apply, opened)
        opened.epoch = self._log.open(room_id, opened.deliver)
        self._open[room_id] = opened
        self._hooks.opened(room_id, seed)
        return opened

    def append(
        self,
        opened: OpenRoom,
        event: RoomEvent,
        by: str = "",
        socket: str = "",
        cseq: int = 0,
        reason: str = "",
    ) -> None:
        entry = Entry(event, self._node, by, socket, cseq, reason)
        self._log.append(opened.room_id, entry)

    def read(self, opened: OpenRoom, after: int) -> list[RoomEvent]:
        """What this node has applied after ``after``; raises ``Gap``."""
        entries = self._log.read(opened.room_id, after)
        return [entry.event for entry in entries if entry.event.seq <= opened.room.seq]

    def _apply(self, opened: OpenRoom, entry: Entry) -> None:
        event = entry.event
        if isinstance(event, SIGNAL_EVENTS):
            to = opened.room.apply_signal(entry, event)
            socket = opened.sockets.get(event.to)
            if socket is not None and to is not None and to.is_present:
                socket.send(event)
            return
        effects = opened.room.apply(entry, self._clock())
        for effect in effects:
            if isinstance(effect, Deliver):
                self._deliver(opened, effect.event, effect.to)
            elif isinstance(effect, Trim):
                self._log.trim(opened.room_id, effect.one, effect.other, effect.before)
            else:
                self._dismiss(opened, effect)
        if effects and entry.node == self._node:
            self._hooks.observe(opened.room_id, event)

    def _dismiss(self, opened: OpenRoom, effect: Dismiss) -> None:
        socket = opened.sockets.get(effect.participant)
        if socket is None or socket.id == effect.keep:
            return
        if effect.bye is None:
            socket.cut()
        else:
            socket.end(effect.bye.reason, effect.bye.action)

    def _deliver(self, opened: OpenRoom, event: RoomEvent, to: tuple[str, ...]) -> None:
        payload = b""
        for participant in to:
            socket = opened.sockets.get(participant)
            if socket is not None:
                payload = payload or encode(event)
                socket.send_bytes(payload)

    def leave(self, opened: OpenRoom) -> None:
        """One socket less. A room that everybody has left for good is forgotten at once."""
        opened.guests -= 1
        if not opened.guests:
            opened.empty_since = asyncio.get_running_loop().time()
            if opened.room.is_deserted:
                self._drop(opened)

    def note_change(self, room_id: str) -> None:
        """A ticket issued before now may carry an old seed of this room."""
        self._changed_at[room_id] = asyncio.get_running_loop().time()

    def drop_empty(self, now: float) -> None:
        """Forgets the rooms in which nobody of this node has been for a while."""
        for room_id, changed_at in list(self._changed_at.items()):
            if now - changed_at >= SEED_SECONDS:
                del self._changed_at[room_id]
        for opened in list(self._open.values()):
            if not opened.guests and now - opened.empty_since >= EMPTY_ROOM_SECONDS:
                self._drop(opened)

    def close(self) -> None:
        for opening in list(self._opening.values()):
            opening.cancel()
        for opened in list(self._open.values()):
            self._drop(opened)

    def _drop(self, opened: OpenRoom) -> None:
        if self._open.pop(opened.room_id, None) is opened:
            self._log.close(opened.room_id, opened.deliver)
            del opened.deliver  # it holds the room in turn
            self.note_change(opened.room_id)
            self._hooks.closed(opened.room_id)
