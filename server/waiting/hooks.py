"""What rooms ask of the records: who is admitted when a room opens, the admission itself, and the
log rows of what happens in a room."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from datetime import datetime
from typing import Final

from aiohttp import web
from sqlalchemy import update
from sqlalchemy.ext.asyncio import AsyncSession

from server.audit import Act, ActorRole, Entry, Fact, append, append_in_turn, append_once
from server.db import EVERY_ORGANISATION, Database, OrganisationId, count_changed, is_away
from server.models import EventKind, Organisation, Visit, VisitState
from server.outbox import tell_cup_of
from server.roomseed import seed_of
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

logger = logging.getLogger(__name__)

_GROUP_SECONDS: Final = 0.25
_RETRY_SECONDS: Final = 1.0
_LAST_SECONDS: Final = 8.0
"""How long the end of the application waits for a database that is away."""
_LONGEST_QUEUE: Final = 10_000


class VisitHooks:
    """The rooms' door to the records (:class:`signaling.hub.RoomHooks`).

    Log rows of running calls are written in groups, a quarter of a second after they happen; while
    the database is away they wait in memory and calls go on.
    """

    def __init__(self, database: Database, clock: Callable[[], datetime]) -> None:
        self._database = database
        self._clock = clock
        self._organisations: dict[str, OrganisationId] = {}
        self._seen: dict[str, set[str]] = {}
        """Who was in an open room before."""
        self._queue: list[tuple[OrganisationId, Entry]] = []
        self._has_entries = asyncio.Event()
        self._is_uncertain = False
        """The last group may be committed although the answer was lost."""

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
        if entry is None:
            return
        if len(self._queue) >= _LONGEST_QUEUE:
            logger.error("session log queue is full, an entry of room %s is lost", room_id)
            return
        self._queue.append((self._organisations[room_id], entry))
        self._has_entries.set()

    async def lifetime(self, app: web.Application) -> AsyncIterator[None]:
        """Run the writer while the application runs; write the rest at the end."""
        writer = asyncio.create_task(self._write_groups())
        yield
        writer.cancel()
        with suppress(asyncio.CancelledError):
            await writer
        with suppress(TimeoutError):
            async with asyncio.timeout(_LAST_SECONDS):
                while self._queue:
                    await self._try_to_write()
        if self._queue:
            logger.error("session log: %d entries are lost", len(self._queue))

    async def _append(
        self, session: AsyncSession, room_id: str, act: Act, by: str, participant: str
    ) -> None:
        entry = Entry(
            self._clock(), act, ActorRole.CLINICIAN, by, room_id, {"participant": participant}
        )
        await append(session, self._organisations[room_id], entry)

    def _entry(self, room_id: str, event: RoomEvent) -> Entry | None:
        match event:
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
        return Entry(self._clock(), act, ActorRole(who), "", room_id, facts or {})

    async def _write_groups(self) -> None:
        while True:
            await self._has_entries.wait()
            await asyncio.sleep(_GROUP_SECONDS)
            await self._try_to_write()

    async def _try_to_write(self) -> None:
        try:
            await self._write_queued()
            self._is_uncertain = False
        except Exception as error:
            count = len(self._queue)
            if is_away(error):
                logger.warning("session log: %d entries wait for the database", count)
            else:
                logger.exception("session log: %d entries wait to be written", count)
            self._is_uncertain = True
            await asyncio.sleep(_RETRY_SECONDS)

    async def _write_queued(self) -> None:
        """Write all queued entries; they leave the queue only once they are committed."""
        for organisation in {owner for owner, _ in self._queue}:
            entries = [entry for owner, entry in self._queue if owner == organisation]
            async with self._database.begin(organisation) as session:
                write = append_once if self._is_uncertain else append_in_turn
                await write(session, organisation, *entries)
            written = set(map(id, entries))
            self._queue = [row for row in self._queue if id(row[1]) not in written]
        if not self._queue:
            self._has_entries.clear()
