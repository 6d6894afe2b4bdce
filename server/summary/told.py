"""What the session log tells of one visit, entry by entry. Pure.

The same entries give the same figures however they are cut into groups. Entries of a running call
may come late (they wait in a file while the database is away): times are the earliest or the
latest, not the last heard.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, fields
from datetime import datetime, timedelta
from typing import Final

import msgspec

from server.audit import Act, ActorRole, Fact
from server.models import Outcome, Suitability
from server.summary.problems import Problem

_LONG_WAIT: Final = timedelta(minutes=20)
_MANY_TRIES: Final = 5


class Heard(msgspec.Struct, frozen=True, gc=False):
    """The fields of an entry that count here; ``act`` is the name before migration 0006."""

    at: datetime
    role: str
    action: str = ""
    act: str = ""
    facts: dict[str, Fact] = {}

    @property
    def word(self) -> str:
        return self.action or self.act


parse_heard: Final = msgspec.json.Decoder(Heard).decode
""":raises msgspec.DecodeError: erased, or never an entry."""


@dataclass(slots=True)
class Told:
    """The columns of a summary that come from the log."""

    created_at: datetime | None = None
    invited_at: datetime | None = None
    claimed_at: datetime | None = None
    waiting_at: datetime | None = None
    patient_joined_at: datetime | None = None
    clinician_joined_at: datetime | None = None
    admitted_at: datetime | None = None
    media_at: datetime | None = None
    closed_at: datetime | None = None
    patient_drops: int = 0
    clinician_drops: int = 0
    failed_claims: int = 0
    verdict: Suitability | None = None
    stated: Suitability | None = None
    has_interpreter: bool = False
    has_companions: bool = False
    browser: str = ""
    device: str = ""
    problems: set[Problem] = field(default_factory=set)
    problem_at: datetime | None = None

    def hear(self, entry: Heard) -> None:
        """Take one entry in; what says nothing here is passed over."""
        if rule := _RULES.get(entry.word):
            rule(self, entry)

    def notice(self, problem: Problem, at: datetime) -> None:
        """A problem comes up; one that is known stays as it was."""
        if problem not in self.problems:
            self.problems.add(problem)
            self.problem_at = max(self.problem_at or at, at)

    def notice_wait(self, start: datetime) -> None:
        """Whether who came in time waited long after the hour, as far as it is known."""
        since, until = self.waiting_at, self.admitted_at or self.closed_at
        if since and until and until - max(since, start) >= _LONG_WAIT:
            self.notice(Problem.LONG_WAIT, until)


TOLD_COLUMNS: Final = tuple(each.name for each in fields(Told) if each.name != "problems")
"""As they are; the problems are packed."""


def _first(name: str) -> Callable[[Told, Heard], None]:
    def hear(told: Told, entry: Heard) -> None:
        setattr(told, name, min(getattr(told, name) or entry.at, entry.at))

    return hear


def _problem(problem: Problem) -> Callable[[Told, Heard], None]:
    return lambda told, entry: told.notice(problem, entry.at)


def _hear_claim(told: Told, entry: Heard) -> None:
    told.claimed_at = min(told.claimed_at or entry.at, entry.at)
    told.browser = str(entry.facts.get("browser") or told.browser)
    told.device = str(entry.facts.get("device_kind") or told.device)


def _hear_failed_claim(told: Told, entry: Heard) -> None:
    told.failed_claims += 1
    if told.failed_claims >= _MANY_TRIES:
        told.notice(Problem.LINK_TRIED, entry.at)


def _hear_answers(told: Told, entry: Heard) -> None:
    if "has_companions" in entry.facts:
        told.has_companions = bool(entry.facts["has_companions"])


def _hear_arrival(told: Told, entry: Heard) -> None:
    if entry.role == ActorRole.PATIENT:
        told.patient_joined_at = min(told.patient_joined_at or entry.at, entry.at)
    elif entry.role == ActorRole.CLINICIAN:
        told.clinician_joined_at = min(told.clinician_joined_at or entry.at, entry.at)


def _hear_drop(told: Told, entry: Heard) -> None:
    """In the visit only: telephones that sleep in the waiting room are no lost line."""
    is_over = told.closed_at is not None and entry.at >= told.closed_at
    if told.admitted_at is None or entry.at < told.admitted_at or is_over:
        return
    if entry.role == ActorRole.PATIENT:
        told.patient_drops += 1
    else:
        told.clinician_drops += 1
    told.notice(Problem.LINE_LOST, entry.at)


def _hear_end(told: Told, entry: Heard) -> None:
    told.closed_at = max(told.closed_at or entry.at, entry.at)
    present = str(entry.facts.get("present", "")).split(",")
    told.has_interpreter |= "interpreter" in present
    told.has_companions |= "caregiver" in present
    problem = _BAD_OUTCOMES.get(str(entry.facts.get("outcome", "")))
    if problem is not None:
        told.notice(problem, entry.at)


def _hear_statement(told: Told, entry: Heard) -> None:
    stated, proposed = entry.facts.get("stated"), entry.facts.get("proposed")
    told.stated = Suitability(str(stated)) if stated else None
    told.verdict = Suitability(str(proposed)) if proposed else None
    if told.verdict not in (None, Suitability.SUITABLE):
        told.notice(Problem.WEAK_LINE, entry.at)


_BAD_OUTCOMES: Final = {
    Outcome.TECHNICAL_FAILURE.value: Problem.TECHNICAL_FAILURE,
    Outcome.CONVERTED_TO_IN_PERSON.value: Problem.CONVERTED,
    Outcome.NO_SHOW_CLINICIAN.value: Problem.CLINICIAN_ABSENT,
}
_RULES: Final[dict[str, Callable[[Told, Heard], None]]] = {
    Act.BOOKING_IMPORTED: _first("created_at"),
    Act.MESSAGE_SENT: _first("invited_at"),
    Act.MESSAGE_FAILED: _problem(Problem.MESSAGE_FAILED),
    Act.LINK_CLAIMED: _hear_claim,
    Act.LINK_CLAIM_FAILED: _hear_failed_claim,
    Act.CHECK_IN_SAVED: _hear_answers,
    Act.WAITING: _first("waiting_at"),
    Act.ADMITTED: _first("admitted_at"),
    Act.ROOM_JOINED: _hear_arrival,
    Act.ROOM_REJOINED: _hear_arrival,
    Act.ROOM_DROPPED: _hear_drop,
    Act.MEDIA_PROVEN: _first("media_at"),
    Act.FINISHED: _hear_end,
    Act.OUTCOME: _hear_end,
    Act.SUITABILITY_STATED: _hear_statement,
    Act.SAS_MISMATCH: _problem(Problem.INCIDENT),
    Act.SEAL_BROKEN: _problem(Problem.INCIDENT),
}
