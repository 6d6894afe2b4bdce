"""What the acts of a visit share: the visit behind the address, and the line in the log."""

from __future__ import annotations

from datetime import datetime
from typing import Final

from aiohttp import web
from sqlalchemy.ext.asyncio import AsyncSession

from server.audit import Act, ActorRole, Entry, Fact
from server.auth import Actor, actor_of
from server.caseload import load_visit_of
from server.models import Visit, VisitState

OVER: Final = (VisitState.ENDED, VisitState.CANCELLED)


async def load_visit(request: web.Request, session: AsyncSession) -> Visit:
    return await load_visit_of(session, actor_of(request).id, request.match_info["visit_id"])


def make_entry(
    actor: Actor, now: datetime, act: Act, visit_id: str, facts: dict[str, Fact] | None = None
) -> Entry:
    return Entry(now, act, ActorRole.CLINICIAN, actor.id, visit_id, facts or {})
