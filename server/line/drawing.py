"""The line of a visit as it is drawn and read out: minutes, paths, breaks, verdict. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final

from server.line.history import Break
from server.line.measured import Interval, Measured, Path, Seat
from server.line.span import Span
from server.line.verdict import OF_THE_VOICE, Limits, Verdict, flaws_of, judge

_MINUTE = timedelta(minutes=1)
_SAME_STROKE = timedelta(seconds=20)
CURVE_FLOOR: Final = 30
"""Per cent of the voice; who misses more understands nothing any more."""


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
    voice_percent: int
    """How much of the voice arrived, the worst of its minutes."""


@dataclass(frozen=True, slots=True)
class LineDrawing:
    """Everything the part ``staff/_line.html`` shows; ``flows`` and ``curves`` by who sent.

    A curve is a list of strokes, each the points of an SVG polyline: per cent of the span to the
    right, per cent of the voice that was missing downwards, :data:`CURVE_FLOOR` at most.
    """

    span: Span
    flows: Mapping[Seat, Sequence[Stretch]]
    curves: Mapping[Seat, Sequence[str]]
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
    span = Span(start, max(end, start + _MINUTE))
    flows = {seat: measured.flow(seat) for seat in Seat}
    return LineDrawing(
        span=span,
        flows={seat: _stretches(flow, limits) for seat, flow in flows.items()},
        curves={seat: _strokes(flow, span) for seat, flow in flows.items()},
        verdict=judge(measured, limits),
    )


def _strokes(intervals: Sequence[Interval], span: Span) -> list[str]:
    """A curve is cut where nothing was measured for longer than a moment."""
    strokes: list[list[str]] = []
    last: datetime | None = None
    for interval in intervals:
        if last is None or interval.began_at - last > _SAME_STROKE:
            strokes.append([])
        missing = round(min(100 - _voice_percent(interval), CURVE_FLOOR), 1)
        strokes[-1] += [f"{span.percent(interval.began_at)},{missing}"]
        last = interval.ended_at
        strokes[-1] += [f"{span.percent(last)},{missing}"]
    return [" ".join(stroke) for stroke in strokes]


def _voice_percent(interval: Interval) -> float:
    """Where the voice is heard its gaps are counted; where it is only sent, what was lost of it."""
    return 100 - (interval.concealed_percent if interval.is_received else interval.loss_percent)


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
            worst = min(last.voice_percent, new.voice_percent)
            stretches[-1] = replace(last, end=new.end, voice_percent=worst)
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
    heard = sum(interval.seconds * _voice_percent(interval) for interval in intervals)
    return Stretch(
        start=intervals[0].began_at,
        end=intervals[-1].ended_at,
        band=band,
        path=intervals[-1].path,
        voice_percent=round(heard / total) if total else 0,
    )
