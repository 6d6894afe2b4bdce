"""The outbox to CUP, the queueing half: an event is written in the transaction of its act.

Delivery is :mod:`server.cup.delivery`. Nothing here opens a connection.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import datetime

from sqlalchemy.ext.asyncio import AsyncSession

from server.models import EventKind, EventState, OutboxEvent, Source, Visit
from server.phases import load_may_leave
from server.sources import settings_of


async def tell_cup(
    session: AsyncSession,
    visit: Visit,
    kind: EventKind,
    now: datetime,
    facts: Mapping[str, str | int | bool] | None = None,
) -> OutboxEvent:
    """Queue one event of a visit that was loaded with its appointment.

    ``facts`` are stable words, numbers and ISO times, never a name or free text. In a phase that
    lets nothing leave the event is kept as *withheld* and never sent.
    """
    source = await session.get_one(Source, visit.appointment.source_id)
    state = EventState.QUEUED
    if not await load_may_leave(session, visit.appointment):
        state = EventState.WITHHELD
    elif settings_of(source).outgoing is None:
        state = EventState.NO_ROUTE
    event = OutboxEvent(
        organisation_id=visit.organisation_id,
        source_id=source.id,
        visit_id=visit.id,
        kind=kind,
        facts=json.dumps(dict(facts or {}), sort_keys=True),
        state=state,
        created_at=now,
        next_attempt_at=now if state is EventState.QUEUED else None,
    )
    session.add(event)
    await session.flush()
    return event
