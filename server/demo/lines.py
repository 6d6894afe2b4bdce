"""What two pages would have measured of an invented call, as the batches that they send. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final

from server.line.measured import Cause, Path, Rung
from server.models import Direction

_EVERY: Final = timedelta(seconds=10)
_WEAK: Final = range(40, 46)


class Quality(StrEnum):
    """How the line was."""

    GOOD = "good"
    """With a weak picture for a minute."""
    VOICE = "voice"
    """Too narrow for a picture."""
    BAD = "bad"
    """Gaps in the voice."""


@dataclass(frozen=True, slots=True)
class Outage:
    """A time without a line, as the page of the person who was away lived it."""

    began_at: datetime
    seconds: float
    cause: Cause

    @property
    def ended_at(self) -> datetime:
        return self.began_at + timedelta(seconds=self.seconds)


_FIGURES: Final[dict[Quality, dict[str, object]]] = {
    Quality.GOOD: {
        "loss_percent": 0.4, "concealed_percent": 0.2, "frozen_ms": 0, "frames_per_second": 24.0,
        "kilobits_per_second": 1100, "path": Path.DIRECT.value, "rung": Rung.SD.value,
        "voice_score": 4.2,
    },
    Quality.VOICE: {
        "loss_percent": 2.1, "concealed_percent": 1.2, "frozen_ms": 0, "frames_per_second": 0.0,
        "kilobits_per_second": 38, "path": Path.RELAY_UDP.value, "rung": Rung.VOICE.value,
        "voice_score": 3.6,
    },
    Quality.BAD: {
        "loss_percent": 14.0, "concealed_percent": 17.5, "frozen_ms": 2600,
        "frames_per_second": 4.0, "kilobits_per_second": 90, "path": Path.RELAY_TCP.value,
        "rung": Rung.SLOW.value, "voice_score": 1.8,
    },
}  # fmt: skip
_WEAK_PICTURE: Final[dict[str, object]] = {
    "frames_per_second": 2.0, "kilobits_per_second": 120, "rung": Rung.SLOW.value,
}  # fmt: skip
_DELAYS: Final = {Quality.GOOD: 46, Quality.VOICE: 120, Quality.BAD: 310}


def measure_line(
    quality: Quality, began_at: datetime, ended_at: datetime, outages: Sequence[Outage] = ()
) -> dict[str, list[dict[str, object]]]:
    """What one page brings of the other side: nothing while there was no line."""
    steps = int((ended_at - began_at) / _EVERY)
    moments = [(number, began_at + number * _EVERY) for number in range(steps)]
    return {
        "intervals": [
            _interval(quality, number, moment)
            for number, moment in moments
            if not any(one.began_at - _EVERY < moment < one.ended_at for one in outages)
        ],
        "outages": [
            {
                "began_at": one.began_at.isoformat(),
                "seconds": one.seconds,
                "cause": one.cause.value,
            }
            for one in outages
        ],
    }


def _interval(quality: Quality, number: int, moment: datetime) -> dict[str, object]:
    is_weak = quality is Quality.GOOD and number in _WEAK
    return {
        "direction": Direction.INCOMING.value,
        "began_at": moment.isoformat(),
        "seconds": _EVERY.total_seconds(),
        "rtt_ms": _DELAYS[quality] + number % 7,
        "jitter_ms": 5 + number % 3,
        **_FIGURES[quality],
        **(_WEAK_PICTURE if is_weak else {}),
    }
