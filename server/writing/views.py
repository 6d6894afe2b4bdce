"""What the editor asks for, as JSON."""

from __future__ import annotations

from typing import Any

import msgspec
from aiohttp import web

from server.auth import actor_of
from server.bodies import read_body
from server.caseload import load_visit_of
from server.errors import InvalidInput
from server.models import CodeSystem
from server.pages import json_response
from server.sealed import open_identity
from server.services import DATABASE, KEYRING, now_of
from server.writing.codelists import search_codes
from server.writing.phrases import load_phrases
from server.writing.templates import (
    TEMPLATES,
    TemplateWish,
    content_of,
    load_own,
    names_person,
    save_template,
)


class CodeQuestion(msgspec.Struct, frozen=True):
    """What is sought in a list. In the body: a diagnosis is not for addresses."""

    system: CodeSystem
    sought: str


async def send_help(request: web.Request) -> web.StreamResponse:
    """Phrases and templates, read once by the editor."""
    actor = actor_of(request)
    async with request.app[DATABASE].read(actor.organisation) as session:
        phrases = await load_phrases(session, actor)
        templates = await load_own(session)
    return json_response(
        {
            "phrases": [{"shortcut": one.shortcut, "text": one.text} for one in phrases],
            "templates": [
                {
                    "id": one.id,
                    "title": one.title,
                    "specialty": one.specialty,
                    "version": one.version,
                }
                for one in templates
            ],
        }
    )


async def send_codes(request: web.Request) -> web.StreamResponse:
    """The codes that answer a search."""
    question = await read_body(request, CodeQuestion)
    async with request.app[DATABASE].read(actor_of(request).organisation) as session:
        codes = await search_codes(session, question.system, question.sought)
    return json_response({"codes": [msgspec.to_builtins(code) for code in codes]})


async def send_template(request: web.Request) -> web.StreamResponse:
    """The texts of one template."""
    async with request.app[DATABASE].read(actor_of(request).organisation) as session:
        template = await TEMPLATES.load(session, request.match_info["template_id"])
    content: dict[str, Any] = msgspec.to_builtins(content_of(template))
    return json_response({"content": content})


async def keep_template(request: web.Request) -> web.StreamResponse:
    """A template from a note: refused as long as it names the patient of that visit."""
    actor, now = actor_of(request), now_of(request)
    wish = await read_body(request, TemplateWish)
    async with request.app[DATABASE].begin(actor.organisation) as session:
        visit = await load_visit_of(session, actor.id, request.match_info["visit_id"])
        identity = await open_identity(request.app[KEYRING], session, visit.appointment.patient)
        if names_person(wish.content, identity):
            raise InvalidInput("content", "names_patient")
        template = await save_template(session, actor, wish, None, now)
    return json_response({"id": template.id})
