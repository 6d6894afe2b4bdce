"""The chart of a visit: who was in it when, where the line broke, how each direction was.

Pure, and drawn by Pillow with the letters that it carries: the same bytes for the same session. It
is the image of a report without a clinical still (ERRORE-b5 wants exactly one).
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from datetime import datetime, timedelta
from functools import cache
from typing import Final, NamedTuple

from PIL import Image, ImageDraw, ImageFont

from server.i18n import ROME
from server.report.content import LineBand, Presence, Session
from server.report.texts import day_and_time
from server.report.words import PEOPLE

_WIDTH: Final = 960
_LEFT: Final = 210
_RIGHT: Final = 30
_TOP: Final = 56
_ROW: Final = 38
_BAR: Final = 18
_MOST_TICKS: Final = 8
_TICK_MINUTES: Final = (1, 2, 5, 10, 15, 30, 60, 120, 240, 480)
_INK: Final = "#17324d"
_PALE: Final = "#c5d1de"
_PRESENT: Final = "#0059b3"
_BREAK: Final = "#b3261e"
_BANDS: Final = {LineBand.GOOD: "#1b7f4d", LineBand.WEAK: "#e0a100", LineBand.BAD: "#b3261e"}
_BAND_HEIGHTS: Final = {LineBand.GOOD: 18, LineBand.WEAK: 12, LineBand.BAD: 6}
"""Quality is also height: colour alone says nothing to many readers and on paper."""
_SHORT: Final = {Presence.PROFESSIONAL: "Altro professionista"}
_LEGEND: Final = (
    (LineBand.GOOD, "linea buona"),
    (LineBand.WEAK, "solo voce"),
    (LineBand.BAD, "linea scarsa"),
)
_MEASURED: Final = (Presence.PATIENT, Presence.CLINICIAN)


class _Row(NamedTuple):
    """One line of the chart: its words, and bars with colour and height."""

    label: str
    bars: Sequence[tuple[datetime, datetime, str, int]]


class _Scale(NamedTuple):
    """Moments to pixels."""

    start: datetime
    end: datetime

    def place(self, moment: datetime) -> int:
        inside = min(max(moment, self.start), self.end)
        share = (inside - self.start) / (self.end - self.start)
        return _LEFT + round(share * (_WIDTH - _LEFT - _RIGHT))


def draw_chart(session: Session) -> bytes:
    """A PNG, 960 pixels wide."""
    rows = _rows(session)
    height = _TOP + _ROW * len(rows) + 78
    image = Image.new("RGB", (_WIDTH, height), "white")
    draw = ImageDraw.Draw(image)
    scale = _scale_of(session)
    bottom = _TOP + _ROW * len(rows)
    _draw_head(draw, session)
    _draw_axis(draw, scale, bottom)
    for number, row in enumerate(rows):
        _draw_row(draw, scale, row, _TOP + _ROW * number)
    _draw_legend(draw, bottom + 40)
    file = io.BytesIO()
    palette = image.quantize(64, Image.Quantize.FASTOCTREE, dither=Image.Dither.NONE)
    palette.save(file, "PNG")
    return file.getvalue()


def _scale_of(session: Session) -> _Scale:
    intervals = [span for one in session.attendance for span in one.intervals]
    start = min((session.began_at, *(began for began, _ in intervals)))
    end = max((session.ended_at, *(ended for _, ended in intervals)))
    return _Scale(start, max(end, start + timedelta(minutes=1)))


def _rows(session: Session) -> list[_Row]:
    rows = [
        _Row(
            _SHORT.get(one.who, PEOPLE[one.who]),
            [(start, end, _PRESENT, _BAR) for start, end in one.intervals]
            or [(session.began_at, session.ended_at, _PALE, _BAR)],
        )
        for one in session.attendance
    ]
    for sender in _MEASURED:
        stretches = [one for one in session.line if one.sender is sender]
        if stretches:
            bars = [
                (one.began_at, one.ended_at, _BANDS[one.band], _BAND_HEIGHTS[one.band])
                for one in stretches
            ]
            rows.append(_Row(f"Linea dal {PEOPLE[sender].lower()}", bars))
    if session.breaks:
        cuts = [
            (began, began + timedelta(seconds=seconds), _BREAK, _BAR)
            for began, seconds in session.breaks
        ]
        rows.append(_Row("Interruzioni", cuts))
    return rows


@cache
def _font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(size)


def _draw_head(draw: ImageDraw.ImageDraw, session: Session) -> None:
    draw.text((16, 12), "Presenza e collegamento", _INK, _font(20))
    span = f"{day_and_time(session.began_at)} - {session.ended_at.astimezone(ROME):%H:%M}"
    draw.text((_WIDTH - _RIGHT, 16), span, _INK, _font(16), anchor="ra")


def _draw_axis(draw: ImageDraw.ImageDraw, scale: _Scale, bottom: int) -> None:
    draw.line((_LEFT, bottom, _WIDTH - _RIGHT, bottom), _INK, 1)
    for tick in _ticks(scale):
        place = scale.place(tick)
        draw.line((place, _TOP - 6, place, bottom + 4), _PALE, 1)
        draw.text(
            (place, bottom + 8), f"{tick.astimezone(ROME):%H:%M}", _INK, _font(14), anchor="ma"
        )


def _ticks(scale: _Scale) -> list[datetime]:
    minutes = (scale.end - scale.start) / timedelta(minutes=1)
    step = next((m for m in _TICK_MINUTES if minutes / m <= _MOST_TICKS), _TICK_MINUTES[-1])
    first = scale.start.replace(minute=0, second=0, microsecond=0)
    places = (first + timedelta(minutes=step * n) for n in range(int(minutes / step) + 62))
    return [place for place in places if scale.start <= place <= scale.end][:_MOST_TICKS]


def _draw_row(draw: ImageDraw.ImageDraw, scale: _Scale, row: _Row, top: int) -> None:
    draw.text((_LEFT - 12, top + 9), row.label, _INK, _font(16), anchor="rm")
    for start, end, colour, height in row.bars:
        left = scale.place(start)
        right = max(scale.place(end), left + 2)
        draw.rectangle((left, top + _BAR - height, right, top + _BAR), colour)


def _draw_legend(draw: ImageDraw.ImageDraw, top: int) -> None:
    place = _LEFT
    for colour, height, label in (
        (_PRESENT, _BAR, "presente"),
        (_PALE, _BAR, "presente, detto dal medico"),
        *((_BANDS[band], _BAND_HEIGHTS[band], words) for band, words in _LEGEND),
    ):
        draw.rectangle((place, top + _BAR - height, place + 18, top + _BAR), colour)
        draw.text((place + 24, top + 9), label, _INK, _font(14), anchor="lm")
        place += 40 + round(draw.textlength(label, _font(14)))
