"""Phrases: a point, a shortcut and a space put a text into the note. One's own, and those of the
organisation; with the same shortcut one's own is first."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

from sqlalchemy import delete, or_, select
from sqlalchemy.ext.asyncio import AsyncSession

from server.auth import Actor
from server.db import count_changed
from server.errors import InvalidInput, NotFound
from server.models import Phrase

MAX_TEXT: Final = 4_000
_SHORTCUT: Final = re.compile(r"[a-z0-9]{1,32}")


async def load_phrases(session: AsyncSession, actor: Actor) -> Sequence[Phrase]:
    """Those that this person can use, their own first."""
    rows = await session.scalars(
        select(Phrase)
        .where(or_(Phrase.owner_id == actor.id, Phrase.owner_id.is_(None)))
        .order_by(Phrase.shortcut)
    )
    return sorted(rows, key=lambda row: row.owner_id is None)


async def save_phrase(
    session: AsyncSession, actor: Actor, shortcut: str, text: str, *, is_shared: bool
) -> None:
    """A new phrase, or a new text for a shortcut.

    :raises InvalidInput: a shortcut is small letters and digits; the text is missing or long.
    """
    shortcut, text = shortcut.strip().removeprefix("."), text.strip()
    if not _SHORTCUT.fullmatch(shortcut):
        raise InvalidInput("shortcut", "malformed")
    if not 0 < len(text) <= MAX_TEXT:
        raise InvalidInput("text", "missing" if not text else "too_long")
    owner = None if is_shared else actor.id
    is_owner = Phrase.owner_id.is_(None) if is_shared else Phrase.owner_id == actor.id
    phrase = await session.scalar(select(Phrase).where(Phrase.shortcut == shortcut, is_owner))
    if phrase is None:
        phrase = Phrase(organisation_id=actor.organisation, owner_id=owner, shortcut=shortcut)
        session.add(phrase)
    phrase.text = text


async def delete_phrase(session: AsyncSession, actor: Actor, phrase_id: str) -> None:
    """:raises NotFound: there is none, or it is a colleague's own."""
    gone = (
        delete(Phrase)
        .where(Phrase.id == phrase_id)
        .where(or_(Phrase.owner_id == actor.id, Phrase.owner_id.is_(None)))
    )
    if not await count_changed(session, gone):
        raise NotFound
