"""The way to the national record (FSE): the gateway, the queue, and a new try for what it refused.

States, types and ids only: what the gateway said of a document is for its clinician.
"""

from __future__ import annotations

from aiohttp import web

from server.administration.show import load_listing, render
from server.auth import actor_of
from server.errors import InvalidInput
from server.fse.retry import retry_submission
from server.fse.status import list_submissions, load_status, look_at_gateway
from server.models import Organisation, SubmissionState
from server.services import DATABASE, SETTINGS, now_of

_PATH = "/admin/fse"


async def show_queue(request: web.Request) -> web.StreamResponse:
    """The gateway's files, the queue in figures, and every document."""
    actor, now = actor_of(request), now_of(request)
    wanted = request.query.get("state", "")
    if wanted and wanted not in list(SubmissionState):
        raise InvalidInput("state", "unknown")
    statement = list_submissions(SubmissionState(wanted) if wanted else None)
    async with request.app[DATABASE].read(actor.organisation) as session:
        organisation = await session.get_one(Organisation, actor.organisation)
        queue = await load_status(session)
        listing = await load_listing(session, statement, request.query, _PATH)
    return render(
        request,
        "fse",
        organisation=organisation,
        gateway=look_at_gateway(request.app[SETTINGS], organisation, now),
        queue=queue,
        listing=listing,
        states=list(SubmissionState),
        state=wanted,
    )


async def retry(request: web.Request) -> web.StreamResponse:
    """Put a refused document back into the queue."""
    actor = actor_of(request)
    async with request.app[DATABASE].begin(actor.organisation) as session:
        await retry_submission(
            session,
            request.match_info["submission_id"],
            by=actor.id,
            role=actor.role,
            now=now_of(request),
        )
    raise web.HTTPSeeOther(_PATH)
