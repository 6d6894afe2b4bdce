"""The log's one door: numbers without gaps, acts and entries together, ids and words only."""

from __future__ import annotations

import asyncio
import json
from datetime import UTC, datetime

import pytest
from sqlalchemy import select

from server.audit import Act, ActorRole, Entry, append, append_once
from server.db import EVERY_ORGANISATION, Database, OrganisationId
from server.models import LogEntry, LogHead
from tests.conftest import Cast

NOW = datetime(2026, 11, 26, 9, 40, 0, 123456, tzinfo=UTC)
ENTRY = Entry(NOW, Act.WAITING, ActorRole.PATIENT, "device1", "visit1", {"b": 2, "a": "è"})


def test_entry_is_canonical_json() -> None:
    text = ENTRY.canonical()

    assert text == (
        '{"act":"visit.waiting","actor":"device1","at":"2026-11-26T09:40:00.123+00:00",'
        '"facts":{"a":"è","b":2},"role":"patient","visit":"visit1"}'
    )
    assert json.loads(text)["facts"] == {"a": "è", "b": 2}


async def test_entries_are_numbered_from_one_in_each_organisation(
    database: Database, cast: Cast
) -> None:
    for team in (cast.toscana, cast.emilia):
        async with database.begin(team.organisation.id) as session:
            await append(session, team.organisation.id, ENTRY)
            await append(session, team.organisation.id, ENTRY, ENTRY)

    for team in (cast.toscana, cast.emilia):
        assert await load_numbers(database, team.organisation.id) == [1, 2, 3]


async def test_group_whose_commit_was_not_answered_is_stored_once(
    database: Database, cast: Cast
) -> None:
    organisation = cast.toscana.organisation.id
    other = Entry(NOW, Act.ROOM_LEFT, ActorRole.PATIENT, "", "visit1")
    async with database.begin(organisation) as session:
        await append(session, organisation, ENTRY)

    for _ in range(2):
        async with database.begin(organisation) as session:
            await append_once(session, organisation, ENTRY, other)

    assert await load_numbers(database, organisation) == [1, 2]


async def test_concurrent_acts_leave_neither_gap_nor_double(database: Database, cast: Cast) -> None:
    organisation = cast.toscana.organisation.id

    async def act(size: int) -> None:
        async with database.begin(organisation) as session:
            await append(session, organisation, *[ENTRY] * size)

    await asyncio.gather(*(act(1 + number % 3) for number in range(30)))

    numbers = await load_numbers(database, organisation)
    async with database.read(organisation) as session:
        head = await session.get_one(LogHead, organisation)
    assert numbers == list(range(1, 61))
    assert head.size == 60


async def test_failed_acts_among_others_leave_no_entry_and_no_gap(
    database: Database, cast: Cast
) -> None:
    organisation = cast.toscana.organisation.id

    async def act(number: int) -> None:
        async with database.begin(organisation) as session:
            await append(session, organisation, ENTRY)
            if number % 3 == 0:
                raise RuntimeError("the act did not succeed")

    results = await asyncio.gather(*map(act, range(30)), return_exceptions=True)

    assert sum(isinstance(result, RuntimeError) for result in results) == 10
    assert await load_numbers(database, organisation) == list(range(1, 21))


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

    assert await load_numbers(database, organisation) == []
    async with database.begin(organisation) as session:
        await append(session, organisation, ENTRY)
    assert await load_numbers(database, organisation) == [1]


async def test_log_of_an_unknown_organisation_is_refused(database: Database, cast: Cast) -> None:
    async with database.begin(EVERY_ORGANISATION) as session:
        with pytest.raises(LookupError):
            await append(session, OrganisationId("nobody"), ENTRY)


async def load_numbers(database: Database, organisation: OrganisationId) -> list[int]:
    async with database.read(organisation) as session:
        return list(await session.scalars(select(LogEntry.seq).order_by(LogEntry.seq)))
