"""The pages for templates and phrases; they work without scripts."""

from __future__ import annotations

import msgspec
from aiohttp import web

from server.auth import actor_of
from server.errors import InvalidInput
from server.models import NoteTemplate
from server.sealed import NoteContent, Section
from server.services import DATABASE, PAGES, now_of
from server.writing.phrases import delete_phrase, load_phrases, save_phrase
from server.writing.templates import (
    TEMPLATES,
    TemplateWish,
    content_of,
    load_own,
    load_withdrawn_sources,
    save_template,
)

_NEW = "new"


async def show_writing(request: web.Request) -> web.Response:
    return await _show(request)


async def _show(request: web.Request, problem: str = "", status: int = 200) -> web.Response:
    actor, database = actor_of(request), request.app[DATABASE]
    async with database.read(actor.organisation) as session:
        own = await load_own(session)
        phrases = await load_phrases(session, actor)
    return request.app[PAGES].render(
        request,
        "staff/writing.html",
        status=status,
        actor=actor,
        templates=own,
        withdrawn=await load_withdrawn_sources(database, own),
        offers=await TEMPLATES.load_offers(database, own, actor),
        phrases=phrases,
        problem=problem,
    )


async def show_template(request: web.Request) -> web.Response:
    """The form of one template; ``new`` is an empty one."""
    before = await _load_before(request)
    return request.app[PAGES].render(
        request,
        "staff/writing_template.html",
        actor=actor_of(request),
        before=before,
        content=content_of(before) if before else NoteContent(),
        sections=[section.value for section in Section],
    )


async def change_template(request: web.Request) -> web.StreamResponse:
    """Saved as the next version; the codes of the one before stay."""
    actor, form = actor_of(request), await request.post()
    before = await _load_before(request)
    content = content_of(before) if before else NoteContent()
    sections = {section: str(form.get(section.value, "")) for section in Section}
    wish = TemplateWish(
        title=str(form.get("title", "")),
        specialty=str(form.get("specialty", "")),
        content=msgspec.structs.replace(
            content,
            sections={key: text.replace("\r\n", "\n") for key, text in sections.items()},
        ),
    )
    async with request.app[DATABASE].begin(actor.organisation) as session:
        await save_template(session, actor, wish, before, now_of(request))
    raise web.HTTPSeeOther("/writing")


async def _load_before(request: web.Request) -> NoteTemplate | None:
    template_id = request.match_info["template_id"]
    if template_id == _NEW:
        return None
    async with request.app[DATABASE].read(actor_of(request).organisation) as session:
        return await TEMPLATES.load(session, template_id)


async def publish_template(request: web.Request) -> web.StreamResponse:
    actor = actor_of(request)
    async with request.app[DATABASE].begin(actor.organisation) as session:
        await TEMPLATES.publish(session, actor, request.match_info["template_id"], now_of(request))
    raise web.HTTPSeeOther("/writing")


async def withdraw_template(request: web.Request) -> web.StreamResponse:
    actor = actor_of(request)
    async with request.app[DATABASE].begin(actor.organisation) as session:
        await TEMPLATES.withdraw(session, actor, request.match_info["template_id"], now_of(request))
    raise web.HTTPSeeOther("/writing")


async def adopt_template(request: web.Request) -> web.StreamResponse:
    actor, template_id = actor_of(request), request.match_info["template_id"]
    await TEMPLATES.adopt(request.app[DATABASE], actor, template_id, now_of(request))
    raise web.HTTPSeeOther("/writing")


async def keep_phrase(request: web.Request) -> web.StreamResponse:
    """A phrase; what is wrong with it is said on the page."""
    actor, form = actor_of(request), await request.post()
    try:
        async with request.app[DATABASE].begin(actor.organisation) as session:
            await save_phrase(
                session,
                actor,
                str(form.get("shortcut", "")),
                str(form.get("text", "")),
                is_shared=form.get("shared") == "yes",
            )
    except InvalidInput as error:
        return await _show(request, problem=error.field, status=error.status)
    raise web.HTTPSeeOther("/writing")


async def remove_phrase(request: web.Request) -> web.StreamResponse:
    actor = actor_of(request)
    async with request.app[DATABASE].begin(actor.organisation) as session:
        await delete_phrase(session, actor, request.match_info["phrase_id"])
    raise web.HTTPSeeOther("/writing")
