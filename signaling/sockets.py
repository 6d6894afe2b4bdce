"""One WebSocket: what comes in, one message at a time, and what goes out, joined per tick.

It knows frames and bytes, not rooms. It is the protocol of its connection, called by the event
loop: a socket has no task, and its deadlines are kept by the hub's beat. Frames for one client
within one turn of the loop leave in one write. While the client's TCP window is shut they wait
here, and the socket is cut when that lasts.
"""

from __future__ import annotations

import asyncio
import logging
import math
import socket
from collections.abc import Callable
from typing import Final, cast

import msgspec
from aiohttp import WSCloseCode

from signaling.acks import Acks
from signaling.frames import (
    BINARY,
    CLOSE,
    PING,
    PONG,
    TEXT,
    FrameReader,
    Message,
    close_frame,
    control_frame,
    text_frame,
)
from signaling.limits import TokenBucket
from signaling.listener import NOBODY, Listener
from signaling.messages import Ack, Bye, ByeAction, Error, RoomEvent, Welcome
from signaling.reasons import ByeReason

MAX_QUEUED_MESSAGES: Final = 256
MAX_QUEUED_BYTES: Final = 1024 * 1024
KERNEL_BYTES: Final = 32 * 1024
"""What the operating system may hold for a client that does not read: it would be megabytes."""
SEND_DEADLINE_SECONDS: Final = 5.0
CLOSE_DEADLINE_SECONDS: Final = 2.0
HELLO_WITHIN_SECONDS: Final = 10.0
PING_AFTER_SECONDS: Final = 15.0
CUT_AFTER_SECONDS: Final = 30.0

_PING_FRAME: Final = control_frame(PING)

encode: Final = msgspec.json.Encoder().encode

logger = logging.getLogger(__name__)


class Socket(asyncio.Protocol):
    """The two directions of one WebSocket and its end."""

    __slots__ = (
        "_acked", "_acks", "_answer", "_bucket", "_deadline", "_heard_at", "_held", "_in_flight",
        "_is_ack_due", "_is_flush_due", "_loop", "_queue", "_queued_bytes", "_reader", "_skipped",
        "_stall", "_taken", "_transport", "_unbounded_bytes", "id", "is_movable", "is_moved",
        "is_over", "listener", "on_lost",
    )  # fmt: skip

    _transport: asyncio.Transport
    listener: Listener

    def __init__(self, socket_id: str, answer: bytes, acks: Acks) -> None:
        self.id = socket_id
        self.is_over = False
        self.is_movable = False
        """Its connection may be given to another process: nothing but ``hello`` was said."""
        self.is_moved = False
        """The client was told to go on at another node: its seat is not lost."""
        self.on_lost: Callable[[], object] | None = None
        """Also told when the connection is gone."""
        self._loop = asyncio.get_running_loop()
        self._answer = answer
        self._acks = acks
        self._reader = FrameReader()
        self._heard_at = self._loop.time()
        self._deadline = self._heard_at + HELLO_WITHIN_SECONDS
        self._bucket = TokenBucket(self._heard_at)
        self._held: list[Message] | None = None
        self._queue: list[bytes] = []
        self._queued_bytes = 0
        self._unbounded_bytes: float = KERNEL_BYTES
        self._is_flush_due = self._is_ack_due = False
        self._taken = self._acked = 0
        self._in_flight = self._skipped = 0
        self._stall: asyncio.TimerHandle | None = None

    # ---- the connection --------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        if self._answer:
            self._transport.write(self._answer)
        self._answer = b""

    def eof_received(self) -> None:
        self.is_over = True

    def connection_lost(self, exc: Exception | None) -> None:
        self.is_over = True
        self._queue.clear()
        self.resume_writing()
        try:
            self.listener.part()
        except Exception:
            logger.exception("socket %s failed at its end", self.id)
        self.listener = NOBODY  # the two know each other, and nothing else should keep them
        if self.on_lost is not None:
            self.on_lost()

    @property
    def connection(self) -> socket.socket:
        """What the operating system knows it by."""
        return cast("socket.socket", self._transport.get_extra_info("socket"))

    def let_go(self) -> None:
        """Another process has the connection: it goes on, and here nothing more is said."""
        self.cut()

    def check(self, now: float) -> None:
        """The beat: no deadline of a socket has a timer of its own."""
        silence = now - self._heard_at
        if now >= self._deadline:
            if self.is_over:
                self.cut()
            else:
                self.end(ByeReason.BAD_HELLO, code=WSCloseCode.POLICY_VIOLATION)
        elif silence >= CUT_AFTER_SECONDS:
            self.cut()
        elif silence >= PING_AFTER_SECONDS and not self.is_over:
            self._transport.write(_PING_FRAME)

    # ---- in --------------------------------------------------------------------------------

    def data_received(self, data: bytes) -> None:
        messages = self._reader.feed(data)
        if messages:
            self.is_movable = self.is_movable and len(messages) == 1 and self._reader.is_empty
            self._heard_at = now = self._loop.time()
            allowed = self._bucket.take(now, len(messages))
            self._hear_safely(messages[:allowed])
            if allowed < len(messages):
                self._refuse(messages[allowed:])
        if self._reader.refusal:
            self._close(self._reader.refusal)

    def _hear_safely(self, messages: list[Message]) -> None:
        try:
            self._hear(messages)
        except Exception:
            logger.exception("socket %s failed", self.id)
            self.fail()

    def _hear(self, messages: list[Message]) -> None:
        for kind, payload in messages:
            if kind == CLOSE:
                self._hear_close()
            elif self.is_over:
                continue
            elif kind != TEXT:
                self._hear_other(kind, payload)
            elif self._held is None:
                self.listener.hear(payload)
            else:
                self._held.append((kind, payload))

    def _hear_other(self, kind: int, payload: bytearray) -> None:
        if kind == PING:
            self._put(control_frame(PONG, payload))
        elif kind == BINARY:
            self.end(ByeReason.BAD_MESSAGES, code=WSCloseCode.UNSUPPORTED_DATA)

    def _refuse(self, messages: list[Message]) -> None:
        """They came faster than anybody may speak."""
        for kind, _ in messages:
            if kind == CLOSE:
                self._hear_close()
            else:
                self.end(ByeReason.TOO_MANY_MESSAGES, code=WSCloseCode.POLICY_VIOLATION)

    def fail(self) -> None:
        """The server could not do its part."""
        self.end(ByeReason.FAILED, ByeAction.RESUME, code=WSCloseCode.INTERNAL_ERROR)

    def stop_clock(self) -> None:
        """``hello`` has come in time."""
        self._deadline = math.inf

    def hold(self) -> None:
        """An act of this client is under way: what it says meanwhile is heard afterwards."""
        if self._held is None:
            self._held = []
            self._transport.pause_reading()

    @property
    def is_held(self) -> bool:
        return self._held is not None

    def release(self) -> None:
        held, self._held = self._held or [], None
        if not self._transport.is_closing():
            self._transport.resume_reading()
        self._hear_safely(held)

    def _hear_close(self) -> None:
        self._close(WSCloseCode.OK)
        if self._stall is not None:
            self.cut()
        else:
            self._transport.close()

    # ---- out -------------------------------------------------------------------------------

    def send(self, frame: Welcome | Error | Bye | RoomEvent) -> None:
        self._put(text_frame(encode(frame)))

    def send_bytes(self, payload: bytes) -> None:
        """Queues one text frame. It leaves with all others of this turn of the loop."""
        self._put(text_frame(payload))

    def _put(self, frame: bytes) -> None:
        if self.is_over:
            return
        queue = self._queue
        queue.append(frame)
        self._queued_bytes = queued_bytes = self._queued_bytes + len(frame)
        if len(queue) > MAX_QUEUED_MESSAGES or queued_bytes > MAX_QUEUED_BYTES:
            self._relieve()
        elif not self._is_flush_due:
            self._is_flush_due = True
            self._loop.call_soon(self._flush)

    def expect(self) -> None:
        """A frame of the client is on its way to the room log."""
        self._in_flight += 1

    def settle(self, cseq: int) -> None:
        """The oldest of those frames has come back from the log."""
        self._in_flight -= 1
        if not self._in_flight and self._skipped > cseq:
            cseq = self._skipped
        self._take(cseq)

    def skip(self, cseq: int) -> None:
        """A frame of the client that needs no place in the log; taken after those before it."""
        if self._in_flight:
            self._skipped = cseq
        else:
            self._take(cseq)

    def _take(self, cseq: int) -> None:
        """Notes that the client's frames up to ``cseq`` are taken; acknowledged with the next
        write, or alone after a short while."""
        if cseq > self._taken:
            self._taken = cseq
        if not self._is_ack_due:
            self._is_ack_due = True
            self._acks.add(self)

    def send_ack(self) -> None:
        """The short while is over."""
        self._is_ack_due = False
        if self._taken > self._acked:
            self._flush()

    def pause_writing(self) -> None:
        """The client does not read. Called by the transport."""
        if self._stall is None:
            self._stall = self._loop.call_later(SEND_DEADLINE_SECONDS, self.cut)

    def resume_writing(self) -> None:
        """The client reads again. Called by the transport."""
        if self._stall is not None:
            self._stall.cancel()
            self._stall = None
            self._flush()

    def _flush(self) -> None:
        self._is_flush_due = False
        if self._stall is None and not self.is_over:
            self._write_queue()

    def _write_queue(self) -> None:
        if self._taken > self._acked:
            self._acked = self._taken
            self._queue.insert(0, text_frame(encode(Ack(cseq=self._taken))))
        if self._queue:
            data = b"".join(self._queue)
            self._unbounded_bytes -= len(data)
            if self._unbounded_bytes < 0:
                self._bound_kernel()
            self._transport.write(data)
            self._queue.clear()
            self._queued_bytes = 0

    def _bound_kernel(self) -> None:
        """Only who is sent more than that has the limit: few are, and it costs five signals."""
        self._unbounded_bytes = math.inf
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, KERNEL_BYTES)

    def _relieve(self) -> None:
        """The queue is full: one burst may pass, a client that does not read is cut."""
        if self._stall is not None:
            self.cut()
        else:
            self._write_queue()

    # ---- the end ---------------------------------------------------------------------------

    def end(
        self, reason: str, action: ByeAction = ByeAction.STOP, *, code: int = WSCloseCode.OK
    ) -> None:
        """Says ``bye`` and closes, after what was queued and in the same write. The connection
        ends when the client has closed, too, or has not done so in time."""
        if not self.is_over:
            self._queue.append(text_frame(encode(Bye(reason=reason, action=action))))
            self._close(code)

    def cut(self) -> None:
        """Ends the connection at once, without a word. The client may resume."""
        self.is_over = True
        self._transport.abort()

    def _close(self, code: int) -> None:
        if self.is_over:
            return
        self._queue.append(close_frame(code))
        self._write_queue()
        self.is_over = True
        self._deadline = self._loop.time() + CLOSE_DEADLINE_SECONDS
        if self.is_held:
            self.release()
