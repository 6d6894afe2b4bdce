"""The timeline of one visit: log entries as lines, and as bars per person over time.

Pure: entries in, shapes out. Positions are per cent of the drawn span, so that the page needs no
inline style and text keeps its size at every width.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Final

from server.audit import Act, ActorRole
from server.line.drawing import LineDrawing
from server.line.history import Break
from server.line.presence import ARRIVALS, ENDS, Bar, Line, bars_of, parse_line
from server.line.span import Span
from server.models import LogEntry
from server.sessionlog.sight import Sight

DRAWN_ROLES: Final = (ActorRole.PATIENT, ActorRole.CLINICIAN)
_SPANNED: Final = ARRIVALS | ENDS | {Act.WAITING, Act.ROOM_DROPPED, Act.ROOM_LEFT, Act.ADMITTED}
_MARKED: Final = frozenset(
    {
        Act.LATE_ANNOUNCED, Act.ADMITTED, Act.TURNED_AWAY, Act.MEDIA_PROVEN, Act.ROOM_DROPPED,
        Act.ROOM_REJOINED, Act.ROOM_LEFT, Act.CONSENT_WITHDRAWN, Act.FINISHED, Act.OUTCOME,
        Act.SAS_CONFIRMED, Act.SAS_MISMATCH,
    }
)  # fmt: skip
_SHORTEST_SPAN: Final = timedelta(minutes=1)
_MARK_ROWS: Final = 3
_SEEN_LATER: Final = timedelta(seconds=15)


@dataclass(frozen=True, slots=True)
class Timeline:
    """Everything the page shows; ``span`` is empty while nobody has been in the room.
    ``erased`` and ``unreadable`` count rows without a line."""

    lines: list[Line]
    span: Span | None
    people: dict[ActorRole, list[Bar]]
    erased: int = 0
    unreadable: int = 0

    @property
    def marks(self) -> list[Line]:
        return [line for line in self.lines if line.mark]


def mark_row(number: int) -> int:
    """In which of three rows a mark stands, so that neighbours do not cover each other."""
    return number % _MARK_ROWS


def find_break(line: LineDrawing | None, at: datetime) -> Break | None:
    """What was measured of a drop that the room has seen: the page itself may notice it some
    seconds before or after."""
    if line is None:
        return None
    near = (gap for gap in line.breaks if gap.start - _SEEN_LATER <= at <= gap.end + _SEEN_LATER)
    return next(near, None)


def draw(rows: Sequence[LogEntry], sight: Sight) -> Timeline:
    """The timeline of one visit from its log rows in order, as far as somebody may see it."""
    parsed: list[Line] = []
    erased = unreadable = 0
    for row in rows:
        try:
            line = parse_line(row)
        except (ValueError, KeyError):
            erased, unreadable = erased + (not row.entry), unreadable + bool(row.entry)
            continue
        if sight.sees(line):
            parsed.append(replace(line, facts=sight.facts_of(line)))
    return replace(_draw(parsed), erased=erased, unreadable=unreadable)


def _draw(parsed: list[Line]) -> Timeline:
    spanned = [line.at for line in parsed if line.act in _SPANNED]
    if not spanned:
        return Timeline(parsed, None, {})
    span = Span(min(spanned), max(max(spanned), min(spanned) + _SHORTEST_SPAN))
    people = {role: bars_of(parsed, role, span.end) for role in DRAWN_ROLES}
    return Timeline(_number_marks(parsed, span), span, {r: b for r, b in people.items() if b})


def _number_marks(lines: Sequence[Line], span: Span) -> list[Line]:
    numbered: list[Line] = []
    count = 0
    for line in lines:
        if line.act in _MARKED and span.start <= line.at <= span.end:
            count += 1
            mark = count
        else:
            mark = 0
        numbered.append(replace(line, mark=mark))
    return numbered
