"""Which visits somebody asks for: parsed from the address, turned into a statement.

Shared by the list of sessions and by what is taken out of it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from typing import Final
from urllib.parse import urlencode

from sqlalchemy import Select, func, select, tuple_

from server.errors import InvalidInput
from server.i18n import ROME
from server.models import Outcome, Suitability, VisitState, VisitSummary
from server.summary.problems import Problem

PAGE_ROWS: Final = 50
MOST_COUNTED: Final = 1000
_USUAL_DAYS: Final = 7
_ID_LENGTH: Final = 32
RESULTS: Final = (*(word.value for word in Outcome), *(word.value for word in VisitState))
"""What the filter of results offers: an outcome, or the state of a visit without one."""
ANY_PROBLEM: Final = "any"
UNMEASURED: Final = "none"
VERDICTS: Final = (*(word.value for word in Suitability), UNMEASURED)
PROBLEMS: Final = (ANY_PROBLEM, *(word.value for word in Problem))


@dataclass(frozen=True, slots=True)
class Place:
    """The last row of a page: the next one begins after it."""

    start: datetime
    visit_id: str

    def __str__(self) -> str:
        return f"{self.start.astimezone(UTC):%Y%m%dT%H%M%S%f}-{self.visit_id}"


@dataclass(frozen=True, slots=True)
class Wish:
    """One filter: whole days in Europe/Rome; empty words ask for everything."""

    first_day: date
    last_day: date
    clinic_id: str = ""
    clinician_id: str = ""
    result: str = ""
    verdict: str = ""
    problem: str = ""
    after: Place | None = None

    def bounds(self) -> tuple[datetime, datetime]:
        """The first moment, and the first one that is no more of it."""
        return _midnight(self.first_day), _midnight(self.last_day + timedelta(days=1))

    def statement(self) -> Select[VisitSummary]:
        """All of them, the newest first."""
        table = VisitSummary
        first, end = self.bounds()
        wanted = (
            select(table)
            .where(table.start >= first)
            .where(table.start < end)
            .order_by(table.start.desc(), table.visit_id.desc())
        )
        if self.clinic_id:
            wanted = wanted.where(table.clinic_id == self.clinic_id)
        if self.clinician_id:
            wanted = wanted.where(table.clinician_id == self.clinician_id)
        if self.result in list(Outcome):
            wanted = wanted.where(table.outcome == Outcome(self.result))
        elif self.result:
            wanted = wanted.where(table.state == VisitState(self.result))
        if self.verdict == UNMEASURED:
            wanted = wanted.where(table.verdict.is_(None))
        elif self.verdict:
            wanted = wanted.where(table.verdict == Suitability(self.verdict))
        if self.problem:
            wanted = wanted.where(table.has_problem.is_(True))
        if self.problem in list(Problem):
            wanted = wanted.where(table.problems.contains(f",{self.problem},", autoescape=True))
        return wanted

    def page(self) -> Select[VisitSummary]:
        """One page, and one row more where there is a next one."""
        wanted = self.statement()
        if self.after is not None:
            place = tuple_(VisitSummary.start, VisitSummary.visit_id)
            wanted = wanted.where(place < tuple_(self.after.start, self.after.visit_id))
        return wanted.limit(PAGE_ROWS + 1)

    def count(self) -> Select[int]:
        """How many there are on all pages, as far as :data:`MOST_COUNTED` and one more."""
        some = (
            self.statement()
            .order_by(None)
            .with_only_columns(VisitSummary.visit_id)
            .limit(MOST_COUNTED + 1)
        )
        return select(func.count()).select_from(some.subquery())

    def query(self, after: Place | None = None) -> str:
        """The address of the filter; words that ask for everything are left out."""
        words = {
            "from": str(self.first_day),
            "to": str(self.last_day),
            "clinic": self.clinic_id,
            "clinician": self.clinician_id,
            "result": self.result,
            "verdict": self.verdict,
            "problem": self.problem,
            "after": str(after) if after else "",
        }
        return urlencode({name: word for name, word in words.items() if word})


def parse_wish(query: Mapping[str, str], now: datetime) -> Wish:
    """The filter of an address; without days, the last week up to today.

    :raises InvalidInput: a day, a word or a place is not one.
    """
    today = now.astimezone(ROME).date()
    last_day = _parse_day(query, "to", today)
    return Wish(
        first_day=_parse_day(query, "from", last_day - timedelta(days=_USUAL_DAYS)),
        last_day=last_day,
        clinic_id=query.get("clinic", "")[:_ID_LENGTH],
        clinician_id=query.get("clinician", "")[:_ID_LENGTH],
        result=_parse_word(query, "result", RESULTS),
        verdict=_parse_word(query, "verdict", VERDICTS),
        problem=_parse_word(query, "problem", PROBLEMS),
        after=_parse_place(query.get("after", "")),
    )


def _parse_word(query: Mapping[str, str], name: str, words: tuple[str, ...]) -> str:
    word = query.get(name, "")
    if word and word not in words:
        raise InvalidInput(name, "unknown")
    return word


def _parse_place(text: str) -> Place | None:
    if not text:
        return None
    moment, _, visit_id = text.partition("-")
    try:
        start = datetime.strptime(moment, "%Y%m%dT%H%M%S%f").replace(tzinfo=UTC)
    except ValueError as error:
        raise InvalidInput("after", "unknown") from error
    return Place(start, visit_id[:_ID_LENGTH])


def _parse_day(query: Mapping[str, str], name: str, usual: date) -> date:
    text = query.get(name, "")
    if not text:
        return usual
    try:
        day = date.fromisoformat(text)
    except ValueError as error:
        raise InvalidInput(name, "bad_date") from error
    if not date(2000, 1, 1) <= day <= date(2200, 1, 1):
        raise InvalidInput(name, "bad_date")
    return day


def _midnight(day: date) -> datetime:
    return datetime.combine(day, time(), ROME).astimezone(UTC)
