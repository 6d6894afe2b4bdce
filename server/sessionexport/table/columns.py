"""The columns of the table, in order. Names are stable: programs count on them.

They hold what the export of HCW@Home v5 held, in our terms: its "translator" is only known as
present or not here, and one visit is one call, however often its line was lost. Nothing in them is
sealed; patients are pseudonyms (design §4), and the booking is for managers.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from enum import StrEnum
from typing import Final

from server.audit import ActorRole
from server.line.measured import Seat
from server.models import Score, VisitSummary
from server.summary import unpack_problems

Value = str | int | bool | date | datetime | list[str] | None
_SECOND: Final = timedelta(seconds=1)


@dataclass(frozen=True, slots=True)
class Row:
    """One visit, and what stands beside its summary."""

    summary: VisitSummary
    booking_code: str
    pseudonym: str
    clinic: str
    clinician: str
    profession: str
    scores: dict[tuple[Seat, str], Score]
    """``visit`` and ``line`` of each side, as far as they were given."""


class Words(StrEnum):
    """In which words of the pages people read the values of a column."""

    RESULT = "result"
    VERDICT = "verdict"
    PROBLEM = "problem"
    PATH = "path"
    DEVICE = "device"
    REASON = "reason"
    SCORE = "score"
    PROFESSION = "profession"


@dataclass(frozen=True, slots=True)
class Column:
    name: str
    value: Callable[[Row], Value]
    words: Words | None = None
    is_of_booking: bool = False


def columns_of(role: ActorRole) -> tuple[Column, ...]:
    """Those that a role may have."""
    sees_bookings = role is ActorRole.MANAGER
    return tuple(column for column in COLUMNS if sees_bookings or not column.is_of_booking)


def _kept(name: str) -> Callable[[Row], Value]:
    def value(row: Row) -> Value:
        found: Value = getattr(row.summary, name)
        return found if found != "" else None

    return value


def _score(seat: Seat, of: str) -> Callable[[Row], Value]:
    return lambda row: row.scores.get((seat, of))


def _scheduled_end(row: Row) -> Value:
    return row.summary.start + timedelta(minutes=row.summary.scheduled_minutes)


def _delay(row: Row) -> Value:
    """Seconds from the hour of the booking to the admission; less than nought when it was early."""
    admitted = row.summary.admitted_at
    return None if admitted is None else round((admitted - row.summary.start) / _SECOND)


def _answered(row: Row) -> Value:
    return int(row.summary.media_at is not None)


def _unanswered(row: Row) -> Value:
    """The clinician was there and no picture or sound has ever arrived."""
    return int(row.summary.clinician_joined_at is not None and row.summary.media_at is None)


def _expected(row: Row) -> Value:
    """Patient and clinician, and who was announced."""
    return 2 + row.summary.has_interpreter + row.summary.has_companions


def _joined(row: Row) -> Value:
    summary = row.summary
    came = (summary.patient_joined_at, summary.clinician_joined_at)
    others = summary.has_interpreter + summary.has_companions if summary.media_at else 0
    return sum(moment is not None for moment in came) + others


def _problems(row: Row) -> Value:
    return [problem.value for problem in unpack_problems(row.summary.problems)]


COLUMNS: Final = (
    Column("visit", _kept("visit_id")),
    Column("booking_code", lambda row: row.booking_code or None, is_of_booking=True),
    Column("patient", lambda row: row.pseudonym),
    Column("clinic", lambda row: row.clinic or None),
    Column("clinician", lambda row: row.clinician or None),
    Column("profession", lambda row: row.profession or None, Words.PROFESSION),
    Column("priority", _kept("priority")),
    Column("is_first_visit", _kept("is_first_visit")),
    Column("municipality", _kept("municipality"), is_of_booking=True),
    Column("prescribed_on", _kept("prescribed_on")),
    Column("booked_on", _kept("booked_on")),
    Column("offered_on", _kept("offered_on")),
    Column("booking_received_at", _kept("created_at")),
    Column("invited_at", _kept("invited_at")),
    Column("link_opened_at", _kept("claimed_at")),
    Column("scheduled_at", _kept("start")),
    Column("scheduled_end_at", _scheduled_end),
    Column("waiting_at", _kept("waiting_at")),
    Column("patient_joined_at", _kept("patient_joined_at")),
    Column("clinician_joined_at", _kept("clinician_joined_at")),
    Column("admitted_at", _kept("admitted_at")),
    Column("first_media_at", _kept("media_at")),
    Column("closed_at", _kept("closed_at")),
    Column("waited_seconds", _kept("waited_seconds")),
    Column("delay_seconds", _delay),
    Column("visit_seconds", _kept("visit_seconds")),
    Column("calls_answered", _answered),
    Column("calls_unanswered", _unanswered),
    Column("patient_drops", _kept("patient_drops")),
    Column("clinician_drops", _kept("clinician_drops")),
    Column("broken_seconds", _kept("broken_seconds")),
    Column("people_expected", _expected),
    Column("people_joined", _joined),
    Column("has_interpreter", _kept("has_interpreter")),
    Column("has_companions", _kept("has_companions")),
    Column("state", _kept("state"), Words.RESULT),
    Column("outcome", _kept("outcome"), Words.RESULT),
    Column("outcome_reason", _kept("outcome_reason"), Words.REASON),
    Column("measured", _kept("verdict"), Words.VERDICT),
    Column("stated", _kept("stated"), Words.VERDICT),
    Column("problems", _problems, Words.PROBLEM),
    Column("failed_claims", _kept("failed_claims")),
    Column("device", _kept("device"), Words.DEVICE),
    Column("browser", _kept("browser")),
    Column("path", _kept("path"), Words.PATH),
    Column("patient_visit_score", _score(Seat.PATIENT, "visit"), Words.SCORE),
    Column("patient_line_score", _score(Seat.PATIENT, "line"), Words.SCORE),
    Column("clinician_visit_score", _score(Seat.CLINICIAN, "visit"), Words.SCORE),
    Column("clinician_line_score", _score(Seat.CLINICIAN, "line"), Words.SCORE),
)
