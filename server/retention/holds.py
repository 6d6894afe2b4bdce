"""The legal hold: while one runs nothing of its visit is shredded."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from enum import StrEnum

from sqlalchemy import select, update
from sqlalchemy.ext.asyncio import AsyncSession

from server.audit import Act, ActorRole, Entry, append
from server.errors import Conflict, NotFound
from server.models import LegalHold, Visit


class HoldReason(StrEnum):
    """Why something is held."""

    LITIGATION = "litigation"
    COMPLAINT = "complaint"
    INSPECTION = "inspection"
    REQUEST = "request"
    """The person herself wants the data kept (GDPR art. 18)."""


async def load_holds(session: AsyncSession) -> Sequence[LegalHold]:
    """Those that run, the oldest first."""
    running = select(LegalHold).where(LegalHold.lifted_at.is_(None))
    return (await session.scalars(running.order_by(LegalHold.placed_at))).all()


async def place_hold(
    session: AsyncSession, visit_id: str, reason: HoldReason, now: datetime, actor: str = ""
) -> None:
    """Hold a visit. ``actor`` is an administrator, empty for the command line.

    :raises NotFound: there is no such visit.
    :raises Conflict: one runs already.
    """
    visit = await _lock(session, visit_id)
    running = select(LegalHold.id).where(
        LegalHold.visit_id == visit_id, LegalHold.lifted_at.is_(None)
    )
    if await session.scalar(running) is not None:
        raise Conflict("A legal hold of this visit runs already")
    session.add(
        LegalHold(
            organisation_id=visit.organisation_id,
            visit_id=visit_id,
            reason=reason.value,
            placed_at=now,
            placed_by=actor,
        )
    )
    await _note(session, visit, Act.HOLD_PLACED, reason.value, now, actor)


async def lift_hold(session: AsyncSession, visit_id: str, now: datetime, actor: str = "") -> None:
    """Let the terms count again.

    :raises NotFound: there is no such visit.
    :raises Conflict: no hold of it runs.
    """
    visit = await _lock(session, visit_id)
    lifted = await session.scalars(
        update(LegalHold)
        .where(LegalHold.visit_id == visit_id, LegalHold.lifted_at.is_(None))
        .values(lifted_at=now, lifted_by=actor)
        .returning(LegalHold.reason)
    )
    reasons = lifted.all()
    if not reasons:
        raise Conflict("No legal hold of this visit runs")
    await _note(session, visit, Act.HOLD_LIFTED, reasons[0], now, actor)


async def _lock(session: AsyncSession, visit_id: str) -> Visit:
    """The row of the visit, so that nobody shreds it in between."""
    visit = await session.scalar(select(Visit).where(Visit.id == visit_id).with_for_update())
    if visit is None:
        raise NotFound("There is no such visit")
    return visit


async def _note(
    session: AsyncSession, visit: Visit, act: Act, reason: str, now: datetime, actor: str
) -> None:
    role = ActorRole.ADMINISTRATOR if actor else ActorRole.SYSTEM
    entry = Entry(now, act, role, actor=actor, visit=visit.id, facts={"reason": reason})
    await append(session, visit.organisation_id, entry)
