"""How fast one socket may speak: a token bucket. Pure; time is an argument.

A page at work sends a few frames a second and some tens at once when a connection starts, so
20 a second with a burst of 60 is never felt. Who passes it is cut, not slowed.
"""

from __future__ import annotations

from typing import Final

MESSAGES_PER_SECOND: Final = 20.0
BURST_MESSAGES: Final = 60.0


class TokenBucket:
    """``take`` answers how many of ``wanted`` messages are allowed at ``now`` (monotonic
    seconds)."""

    __slots__ = ("_at", "_tokens")

    def __init__(self, now: float) -> None:
        self._tokens = BURST_MESSAGES
        self._at = now

    def take(self, now: float, wanted: int = 1) -> int:
        tokens = min(self._tokens + (now - self._at) * MESSAGES_PER_SECOND, BURST_MESSAGES)
        granted = min(wanted, int(tokens))
        self._at = now
        self._tokens = tokens - granted
        return granted
