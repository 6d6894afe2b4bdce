"""The room server as the web application sees it: tickets out, sockets in, acts published."""

from __future__ import annotations

import asyncio
import logging
import secrets
import socket as sockets
from collections.abc import Callable, Sequence
from contextlib import suppress
from datetime import datetime
from functools import partial
from itertools import count
from random import shuffle
from typing import Final

import msgspec
from aiohttp import WSCloseCode, hdrs, web

from signaling.acks import Acks
from signaling.bus import RoomLog
from signaling.door import Door
from signaling.handshake import answer_to, find_opening
from signaling.ice import IceConfig
from signaling.messages import ByeAction, Gone, Participant, Role, RoomEvent
from signaling.reasons import ByeReason, Refused
from signaling.rooms import RoomHooks, Rooms
from signaling.seed import RoomSeed
from signaling.siblings import Siblings
from signaling.sockets import Socket
from signaling.tickets import NONCE_BYTES, issue_ticket

__all__ = ["Hub", "Refused", "RoomHooks", "RoomSeed"]

BEAT_SECONDS: Final = 2.0
PART_WITHIN_SECONDS: Final = 4.0
CUT_WITHIN_SECONDS: Final = 1.0
DRAIN_SECONDS: Final = 5.0
DRAIN_STEPS: Final = 50
BEATS_OF_LEASES: Final = 2
"""Seats of the absent, and signs of life of the nodes, every so many beats."""

logger = logging.getLogger(__name__)


class Hub:
    """All rooms and sockets of this process.

    ``key`` signs tickets and resume tokens and is shared by all nodes. ``allowed_origins`` are
    compared exactly with the ``Origin`` header (``https://host[:port]``); a socket without that
    header is refused. ``clock`` tells the time in UTC.
    """

    def __init__(
        self,
        *,
        log: RoomLog,
        key: bytes,
        hooks: RoomHooks,
        ice: IceConfig,
        allowed_origins: frozenset[str],
        clock: Callable[[], datetime],
    ) -> None:
        self._key = key
        self._allowed_origins = allowed_origins
        self._node = secrets.token_hex(4)
        self._numbers = count(1)
        self._rooms = Rooms(log, hooks, self._node, clock, ice)
        self._log = log
        self._beats = count()
        self._siblings: Siblings | None = None
        self._arriving: set[asyncio.Task[None]] = set()
        self._door = Door(self._rooms, hooks, key, ice, clock, self._forget, self._hand_over)
        self._acks = Acks()
        self._sockets: set[Socket] = set()
        self._timekeeper: asyncio.Task[None] | None = None
        self._is_closing = False
        self._has_emptied = asyncio.Event()

    def issue_ticket(
        self,
        room_id: str,
        participant: str,
        role: Role,
        now: datetime,
        seed: RoomSeed | None = None,
    ) -> str:
        """The right to open one socket, once, within 30 seconds. Who asks was authenticated by
        the caller; the text goes to the page in a response body, never in an address. ``seed``
        is the room as the caller has just read it."""
        nonce = secrets.token_bytes(NONCE_BYTES)
        return issue_ticket(
            self._key,
            room=room_id,
            participant=participant,
            role=role,
            now=now,
            nonce=nonce,
            seed=seed,
        )

    def join_siblings(self, siblings: Siblings) -> None:
        """Gives and takes the connections of other workers of this machine from here on."""
        self._siblings = siblings
        siblings.start(self._take_over)

    def _hand_over(self, socket: Socket, room_id: str, hello: bytes) -> bool:
        """To the worker that has the room, if there is one."""
        if self._siblings is None or not socket.is_movable:
            return False
        if not self._siblings.hand_over(room_id, socket.connection, hello):
            return False
        socket.let_go()
        return True

    def _take_over(self, connection: sockets.socket, hello: bytes) -> None:
        task = asyncio.create_task(self._seat_handed(connection, hello))
        self._arriving.add(task)
        task.add_done_callback(self._arriving.discard)

    async def _seat_handed(self, connection: sockets.socket, hello: bytes) -> None:
        connection.setblocking(False)
        handed = self._make_socket(answer=b"")
        try:
            loop = asyncio.get_running_loop()
            await loop.connect_accepted_socket(lambda: handed, connection)
        except OSError:
            self._forget(handed)
            connection.close()
            return
        if self._is_closing:
            self._send_away(handed)
        else:
            handed.listener.hear(bytearray(hello))

    def accept(self, head: bytes) -> Socket | None:
        """The protocol of a connection that begins with this request head; None when it is not a
        plain opening handshake or is not granted, and ``handle`` has to say why."""
        opening = find_opening(head)
        if opening is None or self._is_closing or opening.origin not in self._allowed_origins:
            return None
        return self._make_socket(answer_to(opening.key))

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """Request handler of ``/ws`` for what ``accept`` leaves to the HTTP server: refusals, and
        handshakes on a connection that was used for pages before. Returns when it is over."""
        origins = request.headers.getall(hdrs.ORIGIN, [])
        if len(origins) != 1 or origins[0] not in self._allowed_origins:
            return web.Response(status=403, text="This origin may not open a socket.\n")
        if self._is_closing:
            return web.Response(status=503, text="Restarting.\n")
        transport = request.transport
        if transport is None or not web.WebSocketResponse().can_prepare(request):
            return web.Response(status=400, text="Only WebSockets are spoken here.\n")
        lost = asyncio.get_running_loop().create_future()
        socket = self._make_socket(answer_to(request.headers[hdrs.SEC_WEBSOCKET_KEY]))
        socket.on_lost = partial(lost.set_result, None)
        transport.set_protocol(socket)
        socket.connection_made(transport)
        await lost
        request.protocol.connection_lost(None)
        return web.Response()

    def _make_socket(self, answer: bytes) -> Socket:
        if self._timekeeper is None:
            self._timekeeper = asyncio.create_task(self._keep_time())
        socket = Socket(f"{self._node}.{next(self._numbers)}", answer, self._acks)
        socket.is_movable = bool(answer)
        self._door.greet(socket)
        self._sockets.add(socket)
        return socket

    def _forget(self, socket: Socket) -> None:
        self._sockets.discard(socket)
        if not self._sockets:
            self._has_emptied.set()

    async def publish(self, room_id: str, event: RoomEvent, reason: str = "") -> None:
        """Tells a room of an act that came over HTTP (``Late``, ``StillChanged``, ``Closed``…), on
        whatever node it is open. Call it after the act is committed; a room that is not open
        reads what its seed has of it when it opens, and never hears of the rest (``Moved``)."""
        self._tell(room_id, msgspec.structs.replace(event), reason)

    def _tell(self, room_id: str, event: RoomEvent, reason: str) -> None:
        """A room that is just being opened is told when it is open: nobody waits for it here."""

        def tell(_: Exception | None) -> None:
            if opened is None or opened.is_over:
                self._rooms.post(room_id, event, reason)
            else:
                self._rooms.append(opened, event, reason=reason)

        opened = self._rooms.find(room_id)
        if opened is None:
            tell(None)
        else:
            opened.when_ready(tell)

    async def presence(self, room_ids: Sequence[str]) -> dict[str, list[Participant]]:
        """Everybody these rooms know, whoever left included, on whatever node they are open;
        nobody for a room that is not open."""
        found: dict[str, list[Participant]] = {}
        elsewhere: list[str] = []
        for room_id in room_ids:
            opened = self._rooms.find(room_id)
            if opened is not None and opened.epoch:
                found[room_id] = opened.room.snapshot()
            else:
                elsewhere.append(room_id)
        return found | await self._log.load_presence(elsewhere)

    async def disconnect(
        self, room_id: str, participant: str, reason: str = ByeReason.REVOKED
    ) -> None:
        """Makes a participant leave: the link was revoked, the user disabled. It cannot resume;
        whether it gets another ticket is the caller's business."""
        await self.publish(room_id, Gone(participant=participant), reason)

    @property
    def open_rooms(self) -> int:
        return len(self._rooms)

    @property
    def open_sockets(self) -> int:
        return len(self._sockets)

    async def drain(self, seconds: float = DRAIN_SECONDS) -> None:
        """Takes no new socket and sends everybody away, one after the other over ``seconds`` so
        that they do not all come at once: to another node on the same seat where the log is
        shared, else back to this one after its restart."""
        self._is_closing = True
        if self._siblings is not None:
            self._siblings.stop()
        there = list(self._sockets)
        shuffle(there)
        for number, socket in enumerate(there):
            self._send_away(socket)
            if (number + 1) % max(1, len(there) // DRAIN_STEPS) == 0:
                await asyncio.sleep(seconds / DRAIN_STEPS)

    def _send_away(self, socket: Socket) -> None:
        is_shared = self._log.is_shared
        socket.is_moved = is_shared
        action = ByeAction.RESUME if is_shared else ByeAction.RECONNECT
        socket.end(ByeReason.RESTARTING, action, code=WSCloseCode.SERVICE_RESTART)

    async def close(self) -> None:
        """Ends what is left. Belongs into ``on_shutdown``, before the web server waits for its
        handlers."""
        self._is_closing = True
        if self._siblings is not None:
            self._siblings.stop()
        if self._timekeeper is not None:
            self._timekeeper.cancel()
            await asyncio.wait({self._timekeeper})
        for socket in list(self._sockets):
            self._send_away(socket)
        if not await self._has_parted_from_all(PART_WITHIN_SECONDS):
            for socket in list(self._sockets):
                socket.cut()
            await self._has_parted_from_all(CUT_WITHIN_SECONDS)
        self._rooms.close()

    async def _has_parted_from_all(self, within_seconds: float) -> bool:
        if self._sockets:
            self._has_emptied.clear()
            with suppress(TimeoutError):
                async with asyncio.timeout(within_seconds):
                    await self._has_emptied.wait()
        return not self._sockets

    async def _keep_time(self) -> None:
        while True:
            await asyncio.sleep(BEAT_SECONDS)
            try:
                self.beat(asyncio.get_running_loop().time())
            except Exception:
                logger.exception("beat failed")

    def beat(self, now: float) -> None:
        """The deadlines of all sockets by one timer, the end of empty rooms, of long absences
        and of dead nodes."""
        for socket in list(self._sockets):
            socket.check(now)
        self._rooms.drop_empty(now)
        if self._siblings is not None:
            self._siblings.release(self._rooms.find)
        if next(self._beats) % BEATS_OF_LEASES == 0:
            self._rooms.expire()
            self._log.beat(self._node, self._rooms.other_nodes(), self._rooms.give_up)
