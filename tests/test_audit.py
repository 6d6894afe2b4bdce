"""The log's one door: acts and entries together, ids and words only."""

from __future__ import annotations

import asyncio
import json
from datetime import UTC, datetime

import pytest
from sqlalchemy import func, select

from server.audit import Act, ActorRole, Entry, append, name_node, store_once
from server.db import EVERY_ORGANISATION, Database, OrganisationId
from server.models import LogEntry
from tests.conftest import Cast

NOW = datetime(2026, 11, 26, 9, 40, 0, 123456, tzinfo=UTC)
ENTRY = Entry(NOW, Act.WAITING, ActorRole.PATIENT, "device1", "visit1", {"b": 2, "a": "è"})


def test_entry_is_canonical_json() -> None:
    text = ENTRY.canonical()

    assert text == (
        '{"action":"visit.waiting","actor":"device1","at":"2026-11-26T09:40:00.123+00:00",'
        f'"facts":{{"a":"è","b":2}},"node":"{name_node()}","object":"visit:visit1",'
        '"outcome":"done","reason":"","role":"patient","visit":"visit1"}'
    )
    assert json.loads(text)["facts"] == {"a": "è", "b": 2}


async def test_group_whose_commit_was_not_answered_is_stored_once(
    database: Database, cast: Cast
) -> None:
    organisation = cast.toscana.organisation.id
    other = Entry(NOW, Act.ROOM_LEFT, ActorRole.PATIENT, "", "visit1")
    async with database.begin(organisation) as session:
        await append(session, organisation, ENTRY)

    for _ in range(2):
        async with database.begin(organisation) as session:
            rows = [("visit1", entry.canonical()) for entry in (ENTRY, other)]
            await store_once(session, organisation, rows)

    assert await count_entries(database, organisation) == 2


async def test_concurrent_acts_all_leave_their_entries(database: Database, cast: Cast) -> None:
    organisation = cast.toscana.organisation.id

    async def act(size: int) -> None:
        async with database.begin(organisation) as session:
            await append(session, organisation, *[ENTRY] * size)

    await asyncio.gather(*(act(1 + number % 3) for number in range(30)))

    assert await count_entries(database, organisation) == 60


async def test_failed_acts_among_others_leave_no_entry(database: Database, cast: Cast) -> None:
    organisation = cast.toscana.organisation.id

    async def act(number: int) -> None:
        async with database.begin(organisation) as session:
            await append(session, organisation, ENTRY)
            if number % 3 == 0:
                raise RuntimeError("the act did not succeed")

    results = await asyncio.gather(*map(act, range(30)), return_exceptions=True)

    assert sum(isinstance(result, RuntimeError) for result in results) == 10
    assert await count_entries(database, organisation) == 20


async def test_cancelled_act_leaves_no_entry(database: Database, cast: Cast) -> None:
    organisation = cast.toscana.organisation.id
    has_written, never = asyncio.Event(), asyncio.Event()

    async def act() -> None:
        async with database.begin(organisation) as session:
            await append(session, organisation, ENTRY)
            await session.flush()
            has_written.set()
            await never.wait()

    task = asyncio.create_task(act())
    await has_written.wait()
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)

    assert await count_entries(database, organisation) == 0
    async with database.begin(organisation) as session:
        await append(session, organisation, ENTRY)
    assert await count_entries(database, organisation) == 1


async def test_log_of_an_unknown_organisation_is_refused(database: Database, cast: Cast) -> None:
    async with database.begin(EVERY_ORGANISATION) as session:
        with pytest.raises(LookupError):
            await append(session, OrganisationId("nobody"), ENTRY)


async def count_entries(database: Database, organisation: OrganisationId) -> int:
    async with database.read(organisation) as session:
        return await session.scalar(select(func.count()).select_from(LogEntry)) or 0
