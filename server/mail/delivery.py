"""The port through which messages leave: what a transport is given and what it answers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

from server.mail.render import Rendered
from server.models import Channel


class Delivered(StrEnum):
    SENT = "sent"
    """The other side has taken it over."""
    REFUSED = "refused"
    """It will never take it: the address or the text is at fault."""
    RETRY = "retry"
    """Not now: the line, the other side or our own set-up is at fault."""


@dataclass(frozen=True, slots=True)
class DispatchVerdict:
    """``reason`` is a stable word, never what the other side wrote."""

    result: Delivered
    reason: str = ""


SENT = DispatchVerdict(Delivered.SENT)


class Transport(Protocol):
    """One channel. Sending the same ``Rendered.message_id`` twice must do no harm."""

    async def send(self, rendered: Rendered) -> DispatchVerdict: ...

    async def close(self) -> None: ...


class Delivery:
    """The channels that are set up, and nothing where none is."""

    def __init__(self, transports: Mapping[Channel, Transport]) -> None:
        self._transports = transports
        self.channels = frozenset(transports)

    async def send(self, channel: Channel, rendered: Rendered) -> DispatchVerdict:
        return await self._transports[channel].send(rendered)

    async def close(self) -> None:
        for transport in self._transports.values():
            await transport.close()


class Kept:
    """Sends nothing: the demonstration shows on a page what would leave."""

    async def send(self, rendered: Rendered) -> DispatchVerdict:
        return SENT

    async def close(self) -> None:
        """Nothing is open."""


def keep_everything() -> Delivery:
    """The delivery of the demonstration."""
    return Delivery({channel: Kept() for channel in Channel})
