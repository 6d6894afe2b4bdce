"""The patient's room: one page that is the waiting room and then the call.

Also what the rooms of ``signaling`` ask of the records: who is admitted when a room opens, the
admission itself, and the log rows of what happens in a room. The clinician's side is
``server.visit``.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from datetime import datetime
from typing import Final

from aiohttp import web
from sqlalchemy import select, update
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import joinedload

from server.audit import Act, ActorRole, Entry, Fact, append, append_once
from server.auth import PATIENT, Route, actor_of
from server.consents import has_consented
from server.db import EVERY_ORGANISATION, Database, OrganisationId, count_changed, is_away
from server.errors import Conflict, NotFound
from server.joinlink import LinkPhase, link_phase
from server.models import (
    Appointment,
    CheckIn,
    EventKind,
    Organisation,
    Visit,
    VisitState,
)
from server.outbox import tell_cup_of
from server.pages import json_response
from server.report.keep import load_reports
from server.report.state import current_reports
from server.roomseed import PATIENT_SEAT, seed_of
from server.services import DATABASE, HUB, PAGES, SETTINGS, now_of
from signaling.hub import Refused, RoomSeed
from signaling.messages import (
    Away,
    Gone,
    Joined,
    MediaChanged,
    MediaProven,
    Returned,
    Role,
    RoomEvent,
)

logger = logging.getLogger(__name__)

_LIVE: Final = (VisitState.WAITING, VisitState.IN_VISIT)
_GROUP_SECONDS: Final = 0.25
_RETRY_SECONDS: Final = 1.0
_LAST_SECONDS: Final = 8.0
"""How long the end of the application waits for a database that is away."""
_LONGEST_QUEUE: Final = 10_000


# ---- pages -----------------------------------------------------------------------------


async def enter(request: web.Request) -> web.StreamResponse:
    """The button of the check-in: from here on the patient waits."""
    actor, now = actor_of(request), now_of(request)
    locator = request.match_info["locator"]
    async with request.app[DATABASE].begin(actor.organisation) as session:
        visit = await _load_visit(session, actor.visit_id)
        if visit.state not in _LIVE:
            if not await _may_wait(session, visit, now):
                raise web.HTTPSeeOther(f"/v/{locator}/check-in")
            change = (
                update(Visit)
                .where(Visit.id == visit.id)
                .where(Visit.state.in_((VisitState.BOOKED, VisitState.CHECKED_IN)))
                .values(state=VisitState.WAITING, waiting_since=now)
            )
            if await count_changed(session, change):
                entry = Entry(now, Act.WAITING, ActorRole.PATIENT, actor.id, visit.id)
                await append(session, actor.organisation, entry)
    raise web.HTTPSeeOther(f"/v/{locator}/room")


async def show_room(request: web.Request) -> web.StreamResponse:
    """The waiting room and the call."""
    actor, locator = actor_of(request), request.match_info["locator"]
    async with request.app[DATABASE].read(actor.organisation) as session:
        visit = await _load_visit(session, actor.visit_id)
        organisation = await session.get_one(Organisation, actor.organisation)
        is_agreed = await has_consented(session, visit.id)
    if visit.state is VisitState.ENDED:
        raise web.HTTPSeeOther(f"/v/{locator}/end")
    if visit.state is VisitState.CANCELLED:
        raise web.HTTPSeeOther(f"/v/{locator}")
    if visit.state not in _LIVE or not is_agreed:
        raise web.HTTPSeeOther(f"/v/{locator}/check-in")
    doctor = visit.appointment.clinician.display_name if visit.appointment.clinician else ""
    page_data = {
        "visitId": visit.id,
        "ticketUrl": f"/v/{locator}/ticket",
        "filesUrl": f"/v/{locator}/files",
        "stillUrl": f"/v/{locator}/still",
        "qualityUrl": f"/v/{locator}/quality",
        "now": now_of(request).isoformat(),
        "state": visit.state,
        "start": visit.appointment.start.isoformat(),
        "doctor": request.app[PAGES].translator(request).with_article(doctor),
        "peerName": doctor,
        "deskPhone": organisation.desk_phone,
        "endUrl": f"/v/{locator}/end",
        "reloadUrl": f"/v/{locator}/room",
    }
    return request.app[PAGES].render(
        request,
        "patient/room.html",
        organisation_name=organisation.name,
        desk_phone=organisation.desk_phone,
        visit=visit,
        doctor=doctor,
        locator=locator,
        here=f"/v/{locator}",
        files=(),
        can_change=True,
        most_mb=request.app[SETTINGS].files_max_mb,
        page_data=page_data,
    )


async def issue_ticket(request: web.Request) -> web.StreamResponse:
    """A right to open the socket, for this patient, this room and the next seconds."""
    actor = actor_of(request)
    async with request.app[DATABASE].read(actor.organisation) as session:
        visit = await _load_visit(session, actor.visit_id)
        organisation = await session.get_one(Organisation, actor.organisation)
        is_agreed = await has_consented(session, visit.id)
    if visit.state not in _LIVE or not is_agreed:
        raise Conflict(f"visit is {visit.state}")
    ticket = request.app[HUB].issue_ticket(
        visit.id, PATIENT_SEAT, Role.PATIENT, now_of(request), seed_of(visit, organisation)
    )
    return json_response({"ticket": ticket})


async def show_end(request: web.Request) -> web.StreamResponse:
    """What happens now, after the visit."""
    actor, locator = actor_of(request), request.match_info["locator"]
    async with request.app[DATABASE].read(actor.organisation) as session:
        visit = await _load_visit(session, actor.visit_id)
        organisation = await session.get_one(Organisation, actor.organisation)
        reports = await load_reports(session, visit.id)
    if visit.state is VisitState.CANCELLED:
        raise web.HTTPSeeOther(f"/v/{locator}")
    if visit.state is not VisitState.ENDED:
        raise web.HTTPSeeOther(f"/v/{locator}/check-in")
    clinician = visit.appointment.clinician
    return request.app[PAGES].render(
        request,
        "patient/end.html",
        organisation_name=organisation.name,
        desk_phone=organisation.desk_phone,
        visit=visit,
        doctor=clinician.display_name if clinician else "",
        locator=locator,
        has_report=bool(current_reports(reports)),
    )


async def _load_visit(session: AsyncSession, visit_id: str) -> Visit:
    visit = await session.scalar(
        select(Visit)
        .where(Visit.id == visit_id)
        .options(joinedload(Visit.appointment).joinedload(Appointment.clinician))
    )
    if visit is None:
        raise NotFound
    return visit


async def _may_wait(session: AsyncSession, visit: Visit, now: datetime) -> bool:
    if link_phase(visit, visit.appointment, now) is not LinkPhase.ROOM:
        return False
    check_in = await session.get(CheckIn, visit.id)
    if check_in is None or check_in.completed_at is None:
        return False
    return await has_consented(session, visit.id)


# ---- what rooms ask of the records -----------------------------------------------------


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
                write = append_once if self._is_uncertain else append
                await write(session, organisation, *entries)
            written = set(map(id, entries))
            self._queue = [row for row in self._queue if id(row[1]) not in written]
        if not self._queue:
            self._has_entries.clear()


ROUTES: Final = (
    Route("POST", "/v/{locator}/waiting-room", enter, PATIENT),
    Route("GET", "/v/{locator}/room", show_room, PATIENT),
    Route("POST", "/v/{locator}/ticket", issue_ticket, PATIENT),
    Route("GET", "/v/{locator}/end", show_end, PATIENT),
)
