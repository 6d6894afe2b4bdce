"""What people wrote after their visits, for managers: no name, no visit, not how it went.

The reader sees day, clinic and side, so that something can be done about it.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Final

from aiohttp import web
from sqlalchemy import select

from server.audit import Act, Entry, Fact, append
from server.auth import actor_of
from server.keyring import Shredded
from server.line.measured import Seat
from server.models import Appointment, Clinic, Rating, Visit
from server.sealed import open_rating_words
from server.services import DATABASE, KEYRING, PAGES, now_of

MOST_SENTENCES: Final = 100


@dataclass(frozen=True, slots=True)
class Sentence:
    start: datetime
    """Of the visit."""
    clinic: str
    seat: Seat
    words: str


async def list_sentences(request: web.Request) -> web.StreamResponse:
    """The newest, and that they were read."""
    actor, now, keyring = actor_of(request), now_of(request), request.app[KEYRING]
    wanted = (
        select(Rating, Appointment.start, Clinic.name)
        .join(Visit, Visit.id == Rating.visit_id)
        .join(Visit.appointment)
        .outerjoin(Appointment.clinic)
        .where(Rating.sealed_words.is_not(None))
        .order_by(Rating.rated_at.desc())
        .limit(MOST_SENTENCES)
    )
    sentences: list[Sentence] = []
    async with request.app[DATABASE].begin(actor.organisation) as session:
        for rating, start, clinic in (await session.execute(wanted)).all():
            try:
                words = await open_rating_words(keyring, session, rating)
            except Shredded:
                continue
            sentences.append(Sentence(start, clinic or "", Seat(rating.seat), words))
        facts: dict[str, Fact] = {"kind": "rated_words"}
        entry = Entry(now, Act.FIGURES_READ, actor.role, actor.id, facts=facts)
        await append(session, actor.organisation, entry)
    return request.app[PAGES].render(
        request, "staff/sentences.html", actor=actor, sentences=sentences
    )
