"""The sentence of a rating: sealing and opening, with the key of its visit."""

from __future__ import annotations

from sqlalchemy.ext.asyncio import AsyncSession

from server.keyring import Keyring, Place
from server.models import Rating


async def seal_rating_words(
    keyring: Keyring, session: AsyncSession, rating: Rating, words: str
) -> None:
    """Keep the sentence; call after raising ``words_version``."""
    rating.sealed_words = await keyring.seal(session, _place(rating), words.encode())


async def open_rating_words(keyring: Keyring, session: AsyncSession, rating: Rating) -> str:
    """The sentence; empty when there is none."""
    if rating.sealed_words is None:
        return ""
    return (await keyring.unseal(session, _place(rating), rating.sealed_words)).decode()


def _place(rating: Rating) -> Place:
    return Place(
        rating.organisation_id,
        "rating",
        f"{rating.visit_id}/{rating.seat}",
        "words",
        rating.words_version,
        visit=rating.visit_id,
    )
