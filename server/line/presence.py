"""Who was in a visit and when, as its log entries tell it. Pure.

Called by the session log, which draws it, and by the report, which says it.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Final

from server.audit import Act, ActorRole, Fact
from server.models import LogEntry

ARRIVALS: Final = frozenset({Act.ROOM_JOINED, Act.ROOM_REJOINED})
ENDS: Final = frozenset({Act.FINISHED, Act.OUTCOME})
_INCIDENTS: Final = frozenset({Act.SAS_MISMATCH, Act.SEAL_BROKEN})


class BarKind(StrEnum):
    WAITING = "waiting"
    IN_VISIT = "in_visit"
    DROP = "drop"


@dataclass(frozen=True, slots=True)
class Line:
    """One entry of the log. ``mark`` is its number in the drawing, 0 when it is not drawn."""

    seq: int | None
    """None until the sequencer has been there."""
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


def parse_line(row: LogEntry) -> Line:
    """:raises ValueError: it is erased, or was never an entry."""
    content = json.loads(row.entry)
    return Line(
        seq=row.seq,
        at=datetime.fromisoformat(content["at"]),
        act=Act(content.get("action") or content["act"]),
        role=ActorRole(content["role"]),
        actor=content["actor"],
        facts=content["facts"],
    )


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


def bars_of(lines: Iterable[Line], role: ActorRole, end: datetime) -> list[Bar]:
    """The bars of one person; who is still there at ``end`` was there until then."""
    is_patient = role is ActorRole.PATIENT
    person = _Presence(BarKind.WAITING if is_patient else BarKind.IN_VISIT)
    for line in lines:
        if line.act in ENDS:
            person.leave(line.at)
        elif line.act is Act.ADMITTED and is_patient:
            person.admit(line.at)
        elif line.role is not role:
            continue
        elif line.act in ARRIVALS:
            person.arrive(line.at)
        elif line.act is Act.ROOM_DROPPED:
            person.drop(line.at)
        elif line.act is Act.ROOM_LEFT:
            person.leave(line.at)
    person.cut(end)
    return person.bars
