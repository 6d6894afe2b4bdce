"""What a person does with a message in quarantine: have it read again, or put it aside."""

from __future__ import annotations

from datetime import datetime

from server.audit import Act, ActorRole, Entry, append
from server.cup.booking import Fault, Field, Message, Order, Reason
from server.cup.inbox.intake import open_work
from server.cup.inbox.receipt import Receipt
from server.cup.inbox.remap import remap
from server.cup.inbox.taking import Taking
from server.db import Database, OrganisationId
from server.errors import Conflict, NotFound
from server.keyring import Keyring
from server.models import InboxMessage, MessageState, Source
from server.sealed import open_message
from server.sources import settings_of


async def replay(
    database: Database,
    keyring: Keyring,
    organisation: OrganisationId,
    message_id: str,
    now: datetime,
    *,
    by: str = "",
    role: ActorRole | None = None,
) -> Receipt:
    """Map a message again with the settings its source has now, and apply it.

    :raises NotFound: there is none.
    :raises Conflict: it is not in quarantine any more.
    """
    async with database.begin(organisation) as session:
        with session.no_autoflush:
            row = await session.get(InboxMessage, message_id)
            if row is None:
                raise NotFound
            source = await session.get_one(Source, row.source_id)
            work = await open_work(session, keyring, source, now)
            await session.refresh(row)
            _refuse_settled(row)
            raw = await open_message(keyring, session, row)
            found = remap(row.connector, raw, settings_of(source), row.received_at)
            first, *others = _own_first(found, row)
            await work.load([first, *others], [row.booking_code])
            taking = Taking(work)
            receipt = await taking.take_again(first, row)
            for message in others:
                await taking.take(message)
            await work.close()
            await work.finish()
            facts = {"message": row.id, "became": receipt.state.value}
            act = Act.CUP_MESSAGE_REPLAYED
            entry = Entry(now, act, _role(by, role), by, row.visit_id, dict(facts))
            await append(session, organisation, entry)
    return receipt


async def discard(
    database: Database,
    organisation: OrganisationId,
    message_id: str,
    now: datetime,
    *,
    by: str = "",
    role: ActorRole | None = None,
) -> None:
    """Put a message aside for good; it stays readable.

    :raises NotFound: there is none.
    :raises Conflict: it is not in quarantine any more.
    """
    async with database.begin(organisation) as session:
        row = await session.get(InboxMessage, message_id, with_for_update=True)
        if row is None:
            raise NotFound
        _refuse_settled(row)
        row.state, row.decided_at = MessageState.DISCARDED, now
        act = Act.CUP_MESSAGE_DISCARDED
        entry = Entry(now, act, _role(by, role), by, facts={"message": row.id})
        await append(session, organisation, entry)


def _refuse_settled(row: InboxMessage) -> None:
    if row.state is not MessageState.QUARANTINED:
        raise Conflict(f"message is {row.state}")


def _role(by: str, role: ActorRole | None) -> ActorRole:
    """A user without a role is the administrator, nobody the command line."""
    return role or (ActorRole.ADMINISTRATOR if by else ActorRole.SYSTEM)


def _own_first(found: list[Message], row: InboxMessage) -> list[Message]:
    """The message of the row's own booking code before the others that are in its raw bytes."""
    if not found:
        found = [_unreadable(row)]
    return sorted(found, key=lambda message: message.booking_code != row.booking_code)


def _unreadable(row: InboxMessage) -> Message:
    return Message(
        connector=row.connector,
        control_id=row.control_id,
        event=row.event,
        order=Order(sent_at=row.received_at),
        content=b"",
        raw=b"",
        body=Fault(Field.MESSAGE, Reason.UNREADABLE),
        paths={},
    )
