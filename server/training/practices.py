"""A clinician's own practices, and the score sheet of one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import msgspec
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from server.auth import Actor
from server.db import EVERY_ORGANISATION, Database
from server.errors import NotFound
from server.models import LogEntry, Practice, Visit, VisitState
from server.training.scenario import Scenario, parse_scenario
from server.training.score import Line, Told, score


@dataclass(frozen=True, slots=True)
class Held:
    """A practice with its visit; ``sheet`` is empty until the visit has its outcome."""

    practice: Practice
    scenario: Scenario
    visit: Visit
    sheet: tuple[Line, ...] = ()


async def load_held(database: Database, actor: Actor) -> list[Held]:
    """The practices of this clinician that the night has not ended yet, the newest first."""
    async with database.read(actor.organisation) as session:
        practices = (
            await session.scalars(
                select(Practice)
                .where(Practice.user_id == actor.id)
                .order_by(Practice.began_at.desc(), Practice.id)
            )
        ).all()
    return await _with_visits(database, practices)


async def load_one(database: Database, actor: Actor, practice_id: str) -> Held:
    """One of them, with its sheet when it is over.

    :raises NotFound: there is none, or it is somebody else's.
    """
    async with database.read(actor.organisation) as session:
        practice = await session.scalar(
            select(Practice).where(Practice.id == practice_id, Practice.user_id == actor.id)
        )
    if practice is None:
        raise NotFound
    (held,) = await _with_visits(database, [practice])
    if held.visit.state is not VisitState.ENDED:
        return held
    async with database.read(held.visit.organisation_id) as session:
        told = await _load_told(session, held.visit.id)
    return Held(held.practice, held.scenario, held.visit, score(held.scenario, told))


async def _with_visits(database: Database, practices: Sequence[Practice]) -> list[Held]:
    """Reads over all organisations: a practice is of one, its visit of the training one."""
    wanted = [practice.visit_id for practice in practices]
    async with database.read(EVERY_ORGANISATION) as session:
        rows = await session.scalars(select(Visit).where(Visit.id.in_(wanted)))
        visits = {visit.id: visit for visit in rows}
    return [
        Held(practice, parse_scenario(practice.scenario), visits[practice.visit_id])
        for practice in practices
    ]


async def _load_told(session: AsyncSession, visit_id: str) -> list[Told]:
    rows = await session.scalars(
        select(LogEntry.entry)
        .where(LogEntry.visit_id == visit_id, LogEntry.entry != "")
        .order_by(LogEntry.id)
    )
    return [msgspec.json.decode(text, type=Told) for text in rows]
