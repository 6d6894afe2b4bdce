"""The clinician's side: the list beside the note, the viewer, and the picture of the report."""

from __future__ import annotations

import msgspec
from aiohttp import web
from sqlalchemy import update

from server.attachments.contents import PDF
from server.attachments.rows import load_file, load_files
from server.attachments.show import describe, send_content
from server.audit import Act, ActorRole, Entry, Fact, append
from server.auth import actor_of
from server.bodies import read_body
from server.caseload import load_visit_of
from server.errors import InvalidInput
from server.models import Attachment
from server.pages import json_response
from server.services import DATABASE, KEYRING, now_of


class ReportForm(msgspec.Struct, frozen=True):
    is_in_report: bool


async def list_files(request: web.Request) -> web.StreamResponse:
    """What is there, with names and times; the content is asked for one by one."""
    actor = actor_of(request)
    async with request.app[DATABASE].read(actor.organisation) as session:
        visit = await load_visit_of(session, actor.id, request.match_info["visit_id"])
        files = await load_files(session, request.app[KEYRING], visit.id)
    return json_response({"files": describe(files, f"/visits/{visit.id}/files")})


async def send_file(request: web.Request) -> web.StreamResponse:
    """The content of one file; every opening is written down."""
    actor, now = actor_of(request), now_of(request)
    async with request.app[DATABASE].begin(actor.organisation) as session:
        visit = await load_visit_of(session, actor.id, request.match_info["visit_id"])
        row = await load_file(session, visit.id, request.match_info["file_id"])
        return await send_content(request, session, actor, row, now)


async def choose(request: web.Request) -> web.StreamResponse:
    """Make a picture the image of the report, in place of another one, or no longer."""
    actor, now = actor_of(request), now_of(request)
    form = await read_body(request, ReportForm)
    async with request.app[DATABASE].begin(actor.organisation) as session:
        visit = await load_visit_of(session, actor.id, request.match_info["visit_id"])
        row = await load_file(session, visit.id, request.match_info["file_id"])
        if row.media_type == PDF:
            raise InvalidInput("file", "no_picture")
        chosen = Attachment.id == row.id if form.is_in_report else False
        of_visit = update(Attachment).where(Attachment.visit_id == visit.id)
        await session.execute(
            of_visit.values(is_in_report=chosen).execution_options(synchronize_session=False)
        )
        facts: dict[str, Fact] = {"file": row.id, "confirmed": form.is_in_report}
        entry = Entry(now, Act.ATTACHMENT_CHOSEN, ActorRole.CLINICIAN, actor.id, visit.id, facts)
        await append(session, actor.organisation, entry)
    return json_response({"isInReport": form.is_in_report})
