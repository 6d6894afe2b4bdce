"""The score sheet of a practice: what the guideline expects of a visit, and what the log shows.

Pure. The rules are those of ``domain.md`` (Accordo Stato-Regioni 17/12/2020, DM 30/9/2022); each
line has its own, so that a clinician reads what she would be asked about.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

import msgspec

from server.audit import Act, ActorRole, Fact
from server.training.scenario import Scenario


class Criterion(StrEnum):
    """A line of the sheet, in its order."""

    IDENTITY = "identity"
    """TV-06: also who joins by a link is identified."""
    CONSENTS = "consents"
    """TV-05: adhesion and consent before the service begins."""
    ELIGIBILITY = "eligibility"
    """TV-03: the visit may be held this way, and why."""
    COMPANIONS = "companions"
    """TV-12: the report says who took part."""
    SUITABILITY = "suitability"
    """TV-12: the quality of the link, and whether it was enough."""
    RECORDING = "recording"
    """A consent can be withdrawn at any time (GDPR art. 7 c. 3)."""
    OUTCOME = "outcome"
    """TV-09, WL-04, WL-05."""


class Verdict(StrEnum):
    MET = "met"
    NOT_MET = "not_met"
    NOT_DUE = "not_due"
    """Nothing in this visit called for it."""


class Seen(StrEnum):
    """What the log shows, as a stable word; the page says it in a sentence."""

    CONFIRMED = "confirmed"
    LATE = "late"
    """Done, but after the moment it is for."""
    NOT_DONE = "not_done"
    NOBODY_ADMITTED = "nobody_admitted"
    READ = "read"
    CONSENTS_MISSING = "consents_missing"
    STATED = "stated"
    OTHERS_STATED = "others_stated"
    """Somebody was stated who was not there, or the other way round."""
    NOT_ASKED = "not_asked"
    ASKED_AGAIN = "asked_again"
    HONOURED = "honoured"
    WENT_ON = "went_on"
    RIGHT = "right"
    OTHER_OUTCOME = "other_outcome"


@dataclass(frozen=True, slots=True)
class Line:
    """``at``: when the log says it happened."""

    criterion: Criterion
    verdict: Verdict
    seen: Seen
    at: datetime | None = None


class Told(msgspec.Struct, frozen=True):
    """An entry of the session log, as far as it counts here."""

    at: datetime
    action: str
    role: str = ""
    facts: dict[str, Fact] = {}


def score(scenario: Scenario, told: Iterable[Told]) -> tuple[Line, ...]:
    """The sheet of a visit that has its outcome; ``told``: its log, in order."""
    log = _Log(told)
    return (
        _identity(log),
        _consents(log),
        _eligibility(log),
        _companions(log, scenario),
        _suitability(log),
        _recording(log, scenario),
        _outcome(log, scenario),
    )


class _Log:
    """The entries of one visit, by act."""

    def __init__(self, told: Iterable[Told]) -> None:
        self._by_act: dict[str, list[Told]] = {}
        for entry in told:
            self._by_act.setdefault(entry.action, []).append(entry)

    def all(self, act: Act) -> list[Told]:
        return self._by_act.get(act.value, [])

    def last(self, act: Act) -> Told | None:
        return entries[-1] if (entries := self.all(act)) else None

    @property
    def admitted_at(self) -> datetime | None:
        return entries[0].at if (entries := self.all(Act.ADMITTED)) else None

    @property
    def outcome(self) -> Mapping[str, Fact]:
        last = self.last(Act.OUTCOME)
        return last.facts if last else {}


def _identity(log: _Log) -> Line:
    last = log.last(Act.IDENTITY_CONFIRMED)
    if last is not None and last.facts.get("confirmed"):
        return Line(Criterion.IDENTITY, Verdict.MET, Seen.CONFIRMED, last.at)
    return _missing(log, Criterion.IDENTITY)


def _eligibility(log: _Log) -> Line:
    last = log.last(Act.ELIGIBILITY_CONFIRMED)
    if last is not None and last.facts.get("confirmed"):
        return Line(Criterion.ELIGIBILITY, Verdict.MET, Seen.CONFIRMED, last.at)
    return _missing(log, Criterion.ELIGIBILITY)


def _consents(log: _Log) -> Line:
    """The card with both consents was on the screen before the patient was let in."""
    admitted, given = log.admitted_at, log.all(Act.CONSENT_GIVEN)
    if admitted is None:
        return Line(Criterion.CONSENTS, Verdict.NOT_DUE, Seen.NOBODY_ADMITTED)
    if not given:
        return Line(Criterion.CONSENTS, Verdict.NOT_MET, Seen.CONSENTS_MISSING)
    since = max(entry.at for entry in given)
    reads = [entry.at for entry in log.all(Act.CARD_OPENED) if entry.at >= since]
    if not reads:
        return Line(Criterion.CONSENTS, Verdict.NOT_MET, Seen.NOT_DONE)
    if reads[0] > admitted:
        return Line(Criterion.CONSENTS, Verdict.NOT_MET, Seen.LATE, reads[0])
    return Line(Criterion.CONSENTS, Verdict.MET, Seen.READ, reads[0])


def _companions(log: _Log, scenario: Scenario) -> Line:
    if log.admitted_at is None:
        return Line(Criterion.COMPANIONS, Verdict.NOT_DUE, Seen.NOBODY_ADMITTED)
    stated = log.last(Act.OUTCOME)
    present = set(str(log.outcome.get("present", "")).split(",")) - {""}
    is_right = "patient" in present and ("caregiver" in present) == scenario.expected.has_companion
    at = stated.at if stated else None
    if not present:
        return Line(Criterion.COMPANIONS, Verdict.NOT_MET, Seen.NOT_DONE, at)
    if not is_right:
        return Line(Criterion.COMPANIONS, Verdict.NOT_MET, Seen.OTHERS_STATED, at)
    return Line(Criterion.COMPANIONS, Verdict.MET, Seen.STATED, at)


def _suitability(log: _Log) -> Line:
    last = log.last(Act.SUITABILITY_STATED)
    if last is not None:
        return Line(Criterion.SUITABILITY, Verdict.MET, Seen.STATED, last.at)
    return _missing(log, Criterion.SUITABILITY)


def _recording(log: _Log, scenario: Scenario) -> Line:
    """Refused or stopped by the patient: nobody asks again."""
    asked = log.all(Act.RECORDING_ASKED)
    answers = log.all(Act.RECORDING_REFUSED) + log.all(Act.RECORDING_STOPPED)
    if not asked:
        verdict = Verdict.NOT_MET if scenario.expected.is_recorded else Verdict.NOT_DUE
        return Line(Criterion.RECORDING, verdict, Seen.NOT_ASKED)
    by_patient = min((e.at for e in answers if e.role == ActorRole.PATIENT), default=None)
    if by_patient is None:
        return Line(Criterion.RECORDING, Verdict.NOT_DUE, Seen.WENT_ON, asked[0].at)
    again = [entry.at for entry in asked if entry.at > by_patient]
    if again:
        return Line(Criterion.RECORDING, Verdict.NOT_MET, Seen.ASKED_AGAIN, again[0])
    return Line(Criterion.RECORDING, Verdict.MET, Seen.HONOURED, by_patient)


def _outcome(log: _Log, scenario: Scenario) -> Line:
    last = log.last(Act.OUTCOME)
    word = str(log.outcome.get("outcome", ""))
    is_right = word in {outcome.value for outcome in scenario.expected.outcomes}
    seen = Seen.RIGHT if is_right else Seen.OTHER_OUTCOME
    verdict = Verdict.MET if is_right else Verdict.NOT_MET
    return Line(Criterion.OUTCOME, verdict, seen, last.at if last else None)


def _missing(log: _Log, criterion: Criterion) -> Line:
    """What every visit asks for that took place, and no other."""
    if log.admitted_at is None:
        return Line(criterion, Verdict.NOT_DUE, Seen.NOBODY_ADMITTED)
    return Line(criterion, Verdict.NOT_MET, Seen.NOT_DONE)
