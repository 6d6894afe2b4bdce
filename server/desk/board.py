"""One line per visit: what is wrong with it, and what the desk does next. Pure rules."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final

from server.models import AppointmentStatus, LineTest, Visit, VisitState
from server.readiness import problems_of
from server.sealed import Answers, Identity

FAILED_CLAIMS: Final = 3
LONG_WAIT: Final = timedelta(minutes=10)
SOON: Final = timedelta(minutes=15)
_OVER: Final = frozenset({VisitState.ENDED, VisitState.CANCELLED})
_BEFORE_WAITING: Final = frozenset({VisitState.BOOKED, VisitState.CHECKED_IN})


class Problem(StrEnum):
    """In the order of urgency; the first one decides the place on the board."""

    DROPPED = "dropped"
    CLAIM_FAILING = "claim_failing"
    TEST_FAILED = "test_failed"
    LINE_TEST_FAILED = "line_test_failed"
    WAITING_LONG = "waiting_long"
    NOT_OPENED = "not_opened"
    UNASSIGNED = "unassigned"
    TO_COMPLETE = "to_complete"
    """No birth date: the patient cannot get in with the link, and gets no invitation."""
    NO_CONTACT = "no_contact"


class NextAct(StrEnum):
    """The next best act; each is a part of the visit's page."""

    CALL_PATIENT = "call_patient"
    READ_CODE = "read_code"
    CALL_CLINICIAN = "call_clinician"
    ASSIGN = "assign"
    COMPLETE = "complete"
    ADD_CONTACT = "add_contact"
    OPEN = "open"


_ACTS: Final = {
    Problem.DROPPED: NextAct.CALL_PATIENT,
    Problem.CLAIM_FAILING: NextAct.READ_CODE,
    Problem.TEST_FAILED: NextAct.CALL_PATIENT,
    Problem.LINE_TEST_FAILED: NextAct.CALL_PATIENT,
    Problem.WAITING_LONG: NextAct.CALL_CLINICIAN,
    Problem.NOT_OPENED: NextAct.READ_CODE,
    Problem.UNASSIGNED: NextAct.ASSIGN,
    Problem.TO_COMPLETE: NextAct.COMPLETE,
    Problem.NO_CONTACT: NextAct.ADD_CONTACT,
}
_URGENCY: Final = {problem: place for place, problem in enumerate(Problem)}


@dataclass(frozen=True, slots=True)
class Presence:
    """Who is connected to the room now, and who lost the connection."""

    here: frozenset[str] = frozenset()
    away: frozenset[str] = frozenset()


NOBODY: Final = Presence()


@dataclass(frozen=True, slots=True)
class Line:
    """One visit on the board."""

    visit: Visit
    identity: Identity
    presence: Presence
    problems: tuple[Problem, ...]
    waiting_minutes: int
    line_test: LineTest | None = None
    """The newest test of the line."""

    @property
    def next_act(self) -> NextAct:
        return _ACTS[self.problems[0]] if self.problems else NextAct.OPEN

    @property
    def rank(self) -> tuple[int, int, datetime, str]:
        """Problems first, then what goes on, then what is over; inside each by time."""
        urgency = _URGENCY[self.problems[0]] if self.problems else len(Problem)
        is_over = self.visit.state in _OVER
        return (int(is_over), urgency, self.visit.appointment.start, self.visit.id)


def make_line(
    visit: Visit,
    identity: Identity,
    answers: Answers,
    presence: Presence,
    *,
    has_device: bool,
    now: datetime,
    line_test: LineTest | None = None,
) -> Line:
    """``answers`` are looked at for the device test only."""
    waited = now - _waits_since(visit) if visit.state is VisitState.WAITING else timedelta()
    checks = {
        Problem.DROPPED: "patient" in presence.away,
        Problem.CLAIM_FAILING: visit.failed_claims >= FAILED_CLAIMS and not has_device,
        Problem.TEST_FAILED: _has_failed_test(visit, answers),
        Problem.LINE_TEST_FAILED: _has_failed_line(visit, line_test),
        Problem.WAITING_LONG: waited >= LONG_WAIT,
        Problem.NOT_OPENED: not has_device and _is_due(visit, now),
        Problem.UNASSIGNED: visit.appointment.clinician_id is None,
        Problem.TO_COMPLETE: identity.birth_date is None,
        Problem.NO_CONTACT: not (identity.phone or identity.email),
    }
    is_over = visit.state in _OVER or visit.appointment.status is AppointmentStatus.CANCELLED
    problems = () if is_over else tuple(problem for problem, is_so in checks.items() if is_so)
    waiting_minutes = max(0, int(waited / timedelta(minutes=1)))
    return Line(visit, identity, presence, problems, waiting_minutes, line_test)


def matches(line: Line, sought: str) -> bool:
    """Whether a line is what a person at the desk looks for: a name, or the end of a number."""
    digits = only_digits(sought)
    if len(digits) >= 4 and only_digits(line.identity.phone).endswith(digits):
        return True
    words = sought.casefold().split()
    name = line.identity.full_name.casefold()
    return bool(words) and all(word in name for word in words)


def only_digits(text: str) -> str:
    return "".join(char for char in text if char.isdigit())


def in_order(lines: Collection[Line]) -> list[Line]:
    return sorted(lines, key=lambda line: line.rank)


def _waits_since(visit: Visit) -> datetime:
    """Nobody waits too long before the hour of the appointment."""
    start = visit.appointment.start
    return max(start, visit.waiting_since) if visit.waiting_since else start


def _has_failed_test(visit: Visit, answers: Answers) -> bool:
    devices = (answers.camera, answers.microphone, answers.loudspeaker)
    return visit.state in _BEFORE_WAITING | {VisitState.WAITING} and "failed" in devices


def _has_failed_line(visit: Visit, line_test: LineTest | None) -> bool:
    is_before = visit.state in _BEFORE_WAITING
    return is_before and line_test is not None and bool(problems_of(line_test))


def _is_due(visit: Visit, now: datetime) -> bool:
    return visit.state in _BEFORE_WAITING and now >= visit.appointment.start - SOON
