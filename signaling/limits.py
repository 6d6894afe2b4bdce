"""How fast one socket may speak: a token bucket. Pure; time is an argument.

A page at work sends a few frames a second and some tens at once when a connection starts, so
20 a second with a burst of 60 is never felt. Who passes it is cut, not slowed.
"""

from __future__ import annotations

from typing import Final

MESSAGES_PER_SECOND: Final = 20.0
BURST_MESSAGES: Final = 60.0


class TokenBucket:
    """``take`` answers whether one more message is allowed at ``now`` (monotonic seconds)."""

    __slots__ = ("_at", "_tokens")

    def __init__(self, now: float) -> None:
        self._tokens = BURST_MESSAGES
        self._at = now

    def take(self, now: float) -> bool:
        tokens = self._tokens + (now - self._at) * MESSAGES_PER_SECOND
        self._at = now
        if tokens > BURST_MESSAGES:
            tokens = BURST_MESSAGES
        if tokens < 1.0:
            self._tokens = tokens
            return False
        self._tokens = tokens - 1.0
        return True
