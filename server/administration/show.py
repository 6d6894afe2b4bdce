"""How the administrator's pages write times and lists: to the second, in pages of a hundred."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final
from urllib.parse import urlencode

from aiohttp import web
from sqlalchemy import Select, select
from sqlalchemy.ext.asyncio import AsyncSession

from server.auth import actor_of
from server.errors import InvalidInput
from server.i18n import ROME
from server.models import Source
from server.services import PAGES, now_of

ROWS_OF_A_PAGE: Final = 100
_LAST_PAGE: Final = 10_000


def stamp(moment: datetime) -> str:
    """``26/11/2026 10:40:07``, in Europe/Rome."""
    return moment.astimezone(ROME).strftime("%d/%m/%Y %H:%M:%S")


@dataclass(frozen=True, slots=True)
class Listing:
    """One page of a list. ``newer`` and ``older`` are addresses, empty at the ends."""

    rows: Sequence[Any]
    newer: str = ""
    older: str = ""


async def load_listing(
    session: AsyncSession, statement: Select[*tuple[Any, ...]], query: Mapping[str, str], path: str
) -> Listing:
    """The page of a statement that ``page`` of the address asks for."""
    number = parse_page(query.get("page", ""))
    limited = statement.limit(ROWS_OF_A_PAGE + 1).offset((number - 1) * ROWS_OF_A_PAGE)
    rows = list(await session.execute(limited))
    kept = {name: value for name, value in query.items() if name != "page" and value}

    def address(page: int) -> str:
        return f"{path}?{urlencode({**kept, 'page': page})}"

    return Listing(
        rows=rows[:ROWS_OF_A_PAGE],
        newer=address(number - 1) if number > 1 else "",
        older=address(number + 1) if len(rows) > ROWS_OF_A_PAGE else "",
    )


def parse_page(text: str) -> int:
    """The number of a page, 1 without one.

    :raises InvalidInput: it is not one.
    """
    if not text:
        return 1
    if not (text.isascii() and text.isdigit() and 1 <= int(text[:6]) <= _LAST_PAGE):
        raise InvalidInput("page", "unknown")
    return int(text[:6])


async def load_sources(session: AsyncSession) -> list[Source]:
    return list(await session.scalars(select(Source).order_by(Source.code)))


def render(
    request: web.Request, template: str, *, status: int = 200, **context: object
) -> web.Response:
    """A page of the administrator."""
    return request.app[PAGES].render(
        request,
        f"admin/{template}.html",
        status=status,
        actor=actor_of(request),
        now=now_of(request),
        stamp=stamp,
        **context,
    )
