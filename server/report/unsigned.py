"""What a clinician has still to sign: reports of finished visits, corrections, addenda."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from sqlalchemy import and_, exists, or_, select
from sqlalchemy.ext.asyncio import AsyncSession

from server.caseload import visits_of
from server.models import Report, ReportKind, Visit, VisitState
from server.report.state import TOOK_PLACE
from server.report.watch import FEED_WITHIN

_REMEMBERED: Final = timedelta(days=60)
"""An older visit is no work of today; its own page still opens its report."""
_MOST: Final = 50


@dataclass(frozen=True, slots=True)
class Unsigned:
    """One line of the list. ``draft`` is missing where nobody has opened the report yet."""

    visit: Visit
    draft: Report | None
    due_at: datetime

    def is_late(self, now: datetime) -> bool:
        return now >= self.due_at


async def load_unsigned(
    session: AsyncSession, clinician_id: str, now: datetime
) -> Sequence[Unsigned]:
    """The documents of this clinician without a signature, the oldest first."""
    of_visit = select(Report.id).where(Report.visit_id == Visit.id)
    is_signed = exists(
        of_visit.where(Report.kind == ReportKind.REPORT).where(Report.signed_at.is_not(None))
    )
    has_draft = exists(of_visit.where(Report.signed_at.is_(None)))
    took_place = and_(Visit.outcome.in_(TOOK_PLACE), Visit.admitted_at.is_not(None))
    found = await session.scalars(
        visits_of(clinician_id)
        .where(Visit.state == VisitState.ENDED)
        .where(Visit.ended_at > now - _REMEMBERED)
        .where(or_(has_draft, and_(took_place, ~is_signed)))
        .order_by(Visit.ended_at, Visit.id)
        .limit(_MOST)
    )
    visits = found.all()
    drafts = await session.scalars(
        select(Report)
        .where(Report.visit_id.in_([visit.id for visit in visits]))
        .where(Report.signed_at.is_(None))
    )
    by_visit = {draft.visit_id: draft for draft in drafts}
    return [
        Unsigned(visit, by_visit.get(visit.id), visit.ended_at + FEED_WITHIN)
        for visit in visits
        if visit.ended_at is not None
    ]
