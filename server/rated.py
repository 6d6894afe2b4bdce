"""Whether a visit can be rated, and what one side has said of it so far.

Shared by the pages on which it is asked (``server.waiting``, ``server.visit``) and by
``server.ratings``, which takes the answers.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from sqlalchemy.ext.asyncio import AsyncSession

from server.line.measured import Seat
from server.models import Rating, Score, Visit, VisitState

RATED_WITHIN: Final = timedelta(days=30)
"""After the end of a visit; later nobody remembers."""


@dataclass(frozen=True, slots=True)
class Said:
    """The answers of one side, ``None`` while not given. The sentence is not read again here."""

    visit: Score | None = None
    line: Score | None = None
    has_words: bool = False

    @property
    def is_any(self) -> bool:
        return bool(self.visit or self.line or self.has_words)


def may_rate(visit: Visit, now: datetime) -> bool:
    """A visit that has ended, for which the patient had come."""
    return (
        visit.state is VisitState.ENDED
        and visit.waiting_since is not None
        and visit.ended_at is not None
        and now - visit.ended_at <= RATED_WITHIN
    )


async def load_said(session: AsyncSession, visit: Visit, seat: Seat) -> Said:
    """What this side has said until now."""
    rating = await session.get(Rating, (visit.id, seat.value))
    if rating is None:
        return Said()
    return Said(rating.visit_score, rating.line_score, rating.sealed_words is not None)
