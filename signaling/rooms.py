"""The open rooms of this node: folds entries of the log and performs what concerns its sockets.

It knows no HTTP and no frames from clients (``hub.py``) and no room rules (``room.py``).
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from datetime import datetime
from typing import Final, Protocol

from aiohttp import WSCloseCode

from signaling.bus import Gap, RoomLog
from signaling.entries import Entry
from signaling.ice import IceConfig
from signaling.members import Member
from signaling.messages import (
    SIGNAL_EVENTS,
    Admitted,
    Away,
    ByeAction,
    Gone,
    Joined,
    Returned,
    RoomEvent,
    TurnedAway,
)
from signaling.openroom import OpenRoom
from signaling.reasons import ByeReason, Refused
from signaling.room import Deliver, Dismiss, SignalEvent, Trim
from signaling.seed import RoomSeed
from signaling.sockets import encode

EMPTY_ROOM_SECONDS: Final = 180.0
PASSAGES: Final = (Joined, Returned, Away, Gone, Admitted, TurnedAway)
SEED_SECONDS: Final = 60.0
"""Longer than a ticket lives: what changed within it may be newer than the seed of a ticket."""

logger = logging.getLogger(__name__)


class RoomHooks(Protocol):
    """What the web application does for the rooms. Signaling itself knows no database."""

    async def load(self, room_id: str) -> RoomSeed:
        """Read what is kept of a room when it is opened; raises ``Refused`` when there is no
        such room. Spared when the ticket carries a seed that cannot be stale."""

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


class Rooms:
    """All open rooms of this node over one ``RoomLog``; the keeper of each of them."""

    __slots__ = ("_changed_at", "_clock", "_hooks", "_ice", "_loading", "_log", "_open", "node")

    def __init__(
        self,
        log: RoomLog,
        hooks: RoomHooks,
        node: str,
        clock: Callable[[], datetime],
        ice: IceConfig,
    ) -> None:
        self.node = node
        self._log = log
        self._hooks = hooks
        self._clock = clock
        self._ice = ice
        self._open: dict[str, OpenRoom] = {}
        self._loading: set[asyncio.Task[None]] = set()
        self._changed_at: dict[str, float] = {}
        """When a room that is not open was last open or told of an act."""

    def __len__(self) -> int:
        return len(self._open)

    def find(self, room_id: str) -> OpenRoom | None:
        """The room if it is open or just being opened."""
        return self._open.get(room_id)

    # ---- opening ---------------------------------------------------------------------------

    def enter(self, room_id: str, seed: RoomSeed | None = None) -> OpenRoom:
        """The room, perhaps not ready yet. ``seed`` spares the records a question. Whoever
        enters calls ``leave`` in the end."""
        opened = self._open.get(room_id)
        if opened is None:
            opened = self._open[room_id] = OpenRoom(
                room_id, self, asyncio.get_running_loop().time()
            )
            trusted = None if room_id in self._changed_at else seed
            self._log.open(room_id, opened, trusted)
        opened.guests += 1
        return opened

    def on_absent(self, opened: OpenRoom, token: str) -> None:
        loading = asyncio.create_task(self._load(opened, token))
        self._loading.add(loading)
        loading.add_done_callback(self._loading.discard)

    async def _load(self, opened: OpenRoom, token: str) -> None:
        try:
            seed = await self._hooks.load(opened.room_id)
        except Exception as failure:
            if not isinstance(failure, Refused):
                logger.exception("room %s does not open", opened.room_id)
            opened.is_over = True
            if self._open.get(opened.room_id) is opened:
                del self._open[opened.room_id]
                self._log.close(opened.room_id, opened)
            opened.make_ready(failure)
            return
        if self._open.get(opened.room_id) is opened:
            self._log.open(opened.room_id, opened, seed, token)

    def on_open(self, opened: OpenRoom) -> None:
        self._hooks.opened(opened.room_id, opened.seed)
        if opened.is_awaited:  # what the log holds is delivered in this turn of the loop
            asyncio.get_running_loop().call_soon(opened.make_ready)

    # ---- the log ---------------------------------------------------------------------------

    def append(
        self,
        opened: OpenRoom,
        event: RoomEvent,
        by: str = "",
        socket: str = "",
        cseq: int = 0,
        reason: str = "",
        ticket: str = "",
    ) -> None:
        if not opened.is_over:
            at = self._clock().timestamp()
            entry = Entry(event, self.node, by, socket, cseq, reason, at, ticket)
            self._log.append(opened.room_id, entry)

    def append_signal(
        self, opened: OpenRoom, event: SignalEvent, by: str, socket: str, cseq: int
    ) -> None:
        """``append`` for what most entries are."""
        if not opened.is_over:
            self._log.append(opened.room_id, Entry(event, self.node, by, socket, cseq))

    def post(self, room_id: str, event: RoomEvent, reason: str = "") -> None:
        """Tells the rooms of other nodes of an act; this one does not have the room open."""
        entry = Entry(event, self.node, reason=reason, at=self._clock().timestamp())
        self._log.post(room_id, entry)
        self._ice.end_seats(room_id, event, entry.at)
        self._changed_at[room_id] = asyncio.get_running_loop().time()

    def read(self, opened: OpenRoom, after: int) -> list[RoomEvent]:
        """What this node has applied after ``after``; raises ``Gap``."""
        entries = self._log.read(opened.room_id, after)
        return [entry.event for entry in entries if entry.event.seq <= opened.room.seq]

    def holds(self, opened: OpenRoom, after: int) -> bool:
        """Whether everything after ``after`` can be read again."""
        try:
            self._log.read(opened.room_id, after)
        except Gap:
            return False
        return True

    def on_entry(self, opened: OpenRoom, entry: Entry) -> None:
        event = entry.event
        if isinstance(event, SIGNAL_EVENTS):
            to = opened.room.apply_signal(entry, event)
            socket = opened.sockets.get(event.to)
            if socket is not None and to is not None and to.is_present:
                socket.send(event)
        else:
            self._apply(opened, entry)
        if entry.cseq and entry.node == self.node:
            author = opened.find_socket(entry.by, entry.socket)
            if author is not None:
                author.settle(entry.cseq)

    def _apply(self, opened: OpenRoom, entry: Entry) -> None:
        effects = opened.room.apply(entry)
        is_own = entry.node == self.node
        for effect in effects:
            if isinstance(effect, Deliver):
                self._deliver(opened, effect.event, effect.to)
            elif isinstance(effect, Trim):
                one, other, before = effect.one, effect.other, effect.before
                self._log.trim(opened.room_id, one, other, before, is_own=is_own)
            else:
                self._dismiss(opened, effect)
        if effects:
            self._ice.end_seats(opened.room_id, entry.event, entry.at)
        if is_own:
            if effects:
                self._say(opened, entry)
            arrive = opened.arrivals.pop(entry.socket, None)
            if arrive is not None:
                arrive()
        elif isinstance(entry.event, Away):
            self._contradict(opened, entry)

    def _say(self, opened: OpenRoom, entry: Entry) -> None:
        """What happened through this node, to the records and to the lists of other nodes."""
        if entry.reason != ByeReason.EXPIRED:
            self._hooks.observe(opened.room_id, entry.event)
        if self._log.is_shared and isinstance(entry.event, PASSAGES):
            self._log.note_presence(opened.room_id, opened.room.snapshot())

    def _contradict(self, opened: OpenRoom, entry: Entry) -> None:
        """Another node took this one for dead, and a socket of this one lives."""
        if opened.find_socket(entry.by, entry.socket) is not None:
            self.append(opened, Returned(participant=entry.by), entry.by, entry.socket)

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

    # ---- the end ---------------------------------------------------------------------------

    def leave(self, opened: OpenRoom) -> None:
        """One socket less. A room that everybody has left for good is forgotten at once."""
        opened.guests -= 1
        if not opened.guests:
            opened.empty_since = asyncio.get_running_loop().time()
            if opened.epoch and opened.room.is_deserted:
                self._drop(opened)

    def on_lost(self, opened: OpenRoom) -> None:
        """The room starts again from the records; everybody joins anew, without a click."""
        logger.warning("the log of room %s is lost, it starts again", opened.room_id)
        self._forget(opened)
        opened.make_ready()
        for arrive in list(opened.arrivals.values()):
            arrive()
        for socket in list(opened.sockets.values()):
            socket.end(ByeReason.LOG_LOST, ByeAction.RECONNECT, code=WSCloseCode.SERVICE_RESTART)

    def expire(self) -> None:
        """Gives up the seats of those who have been away for too long. Each node that has the
        room may say so: the fold takes it once, and not when the person is back."""
        now = self._clock().timestamp()
        for opened in self._open.values():
            for member in opened.room.overdue(now) if opened.epoch else ():
                gone = Gone(participant=member.participant)
                who, socket = member.participant, member.socket
                self.append(opened, gone, who, socket, reason=ByeReason.EXPIRED)

    def other_nodes(self) -> set[str]:
        """The nodes on which people of these rooms have their sockets."""
        return {
            _node_of(member)
            for opened in self._open.values()
            if opened.epoch
            for member in opened.room.members.values()
            if member.is_present
        } - {self.node}

    def give_up(self, node: str) -> None:
        """That node is dead, and could not say that its sockets are lost."""
        for opened in self._open.values():
            for member in opened.room.members.values() if opened.epoch else ():
                if member.is_present and _node_of(member) == node:
                    who = member.participant
                    self.append(opened, Away(participant=who), who, member.socket)

    def drop_empty(self, now: float) -> None:
        """Forgets the rooms in which nobody of this node has been for a while."""
        for room_id, changed_at in list(self._changed_at.items()):
            if now - changed_at >= SEED_SECONDS:
                del self._changed_at[room_id]
        for opened in list(self._open.values()):
            if not opened.guests and now - opened.empty_since >= EMPTY_ROOM_SECONDS:
                self._drop(opened)

    def close(self) -> None:
        for loading in list(self._loading):
            loading.cancel()
        for opened in list(self._open.values()):
            self._drop(opened)

    def _drop(self, opened: OpenRoom) -> None:
        if self._open.get(opened.room_id) is opened:
            self._log.close(opened.room_id, opened)
            self._forget(opened)

    def _forget(self, opened: OpenRoom) -> None:
        del self._open[opened.room_id]
        opened.is_over = True
        self._changed_at[opened.room_id] = asyncio.get_running_loop().time()
        if opened.epoch:
            self._hooks.closed(opened.room_id)


def _node_of(member: Member) -> str:
    return member.socket.partition(".")[0]
