"""Messages from CUP that could not be read: the desk looks into one, reads it again, or puts it
aside. Opening one is an act of its own: it holds a person's data."""

from __future__ import annotations

from enum import StrEnum
from typing import Final

from aiohttp import web
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import defer

from server.audit import Act, Entry, Fact, append
from server.auth import actor_of
from server.cup.inbox.replay import discard, replay
from server.errors import InvalidInput, NotFound
from server.intake.readable import Readable, make_readable
from server.models import InboxMessage, MessageState, Source
from server.sealed import keep_value, open_message
from server.services import DATABASE, KEYRING, PAGES, now_of
from server.sources import settings_of

_MOST_SHOWN: Final = 200
_LONGEST_WORDS: Final = 200


class Purpose(StrEnum):
    """Why somebody opens a message: the purpose of the consultation, kept in the log."""

    CORRECT = "correct_booking"
    PATIENT_ASKS = "patient_asks"
    CHECK_SOURCE = "check_source"


async def list_messages(request: web.Request) -> web.StreamResponse:
    """What is wrong with each message in quarantine; nothing of what is in it."""
    async with request.app[DATABASE].read(actor_of(request).organisation) as session:
        found = await session.execute(
            select(InboxMessage, Source)
            .join(Source, Source.id == InboxMessage.source_id)
            .where(InboxMessage.state == MessageState.QUARANTINED)
            .options(defer(InboxMessage.sealed_raw, raiseload=True))
            .order_by(InboxMessage.received_at.desc(), InboxMessage.id)
            .limit(_MOST_SHOWN + 1)
        )
        rows = list(found)
    return request.app[PAGES].render(
        request,
        "staff/messages.html",
        actor=actor_of(request),
        rows=rows[:_MOST_SHOWN],
        is_cut=len(rows) > _MOST_SHOWN,
        most=_MOST_SHOWN,
    )


async def show_message(request: web.Request) -> web.StreamResponse:
    """What is wrong with one message, still closed."""
    async with request.app[DATABASE].read(actor_of(request).organisation) as session:
        message, source = await _load(request, session)
    return _render(request, message, source)


async def open_raw(request: web.Request) -> web.StreamResponse:
    """The message itself, to whoever says what for.

    :raises InvalidInput: no purpose, or more words than fit.
    """
    actor, now = actor_of(request), now_of(request)
    form = await request.post()
    purpose, words = str(form.get("purpose", "")), str(form.get("words", "")).strip()
    if purpose not in list(Purpose):
        raise InvalidInput("purpose", "missing")
    if len(words) > _LONGEST_WORDS:
        raise InvalidInput("words", "too_long")
    async with request.app[DATABASE].begin(actor.organisation) as session:
        message, source = await _load(request, session)
        raw = await open_message(request.app[KEYRING], session, message)
        facts: dict[str, Fact] = {"message": message.id, "source": source.code, "purpose": purpose}
        if words:
            keyring, owner = request.app[KEYRING], actor.organisation
            kept = await keep_value(session, keyring, owner, words, message.visit_id)
            facts["purpose_words"] = kept
        entry = Entry(
            now,
            Act.CUP_MESSAGE_OPENED,
            actor.role,
            actor.id,
            message.visit_id,
            facts=facts,
            object=f"message:{message.id}",
            reason=purpose,
        )
        await append(session, actor.organisation, entry)
    readable = make_readable(raw, message.connector, settings_of(source).mapping)
    return _render(request, message, source, readable)


async def replay_message(request: web.Request) -> web.StreamResponse:
    """Read it again: with the settings of now it may be understood."""
    actor, message_id = actor_of(request), request.match_info["message_id"]
    database, keyring = request.app[DATABASE], request.app[KEYRING]
    await replay(
        database,
        keyring,
        actor.organisation,
        message_id,
        now_of(request),
        by=actor.id,
        role=actor.role,
    )
    raise web.HTTPSeeOther(f"/desk/messages/{message_id}")


async def discard_message(request: web.Request) -> web.StreamResponse:
    """Put it aside; it stays sealed and is never applied."""
    actor = actor_of(request)
    await discard(
        request.app[DATABASE],
        actor.organisation,
        request.match_info["message_id"],
        now_of(request),
        by=actor.id,
        role=actor.role,
    )
    raise web.HTTPSeeOther("/desk/messages")


async def _load(request: web.Request, session: AsyncSession) -> tuple[InboxMessage, Source]:
    message = await session.get(InboxMessage, request.match_info["message_id"])
    if message is None:
        raise NotFound
    return message, await session.get_one(Source, message.source_id)


def _render(
    request: web.Request, message: InboxMessage, source: Source, readable: Readable | None = None
) -> web.Response:
    return request.app[PAGES].render(
        request,
        "staff/message.html",
        actor=actor_of(request),
        message=message,
        source=source,
        readable=readable,
        purposes=[purpose.value for purpose in Purpose],
    )
