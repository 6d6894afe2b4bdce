"""The patient's side: her own files, from the check-in to the end of the visit."""

from __future__ import annotations

from datetime import datetime

from aiohttp import web

from server.attachments.contents import FileRefused, Prepared, Problem, clean_name, prepare
from server.attachments.receiving import PICTURES, PLACES, Received, receive_file
from server.attachments.rows import (
    add_file,
    added_facts,
    delete_file,
    is_open,
    load_file,
    load_files,
    load_open_visit,
    load_own_visit,
    refuse,
)
from server.attachments.show import describe, send_content
from server.attachments.texts import problem_words
from server.audit import Act, ActorRole, Entry
from server.auth import Actor, actor_of
from server.errors import InvalidInput
from server.middleware import wants_json
from server.models import Attachment, AttachmentKind, Organisation, new_id
from server.pages import json_response
from server.sealed import AttachmentWords
from server.services import DATABASE, KEYRING, PAGES, SETTINGS, now_of


async def show_files(request: web.Request) -> web.StreamResponse:
    """The list of what was sent, with the way to add and delete; JSON for the room's page."""
    return await _answer(request)


async def add(request: web.Request) -> web.StreamResponse:
    """Take one file in; what is wrong with it is said on the page."""
    actor, now = actor_of(request), now_of(request)
    async with request.app[DATABASE].begin(actor.organisation) as session:
        await load_open_visit(session, actor, now)
    try:
        received, prepared = await take_in(request)
        row = Attachment(
            id=new_id(),
            organisation_id=actor.organisation,
            visit_id=actor.visit_id,
            kind=AttachmentKind.PATIENT_FILE,
            media_type=prepared.media_type,
            received_at=now,
        )
        entry = Entry(
            now,
            Act.ATTACHMENT_ADDED,
            ActorRole.PATIENT,
            actor.id,
            actor.visit_id,
            added_facts(row, prepared),
        )
        words = AttachmentWords(file_name=clean_name(received.name))
        await add_file(request, actor, row, prepared, words, [entry])
    except FileRefused as refusal:
        return await answer_refusal(request, actor, now, refusal)
    return await _done(request)


async def delete(request: web.Request) -> web.StreamResponse:
    """Take an own file away."""
    await delete_file(request, actor_of(request), request.match_info["file_id"], now_of(request))
    return await _done(request)


async def send_own(request: web.Request) -> web.StreamResponse:
    """The content of an own file."""
    actor, now = actor_of(request), now_of(request)
    async with request.app[DATABASE].begin(actor.organisation) as session:
        row = await load_file(session, actor.visit_id, request.match_info["file_id"])
        return await send_content(request, session, actor, row, now)


async def take_in(request: web.Request) -> tuple[Received, Prepared]:
    """The form of one file and what is kept of it.

    :raises FileRefused: says why it is not taken.
    """
    most_bytes = request.app[SETTINGS].files_max_mb * 1_000_000
    async with request.app[PLACES]:
        received = await receive_file(request, most_bytes)
        return received, await prepare(request.app[PICTURES], received.content)


async def answer_refusal(
    request: web.Request, actor: Actor, now: datetime, refusal: FileRefused
) -> web.StreamResponse:
    """Write the refusal down and say it.

    :raises InvalidInput: to a script, which has the words.
    """
    await refuse(request, actor, now, refusal)
    if wants_json(request):
        raise InvalidInput("file", refusal.problem.value)
    return await _answer(request, problem=refusal.problem, status=400)


async def _done(request: web.Request) -> web.StreamResponse:
    if wants_json(request):
        return await _answer(request)
    raise web.HTTPSeeOther(f"/v/{request.match_info['locator']}/files")


async def _answer(
    request: web.Request, *, problem: Problem | None = None, status: int = 200
) -> web.StreamResponse:
    actor, here = actor_of(request), f"/v/{request.match_info['locator']}"
    async with request.app[DATABASE].read(actor.organisation) as session:
        visit = await load_own_visit(session, actor)
        organisation = await session.get_one(Organisation, actor.organisation)
        files = await load_files(session, request.app[KEYRING], actor.visit_id)
        can_change = await is_open(session, visit, now_of(request))
    described = describe(files, f"{here}/files")
    most_mb = request.app[SETTINGS].files_max_mb
    words = problem_words(request.app[PAGES].translator(request), most_mb)
    listing = {"files": described, "canChange": can_change, "words": words, "mostMb": most_mb}
    if wants_json(request):
        return json_response(listing)
    return request.app[PAGES].render(
        request,
        "patient/files.html",
        status=status,
        organisation_name=organisation.name,
        desk_phone=organisation.desk_phone,
        here=here,
        files=files,
        problem=words[problem] if problem else "",
        can_change=can_change,
        most_mb=most_mb,
        page_data={"filesUrl": f"{here}/files"},
    )
