"""The room server as the web application sees it: tickets out, sockets in, acts published."""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections.abc import Callable
from datetime import datetime
from itertools import count
from typing import Final

from aiohttp import WSCloseCode, hdrs, web

from signaling.bus import RoomLog
from signaling.door import Door
from signaling.ice import IceConfig
from signaling.messages import MAX_FRAME_BYTES, ByeAction, Gone, Participant, Role, RoomEvent
from signaling.reasons import ByeReason, Refused
from signaling.rooms import RoomHooks, Rooms
from signaling.seed import RoomSeed
from signaling.sockets import CLOSE_DEADLINE_SECONDS, Socket
from signaling.tickets import NONCE_BYTES, issue_ticket

__all__ = ["Hub", "Refused", "RoomHooks", "RoomSeed"]

BEAT_SECONDS: Final = 2.0
PING_AFTER_SECONDS: Final = 15.0
CUT_AFTER_SECONDS: Final = 30.0
PART_WITHIN_SECONDS: Final = 4.0

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
        self._rooms = Rooms(log, hooks, self._node, clock)
        self._door = Door(self._rooms, hooks, key, ice, clock)
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

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """Request handler of ``/ws``. Returns when the socket is over."""
        origins = request.headers.getall(hdrs.ORIGIN, [])
        if len(origins) != 1 or origins[0] not in self._allowed_origins:
            return web.Response(status=403, text="This origin may not open a socket.\n")
        if self._is_closing:
            return web.Response(status=503, text="Restarting.\n")
        response: web.WebSocketResponse[bool] = web.WebSocketResponse(
            timeout=CLOSE_DEADLINE_SECONDS,
            autoclose=False,
            autoping=False,
            compress=False,
            max_msg_size=MAX_FRAME_BYTES + 1,  # aiohttp refuses from this size on
            decode_text=False,
        )
        writer = await response.prepare(request)
        transport = request.transport
        if transport is not None:
            socket_id = f"{self._node}.{next(self._numbers)}"
            await self._serve(Socket(socket_id, request, response, writer, transport))
        return response

    async def _serve(self, socket: Socket) -> None:
        if self._timekeeper is None:
            self._timekeeper = asyncio.create_task(self._keep_time())
        self._sockets.add(socket)
        try:
            await self._door.converse(socket)
        except ConnectionError:
            logger.debug("socket %s lost while writing", socket.id)
        except Exception:
            logger.exception("socket %s failed", socket.id)
            socket.end(ByeReason.FAILED, ByeAction.RESUME, code=WSCloseCode.INTERNAL_ERROR)
        finally:
            self._sockets.discard(socket)
            if not self._sockets:
                self._has_emptied.set()
            await socket.finish()

    async def publish(self, room_id: str, event: RoomEvent) -> None:
        """Tells an open room of an act that came over HTTP (``Late``, ``Moved``, ``Closed``).
        Call it after the act is committed; a room that is not open reads it when it opens."""
        opened = await self._rooms.find_or_wait(room_id)
        if opened is not None:
            await self._rooms.append(opened, event)
        else:
            self._rooms.note_change(room_id)

    def presence(self, room_id: str) -> list[Participant]:
        """Everybody the open room knows, whoever left included; empty when it is not open."""
        opened = self._rooms.find(room_id)
        return opened.room.snapshot() if opened else []

    async def disconnect(
        self, room_id: str, participant: str, reason: str = ByeReason.REVOKED
    ) -> None:
        """Makes a participant leave: the link was revoked, the user disabled. It cannot resume;
        whether it gets another ticket is the caller's business."""
        opened = await self._rooms.find_or_wait(room_id)
        if opened is not None:
            await self._rooms.append(opened, Gone(participant=participant), reason=reason)

    async def close(self) -> None:
        """Sends everybody to another node, or to this one after its restart. Belongs into
        ``on_shutdown``, before the web server waits for its handlers."""
        self._is_closing = True
        if self._timekeeper is not None:
            self._timekeeper.cancel()
            await asyncio.wait({self._timekeeper})
        for socket in list(self._sockets):
            socket.end(ByeReason.RESTARTING, ByeAction.RECONNECT, code=WSCloseCode.GOING_AWAY)
        if self._sockets:
            self._has_emptied.clear()
            try:
                async with asyncio.timeout(PART_WITHIN_SECONDS):
                    await self._has_emptied.wait()
            except TimeoutError:
                for socket in list(self._sockets):
                    socket.cut()
        await self._rooms.close()

    async def _keep_time(self) -> None:
        while True:
            await asyncio.sleep(BEAT_SECONDS)
            try:
                await self.beat(asyncio.get_running_loop().time())
            except Exception:
                logger.exception("beat failed")

    async def beat(self, now: float) -> None:
        """Liveness of all sockets by one timer, and the end of empty rooms."""
        for socket in list(self._sockets):
            silence = now - socket.heard_at
            if silence >= CUT_AFTER_SECONDS:
                socket.cut()
            elif silence >= PING_AFTER_SECONDS:
                socket.ping()
        await self._rooms.drop_empty(now)
