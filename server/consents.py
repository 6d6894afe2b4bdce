"""The consents as they stand: the last answer to each of the two."""

from __future__ import annotations

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from server.models import Consent, ConsentKind


async def load_latest_consents(session: AsyncSession, visit_id: str) -> dict[ConsentKind, Consent]:
    """The newest answer of each kind that was answered."""
    answers = await session.scalars(
        select(Consent).where(Consent.visit_id == visit_id).order_by(Consent.answered_at)
    )
    return {consent.kind: consent for consent in answers}


async def has_consented(session: AsyncSession, visit_id: str) -> bool:
    """Whether both consents are given and neither was withdrawn."""
    latest = await load_latest_consents(session, visit_id)
    return all(kind in latest and latest[kind].is_given for kind in ConsentKind)
