"""The outbox to CUP, the queueing half: an event is written in the transaction of its act, and a
dead one is put back by a person.

Delivery is :mod:`server.cup.delivery`. Nothing here opens a connection.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import datetime
from typing import Final

from sqlalchemy import select, update
from sqlalchemy.ext.asyncio import AsyncSession

from server.audit import Act, ActorRole, Entry, append
from server.db import count_changed
from server.errors import Conflict, NotFound
from server.models import EventKind, EventState, OutboxEvent, Source, Visit
from server.phases import load_may_leave
from server.sources import settings_of

_STUCK: Final = (EventState.DEAD, EventState.NO_ROUTE)
"""What a person can put back. Withheld events were of test bookings: they never leave."""


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


async def retry_event(session: AsyncSession, event_id: str, *, by: str, now: datetime) -> None:
    """Queue a stuck event again, in its old place of the line. ``by`` is a user's id, empty for
    the command line.

    :raises NotFound: no such event of this organisation.
    :raises Conflict: it is not stuck.
    """
    event = await session.scalar(select(OutboxEvent).where(OutboxEvent.id == event_id))
    if event is None:
        raise NotFound
    change = (
        update(OutboxEvent)
        .where(OutboxEvent.id == event_id)
        .where(OutboxEvent.state.in_(_STUCK))
        .values(
            state=EventState.QUEUED, reason="", attempts=0, tried_since=None, next_attempt_at=now
        )
    )
    if not await count_changed(session, change):
        raise Conflict("the event is not stuck")
    role = ActorRole.ADMINISTRATOR if by else ActorRole.SYSTEM
    entry = Entry(now, Act.CUP_EVENT_RETRIED, role, by, event.visit_id, {"event": event_id})
    await append(session, event.organisation_id, entry)
