"""Queueing a message to a patient, in the transaction of the act that causes it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import datetime

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from server.models import DispatchState, MessageKind, PatientMessage, Visit
from server.phases import load_may_leave


async def queue_message(
    session: AsyncSession,
    visit: Visit,
    kind: MessageKind,
    now: datetime,
    *,
    occasion: str = "",
    due_at: datetime | None = None,
    parameters: Mapping[str, str | int] | None = None,
) -> PatientMessage:
    """Queue a message about a visit that was loaded with its appointment, once per ``occasion``.

    The row of an occasion that was queued before is returned as it is: one invitation per patient
    and appointment whatever CUP repeats. ``parameters`` are numbers and ISO times only.
    """
    known = await session.scalar(
        select(PatientMessage)
        .where(PatientMessage.visit_id == visit.id)
        .where(PatientMessage.kind == kind)
        .where(PatientMessage.occasion == occasion)
    )
    if known is not None:
        return known
    is_free = await load_may_leave(session, visit.appointment)
    message = make_message(
        visit, kind, now, is_free, occasion=occasion, due_at=due_at, parameters=parameters
    )
    session.add(message)
    await session.flush()
    return message


def make_message(
    visit: Visit,
    kind: MessageKind,
    now: datetime,
    is_free: bool,
    *,
    occasion: str = "",
    due_at: datetime | None = None,
    parameters: Mapping[str, str | int] | None = None,
) -> PatientMessage:
    """The row, for a caller that stores it; ``is_free``: the phase lets it leave."""
    return PatientMessage(
        organisation_id=visit.organisation_id,
        visit_id=visit.id,
        kind=kind,
        occasion=occasion,
        parameters=json.dumps(dict(parameters or {}), sort_keys=True),
        state=DispatchState.QUEUED if is_free else DispatchState.WITHHELD,
        created_at=now,
        due_at=due_at or now,
    )
