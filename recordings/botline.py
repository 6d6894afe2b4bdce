"""A line that gets worse: what a synthetic patient sends is lost or late, or she is cut off.

Private names of aiortc 1.16 are used; ``tests/test_bot.py`` fails when they change.
"""

from __future__ import annotations

import asyncio
import random
from typing import Final
from weakref import WeakSet

from aiortc import RTCPeerConnection
from aiortc.rtcdtlstransport import RTCDtlsTransport

from recordings.script import Line

_LOST: Final = {Line.GOOD: 0.0, Line.WEAK: 0.08, Line.BAD: 0.55}
_LATE_SECONDS: Final = {Line.GOOD: 0.0, Line.WEAK: 0.03, Line.BAD: 0.06}
_SEND: Final = "_send_rtp"
_ICE_TRANSPORTS: Final = "_RTCPeerConnection__iceTransports"


class Weather:
    """How the line of one patient is now; her connections follow it."""

    def __init__(self, line: Line) -> None:
        self.line = line
        self._chance = random.SystemRandom()
        self._ruled: WeakSet[RTCDtlsTransport] = WeakSet()

    def rule(self, connection: RTCPeerConnection) -> None:
        """From here on, what the connection sends is at the weather's mercy."""
        for transport in {sender.transport for sender in connection.getSenders()}:
            if transport in self._ruled:
                continue
            self._ruled.add(transport)
            send = getattr(transport, _SEND)

            async def send_in_weather(data: bytes, send=send) -> None:  # type: ignore[no-untyped-def]
                if self._chance.random() < _LOST[self.line]:
                    return
                if late := self._chance.uniform(0, _LATE_SECONDS[self.line]):
                    await asyncio.sleep(late)
                await send(data)

            setattr(transport, _SEND, send_in_weather)


def cut(connection: RTCPeerConnection) -> None:
    """Nothing passes any more, and nobody is told."""
    for transport in getattr(connection, _ICE_TRANSPORTS):
        for protocol in transport.iceGatherer._connection._protocols:
            protocol.transport.abort()
