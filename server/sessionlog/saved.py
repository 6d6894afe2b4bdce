"""Views of the list that a person has saved: a name and a filter, for her alone."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Final

from aiohttp import web
from sqlalchemy import delete, func, select
from sqlalchemy.ext.asyncio import AsyncSession

from server.audit import Act, Entry, Fact, append
from server.auth import Actor, actor_of
from server.db import count_changed
from server.errors import InvalidInput
from server.models import SavedView, new_id
from server.services import DATABASE, now_of
from server.summary import parse_wish

_LONGEST_NAME: Final = 60
_MOST_VIEWS: Final = 30


async def load_views(session: AsyncSession, actor: Actor) -> Sequence[SavedView]:
    """One's own, by name."""
    views = await session.scalars(
        select(SavedView).where(SavedView.user_id == actor.id).order_by(SavedView.name)
    )
    return views.all()


async def save_view(request: web.Request) -> web.StreamResponse:
    """Keep the filter of the address under a name; an equal name is overwritten."""
    actor, now = actor_of(request), now_of(request)
    name = " ".join(str((await request.post()).get("title", "")).split())
    if not name or len(name) > _LONGEST_NAME:
        raise InvalidInput("title", "length")
    query = parse_wish(request.query, now).query()
    async with request.app[DATABASE].begin(actor.organisation) as session:
        own = SavedView.user_id == actor.id
        await session.execute(delete(SavedView).where(own, SavedView.name == name))
        count = await session.scalar(select(func.count()).select_from(SavedView).where(own)) or 0
        if count >= _MOST_VIEWS:
            raise InvalidInput("title", "too_many")
        view = SavedView(
            id=new_id(), organisation_id=actor.organisation, user_id=actor.id, name=name,
            query=query, created_at=now,
        )  # fmt: skip
        session.add(view)
        await append(session, actor.organisation, _entry(actor, now, "saved", view.id))
    raise web.HTTPSeeOther(f"/sessions?{query}")


async def delete_view(request: web.Request) -> web.StreamResponse:
    """Forget one of one's own views; one that is not there is forgotten already."""
    actor, now = actor_of(request), now_of(request)
    view_id = str((await request.post()).get("view", ""))
    async with request.app[DATABASE].begin(actor.organisation) as session:
        change = delete(SavedView).where(SavedView.id == view_id, SavedView.user_id == actor.id)
        if await count_changed(session, change):
            await append(session, actor.organisation, _entry(actor, now, "deleted", view_id))
    raise web.HTTPSeeOther("/sessions")


def _entry(actor: Actor, now: datetime, change: str, view_id: str) -> Entry:
    facts: dict[str, Fact] = {"change": change}
    return Entry(now, Act.VIEW_SAVED, actor.role, actor.id, facts=facts, object=f"view:{view_id}")
