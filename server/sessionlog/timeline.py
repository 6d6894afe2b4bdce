"""The timeline of one visit: log entries as lines, and as bars per person over time.

Pure: entries in, shapes out. Positions are per cent of the drawn span, so that the page needs no
inline style and text keeps its size at every width.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final

from server.audit import Act, ActorRole, Fact
from server.line.span import Span
from server.models import LogEntry

DRAWN_ROLES: Final = (ActorRole.PATIENT, ActorRole.CLINICIAN)
_ARRIVALS: Final = frozenset({Act.ROOM_JOINED, Act.ROOM_REJOINED})
_ENDS: Final = frozenset({Act.FINISHED, Act.OUTCOME})
_SPANNED: Final = _ARRIVALS | _ENDS | {Act.WAITING, Act.ROOM_DROPPED, Act.ROOM_LEFT, Act.ADMITTED}
_MARKED: Final = frozenset(
    {
        Act.LATE_ANNOUNCED, Act.ADMITTED, Act.TURNED_AWAY, Act.MEDIA_PROVEN, Act.ROOM_DROPPED,
        Act.ROOM_REJOINED, Act.ROOM_LEFT, Act.CONSENT_WITHDRAWN, Act.FINISHED, Act.OUTCOME,
        Act.SAS_CONFIRMED, Act.SAS_MISMATCH,
    }
)  # fmt: skip
_INCIDENTS: Final = frozenset({Act.SAS_MISMATCH, Act.SEAL_BROKEN})
_SHORTEST_SPAN: Final = timedelta(minutes=1)
_MARK_ROWS: Final = 3


class BarKind(StrEnum):
    WAITING = "waiting"
    IN_VISIT = "in_visit"
    DROP = "drop"


@dataclass(frozen=True, slots=True)
class Line:
    """One entry of the log. ``mark`` is its number in the drawing, 0 when it is not drawn."""

    seq: int
    at: datetime
    act: Act
    role: ActorRole
    actor: str
    facts: Mapping[str, Fact]
    mark: int = 0

    @property
    def is_incident(self) -> bool:
        """Somebody has to look at it."""
        return self.act in _INCIDENTS


@dataclass(frozen=True, slots=True)
class Bar:
    kind: BarKind
    start: datetime
    end: datetime


@dataclass(frozen=True, slots=True)
class Timeline:
    """Everything the page shows; ``span`` is empty while nobody has been in the room."""

    lines: list[Line]
    span: Span | None
    people: dict[ActorRole, list[Bar]]

    @property
    def marks(self) -> list[Line]:
        return [line for line in self.lines if line.mark]


def mark_row(number: int) -> int:
    """In which of three rows a mark stands, so that neighbours do not cover each other."""
    return number % _MARK_ROWS


def parse_line(row: LogEntry) -> Line:
    content = json.loads(row.entry)
    return Line(
        seq=row.seq,
        at=datetime.fromisoformat(content["at"]),
        act=Act(content["act"]),
        role=ActorRole(content["role"]),
        actor=content["actor"],
        facts=content["facts"],
    )


def draw(rows: Sequence[LogEntry]) -> Timeline:
    """The timeline of one visit from its log rows in order."""
    parsed = [parse_line(row) for row in rows]
    spanned = [line.at for line in parsed if line.act in _SPANNED]
    if not spanned:
        return Timeline(parsed, None, {})
    span = Span(min(spanned), max(max(spanned), min(spanned) + _SHORTEST_SPAN))
    people = {role: _bars(parsed, role, span.end) for role in DRAWN_ROLES}
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
        numbered.append(Line(line.seq, line.at, line.act, line.role, line.actor, line.facts, mark))
    return numbered


@dataclass(slots=True)
class _Presence:
    """Follows one person through the log and cuts the time into bars."""

    kind: BarKind
    bars: list[Bar] = field(default_factory=list)
    since: datetime | None = None
    is_dropped: bool = False

    def cut(self, at: datetime) -> None:
        if self.since is not None:
            kind = BarKind.DROP if self.is_dropped else self.kind
            self.bars.append(Bar(kind, self.since, at))
        self.since = None

    def arrive(self, at: datetime) -> None:
        if self.since is None or self.is_dropped:
            self.cut(at)
            self.since, self.is_dropped = at, False

    def drop(self, at: datetime) -> None:
        self.cut(at)
        self.since, self.is_dropped = at, True

    def admit(self, at: datetime) -> None:
        was_here = self.since is not None and not self.is_dropped
        if was_here:
            self.cut(at)
            self.since = at
        self.kind = BarKind.IN_VISIT

    def leave(self, at: datetime) -> None:
        self.cut(at)
        self.is_dropped = False


def _bars(lines: Sequence[Line], role: ActorRole, end: datetime) -> list[Bar]:
    is_patient = role is ActorRole.PATIENT
    person = _Presence(BarKind.WAITING if is_patient else BarKind.IN_VISIT)
    for line in lines:
        if line.act in _ENDS:
            person.leave(line.at)
        elif line.act is Act.ADMITTED and is_patient:
            person.admit(line.at)
        elif line.role is not role:
            continue
        elif line.act in _ARRIVALS:
            person.arrive(line.at)
        elif line.act is Act.ROOM_DROPPED:
            person.drop(line.at)
        elif line.act is Act.ROOM_LEFT:
            person.leave(line.at)
    person.cut(end)
    return person.bars
