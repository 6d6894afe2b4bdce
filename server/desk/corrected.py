"""What a person has had corrected in her data, so that the desk sees whether CUP knows."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from server.models import Appointment, EventKind, EventState, OutboxEvent, Visit


@dataclass(frozen=True, slots=True)
class Correction:
    """The newest one. ``fields``: names, as in :class:`server.sealed.Identity`."""

    at: datetime
    fields: tuple[str, ...]
    is_cup_told: bool


async def load_correction(session: AsyncSession, visit: Visit) -> Correction | None:
    """Of the patient of a visit, which comes with its appointment."""
    event = await session.scalar(
        select(OutboxEvent)
        .join(Visit, Visit.id == OutboxEvent.visit_id)
        .join(Appointment, Appointment.id == Visit.appointment_id)
        .where(Appointment.patient_id == visit.appointment.patient_id)
        .where(OutboxEvent.kind == EventKind.RECTIFIED)
        .order_by(OutboxEvent.number.desc())
        .limit(1)
    )
    if event is None:
        return None
    fields = tuple(str(json.loads(event.facts)["fields"]).split())
    is_told = event.state is EventState.DELIVERED and not event.reason
    return Correction(event.created_at, fields, is_told)
