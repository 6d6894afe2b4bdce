"""What a page may send of its line: shapes, ranges, times. A wrong value is named, never mended."""

from __future__ import annotations

import re
from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Annotated, Final

import msgspec

from server.errors import InvalidInput
from server.line.measured import Cause, Path, Rung
from server.models import Direction

MOST_ROWS: Final = 200
_OLDEST: Final = timedelta(hours=12)
_CLOCK_ERROR: Final = timedelta(minutes=2)
_PLACE: Final = re.compile(r" - at `\$\.?(.+)`$")

Percent = Annotated[float, msgspec.Meta(ge=0, le=100)]
Milliseconds = Annotated[int, msgspec.Meta(ge=0, le=60_000)]
Moment = Annotated[datetime, msgspec.Meta(tz=True)]


class IntervalRow(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A few seconds of one direction."""

    direction: Direction
    began_at: Moment
    seconds: Annotated[float, msgspec.Meta(gt=0, le=60)]
    loss_percent: Percent
    rtt_ms: Milliseconds
    jitter_ms: Milliseconds
    concealed_percent: Percent
    frozen_ms: Milliseconds
    frames_per_second: Annotated[float, msgspec.Meta(ge=0, le=240)]
    kilobits_per_second: Annotated[int, msgspec.Meta(ge=0, le=1_000_000)]
    path: Path
    rung: Rung
    voice_score: Annotated[float, msgspec.Meta(ge=1, le=4.5)] | None


class OutageRow(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A time without a line."""

    began_at: Moment
    seconds: Annotated[float, msgspec.Meta(gt=0, le=43_200)]
    cause: Cause


class Batch(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a page sends at once; what was sent before may be in it again."""

    intervals: Annotated[list[IntervalRow], msgspec.Meta(max_length=MOST_ROWS)]
    outages: Annotated[list[OutageRow], msgspec.Meta(max_length=MOST_ROWS)]


def parse_batch(body: bytes, now: datetime) -> Batch:
    """The batch, with every value in its range.

    :raises InvalidInput: names the field as ``intervals[3].rtt_ms``.
    """
    try:
        batch = msgspec.json.decode(body, type=Batch)
    except msgspec.ValidationError as error:
        place = _PLACE.search(str(error))
        raise InvalidInput(place.group(1) if place else "body", "out_of_range") from error
    except msgspec.DecodeError as error:
        raise InvalidInput("body", "malformed") from error
    _check_times("intervals", (row.began_at for row in batch.intervals), now)
    _check_times("outages", (row.began_at for row in batch.outages), now)
    return batch


def _check_times(name: str, times: Iterable[datetime], now: datetime) -> None:
    for place, began_at in enumerate(times):
        if not now - _OLDEST <= began_at <= now + _CLOCK_ERROR:
            raise InvalidInput(f"{name}[{place}].began_at", "out_of_range")
