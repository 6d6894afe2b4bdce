"""What came from CUP: the list, the quarantine, and what can be done with a message in it.

The administrator sees the fault, never the message: nothing sealed is opened here.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from datetime import date, datetime, time, timedelta
from typing import Final

from aiohttp import web
from sqlalchemy import Select, func, select
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import defer

from server.administration.show import load_listing, load_sources, render
from server.auth import actor_of
from server.cup.inbox.receipt import Receipt
from server.cup.inbox.replay import discard, replay
from server.errors import Conflict, InvalidInput, NotFound
from server.i18n import ROME
from server.models import InboxMessage, MessageState, Source
from server.services import DATABASE, KEYRING, now_of

_MOST_AT_ONCE: Final = 1000
"""More would keep one request open for minutes; the button is there again."""


async def list_inbox(request: web.Request) -> web.StreamResponse:
    """All messages, the newest first."""
    query = request.query
    state = _parse_state(query)
    day = _parse_day(query)
    wanted = _messages(query.get("source", ""))
    if state is not None:
        wanted = wanted.where(InboxMessage.state == state)
    if day is not None:
        start = datetime.combine(day, time(), ROME)
        wanted = wanted.where(InboxMessage.received_at >= start).where(
            InboxMessage.received_at < datetime.combine(day + timedelta(days=1), time(), ROME)
        )
    async with request.app[DATABASE].read(actor_of(request).organisation) as session:
        listing = await load_listing(session, wanted, query, "/admin/inbox")
        sources = await load_sources(session)
    return render(
        request,
        "inbox",
        listing=listing,
        sources=sources,
        source_id=query.get("source", ""),
        states=list(MessageState),
        state=state,
        day_shown=day,
    )


async def list_quarantine(request: web.Request) -> web.StreamResponse:
    """The messages that wait for a person, the newest first, and how many of each reason."""
    source_id = request.query.get("source", "")
    wanted = _messages(source_id).where(InboxMessage.state == MessageState.QUARANTINED)
    async with request.app[DATABASE].read(actor_of(request).organisation) as session:
        listing = await load_listing(session, wanted, request.query, "/admin/quarantine")
        reasons = await _count_reasons(session)
        sources = await load_sources(session)
    return render(
        request,
        "quarantine",
        listing=listing,
        reasons=reasons,
        sources=sources,
        source_id=source_id,
        tried=_parse_count(request.query.get("tried", "")),
        taken=_parse_count(request.query.get("taken", "")),
    )


async def replay_message(request: web.Request) -> web.StreamResponse:
    """Read one message again, with the settings of now."""
    receipt = await _replay(request, request.match_info["message_id"])
    raise _back(tried=1, taken=int(receipt.is_taken))


async def replay_reason(request: web.Request) -> web.StreamResponse:
    """Read all messages of one reason again, the oldest first. One that another has taken along
    meanwhile is done."""
    reason = str((await request.post()).get("reason", ""))
    async with request.app[DATABASE].read(actor_of(request).organisation) as session:
        found = await session.scalars(
            select(InboxMessage.id)
            .where(InboxMessage.state == MessageState.QUARANTINED)
            .where(InboxMessage.reason == reason)
            .order_by(InboxMessage.received_at, InboxMessage.id)
            .limit(_MOST_AT_ONCE)
        )
        message_ids = list(found)
    taken = 0
    for message_id in message_ids:
        with suppress(Conflict):
            taken += (await _replay(request, message_id)).is_taken
    raise _back(tried=len(message_ids), taken=taken)


async def ask_discard(request: web.Request) -> web.StreamResponse:
    """Say what discarding means, before it is done."""
    async with request.app[DATABASE].read(actor_of(request).organisation) as session:
        message = await _load_quarantined(session, request.match_info["message_id"])
        source = await session.get_one(Source, message.source_id)
    return render(request, "discard", message=message, source=source)


async def discard_message(request: web.Request) -> web.StreamResponse:
    """Put a message aside; it stays sealed and is never applied."""
    actor = actor_of(request)
    await discard(
        request.app[DATABASE],
        actor.organisation,
        request.match_info["message_id"],
        now_of(request),
        by=actor.id,
        role=actor.role,
    )
    raise web.HTTPSeeOther("/admin/quarantine")


async def _replay(request: web.Request, message_id: str) -> Receipt:
    actor = actor_of(request)
    return await replay(
        request.app[DATABASE],
        request.app[KEYRING],
        actor.organisation,
        message_id,
        now_of(request),
        by=actor.id,
        role=actor.role,
    )


def _back(*, tried: int, taken: int) -> web.HTTPSeeOther:
    return web.HTTPSeeOther(f"/admin/quarantine?tried={tried}&taken={taken}")


def _messages(source_id: str) -> Select[InboxMessage, str]:
    wanted = (
        select(InboxMessage, Source.code)
        .join(Source, Source.id == InboxMessage.source_id)
        .options(defer(InboxMessage.sealed_raw, raiseload=True))
        .order_by(InboxMessage.received_at.desc(), InboxMessage.id)
    )
    return wanted.where(InboxMessage.source_id == source_id) if source_id else wanted


async def _count_reasons(session: AsyncSession) -> list[tuple[str, int]]:
    rows = await session.execute(
        select(InboxMessage.reason, func.count())
        .where(InboxMessage.state == MessageState.QUARANTINED)
        .group_by(InboxMessage.reason)
        .order_by(func.count().desc(), InboxMessage.reason)
    )
    return [(reason, count) for reason, count in rows]


async def _load_quarantined(session: AsyncSession, message_id: str) -> InboxMessage:
    message = await session.scalar(
        select(InboxMessage)
        .where(InboxMessage.id == message_id)
        .where(InboxMessage.state == MessageState.QUARANTINED)
        .options(defer(InboxMessage.sealed_raw, raiseload=True))
    )
    if message is None:
        raise NotFound
    return message


def _parse_state(query: Mapping[str, str]) -> MessageState | None:
    word = query.get("state", "")
    if not word:
        return None
    if word not in list(MessageState):
        raise InvalidInput("state", "unknown")
    return MessageState(word)


def _parse_day(query: Mapping[str, str]) -> date | None:
    text = query.get("day", "")
    if not text:
        return None
    try:
        day = date.fromisoformat(text)
    except ValueError as error:
        raise InvalidInput("day", "bad_date") from error
    if not date(2000, 1, 1) <= day <= date(2200, 1, 1):
        raise InvalidInput("day", "bad_date")
    return day


def _parse_count(text: str) -> int | None:
    return int(text[:6]) if text.isascii() and text.isdigit() else None
