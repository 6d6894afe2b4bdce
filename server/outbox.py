"""The outbox to CUP, the queueing half: an event is written in the transaction of its act, and a
dead one is put back by a person.

Delivery is :mod:`server.cup.outbox`. Nothing here opens a connection.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import datetime
from typing import Final

from sqlalchemy import bindparam, insert, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from server.audit import Act, ActorRole, Entry, append
from server.db import Base, OrganisationId, count_changed
from server.errors import Conflict, NotFound
from server.models import (
    Appointment,
    Clinic,
    EventKind,
    EventState,
    Organisation,
    OutboxEvent,
    Source,
    Visit,
)
from server.phases import is_let_out
from server.sources import parse_settings

_VISITS, _APPOINTMENTS, _SOURCES, _ORGANISATIONS, _CLINICS, _EVENTS = (
    Base.metadata.tables[rows.__tablename__]
    for rows in (Visit, Appointment, Source, Organisation, Clinic, OutboxEvent)
)
_WAY = (
    select(
        _SOURCES.c.id,
        _SOURCES.c.settings,
        _ORGANISATIONS.c.phase,
        _ORGANISATIONS.c.pilot_clinics,
        _ORGANISATIONS.c.is_training,
        _CLINICS.c.code,
    )
    .select_from(_VISITS)
    .join(_APPOINTMENTS, _APPOINTMENTS.c.id == _VISITS.c.appointment_id)
    .join(_SOURCES, _SOURCES.c.id == _APPOINTMENTS.c.source_id)
    .join(_ORGANISATIONS, _ORGANISATIONS.c.id == _VISITS.c.organisation_id)
    .outerjoin(_CLINICS, _CLINICS.c.id == _APPOINTMENTS.c.clinic_id)
    .where(_VISITS.c.id == bindparam("visit"))
    .where(_VISITS.c.organisation_id == bindparam("organisation"))
)
_INSERT = insert(_EVENTS)
"""By Core and built once: whoever is admitted waits for them."""

_STUCK: Final = (EventState.DEAD, EventState.NO_ROUTE)
"""What a person can put back. Withheld events were of test bookings: they never leave."""


async def tell_cup(
    session: AsyncSession,
    visit: Visit,
    kind: EventKind,
    now: datetime,
    facts: Mapping[str, str | int | bool] | None = None,
) -> None:
    """Queue one event of a visit.

    ``facts`` are stable words, numbers and ISO times, never a name or free text. In a phase that
    lets nothing leave the event is kept as *withheld* and never sent.
    """
    await tell_cup_of(session, visit.organisation_id, visit.id, kind, now, facts)


async def tell_cup_of(
    session: AsyncSession,
    organisation: OrganisationId,
    visit_id: str,
    kind: EventKind,
    now: datetime,
    facts: Mapping[str, str | int | bool] | None = None,
) -> None:
    """The same where the visit itself is not at hand: two statements, built once."""
    way = {"organisation": organisation, "visit": visit_id}
    found = (await session.execute(_WAY, way)).one()
    source_id, settings, phase, pilots, is_training, clinic = found
    state = EventState.QUEUED
    if not is_let_out(phase, pilots, clinic or "", is_training=is_training):
        state = EventState.WITHHELD
    elif parse_settings(settings).outgoing is None:
        state = EventState.NO_ROUTE
    row = {
        "organisation_id": organisation,
        "source_id": source_id,
        "visit_id": visit_id,
        "kind": kind,
        "facts": json.dumps(dict(facts or {}), sort_keys=True),
        "state": state,
        "created_at": now,
        "next_attempt_at": now if state is EventState.QUEUED else None,
    }
    await session.execute(_INSERT, row)


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
