"""What rooms ask of the records: who is admitted when a room opens, the admission itself, and the
log rows of what happens in a room."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime, timedelta
from typing import Final

from aiohttp import web
from sqlalchemy import update
from sqlalchemy.ext.asyncio import AsyncSession

from server.audit import Act, ActorRole, Entry, Fact, append
from server.db import EVERY_ORGANISATION, Database, OrganisationId, count_changed
from server.models import EventKind, Organisation, Visit, VisitState
from server.outbox import tell_cup_of
from server.roomseed import RECORDER_SEAT, seed_of
from server.waiting.rowwriter import RowWriter
from server.waiting.spool import Row, Spool
from signaling.hub import Refused, RoomSeed
from signaling.messages import (
    Away,
    Gone,
    Joined,
    MediaChanged,
    MediaProven,
    Returned,
    RoomEvent,
)

_TICK: Final = timedelta(milliseconds=1)
_NEAR: Final = timedelta(seconds=20)
"""More than this the clock was set back, and what it says now counts."""


class VisitHooks:
    """The rooms' door to the records (:class:`signaling.hub.RoomHooks`).

    Log rows of running calls go into the spool when they happen and are written in groups a
    quarter of a second after; while the database is away they wait and calls go on.
    """

    def __init__(self, database: Database, spool: Spool, clock: Callable[[], datetime]) -> None:
        self._database = database
        self._clock = clock
        self._rows = RowWriter(database, spool)
        self._last = datetime.min.replace(tzinfo=UTC)
        self._organisations: dict[str, OrganisationId] = {}
        self._seen: dict[str, set[str]] = {}
        """Who was in an open room before."""

    async def load(self, room_id: str) -> RoomSeed:
        """The room of a visit as the records know it."""
        async with self._database.read(EVERY_ORGANISATION) as session:
            visit = await session.get(Visit, room_id)
            if visit is None:
                raise Refused("no_visit")
            organisation = await session.get_one(Organisation, visit.organisation_id)
        return seed_of(visit, organisation)

    def opened(self, room_id: str, seed: RoomSeed) -> None:
        """From here on the room's rows have their organisation."""
        self._organisations[room_id] = OrganisationId(seed.owner)

    def closed(self, room_id: str) -> None:
        """Forget what was kept of the room; rows still in the queue have what they need."""
        self._organisations.pop(room_id, None)
        self._seen.pop(room_id, None)

    async def admit(self, room_id: str, by: str, participant: str) -> None:
        """Write the admission before the room knows of it; CUP hears of the first one."""
        now = self._clock()
        organisation = self._organisations[room_id]
        async with self._database.begin(organisation) as session:
            change = (
                update(Visit)
                .where(Visit.id == room_id)
                .values(state=VisitState.IN_VISIT, admitted_at=now)
            )
            if await count_changed(session, change.where(Visit.state == VisitState.WAITING)):
                facts = {"began_at": now.isoformat()}
                await tell_cup_of(session, organisation, room_id, EventKind.BEGUN, now, facts)
            elif not await count_changed(session, change.where(Visit.state == VisitState.IN_VISIT)):
                raise Refused("not_waiting")
            await self._append(session, room_id, Act.ADMITTED, by, participant)

    async def turn_away(self, room_id: str, by: str, participant: str) -> None:
        """Write that a waiting person was not let in."""
        async with self._database.begin(self._organisations[room_id]) as session:
            await self._append(session, room_id, Act.TURNED_AWAY, by, participant)

    def observe(self, room_id: str, event: RoomEvent) -> None:
        """Queue the log row of something that happened in a room."""
        entry = self._entry(room_id, event)
        if entry is not None:
            self._rows.put(Row(self._organisations[room_id], room_id, entry.canonical()))

    async def lifetime(self, app: web.Application) -> AsyncIterator[None]:
        """Run the writer while the application runs; write the rest at the end."""
        async for _ in self._rows.lifetime(app):
            yield

    async def _append(
        self, session: AsyncSession, room_id: str, act: Act, by: str, participant: str
    ) -> None:
        entry = Entry(
            self._clock(), act, ActorRole.CLINICIAN, by, room_id, {"participant": participant}
        )
        await append(session, self._organisations[room_id], entry)

    def _entry(self, room_id: str, event: RoomEvent) -> Entry | None:
        """What the recorder does is told by ``server.recording``."""
        match event:
            case Joined() | Returned() | Away() | Gone() if event.participant == RECORDER_SEAT:
                return None
            case Joined(participant=who):
                seen = self._seen.setdefault(room_id, set())
                is_back = who in seen
                seen.add(who)
                act = Act.ROOM_REJOINED if is_back else Act.ROOM_JOINED
                return self._room_entry(room_id, act, who)
            case Returned(participant=who):
                return self._room_entry(room_id, Act.ROOM_REJOINED, who)
            case Away(participant=who):
                return self._room_entry(room_id, Act.ROOM_DROPPED, who)
            case Gone(participant=who):
                return self._room_entry(room_id, Act.ROOM_LEFT, who)
            case MediaProven(participant=who, of=of, audio=audio, video=video):
                proof: dict[str, Fact] = {"of": of, "audio": audio, "video": video}
                return self._room_entry(room_id, Act.MEDIA_PROVEN, who, proof)
            case MediaChanged(participant=who, microphone=mic, camera=cam, screen=screen):
                sent: dict[str, Fact] = {"microphone": mic, "camera": cam, "screen": screen}
                return self._room_entry(room_id, Act.MEDIA_CHANGED, who, sent)
            case _:
                return None

    def _room_entry(
        self, room_id: str, act: Act, who: str, facts: dict[str, Fact] | None = None
    ) -> Entry:
        return Entry(self._next_time(), act, ActorRole(who), "", room_id, facts or {})

    def _next_time(self) -> datetime:
        """The time of a row: a millisecond after the one before when the clock has not moved, so
        that no two rows of this process are equal and one that is stored can be recognised."""
        now = self._clock()
        now = now.replace(microsecond=now.microsecond // 1000 * 1000)
        if timedelta(0) <= self._last - now < _NEAR:
            now = self._last + _TICK
        self._last = now
        return now
