"""How long a login waits after failures: slower and slower, never locked out.

The rule is pure; :class:`Throttle` applies it to what has no row in the database (addresses, and
names that nobody has, so that they answer like those that somebody has).
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from server.errors import TooManyAttempts

FREE_ATTEMPTS: Final = 5
FREE_ATTEMPTS_OF_ADDRESS: Final = 30
"""A whole hospital may stand behind one address."""
LONGEST_WAIT: Final = timedelta(minutes=1)
FORGOTTEN_AFTER: Final = timedelta(minutes=15)
_MOST_KEPT: Final = 10_000


@dataclass(frozen=True, slots=True)
class Failures:
    """How many in a row, and when the last one was."""

    count: int = 0
    last_at: datetime | None = None

    def one_more(self, now: datetime) -> Failures:
        return Failures(1 if self._is_forgotten(now) else self.count + 1, now)

    def check(self, now: datetime, free: int = FREE_ATTEMPTS) -> None:
        """Let an attempt pass.

        :raises TooManyAttempts: it comes too early after the last failure.
        """
        if self.last_at is None or self._is_forgotten(now) or self.count < free:
            return
        wait = min(timedelta(seconds=2 ** min(self.count - free + 2, 10)), LONGEST_WAIT)
        left = self.last_at + wait - now
        if left > timedelta():
            raise TooManyAttempts(int(left.total_seconds()) + 1)

    def _is_forgotten(self, now: datetime) -> bool:
        return self.last_at is None or now - self.last_at > FORGOTTEN_AFTER


class Throttle:
    """Failures by key, in memory: an attempt is counted before it is looked at."""

    def __init__(self, free: int = FREE_ATTEMPTS) -> None:
        self._free = free
        self._failures: dict[str, Failures] = {}

    def count(self, key: str, now: datetime) -> None:
        """Count one attempt as failed until :meth:`forgive`.

        :raises TooManyAttempts: it comes too early; then it is not counted.
        """
        known = self._failures.pop(key, Failures())
        try:
            known.check(now, self._free)
            known = known.one_more(now)
        finally:
            self._failures[key] = known
            if len(self._failures) > _MOST_KEPT:
                del self._failures[next(iter(self._failures))]

    def forgive(self, key: str) -> None:
        """The attempt was right after all: take it back."""
        known = self._failures.get(key)
        if known is not None:
            self._failures[key] = Failures(max(0, known.count - 1), known.last_at)
