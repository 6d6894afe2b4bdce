"""What still owes the national record a report: a clinician sees the own visits, with names and the
gateway's words; a manager sees all visits of the organisation, without either."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from aiohttp import web
from sqlalchemy.ext.asyncio import AsyncSession

from server.audit import Act, ActorRole, Entry, Fact, append_alone, leaves, may_leave
from server.auth import CLINICIAN, Access, Route, actor_of
from server.fse.retry import retry_submission
from server.models import Organisation, UserRole
from server.report.gateways import is_connected
from server.report.watch import Owed, Owing, load_owed
from server.sealed import open_identity
from server.sealed.report import open_submission_detail
from server.services import DATABASE, KEYRING, PAGES, SETTINGS, now_of

_WATCHERS: Final = Access(frozenset({UserRole.CLINICIAN, UserRole.MANAGER}))
_PATH: Final = "/fse"


@dataclass(frozen=True, slots=True)
class Row:
    """One visit; ``name`` and ``words`` are empty for a manager."""

    owed: Owed
    name: str = ""
    words: str = ""


async def show_owed(request: web.Request) -> web.StreamResponse:
    """The list, the term that ends first on top."""
    actor, now = actor_of(request), now_of(request)
    is_clinician = actor.role is ActorRole.CLINICIAN
    async with request.app[DATABASE].read(actor.organisation) as session:
        organisation = await session.get_one(Organisation, actor.organisation)
        owed = await load_owed(session, now, actor.id if is_clinician else "")
        rows = [
            await _open_row(request, session, one) if is_clinician else Row(one) for one in owed
        ]
    facts: dict[str, Fact] = {"list": "fse", "visits": len(rows)}
    entry = Entry(now, Act.LIST_OPENED, actor.role, actor.id, facts=facts)
    await append_alone(request.app[DATABASE], actor.organisation, entry)
    return request.app[PAGES].render(
        request,
        "staff/fse.html",
        actor=actor,
        now=now,
        rows=rows,
        is_clinician=is_clinician,
        is_connected=is_connected(request.app[SETTINGS], organisation.code),
        phase=organisation.phase.value,
    )


async def retry(request: web.Request) -> web.StreamResponse:
    """Send a refused document of an own visit again, as it is."""
    actor = actor_of(request)
    async with request.app[DATABASE].begin(actor.organisation) as session:
        await retry_submission(
            session,
            request.match_info["submission_id"],
            by=actor.id,
            role=actor.role,
            now=now_of(request),
            clinician_id=actor.id,
        )
    raise web.HTTPSeeOther(_PATH)


async def _open_row(request: web.Request, session: AsyncSession, owed: Owed) -> Row:
    keyring = request.app[KEYRING]
    identity = await open_identity(keyring, session, owed.visit.appointment.patient)
    words = ""
    if owed.owing is Owing.REFUSED and owed.submission is not None:
        words = (await open_submission_detail(keyring, session, owed.submission)).decode()
    return Row(owed, identity.full_name, words)


ROUTES: Final = (
    Route(
        "GET",
        "/fse",
        show_owed,
        _WATCHERS,
        leaves(Act.LIST_OPENED),
    ),
    Route(
        "POST",
        "/fse/{submission_id}/retry",
        retry,
        CLINICIAN,
        may_leave(Act.FSE_RETRIED, why="it may be on its way already"),
    ),
)
