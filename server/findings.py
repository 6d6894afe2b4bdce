"""What a look at an installation finds: one sentence, and how grave it is."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Final

MOST_SKEW_SECONDS: Final = 2.0
"""One-time codes, TURN credentials and the order of messages bear no more."""


class Level(StrEnum):
    """A warning is for people to know and decide; what is bad is to be mended before patients
    come."""

    GOOD = "good"
    WARNING = "warning"
    BAD = "bad"


@dataclass(frozen=True, slots=True)
class Finding:
    level: Level
    text: str


def judge_clock(ours: datetime, theirs: datetime, whose: str, grain_seconds: float) -> Finding:
    """Compare two clocks; theirs was read with an uncertainty of ``grain_seconds``."""
    apart = abs((ours - theirs).total_seconds())
    if apart > MOST_SKEW_SECONDS + grain_seconds:
        text = f"Our clock and that of {whose} are {apart:.0f} s apart: set both by NTP"
        return Finding(Level.BAD, text)
    return Finding(Level.GOOD, f"Our clock and that of {whose} agree")
