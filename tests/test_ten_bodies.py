"""Ten organisations in one installation, each with its own CUP: nobody meets anybody else's."""

from __future__ import annotations

import asyncio
from collections import Counter
from contextlib import AsyncExitStack
from datetime import UTC, datetime

from sqlalchemy import select
from sqlalchemy.orm import joinedload

from server.admin import add_organisation
from server.cup.hl7v2.mllp import Entrance
from server.cup.inbox.intake import Inbox
from server.db import EVERY_ORGANISATION, Database
from server.keyring import Keyring
from server.models import (
    Appointment,
    DispatchState,
    Organisation,
    PatientMessage,
    Phase,
    Source,
    new_id,
)
from server.sealed import open_identity
from server.sources import Listener, SourceSettings, write_settings
from tests.test_cup_mllp import connected, siu

NOW = datetime(2026, 11, 22, 9, 0, tzinfo=UTC)
BODIES = 10
LIVE = 4
MESSAGES = 3


async def make_body(database: Database, keyring: Keyring, number: int) -> Source:
    """An organisation, live or in collaudo, and its source."""
    async with database.begin(EVERY_ORGANISATION) as session:
        phase = Phase.ATTIVO if number < LIVE else Phase.COLLAUDO
        organisation = Organisation(
            code=f"ente-{number}", name=f"Ente {number}", desk_phone="02 1", phase=phase
        )
        await add_organisation(session, keyring, organisation)
        source = Source(id=new_id(), organisation_id=organisation.id, code="cup")
        write_settings(source, SourceSettings(listener=Listener()))
        session.add(source)
    return source


async def feed(entrance: Entrance, number: int) -> list[str]:
    """The same booking codes and control ids everywhere; only the body's own name is inside."""
    async with connected(entrance) as client:
        return [await client.ask(siu(one, extra=f"-{number}")) for one in range(MESSAGES)]


async def test_each_body_has_its_own_bookings_keys_and_phase(
    database: Database, keyring: Keyring
) -> None:
    inbox = Inbox(database, keyring)
    sources = [await make_body(database, keyring, number) for number in range(BODIES)]
    async with AsyncExitStack() as stack:
        entrances = []
        for source in sources:
            entrance = Entrance(source, Listener(), inbox, lambda: NOW)
            await entrance.open()
            stack.push_async_callback(entrance.close)
            entrances.append(entrance)
        answers = await asyncio.gather(*(feed(one, n) for n, one in enumerate(entrances)))

    assert answers == [[f"AA M-{one}" for one in range(MESSAGES)]] * BODIES
    for number, source in enumerate(sources):
        async with database.read(source.organisation_id) as session:
            found = select(Appointment).options(joinedload(Appointment.patient))
            appointments = list(await session.scalars(found))
            assert {row.source_id for row in appointments} == {source.id}
            assert len(appointments) == MESSAGES
            for row in appointments:
                identity = await open_identity(keyring, session, row.patient)
                assert identity.given_name == f"Anna-{number}"
            states = Counter(await session.scalars(select(PatientMessage.state)))
        is_live = number < LIVE
        assert states == {DispatchState.QUEUED if is_live else DispatchState.WITHHELD: MESSAGES}
