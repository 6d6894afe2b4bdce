"""The records of a test: one row for each run, the newest counts, a line in the session log."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

import msgspec
from sqlalchemy import delete, select
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import joinedload

from server.audit import Act, ActorRole, Entry, Fact, append
from server.auth import Actor
from server.errors import NotFound, TooManyAttempts
from server.linetest.rules import Steps, find_problems
from server.models import LineTest, Organisation, Visit
from server.readiness import Problem

MOST_KEPT: Final = 20
SHORTEST_PAUSE: Final = timedelta(seconds=10)
"""No run is faster; more often asks only a script."""


@dataclass(frozen=True, slots=True)
class Standing:
    """The visit of a patient and its tests, the newest first."""

    organisation: Organisation
    visit: Visit
    tests: Sequence[LineTest]

    @property
    def newest(self) -> LineTest | None:
        return self.tests[0] if self.tests else None


async def load_standing(session: AsyncSession, actor: Actor) -> Standing:
    """What the page shows."""
    visit = await session.scalar(
        select(Visit).where(Visit.id == actor.visit_id).options(joinedload(Visit.appointment))
    )
    if visit is None:
        raise NotFound
    tests = await session.scalars(
        select(LineTest)
        .where(LineTest.visit_id == visit.id)
        .order_by(LineTest.taken_at.desc(), LineTest.id.desc())
    )
    organisation = await session.get_one(Organisation, actor.organisation)
    return Standing(organisation, visit, tests.all())


async def save_test(
    session: AsyncSession,
    actor: Actor,
    standing: Standing,
    steps: Steps,
    browser: str,
    now: datetime,
) -> tuple[Problem, ...]:
    """Keep one run; returns what is wrong.

    :raises TooManyAttempts: faster than a run can be.
    """
    newest = standing.newest
    if newest is not None and now - newest.taken_at < SHORTEST_PAUSE:
        raise TooManyAttempts(int(SHORTEST_PAUSE.total_seconds()))
    problems = find_problems(steps)
    session.add(
        LineTest(
            organisation_id=actor.organisation,
            visit_id=standing.visit.id,
            taken_at=now,
            steps=msgspec.json.encode(steps).decode(),
            problems=msgspec.json.encode(problems).decode(),
            browser=browser,
        )
    )
    surplus = [test.id for test in standing.tests[MOST_KEPT - 1 :]]
    await session.execute(delete(LineTest).where(LineTest.id.in_(surplus)))
    facts: dict[str, Fact] = {"problems": len(problems)}
    entry = Entry(now, Act.LINE_TESTED, ActorRole.PATIENT, actor.id, actor.visit_id, facts)
    await append(session, actor.organisation, entry)
    return problems
