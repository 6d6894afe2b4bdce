"""What the process of a picture and the server say to each other. No I/O."""

from __future__ import annotations

from enum import StrEnum
from typing import Final

import msgspec

MOST_PIXELS: Final = 40_000_000


class PictureProblem(StrEnum):
    DAMAGED = "damaged"
    """Cut, altered, or no picture at all behind its first bytes."""
    TOO_MANY_PIXELS = "too_many_pixels"


class Made(msgspec.Struct, frozen=True, kw_only=True, tag="made"):
    """The new picture follows."""

    media_type: str
    width: int
    height: int


class Refused(msgspec.Struct, frozen=True, kw_only=True, tag="refused"):
    problem: PictureProblem
