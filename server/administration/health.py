"""How the CUP link of one organisation is: figures from a few queries, and what is wrong in them.

The rules are pure; :func:`load_health` alone reads.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Final

from sqlalchemy import case, func, select
from sqlalchemy.ext.asyncio import AsyncSession

from server.models import (
    DispatchState,
    EventState,
    InboxMessage,
    MessageState,
    OutboxEvent,
    PatientMessage,
    Source,
)

_DAY: Final = timedelta(days=1)
_HOUR: Final = timedelta(hours=1)
SILENT_AFTER: Final = timedelta(days=3)
"""A week-end without a message is no trouble."""
LATE_AFTER: Final = timedelta(minutes=15)
"""What takes longer on its way, in or out, is stuck somewhere."""
_ORDER_TIME_CHARACTERS: Final = 20


class SourceState(StrEnum):
    LISTENING = "listening"
    PAUSED = "paused"
    NEVER_HEARD = "never_heard"


@dataclass(frozen=True, slots=True)
class Rate:
    """Messages of a span of time."""

    taken: int = 0
    quarantined: int = 0


@dataclass(frozen=True, slots=True)
class Feed:
    """One source in figures. ``delay`` is how long its last message was on its way to us."""

    source: Source
    last_at: datetime | None = None
    delay: timedelta | None = None
    hour: Rate = Rate()
    day: Rate = Rate()
    quarantined: int = 0

    @property
    def state(self) -> SourceState:
        if self.source.is_paused:
            return SourceState.PAUSED
        return SourceState.NEVER_HEARD if self.last_at is None else SourceState.LISTENING

    @property
    def name(self) -> str:
        return self.source.name or self.source.code


@dataclass(frozen=True, slots=True)
class Health:
    """``events`` and ``letters`` count what is not done yet, by state."""

    feeds: Sequence[Feed]
    events: dict[EventState, int]
    oldest_event_at: datetime | None
    letters: dict[DispatchState, int]
    overdue_letters: int = 0

    def events_in(self, state: str) -> int:
        return self.events.get(EventState(state), 0)

    def letters_in(self, state: str) -> int:
        return self.letters.get(DispatchState(state), 0)


class Trouble(StrEnum):
    """What a person should look at, the worst first."""

    EVENTS_DEAD = "events_dead"
    EVENTS_LATE = "events_late"
    QUARANTINE = "quarantine"
    PAUSED = "paused"
    SILENT = "silent"
    SLOW = "slow"
    LETTERS_FAILED = "letters_failed"
    LETTERS_LATE = "letters_late"
    UNREACHABLE = "unreachable"
    NO_ROUTE = "no_route"
    NO_SOURCE = "no_source"


@dataclass(frozen=True, slots=True)
class Finding:
    """One trouble: how many of it, since when, and of which source where it is one's."""

    trouble: Trouble
    count: int = 0
    since: datetime | None = None
    feed: Feed | None = None

    @property
    def href(self) -> str:
        """Where it can be looked into; empty where there is no page for it."""
        match self.trouble, self.feed:
            case Trouble.QUARANTINE, Feed(source=source):
                return f"/admin/quarantine?source={source.id}"
            case _, Feed(source=source):
                return f"/admin/sources/{source.id}"
            case _:
                return _LISTS.get(self.trouble, "")


_LISTS: Final = {
    Trouble.EVENTS_DEAD: f"/admin/outbox?state={EventState.DEAD}",
    Trouble.EVENTS_LATE: f"/admin/outbox?state={EventState.QUEUED}",
    Trouble.NO_ROUTE: f"/admin/outbox?state={EventState.NO_ROUTE}",
}


def find_troubles(health: Health, now: datetime) -> list[Finding]:
    """What is wrong now, the worst first."""
    found = [Finding(Trouble.NO_SOURCE)] if not health.feeds else []
    for feed in health.feeds:
        found += _troubles_of(feed, now)
    counts = (
        (Trouble.EVENTS_DEAD, health.events.get(EventState.DEAD, 0)),
        (Trouble.NO_ROUTE, health.events.get(EventState.NO_ROUTE, 0)),
        (Trouble.LETTERS_FAILED, health.letters.get(DispatchState.FAILED, 0)),
        (Trouble.LETTERS_LATE, health.overdue_letters),
        (Trouble.UNREACHABLE, health.letters.get(DispatchState.UNREACHABLE, 0)),
    )
    found += [Finding(trouble, count) for trouble, count in counts if count]
    oldest = health.oldest_event_at
    if oldest is not None and now - oldest > LATE_AFTER:
        waiting = health.events.get(EventState.QUEUED, 0)
        found.append(Finding(Trouble.EVENTS_LATE, waiting, oldest))
    worst = list(Trouble)
    return sorted(found, key=lambda finding: worst.index(finding.trouble))


def _troubles_of(feed: Feed, now: datetime) -> list[Finding]:
    found: list[Finding] = []
    if feed.quarantined:
        found.append(Finding(Trouble.QUARANTINE, feed.quarantined, feed=feed))
    if feed.source.is_paused:
        found.append(Finding(Trouble.PAUSED, since=feed.last_at, feed=feed))
    elif feed.last_at is not None and now - feed.last_at > SILENT_AFTER:
        found.append(Finding(Trouble.SILENT, since=feed.last_at, feed=feed))
    elif feed.delay is not None and feed.delay > LATE_AFTER:
        found.append(Finding(Trouble.SLOW, since=feed.last_at, feed=feed))
    return found


def parse_sent_at(message_order: str) -> datetime | None:
    """When CUP wrote a message: the first part of its order key, if it has one."""
    text = message_order.split("|", 1)[0]
    if len(text) != _ORDER_TIME_CHARACTERS or not text.isascii() or not text.isdigit():
        return None
    try:
        return datetime.strptime(text, "%Y%m%d%H%M%S%f").replace(tzinfo=UTC)
    except ValueError:
        return None


# ---- reading ---------------------------------------------------------------------------


async def load_feeds(
    session: AsyncSession, now: datetime, source_id: str | None = None
) -> list[Feed]:
    """The sources of the organisation, by code, with their figures; or one of them."""
    wanted = select(Source).order_by(Source.code)
    if source_id is not None:
        wanted = wanted.where(Source.id == source_id)
    sources = await session.scalars(wanted)
    rates = await _load_rates(session, now)
    quarantined = await _count_quarantined(session)
    return [
        await _load_feed(session, source, rates, quarantined.get(source.id, 0))
        for source in sources
    ]


async def load_health(session: AsyncSession, now: datetime) -> Health:
    events: dict[EventState, int] = {}
    oldest: datetime | None = None
    waiting = (EventState.QUEUED, EventState.DEAD, EventState.NO_ROUTE)
    rows = await session.execute(
        select(OutboxEvent.state, func.count(), func.min(OutboxEvent.created_at))
        .where(OutboxEvent.state.in_(waiting))
        .group_by(OutboxEvent.state)
    )
    for state, count, first in rows:
        events[state] = count
        oldest = first if state is EventState.QUEUED else oldest
    open_states = (DispatchState.QUEUED, DispatchState.FAILED, DispatchState.UNREACHABLE)
    overdue = case((PatientMessage.due_at < now - LATE_AFTER, 1), else_=0)
    letters = await session.execute(
        select(PatientMessage.state, func.count(), func.sum(overdue))
        .where(PatientMessage.state.in_(open_states))
        .group_by(PatientMessage.state)
    )
    counted = {state: (count, late) for state, count, late in letters}
    return Health(
        feeds=await load_feeds(session, now),
        events=events,
        oldest_event_at=oldest,
        letters={state: count for state, (count, _late) in counted.items()},
        overdue_letters=int(counted.get(DispatchState.QUEUED, (0, 0))[1]),
    )


async def _load_rates(session: AsyncSession, now: datetime) -> dict[str, tuple[Rate, Rate]]:
    """Of each source: the last hour and the last day."""
    is_bad = InboxMessage.state == MessageState.QUARANTINED
    is_new = InboxMessage.received_at > now - _HOUR
    rows = await session.execute(
        select(
            InboxMessage.source_id,
            func.sum(case((~is_bad & is_new, 1), else_=0)),
            func.sum(case((is_bad & is_new, 1), else_=0)),
            func.sum(case((~is_bad, 1), else_=0)),
            func.sum(case((is_bad, 1), else_=0)),
        )
        .where(InboxMessage.received_at > now - _DAY)
        .group_by(InboxMessage.source_id)
    )
    return {
        row[0]: (Rate(int(row[1]), int(row[2])), Rate(int(row[3]), int(row[4]))) for row in rows
    }


async def _count_quarantined(session: AsyncSession) -> dict[str, int]:
    rows = await session.execute(
        select(InboxMessage.source_id, func.count())
        .where(InboxMessage.state == MessageState.QUARANTINED)
        .group_by(InboxMessage.source_id)
    )
    return {row[0]: row[1] for row in rows}


async def _load_feed(
    session: AsyncSession, source: Source, rates: dict[str, tuple[Rate, Rate]], quarantined: int
) -> Feed:
    newest = (
        select(InboxMessage.received_at, InboxMessage.message_order)
        .where(InboxMessage.source_id == source.id)
        .order_by(InboxMessage.received_at.desc())
        .limit(1)
    )
    last = (await session.execute(newest)).first()
    last_at, order = (last.received_at, last.message_order) if last else (None, "")
    sent_at = parse_sent_at(order)
    hour, day = rates.get(source.id, (Rate(), Rate()))
    return Feed(
        source=source,
        last_at=last_at,
        delay=last_at - sent_at if last_at is not None and sent_at is not None else None,
        hour=hour,
        day=day,
        quarantined=quarantined,
    )
