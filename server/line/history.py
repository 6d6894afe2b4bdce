"""The history of a line: breaks with their side and cause. Pure.

Both pages tell of the same break, each what it knows; together they say on whose side it was.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from server.line.measured import Cause, Outage, Seat

_SAME_BREAK: Final = timedelta(seconds=3)
_OWN_CAUSES: Final = (Cause.PAGE_ASLEEP, Cause.NETWORK_CHANGED, Cause.NETWORK_DOWN)
"""What a page knows of its own side; the nearest reason first."""


@dataclass(frozen=True, slots=True)
class Break:
    """A time without a line. ``side`` is ``None`` where it was neither's: the path between the
    two, the platform, or both networks at once."""

    start: datetime
    end: datetime
    side: Seat | None
    cause: Cause

    @property
    def seconds(self) -> float:
        return (self.end - self.start).total_seconds()


def merge_breaks(outages: Iterable[Outage]) -> list[Break]:
    """One break for what the two pages lived at the same time."""
    groups: list[list[Outage]] = []
    end: datetime | None = None
    for outage in sorted(outages, key=lambda each: each.began_at):
        if end is not None and outage.began_at <= end + _SAME_BREAK:
            groups[-1].append(outage)
            end = max(end, outage.ended_at)
        else:
            groups.append([outage])
            end = outage.ended_at
    return [_break_of(group) for group in groups]


def _break_of(group: Sequence[Outage]) -> Break:
    start = min(outage.began_at for outage in group)
    end = max(outage.ended_at for outage in group)
    side, cause = _explain(group)
    return Break(start, end, side, cause)


def _explain(group: Sequence[Outage]) -> tuple[Seat | None, Cause]:
    causes = {outage.cause for outage in group}
    if Cause.SERVER_AWAY in causes:
        return None, Cause.SERVER_AWAY
    for cause in _OWN_CAUSES:
        seats = {outage.seat for outage in group if outage.cause is cause}
        if seats:
            return (seats.pop() if len(seats) == 1 else None), cause
    for outage in group:
        if outage.cause is Cause.OTHER_SIDE_AWAY:
            return outage.seat.other, Cause.OTHER_SIDE_AWAY
    return None, Cause.PATH_LOST if Cause.PATH_LOST in causes else Cause.MEDIA_STOPPED
