"""The first protocol of every connection: pages and sockets on one port.

It reads the head of the first request. A plain opening handshake that the hub grants becomes a
socket at once; every other connection goes to the HTTP server with what has been read, and
nothing of it passes here again. A head that is not complete in time ends the connection.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final, cast

from signaling.hub import Hub

HEAD_WITHIN_SECONDS: Final = 10.0
MAX_HEAD_BYTES: Final = 16 * 1024
_SWEEP_SECONDS: Final = 1.0
_END_OF_HEAD: Final = b"\r\n\r\n"
_SOCKET_LINE: Final = b"GET /ws "


class Front:
    """Makes the protocols of a listening port; ``make_http`` those of the HTTP server."""

    __slots__ = ("_hub", "_make_http", "_sweeper", "_waiting")

    def __init__(self, hub: Hub, make_http: Callable[[], asyncio.Protocol]) -> None:
        self._hub = hub
        self._make_http = make_http
        self._waiting: dict[_Arrival, float] = {}
        """Connections without a head yet and their deadlines, the next one first."""
        self._sweeper: asyncio.TimerHandle | None = None

    def __call__(self) -> asyncio.Protocol:
        return _Arrival(self)

    def close(self) -> None:
        """Ends the connections that have not asked anything yet."""
        for arrival in self._waiting:
            arrival.transport.abort()
        if self._sweeper is not None:
            self._sweeper.cancel()

    def wait(self, arrival: _Arrival) -> None:
        """A connection has come; its time runs."""
        loop = asyncio.get_running_loop()
        self._waiting[arrival] = loop.time() + HEAD_WITHIN_SECONDS
        if self._sweeper is None:
            self._sweeper = loop.call_later(_SWEEP_SECONDS, self._sweep)

    def forget(self, arrival: _Arrival) -> None:
        """The connection has another protocol now, or is gone."""
        self._waiting.pop(arrival, None)

    def choose(self, head: bytes) -> tuple[asyncio.Protocol, bytes]:
        """Who goes on with a connection that starts with these bytes, and what is left to say
        to that one."""
        if head.startswith(_SOCKET_LINE) and head.endswith(_END_OF_HEAD):
            socket = self._hub.accept(head)
            if socket is not None:
                return socket, b""
        return self._make_http(), head

    def _sweep(self) -> None:
        loop = asyncio.get_running_loop()
        now = loop.time()
        for arrival, deadline in self._waiting.items():
            if deadline > now:
                break
            arrival.transport.abort()
        is_needed = bool(self._waiting)
        self._sweeper = loop.call_later(_SWEEP_SECONDS, self._sweep) if is_needed else None


class _Arrival(asyncio.Protocol):
    """A connection whose first request is not known yet."""

    __slots__ = ("_front", "_head", "transport")

    transport: asyncio.Transport

    def __init__(self, front: Front) -> None:
        self._front = front
        self._head = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)
        self._front.wait(self)

    def connection_lost(self, exc: Exception | None) -> None:
        self._front.forget(self)

    def data_received(self, data: bytes) -> None:
        head = self._head = self._head + data
        if _END_OF_HEAD not in head and len(head) <= MAX_HEAD_BYTES:
            return
        self._front.forget(self)
        protocol, rest = self._front.choose(head)
        self.transport.set_protocol(protocol)
        protocol.connection_made(self.transport)
        if rest:
            protocol.data_received(rest)
