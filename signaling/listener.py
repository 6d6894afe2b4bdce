"""The port between a socket and what it hears: a caller at the door, then a seat."""

from __future__ import annotations

from typing import Final, Protocol


class Listener(Protocol):
    """Who is told of what a socket hears."""

    def hear(self, payload: bytearray) -> None:
        """One text message."""

    def part(self) -> None:
        """The connection is gone. Called once, last."""


class _Nobody:
    def hear(self, payload: bytearray) -> None:
        """It comes too late."""

    def part(self) -> None:
        """It was told before."""


NOBODY: Final = _Nobody()
"""The listener of a connection that is gone."""
