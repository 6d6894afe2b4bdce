"""The line of a visit as it is drawn and read out: minutes, paths, breaks, verdict. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum

from server.line.history import Break
from server.line.measured import Interval, Measured, Path, Seat
from server.line.span import Span
from server.line.verdict import OF_THE_VOICE, Limits, Verdict, flaws_of, judge

_MINUTE = timedelta(minutes=1)


class Band(StrEnum):
    """How one minute was, in a word."""

    GOOD = "good"
    WEAK = "weak"
    """The voice held, the picture not."""
    BAD = "bad"


@dataclass(frozen=True, slots=True)
class Stretch:
    """Minutes in a row that were alike."""

    start: datetime
    end: datetime
    band: Band
    path: Path


@dataclass(frozen=True, slots=True)
class LineDrawing:
    """Everything the part ``staff/_line.html`` shows; ``flows`` by who sent."""

    span: Span
    flows: Mapping[Seat, Sequence[Stretch]]
    verdict: Verdict

    @property
    def breaks(self) -> tuple[Break, ...]:
        return self.verdict.breaks


def draw_line(measured: Measured, limits: Limits) -> LineDrawing | None:
    """The drawing of what was measured; nothing where nothing was."""
    times = [
        *((each.began_at, each.ended_at) for each in measured.intervals),
        *((each.began_at, each.ended_at) for each in measured.outages),
    ]
    if not times:
        return None
    start, end = min(start for start, _ in times), max(end for _, end in times)
    return LineDrawing(
        span=Span(start, max(end, start + _MINUTE)),
        flows={seat: _stretches(measured.flow(seat), limits) for seat in Seat},
        verdict=judge(measured, limits),
    )


def _stretches(intervals: Iterable[Interval], limits: Limits) -> list[Stretch]:
    minutes: dict[datetime, list[Interval]] = {}
    for interval in intervals:
        minutes.setdefault(interval.began_at.replace(second=0, microsecond=0), []).append(interval)
    stretches: list[Stretch] = []
    for minute in minutes.values():
        new = _minute_of(minute, limits)
        last = stretches[-1] if stretches else None
        is_like_last = (
            last is not None
            and (last.band, last.path) == (new.band, new.path)
            and new.start - last.end < _MINUTE
        )
        if last is not None and is_like_last:
            stretches[-1] = replace(last, end=new.end)
        else:
            stretches.append(new)
    return stretches


def _minute_of(intervals: Sequence[Interval], limits: Limits) -> Stretch:
    """Half of a minute makes its band; the path is the last one."""
    total = sum(interval.seconds for interval in intervals)
    flawed = [(interval.seconds, flaws_of(interval, limits)) for interval in intervals]
    bad = sum(seconds for seconds, flaws in flawed if flaws & OF_THE_VOICE)
    weak = sum(seconds for seconds, flaws in flawed if flaws)
    band = Band.BAD if 2 * bad >= total else Band.WEAK if 2 * weak >= total else Band.GOOD
    return Stretch(intervals[0].began_at, intervals[-1].ended_at, band, intervals[-1].path)
