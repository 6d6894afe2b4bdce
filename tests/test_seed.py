"""Invented visits for the benchmarks: through the real doors, nowhere but where they belong."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path

from sqlalchemy import func, select

from server.audit import Act, leaf_of
from server.db import EVERY_ORGANISATION, Database
from server.demo.seed import CODE
from server.demo.seedplan import plan_visits, tell_booking, tell_visit
from server.models import LogEntry, LogHead, Outcome, Visit, VisitSummary
from server.settings import load_settings
from tests.test_cli import Installation

NOW = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)


def test_a_large_plan_has_every_ending_in_its_share_and_fifty_entries_a_visit() -> None:
    visits = plan_visits(2000, NOW)

    endings = Counter(visit.outcome for visit in visits)
    counts = [len(tell_booking(one, "v")) + len(tell_visit(one, "v", "d", "c")) for one in visits]
    assert [visit.number for visit in visits] == list(range(2000))
    assert all(one.start <= other.start for one, other in pairwise(visits))
    assert set(endings) == {*Outcome, None}
    assert endings[Outcome.COMPLETED] > 1600
    assert 48 < sum(counts) / len(counts) < 52
    assert len({(visit.start, visit.clinician) for visit in visits}) == 2000
    assert plan_visits(2000, NOW) == visits


def test_a_visit_is_told_in_order_and_as_it_ended() -> None:
    for visit in plan_visits(200, NOW):
        entries = [*tell_booking(visit, "v"), *tell_visit(visit, "v", "device", "doctor")]
        acts = [entry.act for entry in entries]
        assert all(one.at <= other.at for one, other in pairwise(entries))
        assert (Act.ADMITTED in acts) is visit.is_admitted
        assert (Act.REPORT_SIGNED in acts) is (visit.outcome is Outcome.COMPLETED)
        assert acts.count(Act.ROOM_DROPPED) == (visit.drops if visit.is_admitted else 0)


def test_seeded_visits_have_a_numbered_log_and_summaries(tmp_path: Path) -> None:
    folder = Installation(tmp_path / "data")

    said = folder.succeed("log", "seed", "--visits", "25")

    assert said.startswith("Invented 25 visits with ")
    asyncio.run(_check_rows(tmp_path / "data"))
    listed = [json.loads(line) for line in folder.succeed("visits", "--json").splitlines()]
    assert len(listed) == 25
    again = folder.fail("log", "seed", "--visits", "1")
    assert "already" in again
    assert CODE in again


async def _check_rows(folder: Path) -> None:
    database = Database(load_settings(folder).database)
    async with database.read(EVERY_ORGANISATION) as session:
        rows = list(await session.scalars(select(LogEntry).order_by(LogEntry.seq)))
        head = (await session.scalars(select(LogHead))).one()
        summaries = await session.scalar(select(func.count()).select_from(VisitSummary))
        outcomes = dict((await session.execute(select(Visit.id, Visit.outcome))).all())
    await database.close()
    assert [row.seq for row in rows] == list(range(len(rows)))
    assert head.size == len(rows)
    assert all(row.leaf == leaf_of(row.entry) for row in rows)
    assert summaries == 25
    told = {
        row.visit_id: json.loads(row.entry)["facts"]["outcome"]
        for row in rows
        if json.loads(row.entry)["action"] == Act.OUTCOME
    }
    assert told == {visit: outcome.value for visit, outcome in outcomes.items() if outcome}


def test_an_installation_of_somebody_is_left_as_it_is(tmp_path: Path) -> None:
    installation = Installation(tmp_path / "data")
    installation.succeed("migrate")
    installation.add_organisation("ausl-toscana")

    said = installation.fail("log", "seed", "--visits", "5")

    assert "nothing is invented" in said
    assert installation.succeed("visits", "--json") == ""
