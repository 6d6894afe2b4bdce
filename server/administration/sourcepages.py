"""A source: its figures, its settings, its key, and whether it is paused."""

from __future__ import annotations

import hashlib
import re
from typing import Final

from aiohttp import web
from sqlalchemy import select, update
from sqlalchemy.ext.asyncio import AsyncSession

from server.administration.health import load_feeds
from server.administration.settingsform import (
    DELIMITERS,
    SettingsForm,
    WrongSettings,
    form_of,
    parse_form,
    read_form,
)
from server.administration.show import render
from server.audit import Act, Entry, Fact, append
from server.auth import actor_of
from server.cup.booking import Field
from server.cup.tokens import issue_token
from server.db import count_changed
from server.errors import Conflict, InvalidInput, NotFound
from server.models import Source
from server.sealed import seal_outgoing_token
from server.services import DATABASE, KEYRING, now_of
from server.sources import settings_of, write_settings

_CODE: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}", re.ASCII)
_LONGEST_NAME: Final = 200
_LONGEST_TOKEN: Final = 4096


async def show_source(request: web.Request) -> web.StreamResponse:
    """One source with its settings as a form."""
    async with request.app[DATABASE].read(actor_of(request).organisation) as session:
        source = await _load(request, session)
        return await _render(request, session, source, form_of(settings_of(source)))


async def add_source(request: web.Request) -> web.StreamResponse:
    """Make a source; it takes in nothing until its settings say how."""
    actor, form = actor_of(request), await request.post()
    code, name = str(form.get("code", "")).strip(), str(form.get("name", "")).strip()
    if not _CODE.fullmatch(code):
        raise InvalidInput("code", "unknown")
    source = Source(organisation_id=actor.organisation, code=code, name=name[:_LONGEST_NAME])
    async with request.app[DATABASE].begin(actor.organisation) as session:
        if await session.scalar(select(Source.id).where(Source.code == code)) is not None:
            raise Conflict("the code is taken")
        session.add(source)
        await session.flush()
        await _log(request, session, Act.SOURCE_CHANGED, source, {"change": "added"})
    raise web.HTTPSeeOther(f"/admin/sources/{source.id}")


async def save_source(request: web.Request) -> web.StreamResponse:
    """Keep the settings, unless somebody else changed them since the page was opened."""
    actor, posted = actor_of(request), await request.post()
    form = read_form(posted)
    async with request.app[DATABASE].begin(actor.organisation) as session:
        source = await _load(request, session)
        try:
            settings = parse_form(form)
        except WrongSettings as wrong:
            return await _render(request, session, source, form, wrong=wrong)
        if str(posted.get("seen", "")) != _fingerprint(source):
            raise Conflict("the settings were changed meanwhile")
        write_settings(source, settings)
        source.name = str(posted.get("name", "")).strip()[:_LONGEST_NAME]
        await _log(request, session, Act.SOURCE_CHANGED, source, {"change": "settings"})
    raise web.HTTPSeeOther(f"/admin/sources/{source.id}")


async def pause_source(request: web.Request) -> web.StreamResponse:
    """Close the source: it takes in and sends nothing until it goes on."""
    return await _set_paused(request, is_paused=True)


async def resume_source(request: web.Request) -> web.StreamResponse:
    return await _set_paused(request, is_paused=False)


async def issue_key(request: web.Request) -> web.StreamResponse:
    """A new bearer token of the FHIR entrance, shown once; the one before ends."""
    actor = actor_of(request)
    async with request.app[DATABASE].begin(actor.organisation) as session:
        source = await _load(request, session)
        token = issue_token(source)
        await _log(request, session, Act.SOURCE_KEY_ISSUED, source, {})
        await session.flush()
        form = form_of(settings_of(source))
        return await _render(request, session, source, form, token=token)


async def save_outgoing_token(request: web.Request) -> web.StreamResponse:
    """Keep the bearer token that CUP gave us; it is never shown again. Empty: forget it."""
    actor, form = actor_of(request), await request.post()
    token = str(form.get("token", "")).strip()
    if len(token) > _LONGEST_TOKEN or not (token.isascii() and token.isprintable()):
        raise InvalidInput("token", "malformed")
    async with request.app[DATABASE].begin(actor.organisation) as session:
        source = await _load(request, session)
        if token:
            await seal_outgoing_token(request.app[KEYRING], session, source, token)
        else:
            source.sealed_outgoing_token = None
        await _log(request, session, Act.SOURCE_CHANGED, source, {"change": "outgoing_token"})
    raise web.HTTPSeeOther(f"/admin/sources/{source.id}")


async def _set_paused(request: web.Request, *, is_paused: bool) -> web.StreamResponse:
    actor = actor_of(request)
    async with request.app[DATABASE].begin(actor.organisation) as session:
        source = await _load(request, session)
        change = (
            update(Source)
            .where(Source.id == source.id)
            .where(Source.is_paused.is_(not is_paused))
            .values(is_paused=is_paused)
        )
        if await count_changed(session, change):
            word = "paused" if is_paused else "resumed"
            await _log(request, session, Act.SOURCE_CHANGED, source, {"change": word})
    raise web.HTTPSeeOther(f"/admin/sources/{source.id}")


async def _load(request: web.Request, session: AsyncSession) -> Source:
    source = await session.scalar(
        select(Source).where(Source.id == request.match_info["source_id"])
    )
    if source is None:
        raise NotFound
    return source


async def _log(
    request: web.Request, session: AsyncSession, act: Act, source: Source, facts: dict[str, Fact]
) -> None:
    actor = actor_of(request)
    entry = Entry(
        now_of(request), act, actor.role, actor.id, facts={"source": source.code, **facts}
    )
    await append(session, actor.organisation, entry)


def _fingerprint(source: Source) -> str:
    return hashlib.sha256(f"{source.name}\0{source.settings}".encode()).hexdigest()[:32]


async def _render(
    request: web.Request,
    session: AsyncSession,
    source: Source,
    form: SettingsForm,
    *,
    wrong: WrongSettings | None = None,
    token: str = "",
) -> web.Response:
    [feed] = await load_feeds(session, now_of(request), source.id)
    return render(
        request,
        "source",
        status=400 if wrong else 200,
        feed=feed,
        form=form,
        wrong=wrong,
        token=token,
        seen=_fingerprint(source),
        delimiters=list(DELIMITERS),
        fields=[word.value for word in Field],
    )
