"""What the clinician's pages share: which visits are theirs, and how old a patient is.

The one place that says "assigned to me": a visit of a colleague, or of another organisation, is
*not found*. Called by ``server.agenda``, ``server.visit`` and ``server.notes``.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, datetime
from typing import Final

from sqlalchemy import Select, func, select
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import contains_eager

from server.errors import Erased, NotFound
from server.models import ERASED_BYTES, Appointment, Visit, VisitState

STILL_TO_COME: Final = (VisitState.BOOKED, VisitState.CHECKED_IN, VisitState.WAITING)
LATE_CHOICES: Final = (5, 10, 15, 20, 30, 45, 60)
"""By how many minutes a clinician can say to be late."""


def visits_of(clinician_id: str) -> Select[Visit]:
    """The visits of one clinician that are not erased, with appointment, patient and clinic."""
    return _all_of(clinician_id).where(func.length(Appointment.sealed_details) > ERASED_BYTES)


def _all_of(clinician_id: str) -> Select[Visit]:
    return (
        select(Visit)
        .join(Visit.appointment)
        .join(Appointment.patient)
        .outerjoin(Appointment.clinic)
        .where(Appointment.clinician_id == clinician_id)
        .options(
            contains_eager(Visit.appointment).options(
                contains_eager(Appointment.patient), contains_eager(Appointment.clinic)
            )
        )
    )


async def load_visit_of(session: AsyncSession, clinician_id: str, visit_id: str) -> Visit:
    """One visit of this clinician.

    :raises NotFound: there is none, or it is not theirs.
    :raises Erased: its term is over and its key destroyed.
    """
    visit = await session.scalar(_all_of(clinician_id).where(Visit.id == visit_id))
    if visit is None:
        raise NotFound
    if visit.appointment.is_erased:
        raise Erased
    return visit


async def load_unassigned(session: AsyncSession, start: datetime, end: datetime) -> Sequence[Visit]:
    """The visits to come in a span that no clinician has, with their clinics; nobody's names."""
    found = await session.scalars(
        select(Visit)
        .join(Visit.appointment)
        .outerjoin(Appointment.clinic)
        .where(Appointment.clinician_id.is_(None))
        .where(Appointment.start >= start)
        .where(Appointment.start < end)
        .where(Visit.state.in_(STILL_TO_COME))
        .order_by(Appointment.start, Visit.id)
        .options(contains_eager(Visit.appointment).contains_eager(Appointment.clinic))
    )
    return found.all()


def age_on(day: date, birth_date: date) -> int:
    """Whole years; someone born on 29 February has the birthday on 1 March in common years."""
    has_had_birthday = (day.month, day.day) >= (birth_date.month, birth_date.day)
    return day.year - birth_date.year - (0 if has_had_birthday else 1)
