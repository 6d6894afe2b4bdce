"""A drawn span of time: places in it as per cent, so that pages need no inline style. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

_TICK_MINUTES: Final = (1, 2, 5, 10, 15, 30, 60, 120, 240, 480)
_MOST_TICKS: Final = 8
_NARROWEST: Final = 0.3


@dataclass(frozen=True, slots=True)
class Span:
    """The drawn time."""

    start: datetime
    end: datetime

    def percent(self, moment: datetime) -> float:
        return round(100 * ((moment - self.start) / (self.end - self.start)), 2)

    def width(self, start: datetime, end: datetime) -> float:
        """Of a bar; the shortest can still be seen."""
        return round(max(self.percent(end) - self.percent(start), _NARROWEST), 2)

    def ticks(self) -> list[datetime]:
        """Round minutes inside the span, at most eight."""
        minutes = (self.end - self.start) / timedelta(minutes=1)
        step = next((m for m in _TICK_MINUTES if minutes / m <= _MOST_TICKS), _TICK_MINUTES[-1])
        first = self.start.replace(minute=0, second=0, microsecond=0)
        places = (first + timedelta(minutes=step * n) for n in range(int(minutes / step) + 62))
        return [place for place in places if self.start <= place <= self.end][:_MOST_TICKS]
