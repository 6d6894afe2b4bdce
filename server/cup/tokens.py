"""The bearer tokens of sources: made here, shown once, kept as a hash only."""

from __future__ import annotations

import secrets
from typing import Final

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from server.auth import hash_token
from server.models import Source

_TOKEN_BYTES: Final = 32


def issue_token(source: Source) -> str:
    """Give a source a new token, for the caller's transaction; the old one is dead with it.

    Returns the text for the person who sets up CUP: it cannot be read again.
    """
    token = secrets.token_urlsafe(_TOKEN_BYTES)
    source.token_hash = hash_token(token)
    return token


async def find_source(session: AsyncSession, token: str) -> Source | None:
    """Whose token it is, over all organisations."""
    found: Source | None = await session.scalar(
        select(Source).where(Source.token_hash == hash_token(token))
    )
    return found
