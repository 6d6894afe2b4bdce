"""What the commands list: messages and events by id and stable words, never what is in them."""

from __future__ import annotations

from collections.abc import Collection

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from server.db import EVERY_ORGANISATION, Database
from server.errors import CommandFailed
from server.models import (
    Appointment,
    InboxMessage,
    MessageState,
    Organisation,
    OutboxEvent,
    Source,
    Visit,
)

Row = dict[str, str | int]


async def load_inbox(database: Database, states: Collection[MessageState]) -> list[Row]:
    """Messages from CUP in these states, in the order they came."""
    async with database.read(EVERY_ORGANISATION) as session:
        found = await session.execute(
            select(InboxMessage, Source.code, Organisation.code)
            .join(Source, Source.id == InboxMessage.source_id)
            .join(Organisation, Organisation.id == InboxMessage.organisation_id)
            .where(InboxMessage.state.in_(states))
            .order_by(InboxMessage.received_at, InboxMessage.id)
        )
        return [_message_row(*row) for row in found]


async def load_outbox(database: Database) -> list[Row]:
    """Events for CUP, in their order."""
    async with database.read(EVERY_ORGANISATION) as session:
        found = await session.execute(
            select(OutboxEvent, Source.code, Organisation.code, Appointment.booking_code)
            .join(Source, Source.id == OutboxEvent.source_id)
            .join(Organisation, Organisation.id == OutboxEvent.organisation_id)
            .join(Visit, Visit.id == OutboxEvent.visit_id)
            .join(Appointment, Appointment.id == Visit.appointment_id)
            .order_by(OutboxEvent.number)
        )
        return [_event_row(*row) for row in found]


async def load_sources(database: Database) -> list[tuple[Source, str]]:
    """Every source with the code of its organisation."""
    async with database.read(EVERY_ORGANISATION) as session:
        found = await session.execute(
            select(Source, Organisation.code)
            .join(Organisation, Organisation.id == Source.organisation_id)
            .order_by(Organisation.code, Source.code)
        )
        return [(source, code) for source, code in found]


async def load_source_named(
    session: AsyncSession, code: str, organisation_code: str | None
) -> Source:
    """The source of a code.

    :raises CommandFailed: there is none, or several organisations have one of that code.
    """
    statement = (
        select(Source, Organisation.code)
        .join(Organisation, Organisation.id == Source.organisation_id)
        .where(Source.code == code)
    )
    if organisation_code is not None:
        statement = statement.where(Organisation.code == organisation_code)
    found = (await session.execute(statement)).all()
    if not found:
        raise CommandFailed(f"There is no source {code}: see 'accanto cup sources'")
    if len(found) > 1:
        owners = ", ".join(sorted(owner for _, owner in found))
        raise CommandFailed(f"Several organisations have a source {code} ({owners}): name one")
    source: Source = found[0][0]
    return source


def _message_row(message: InboxMessage, source: str, organisation: str) -> Row:
    return {
        "id": message.id,
        "source": source,
        "organisation": organisation,
        "state": message.state.value,
        "reason": message.reason,
        "field": message.field,
        "connector": message.connector.value,
        "event": message.event,
        "booking_code": message.booking_code,
        "received_at": message.received_at.isoformat(),
        "repeats": message.repeats,
        "line": message.line,
    }


def _event_row(event: OutboxEvent, source: str, organisation: str, booking_code: str) -> Row:
    return {
        "id": event.id,
        "source": source,
        "organisation": organisation,
        "state": event.state.value,
        "reason": event.reason,
        "kind": event.kind.value,
        "facts": event.facts,
        "booking_code": booking_code,
        "created_at": event.created_at.isoformat(),
        "attempts": event.attempts,
    }
