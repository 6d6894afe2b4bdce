"""The five days: which visits still owe the national record a report (TV-13).

DM 7/9/2023 art. 12 c. 3: a record is fed within five days of the service; the gateway refuses what
is older (``/msg/max-day-limit-exceed``). Read by the clinician's pages and by the manager's.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final

from sqlalchemy import ColumnElement, Select, and_, exists, or_, select
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import aliased, contains_eager

from server.models import (
    Appointment,
    Report,
    ReportKind,
    Submission,
    SubmissionState,
    Visit,
    VisitState,
)
from server.report.state import TOOK_PLACE

FEED_WITHIN: Final = timedelta(days=5)
_LOOK_BACK: Final = timedelta(days=60)
_SOON: Final = timedelta(days=2)


class Owing(StrEnum):
    """Why a visit is on the list."""

    UNSIGNED = "unsigned"
    REFUSED = "refused"
    ON_ITS_WAY = "on_its_way"


@dataclass(frozen=True, slots=True)
class Owed:
    """One visit of the list; ``submission`` is the document that is refused or on its way."""

    visit: Visit
    owing: Owing
    submission: Submission | None
    due_at: datetime
    now: datetime

    @property
    def days_left(self) -> int:
        """Whole days; below nought the term is over."""
        return (self.due_at - self.now) // timedelta(days=1)

    @property
    def is_soon(self) -> bool:
        return self.due_at - self.now < _SOON


def has_later_version() -> ColumnElement[bool]:
    """Whether a signed version stands for this :class:`Report`."""
    later = aliased(Report)
    return exists(
        select(later.id)
        .where(later.set_id == Report.set_id)
        .where(later.version > Report.version)
        .where(later.signed_at.is_not(None))
    )


async def load_owed(session: AsyncSession, now: datetime, clinician_id: str = "") -> list[Owed]:
    """The visits of one clinician, or of the whole organisation, that owe a report; the one whose
    term ends first before the others. Visits come with appointment, patient, clinic, clinician."""
    visits = await session.scalars(
        _owing_visits(now, clinician_id)
        .join(Appointment.patient)
        .outerjoin(Appointment.clinic)
        .outerjoin(Appointment.clinician)
        .options(
            contains_eager(Visit.appointment).options(
                contains_eager(Appointment.patient),
                contains_eager(Appointment.clinic),
                contains_eager(Appointment.clinician),
            )
        )
        .order_by(Visit.ended_at, Visit.id)
    )
    found = visits.all()
    unsettled = await _load_unsettled(session, found)
    return [_owed(visit, unsettled.get(visit.id), now) for visit in found]


async def count_owed(session: AsyncSession, now: datetime, clinician_id: str) -> tuple[int, int]:
    """Of one clinician: how many visits owe a report, and how many of them are refused or due
    within two days."""
    ids = _owing_visits(now, clinician_id).with_only_columns(Visit.id, Visit.ended_at)
    rows = (await session.execute(ids)).all()
    refused = set(
        await session.scalars(
            select(Report.visit_id)
            .join(Submission, Submission.report_id == Report.id)
            .where(Report.visit_id.in_([row.id for row in rows]))
            .where(Submission.state == SubmissionState.REFUSED)
            .where(~has_later_version())
        )
    )
    late = [row for row in rows if row.id in refused or row.ended_at + FEED_WITHIN - now < _SOON]
    return len(rows), len(late)


def _owing_visits(now: datetime, clinician_id: str) -> Select[Visit]:
    took_place = and_(Visit.outcome.in_(TOOK_PLACE), Visit.admitted_at.is_not(None))
    is_signed = exists(
        select(Report.id)
        .where(Report.visit_id == Visit.id)
        .where(Report.kind == ReportKind.REPORT)
        .where(Report.signed_at.is_not(None))
    )
    is_unsettled = exists(
        select(Submission.id)
        .join(Report, Report.id == Submission.report_id)
        .where(Report.visit_id == Visit.id)
        .where(_is_unsettled())
    )
    wanted = (
        select(Visit)
        .join(Visit.appointment)
        .where(Visit.state == VisitState.ENDED)
        .where(took_place)
        .where(Visit.ended_at > now - _LOOK_BACK)
        .where(or_(~is_signed, is_unsettled))
    )
    return wanted.where(Appointment.clinician_id == clinician_id) if clinician_id else wanted


def _is_unsettled() -> ColumnElement[bool]:
    """Not published; a refusal counts only while no later version stands for the document."""
    is_refused = Submission.state == SubmissionState.REFUSED
    return and_(
        Submission.state != SubmissionState.PUBLISHED, ~and_(is_refused, has_later_version())
    )


async def _load_unsettled(session: AsyncSession, visits: Sequence[Visit]) -> dict[str, Submission]:
    """Of each visit the document to look at: a refused one before one that is on its way."""
    rows = await session.execute(
        select(Report.visit_id, Submission)
        .join(Submission, Submission.report_id == Report.id)
        .where(Report.visit_id.in_([visit.id for visit in visits]))
        .where(_is_unsettled())
        .order_by(Submission.created_at)
    )
    found: dict[str, Submission] = {}
    for visit_id, submission in rows:
        known = found.get(visit_id)
        if known is None or known.state is not SubmissionState.REFUSED:
            found[visit_id] = submission
    return found


def _owed(visit: Visit, submission: Submission | None, now: datetime) -> Owed:
    owing = Owing.UNSIGNED
    if submission is not None:
        is_refused = submission.state is SubmissionState.REFUSED
        owing = Owing.REFUSED if is_refused else Owing.ON_ITS_WAY
    due_at = (visit.ended_at or now) + FEED_WITHIN
    return Owed(visit, owing, submission, due_at, now)
