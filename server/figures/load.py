"""The facts of a month's visits, from their summaries and ratings."""

from __future__ import annotations

import asyncio
from datetime import datetime
from typing import Any, Final

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from server.db import OrganisationId
from server.figures.month import Month
from server.figures.tables import RATINGS, Fact, Table, TableName, make_tables
from server.i18n import ROME
from server.line.measured import Seat
from server.models import Clinic, Rating, Score, VisitSummary
from server.rated import RATED_WITHIN
from server.summary import Problem, unpack_problems

_Scores = dict[tuple[Seat, str], Score]


async def load_tables(
    session: AsyncSession, organisation: OrganisationId, month: Month
) -> dict[TableName, Table]:
    """Every table of one organisation and month; thousands of visits are counted in a thread."""
    facts = await load_facts(session, organisation, month)
    return await asyncio.to_thread(make_tables, facts)


async def load_released(
    session: AsyncSession, organisation: OrganisationId, month: Month, now: datetime
) -> dict[TableName, Table]:
    """The tables of a settled month that change no more: ratings can be given for some weeks."""
    tables = await load_tables(session, organisation, month)
    if now < month.end + RATED_WITHIN:
        return {name: table for name, table in tables.items() if name not in RATINGS}
    return tables


async def load_facts(
    session: AsyncSession, organisation: OrganisationId, month: Month
) -> list[Fact]:
    """One of each visit whose hour is in the month."""
    its = (
        VisitSummary.organisation_id == organisation,
        VisitSummary.start >= month.start,
        VisitSummary.start < month.end,
    )
    named = select(Clinic.id, Clinic.name).where(Clinic.organisation_id == organisation)
    clinics = {row.id: row.name for row in await session.execute(named)}
    scores: dict[str, _Scores] = {}
    ratings = await session.execute(
        select(Rating.visit_id, Rating.seat, Rating.visit_score, Rating.line_score)
        .join(VisitSummary, VisitSummary.visit_id == Rating.visit_id)
        .where(*its)
    )
    for visit_id, seat, visit_score, line_score in ratings:
        given = {"visit": visit_score, "line": line_score}
        known = {(Seat(seat), name): score for name, score in given.items() if score}
        scores.setdefault(visit_id, {}).update(known)
    rows = await session.execute(select(*_COLUMNS).where(*its))
    return [_fact(row, clinics, scores.get(row.visit_id, {})) for row in rows]


_COLUMNS: Final = (
    VisitSummary.visit_id, VisitSummary.start, VisitSummary.state, VisitSummary.outcome,
    VisitSummary.outcome_reason, VisitSummary.claimed_at, VisitSummary.problems,
    VisitSummary.priority, VisitSummary.booked_on, VisitSummary.offered_on,
    VisitSummary.clinic_id, VisitSummary.waited_seconds, VisitSummary.verdict,
    VisitSummary.municipality, VisitSummary.device, VisitSummary.browser, VisitSummary.path,
)  # fmt: skip


def _fact(row: Any, clinics: dict[str, str], scores: _Scores) -> Fact:
    return Fact(
        state=row.state,
        day=row.start.astimezone(ROME).date(),
        outcome=row.outcome,
        reason=row.outcome_reason,
        has_claimed=row.claimed_at is not None,
        has_failed_message=Problem.MESSAGE_FAILED in unpack_problems(row.problems),
        priority=row.priority,
        booked_on=row.booked_on,
        offered_on=row.offered_on,
        clinic=clinics.get(row.clinic_id or "", ""),
        waited_seconds=row.waited_seconds,
        verdict=row.verdict,
        municipality=row.municipality,
        device=row.device,
        browser=row.browser,
        path=row.path,
        scores=scores,
    )
