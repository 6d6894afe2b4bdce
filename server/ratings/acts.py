"""Taking a rating: each answer is kept as it comes, with its line in the session log.

The log says that somebody rated and what about, never how: the clinician may read it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from aiohttp import web
from sqlalchemy.ext.asyncio import AsyncSession

from server.audit import Act, Entry, append
from server.auth import Actor, actor_of
from server.caseload import load_visit_of
from server.db import take_turn
from server.errors import Conflict, InvalidInput
from server.keyring import Keyring
from server.line.measured import Seat
from server.middleware import wants_json
from server.models import Rating, Score, Visit
from server.pages import json_response
from server.rated import may_rate
from server.sealed import seal_rating_words
from server.services import DATABASE, KEYRING, now_of

LONGEST_WORDS: Final = 500
_KINDS: Final = {"visit": "rated_visit", "line": "rated_line", "words": "rated_words"}
"""What the session log calls each answer."""


@dataclass(frozen=True, slots=True)
class Answers:
    """What one form says; ``None`` and empty: nothing of this."""

    visit: Score | None
    line: Score | None
    words: str


async def take_from_patient(request: web.Request) -> web.StreamResponse:
    """The patient's answers."""
    actor, answers = actor_of(request), _parse(await request.post())
    async with request.app[DATABASE].begin(actor.organisation) as session:
        visit = await session.get_one(Visit, actor.visit_id)
        await _save(session, request, actor, visit, answers)
    return _answer(request, f"/v/{visit.locator}/end#rating")


async def take_from_clinician(request: web.Request) -> web.StreamResponse:
    """The clinician's answers."""
    actor, answers = actor_of(request), _parse(await request.post())
    async with request.app[DATABASE].begin(actor.organisation) as session:
        visit = await load_visit_of(session, actor.id, request.match_info["visit_id"])
        await _save(session, request, actor, visit, answers)
    return _answer(request, f"/visits/{visit.id}#rating")


def _parse(form: Mapping[str, object]) -> Answers:
    """The answers of a form.

    :raises InvalidInput: a score that is none, words that are too long, or no answer at all.
    """
    words = " ".join(str(form.get("words", "")).split())
    if len(words) > LONGEST_WORDS or not words.isprintable():
        raise InvalidInput("words", "malformed")
    answers = Answers(_parse_score(form, "visit"), _parse_score(form, "line"), words)
    if answers == Answers(None, None, ""):
        raise InvalidInput("visit", "missing")
    return answers


def _parse_score(form: Mapping[str, object], name: str) -> Score | None:
    if name not in form:
        return None
    try:
        return Score(str(form[name]))
    except ValueError as error:
        raise InvalidInput(name, "unknown") from error


async def _save(
    session: AsyncSession, request: web.Request, actor: Actor, visit: Visit, answers: Answers
) -> None:
    """Keep what is new; two taps at the same moment wait for each other.

    :raises Conflict: the visit has not ended, nobody came, or it is too long ago.
    """
    now = now_of(request)
    if not may_rate(visit, now):
        raise Conflict("not to be rated")
    seat = Seat(actor.role.value)
    await take_turn(session, f"rating {visit.id} {seat}")
    rating = await session.get(Rating, (visit.id, seat.value))
    if rating is None:
        rating = Rating(
            organisation_id=actor.organisation,
            visit_id=visit.id,
            seat=seat.value,
            words_version=0,
            rated_at=now,
        )
        session.add(rating)
    changed = await _change(request.app[KEYRING], session, rating, answers)
    if not changed:
        return
    rating.rated_at = now
    await session.flush()
    await append(session, actor.organisation, *_entries(actor, now, visit, changed))


async def _change(
    keyring: Keyring, session: AsyncSession, rating: Rating, answers: Answers
) -> list[str]:
    """Set what differs, and a new sentence; returns the names of the answers that changed."""
    changed: list[str] = []
    if answers.visit and answers.visit is not rating.visit_score:
        rating.visit_score = answers.visit
        changed.append("visit")
    if answers.line and answers.line is not rating.line_score:
        rating.line_score = answers.line
        changed.append("line")
    if answers.words:
        rating.words_version += 1
        await seal_rating_words(keyring, session, rating, answers.words)
        changed.append("words")
    return changed


def _entries(actor: Actor, now: datetime, visit: Visit, changed: list[str]) -> list[Entry]:
    return [
        Entry(now, Act.VISIT_RATED, actor.role, actor.id, visit.id, {"kind": _KINDS[name]})
        for name in changed
    ]


def _answer(request: web.Request, back: str) -> web.StreamResponse:
    if wants_json(request):
        return json_response({})
    raise web.HTTPSeeOther(back)
