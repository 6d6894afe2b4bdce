"""One WebSocket: what comes in, one message at a time, and what goes out, joined per tick.

It knows frames and bytes, not rooms. Frames for one client within one turn of the event loop
leave in one write. The outgoing side costs a waiting socket nothing: it becomes a task only
while the client's TCP window is shut, and ends the socket when that lasts.
"""

from __future__ import annotations

import asyncio
import struct
from typing import Final

import msgspec
from aiohttp import WSCloseCode, WSMsgType, web
from aiohttp.abc import AbstractStreamWriter

from signaling.limits import TokenBucket
from signaling.messages import (
    Ack,
    Bye,
    ByeAction,
    Error,
    Pong,
    RoomEvent,
    Welcome,
)
from signaling.reasons import ByeReason

MAX_QUEUED_MESSAGES: Final = 256
MAX_QUEUED_BYTES: Final = 1024 * 1024
SEND_DEADLINE_SECONDS: Final = 5.0
CLOSE_DEADLINE_SECONDS: Final = 2.0
ACK_DELAY_SECONDS: Final = 0.2

_RECEIVED: Final = frozenset({WSMsgType.TEXT, WSMsgType.BINARY, WSMsgType.PING, WSMsgType.PONG})
_PING_FRAME: Final = b"\x89\x00"
_TEXT: Final = 0x81
_CLOSE: Final = 0x88
_SHORT: Final = struct.Struct("!BB").pack
_MEDIUM: Final = struct.Struct("!BBH").pack
_LONG: Final = struct.Struct("!BBQ").pack
_CLOSE_FRAME: Final = struct.Struct("!BBH").pack

encode: Final = msgspec.json.Encoder().encode


class Socket:
    """The two directions of one WebSocket and its end. One reader calls ``receive``."""

    __slots__ = (
        "_ack_handle",
        "_acked",
        "_bucket",
        "_close_handle",
        "_draining",
        "_is_flush_due",
        "_is_shut",
        "_loop",
        "_queue",
        "_queued_bytes",
        "_request",
        "_response",
        "_taken",
        "_transport",
        "_writer",
        "heard_at",
        "id",
        "is_over",
    )

    def __init__(
        self,
        socket_id: str,
        request: web.Request,
        response: web.WebSocketResponse[bool],
        writer: AbstractStreamWriter,
        transport: asyncio.Transport,
    ) -> None:
        self.id = socket_id
        self.is_over = False
        self._loop = asyncio.get_running_loop()
        self._request = request
        self._response = response
        self._writer = writer
        self._transport = transport
        self.heard_at = self._loop.time()
        self._bucket = TokenBucket(self.heard_at)
        self._queue: list[bytes] = []
        self._queued_bytes = 0
        self._is_flush_due = False
        self._is_shut = False
        """The client's side is closed: nothing more comes."""
        self._taken = self._acked = 0
        self._ack_handle: asyncio.TimerHandle | None = None
        self._draining: asyncio.Task[None] | None = None
        self._close_handle: asyncio.TimerHandle | None = None

    # ---- in --------------------------------------------------------------------------------

    async def receive(self) -> bytes | None:
        """The next text frame, or None when the socket is over. Pings are answered here."""
        while not self.is_over:
            message = await self._response.receive()
            kind = message.type
            if kind not in _RECEIVED:
                self._is_shut = True
                return None
            self.heard_at = now = self._loop.time()
            if self.is_over:
                return None
            if not self._bucket.take(now):
                self.end(ByeReason.TOO_MANY_MESSAGES, code=WSCloseCode.POLICY_VIOLATION)
            elif kind is WSMsgType.TEXT:
                payload: bytes = message.data
                return payload
            elif kind is WSMsgType.PING:
                await self._response.pong(message.data)
            elif kind is WSMsgType.BINARY:
                self.end(ByeReason.BAD_MESSAGES, code=WSCloseCode.UNSUPPORTED_DATA)
        return None

    # ---- out -------------------------------------------------------------------------------

    def send(self, frame: Welcome | Error | Pong | Bye | RoomEvent) -> None:
        self.send_bytes(encode(frame))

    def send_bytes(self, payload: bytes) -> None:
        """Queues one text frame. It leaves with all others of this turn of the loop."""
        if self.is_over:
            return
        size = len(payload)
        if size < 126:
            header = _SHORT(_TEXT, size)
        elif size < 65536:
            header = _MEDIUM(_TEXT, 126, size)
        else:
            header = _LONG(_TEXT, 127, size)
        self._queue.append(header + payload)
        self._queued_bytes += size
        if len(self._queue) > MAX_QUEUED_MESSAGES or self._queued_bytes > MAX_QUEUED_BYTES:
            self._relieve()
        elif not self._is_flush_due:
            self._is_flush_due = True
            self._loop.call_soon(self._flush)

    def take(self, cseq: int) -> None:
        """Notes that the client's frames up to ``cseq`` are taken; acknowledged with the next
        write, or alone after a short while."""
        self._taken = max(self._taken, cseq)
        if self._ack_handle is None:
            self._ack_handle = self._loop.call_later(ACK_DELAY_SECONDS, self._send_ack)

    def ping(self) -> None:
        """Asks the browser for a sign of life; it answers even where the page sleeps."""
        if not self.is_over and not self._transport.is_closing():
            self._transport.write(_PING_FRAME)

    # ---- the end ---------------------------------------------------------------------------

    def end(
        self, reason: str, action: ByeAction = ByeAction.STOP, *, code: int = WSCloseCode.OK
    ) -> None:
        """Says ``bye`` and closes, after what was queued and in the same write. The reader ends
        when the client has closed, too, or has not done so in time."""
        self.send(Bye(reason=reason, action=action))
        self._close(code)

    def cut(self) -> None:
        """Ends the connection at once, without a word. The client may resume."""
        self.is_over = True
        self._transport.abort()

    async def finish(self) -> None:
        """Last call, by the reader: closes and leaves no task and no timer behind."""
        self._close(WSCloseCode.OK)
        if self._request.protocol.writing_paused:
            self.cut()
        if self._draining is not None:
            self._draining.cancel()
            await asyncio.wait({self._draining})
        while not self._is_shut:
            self._is_shut = (await self._response.receive()).type not in _RECEIVED
        for handle in (self._ack_handle, self._close_handle):
            if handle is not None:
                handle.cancel()
        self._transport.close()

    def _close(self, code: int) -> None:
        if self.is_over:
            return
        self._queue.append(_CLOSE_FRAME(_CLOSE, 2, code))
        self._write_queue()
        self.is_over = True
        self._close_handle = self._loop.call_later(CLOSE_DEADLINE_SECONDS, self._transport.abort)

    # ---- writing ---------------------------------------------------------------------------

    def _flush(self) -> None:
        if self.is_over:
            return
        if self._request.protocol.writing_paused:
            self._draining = asyncio.create_task(self._drain())
            return
        self._is_flush_due = False
        self._write_queue()

    def _write_queue(self) -> None:
        if self._taken > self._acked:
            self._queue.insert(0, self._ack())
        if self._queue and not self._transport.is_closing():
            self._transport.writelines(self._queue)
        self._queue.clear()
        self._queued_bytes = 0

    def _relieve(self) -> None:
        """The queue is full: one burst may pass, a client that does not read is cut."""
        if self._draining is not None or self._request.protocol.writing_paused:
            self.cut()
        else:
            self._write_queue()

    async def _drain(self) -> None:
        try:
            async with asyncio.timeout(SEND_DEADLINE_SECONDS):
                await self._writer.drain()
        except TimeoutError:
            self.cut()
        except ConnectionError:
            self.is_over = True
        else:
            self._draining = None
            self._flush()

    def _send_ack(self) -> None:
        self._ack_handle = None
        if self._taken > self._acked and not self.is_over and not self._is_flush_due:
            self._is_flush_due = True
            self._flush()

    def _ack(self) -> bytes:
        self._acked = self._taken
        payload = encode(Ack(cseq=self._taken))
        return _SHORT(_TEXT, len(payload)) + payload
