"""What the line was good for: a proposal from figures, which the doctor confirms or changes.

Pure. The limits are settings. The voice comes first: a line that loses the picture is still good
for the voice; one that loses the voice, or is away for long, is good for nothing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from server.line.history import Break, merge_breaks
from server.line.measured import Interval, Measured, Rung, Seat
from server.models import Suitability
from server.settings import Settings

_LEAST_SECONDS: Final = 15.0
"""Less than this says nothing of a visit."""


class Flaw(StrEnum):
    """What was wrong with the line."""

    BREAKS = "breaks"
    VOICE_GAPS = "voice_gaps"
    DELAY = "delay"
    NO_PICTURE = "no_picture"
    SLOW_PICTURE = "slow_picture"
    FROZEN_PICTURE = "frozen_picture"


OF_THE_VOICE: Final = frozenset({Flaw.BREAKS, Flaw.VOICE_GAPS, Flaw.DELAY})


@dataclass(frozen=True, slots=True)
class Limits:
    """From where on a few seconds are bad, and how much of a visit may be."""

    voice_gap_percent: float
    delay_ms: int
    frames_per_second: float
    frozen_percent: float
    bad_time_percent: float


@dataclass(frozen=True, slots=True)
class Verdict:
    """``suitability`` is ``None`` while too little was measured."""

    suitability: Suitability | None
    flaws: tuple[Flaw, ...]
    breaks: tuple[Break, ...]

    @property
    def broken_seconds(self) -> float:
        return sum(each.seconds for each in self.breaks)


def limits_of(settings: Settings) -> Limits:
    """The limits that this installation has set."""
    return Limits(
        voice_gap_percent=settings.line_voice_gap_percent,
        delay_ms=settings.line_delay_ms,
        frames_per_second=settings.line_frames_per_second,
        frozen_percent=settings.line_frozen_percent,
        bad_time_percent=settings.line_bad_time_percent,
    )


def flaws_of(interval: Interval, limits: Limits) -> set[Flaw]:
    """What is wrong with a few seconds.

    Where the voice is heard its gaps are counted; where it is only sent, what was lost of it.
    """
    flaws: set[Flaw] = set()
    gaps = interval.concealed_percent if interval.is_received else interval.loss_percent
    if gaps > limits.voice_gap_percent:
        flaws.add(Flaw.VOICE_GAPS)
    if interval.rtt_ms > limits.delay_ms:
        flaws.add(Flaw.DELAY)
    if interval.rung is Rung.OFF:
        return flaws
    if interval.rung is Rung.VOICE:
        flaws.add(Flaw.NO_PICTURE)
    elif interval.frames_per_second < limits.frames_per_second:
        flaws.add(Flaw.SLOW_PICTURE)
    elif interval.frozen_ms > 10 * interval.seconds * limits.frozen_percent:
        flaws.add(Flaw.FROZEN_PICTURE)
    return flaws


def judge(measured: Measured, limits: Limits) -> Verdict:
    """The worse of the two directions decides; one that was never measured says nothing."""
    breaks = tuple(merge_breaks(measured.outages))
    broken = sum(each.seconds for each in breaks)
    flows = [measured.flow(seat) for seat in Seat]
    judged = [_judge_flow(flow, broken, limits) for flow in flows if flow or not any(flows)]
    known = [each for each in judged if each is not None]
    flaws = tuple(flaw for flaw in Flaw if any(flaw in found for _, found in known))
    return Verdict(max((word for word, _ in known), key=_badness, default=None), flaws, breaks)


def _badness(suitability: Suitability) -> int:
    return list(Suitability).index(suitability)


def _judge_flow(
    intervals: Sequence[Interval], broken: float, limits: Limits
) -> tuple[Suitability, set[Flaw]] | None:
    total = sum(interval.seconds for interval in intervals) + broken
    if total < _LEAST_SECONDS:
        return None
    bad_voice = bad_picture = broken
    seconds: dict[Flaw, float] = {Flaw.BREAKS: broken}
    for interval in intervals:
        flaws = flaws_of(interval, limits)
        for flaw in flaws:
            seconds[flaw] = seconds.get(flaw, 0.0) + interval.seconds
        bad_voice += interval.seconds if flaws & OF_THE_VOICE else 0.0
        bad_picture += interval.seconds if flaws else 0.0
    allowed = total * limits.bad_time_percent / 100
    if bad_voice > allowed:
        return Suitability.NOT_SUITABLE, _worth_saying(seconds, allowed)
    if bad_picture > allowed:
        return Suitability.VOICE_ONLY, _worth_saying(seconds, allowed)
    return Suitability.SUITABLE, _worth_saying(seconds, allowed)


def _worth_saying(seconds: Mapping[Flaw, float], allowed: float) -> set[Flaw]:
    """What took a fair part of what is allowed; a break is always said."""
    return {
        flaw
        for flaw, bad in seconds.items()
        if bad > allowed / 2 or (flaw is Flaw.BREAKS and bad > 0)
    }
