"""The tables of one month, from plain facts of its visits. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from datetime import date
from enum import StrEnum
from statistics import median, quantiles
from typing import Final

from server.figures.guard import LEAST, Part, find_small, find_withheld
from server.line.measured import Seat
from server.models import Outcome, Score, Suitability, VisitState

OTHER: Final = "other"
"""The group of those that are too small to be shown alone."""
UNKNOWN: Final = ""
"""The group of those of whom CUP or the browser does not say it."""
NONE: Final = "none"
"""The group of those for whom there is nothing to count: not measured, not rated, not there."""
LONG_WAIT_MINUTES: Final = 15
"""A shorter time in the waiting room is a good one."""
LONGEST_DAYS: Final = {"U": 3, "B": 10, "D": 30, "P": 120}
"""By priority class, for visits (PNGLA 2019-2021 §2)."""
_LAST: Final = (UNKNOWN, NONE)
_ENOUGH_FOR_MEDIAN: Final = 2 * LEAST
_ENOUGH_FOR_P90: Final = 10 * LEAST


class TableName(StrEnum):
    """The tables, in the order in which they are shown."""

    OUTCOMES = "outcomes"
    ABSENCE_REASONS = "absence_reasons"
    CONVERSION_REASONS = "conversion_reasons"
    FAILURE_REASONS = "failure_reasons"
    WAITING_DAYS = "waiting_days"
    OFFERED_DAYS = "offered_days"
    WAITING_ROOM = "waiting_room"
    LINE = "line"
    LINE_BY_MUNICIPALITY = "line_by_municipality"
    LINE_BY_DEVICE = "line_by_device"
    LINE_BY_BROWSER = "line_by_browser"
    LINE_BY_PATH = "line_by_path"
    PATIENT_VISIT = "patient_visit"
    PATIENT_LINE = "patient_line"
    CLINICIAN_VISIT = "clinician_visit"
    CLINICIAN_LINE = "clinician_line"


RATINGS: Final = {
    TableName.PATIENT_VISIT: (Seat.PATIENT, "visit"),
    TableName.PATIENT_LINE: (Seat.PATIENT, "line"),
    TableName.CLINICIAN_VISIT: (Seat.CLINICIAN, "visit"),
    TableName.CLINICIAN_LINE: (Seat.CLINICIAN, "line"),
}
"""Which answers of whom a table counts."""


class Absence(StrEnum):
    """Why a patient did not come, as far as it can be seen."""

    MESSAGE_FAILED = "message_failed"
    """No message reached her."""
    LINK_NOT_OPENED = "link_not_opened"
    DID_NOT_COME = "did_not_come"
    """The link was opened, the waiting room was not entered."""


@dataclass(frozen=True, slots=True)
class Fact:
    """What counts of one visit. Days are those of Europe/Rome."""

    state: VisitState
    day: date
    outcome: Outcome | None = None
    reason: str = ""
    has_claimed: bool = False
    has_failed_message: bool = False
    priority: str = ""
    booked_on: date | None = None
    offered_on: date | None = None
    clinic: str = ""
    waited_seconds: int | None = None
    verdict: Suitability | None = None
    municipality: str = ""
    device: str = ""
    browser: str = ""
    path: str = ""
    scores: dict[tuple[Seat, str], Score] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Row:
    """One group. ``None``: withheld, or there is nothing to say."""

    key: str
    count: int
    middle: float | None = None
    """The median of days or minutes."""
    high: float | None = None
    """Nine of ten are not above it."""
    good: int | None = None
    """How many were good: in time, or suitable."""


@dataclass(frozen=True, slots=True)
class Table:
    """``rows`` is empty when there are fewer than five visits; ``total`` is nought then."""

    name: TableName
    total: int = 0
    rows: tuple[Row, ...] = ()

    @property
    def counted(self) -> int:
        """The visits of all groups, but of those without anything to count."""
        return sum(row.count for row in self.rows if row.key != NONE)

    def percent(self, row: Row) -> int | None:
        """The share of a group in what is counted."""
        return None if row.key == NONE else round(100 * row.count / self.counted)


@dataclass(frozen=True, slots=True)
class _Case:
    """One visit in one table."""

    key: str
    value: float | None = None
    is_good: bool | None = None


def make_tables(facts: Iterable[Fact]) -> dict[TableName, Table]:
    """Every table of a month; cancelled visits count in none."""
    facts = [fact for fact in facts if fact.state is not VisitState.CANCELLED]
    tables = {name: _tabulate(name, _cases(facts, rule)) for name, rule in _RULES.items()}
    shown = {row.key for row in tables[TableName.OUTCOMES].rows}
    for name, outcome in _REASONED.items():
        if outcome not in shown:
            tables[name] = Table(name)
    return {name: tables[name] for name in TableName}


def _cases(facts: Iterable[Fact], rule: Callable[[Fact], _Case | None]) -> list[_Case]:
    return [case for fact in facts if (case := rule(fact)) is not None]


def _tabulate(name: TableName, cases: Sequence[_Case]) -> Table:
    groups: dict[str, list[_Case]] = {}
    for case in cases:
        groups.setdefault(case.key, []).append(case)
    small = find_small({key: len(group) for key, group in groups.items()})
    if small is None:
        return Table(name)
    merged = [case for key in sorted(small) for case in groups.pop(key)]
    ordered = sorted(groups.items(), key=lambda item: (item[0] in _LAST, -len(item[1]), item[0]))
    if merged:
        ordered.append((OTHER, merged))
    good = _withhold(ordered)
    rows = [replace(_row(key, group), good=good.get(key)) for key, group in ordered]
    return Table(name, len(cases), tuple(rows))


def _row(key: str, group: Sequence[_Case]) -> Row:
    values = [case.value for case in group if case.value is not None]
    return Row(
        key,
        len(group),
        median(values) if len(values) >= _ENOUGH_FOR_MEDIAN else None,
        quantiles(values, n=10)[-1] if len(values) >= _ENOUGH_FOR_P90 else None,
    )


def _withhold(groups: Sequence[tuple[str, list[_Case]]]) -> dict[str, int]:
    """How many of a group were good, where it can be said."""
    judged = {
        key: [case.is_good for case in group if case.is_good is not None] for key, group in groups
    }
    keys = [key for key, answers in judged.items() if answers]
    parts = [Part(len(judged[key]), sum(judged[key])) for key in keys]
    unsaid = [
        keys.index(key) for key, group in groups if judged[key] and len(judged[key]) < len(group)
    ]
    withheld = find_withheld(parts, unsaid)
    return {key: sum(judged[key]) for place, key in enumerate(keys) if place not in withheld}


# ---- what each table counts ----------------------------------------------------------------


def _outcome(fact: Fact) -> _Case:
    return _Case(fact.outcome.value if fact.outcome else NONE)


def _absence(fact: Fact) -> _Case | None:
    if fact.outcome is not Outcome.NO_SHOW_PATIENT:
        return None
    if fact.has_claimed:
        return _Case(Absence.DID_NOT_COME)
    return _Case(Absence.MESSAGE_FAILED if fact.has_failed_message else Absence.LINK_NOT_OPENED)


def _reason_of(outcome: Outcome) -> Callable[[Fact], _Case | None]:
    return lambda fact: _Case(fact.reason) if fact.outcome is outcome else None


def _days(fact: Fact, until: date | None) -> _Case:
    if fact.booked_on is None or until is None:
        return _Case(NONE)
    days = max(0, (until - fact.booked_on).days)
    longest = LONGEST_DAYS.get(fact.priority)
    return _Case(fact.priority, days, days <= longest if longest is not None else None)


def _waiting_room(fact: Fact) -> _Case:
    if fact.waited_seconds is None:
        return _Case(NONE)
    minutes = fact.waited_seconds / 60
    return _Case(fact.clinic, minutes, minutes <= LONG_WAIT_MINUTES)


def _line_by(name: str) -> Callable[[Fact], _Case]:
    def case(fact: Fact) -> _Case:
        if fact.verdict is None:
            return _Case(NONE)
        return _Case(getattr(fact, name), is_good=fact.verdict is Suitability.SUITABLE)

    return case


def _score_of(answer: tuple[Seat, str]) -> Callable[[Fact], _Case]:
    return lambda fact: _Case(fact.scores[answer].value if answer in fact.scores else NONE)


_REASONED: Final = {
    TableName.ABSENCE_REASONS: Outcome.NO_SHOW_PATIENT,
    TableName.CONVERSION_REASONS: Outcome.CONVERTED_TO_IN_PERSON,
    TableName.FAILURE_REASONS: Outcome.TECHNICAL_FAILURE,
}
"""Tables within one row of the outcomes: not shown where that row is not."""
_RULES: Final[dict[TableName, Callable[[Fact], _Case | None]]] = {
    TableName.OUTCOMES: _outcome,
    TableName.ABSENCE_REASONS: _absence,
    TableName.CONVERSION_REASONS: _reason_of(Outcome.CONVERTED_TO_IN_PERSON),
    TableName.FAILURE_REASONS: _reason_of(Outcome.TECHNICAL_FAILURE),
    TableName.WAITING_DAYS: lambda fact: _days(fact, fact.day),
    TableName.OFFERED_DAYS: lambda fact: _days(fact, fact.offered_on),
    TableName.WAITING_ROOM: _waiting_room,
    TableName.LINE: lambda fact: _Case(fact.verdict.value if fact.verdict else NONE),
    TableName.LINE_BY_MUNICIPALITY: _line_by("municipality"),
    TableName.LINE_BY_DEVICE: _line_by("device"),
    TableName.LINE_BY_BROWSER: _line_by("browser"),
    TableName.LINE_BY_PATH: _line_by("path"),
    **{name: _score_of(answer) for name, answer in RATINGS.items()},
}
