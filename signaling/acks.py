"""The acknowledgements that found no other frame to travel with: one timer for all sockets."""

from __future__ import annotations

import asyncio
from typing import Final, Protocol

ACK_DELAY_SECONDS: Final = 0.2


class Debtor(Protocol):
    """Who owes its client an acknowledgement."""

    def send_ack(self) -> None:
        """The short while is over."""


class Acks:
    """Those who owe one, until the next tick."""

    __slots__ = ("_due",)

    def __init__(self) -> None:
        self._due: list[Debtor] = []

    def add(self, debtor: Debtor) -> None:
        if not self._due:
            asyncio.get_running_loop().call_later(ACK_DELAY_SECONDS, self._send)
        self._due.append(debtor)

    def _send(self) -> None:
        due, self._due = self._due, []
        for debtor in due:
            debtor.send_ack()
