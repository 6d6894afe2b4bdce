"""One live recording: its recorder process, restarted while the recording is live, and what it
says, in the records and in the room."""

from __future__ import annotations

import asyncio
import logging
from typing import Final

import msgspec
from aiohttp import web
from sqlalchemy.ext.asyncio import AsyncSession

from recordings.recorderhost import RecorderProcess
from recordings.recorderwords import (
    Done,
    NeedTicket,
    Orders,
    RecorderWord,
    Stats,
    Ticket,
    TrackBegan,
    Trouble,
    TroubleOver,
)
from server.db import OrganisationId
from server.models import Organisation, Recording, RecordingState, RecordingTrack, Visit, VisitState
from server.recording.rows import (
    LIVE,
    end_recording,
    load_tracks,
    mark_failure,
    mark_recovery,
)
from server.recording.tracks import Archivist
from server.roomseed import RECORDER_SEAT, seed_of
from server.services import CLOCK, DATABASE, HUB, LISTENING, SETTINGS
from signaling.messages import ParticipantState, Role, RoomEvent
from signaling.reasons import ByeReason
from signaling.recordingevents import RecordingFailed, RecordingResumed, RecordingStopped

LOST: Final = "recorder_lost"
LEFT: Final = "everybody_left"
CLOSED: Final = "closed"
_ACCOUNT: Final = ("received", "absent", "begun", "kept", "unwanted", "useless", "lost")
_OWN_WISH: Final = ("finished", "left")
_OVER: Final = (VisitState.ENDED, VisitState.CANCELLED)
_PAUSES: Final = (0.2, 0.5, 1.0, 2.0, 5.0)
"""Before the next recorder after one that kept nothing; then it is given up."""
_LOOK_SECONDS: Final = 0.1
_LOOKS: Final = 150

logger = logging.getLogger(__name__)


class Sitting:
    """From the ask to the end; ``run`` is called once."""

    def __init__(self, app: web.Application, recording: Recording, archivist: Archivist) -> None:
        self._app = app
        self._id = recording.id
        self._visit_id = recording.visit_id
        self._organisation = OrganisationId(recording.organisation_id)
        self._recording = recording
        self._archivist = archivist
        self._process: RecorderProcess | None = None
        self._stats: Stats | None = None
        self._has_kept = False
        self._finishing = asyncio.Event()

    @property
    def pid(self) -> int | None:
        return self._process.pid if self._process is not None else None

    def finish(self) -> None:
        """The recording is over: the recorder closes its tapes."""
        self._finishing.set()

    async def run(self) -> None:
        """Returns when no process of it is left and none is to come: it is over, or another
        process of the server has taken it over."""
        pauses = iter(_PAUSES)
        page = await self._find_page()
        await self._archivist.adopt(self._recording)
        if await self._has_tracks():
            await self._fail(LOST)
        while await self.is_live():
            self._has_kept = False
            reason = await self._record(page)
            if reason is not None:
                if reason != ByeReason.REPLACED:
                    await self.end_live(reason)
                return
            if not await self._fail(LOST):
                return
            pauses = iter(_PAUSES) if self._has_kept else pauses
            pause = next(pauses, None)
            if pause is None:
                await self.end_live(LOST)
                return
            page = await self._find_page()
            await asyncio.sleep(pause)

    async def end_live(self, reason: str) -> None:
        """Nobody said that it is over, and it is."""
        async with self._app[DATABASE].begin(self._organisation) as session:
            row = await self._hold(session)
            if row is None:
                return
            visit = await session.get_one(Visit, self._visit_id)
            said = CLOSED if visit.state in _OVER else reason
            await end_recording(session, row, RecordingState.ENDED, said, self._app[CLOCK]())
        await self._tell(RecordingStopped(ask=self._id, participant=""))

    # ---- one process -----------------------------------------------------------------------

    async def _record(self, page: int) -> str | None:
        """Run one process; why it ended, or None when it died."""
        try:
            process = self._process = await RecorderProcess.start(await self._orders())
        except OSError as error:
            logger.error("no recorder for recording %s: %s", self._id, type(error).__name__)
            return None
        helpers = [
            asyncio.create_task(self._finish_when_told(process)),
            asyncio.create_task(self._welcome_back(page)),
        ]
        try:
            while (word := await process.hear()) is not None:
                if isinstance(word, Done):
                    return LEFT if word.reason in _OWN_WISH else word.reason
                await self._take(process, word)
            return None
        finally:
            self._process = None
            self._note_stats()
            for helper in helpers:
                helper.cancel()
            await asyncio.shield(process.end())

    async def _take(self, process: RecorderProcess, word: RecorderWord) -> None:
        match word:
            case NeedTicket():
                process.say(Ticket(ticket=await self._ticket()))
            case TrackBegan():
                self._has_kept = True
                await self._add_track(word)
            case Trouble():
                await self._fail(word.reason)
            case TroubleOver():
                await self._recover()
            case Stats():
                self._stats = word
            case _:
                pass

    def _note_stats(self) -> None:
        """What became of each frame, as far as the process could say."""
        if self._stats is not None:
            told = msgspec.to_builtins(self._stats)
            figures = " ".join(f"{name}={told[name]}" for name in _ACCOUNT)
            logger.info("recorder of recording %s ended: %s", self._id, figures)
        self._stats = None

    async def _finish_when_told(self, process: RecorderProcess) -> None:
        await self._finishing.wait()
        process.finish()

    async def _welcome_back(self, page: int) -> None:
        """A recorder that has its seat again after another one was lost: it goes on."""
        for _ in range(_LOOKS):
            if await self._find_page() not in (0, page):
                await self._recover()
                return
            await asyncio.sleep(_LOOK_SECONDS)

    async def _find_page(self) -> int:
        """The generation of the recorder that is in the room now; 0: none."""
        people = (await self._app[HUB].presence([self._visit_id])).get(self._visit_id, [])
        return next(
            (
                one.generation
                for one in people
                if one.role is Role.RECORDER and one.state is ParticipantState.ADMITTED
            ),
            0,
        )

    # ---- what it needs ---------------------------------------------------------------------

    async def _orders(self) -> Orders:
        key = await self._archivist.open_key(self._recording)
        async with self._app[DATABASE].read(self._organisation) as session:
            row = await session.get_one(Recording, self._id)
            tracks = await load_tracks(session, self._id)
        settings = self._app[SETTINGS]
        return Orders(
            socket_url=self._app[LISTENING].socket_url,
            origin=settings.base_url,
            ticket=await self._ticket(),
            endpoint=settings.media_endpoint,
            recording_id=self._id,
            visit_id=self._visit_id,
            organisation=self._organisation,
            key=bytes(key.key),
            key_id=key.key_id,
            tape_folder=str(self._archivist.folder),
            began_at=row.began_at.timestamp() if row.began_at else 0.0,
            parts={
                seat: 1 + max(one.part for one in tracks if one.participant == seat)
                for seat in {one.participant for one in tracks}
            },
        )

    async def _ticket(self) -> str:
        """Empty: there is no way in any more."""
        async with self._app[DATABASE].read(self._organisation) as session:
            visit = await session.get_one(Visit, self._visit_id)
            organisation = await session.get_one(Organisation, self._organisation)
            row = await session.get_one(Recording, self._id)
        if visit.state in _OVER or row.state not in LIVE:
            return ""
        seed = seed_of(visit, organisation)
        return self._app[HUB].issue_ticket(
            self._visit_id, RECORDER_SEAT, Role.RECORDER, self._app[CLOCK](), seed
        )

    # ---- what it says ----------------------------------------------------------------------

    async def is_live(self) -> bool:
        async with self._app[DATABASE].read(self._organisation) as session:
            row = await session.get_one(Recording, self._id)
        return row.state in LIVE

    async def _has_tracks(self) -> bool:
        """Whether a recorder that is gone has kept something."""
        async with self._app[DATABASE].read(self._organisation) as session:
            return bool(await load_tracks(session, self._id))

    async def _hold(self, session: AsyncSession) -> Recording | None:
        """The row while it is live; nobody else changes it in this transaction."""
        row = await session.get_one(Recording, self._id, with_for_update=True)
        return row if row.state in LIVE else None

    async def _fail(self, reason: str) -> bool:
        """False when the recording is over."""
        async with self._app[DATABASE].begin(self._organisation) as session:
            row = await self._hold(session)
            if row is None:
                return False
            await mark_failure(session, row, reason, self._app[CLOCK]())
        await self._tell(RecordingFailed(ask=self._id, reason=reason))
        return True

    async def _recover(self) -> None:
        async with self._app[DATABASE].begin(self._organisation) as session:
            row = await self._hold(session)
            if row is None or row.state is not RecordingState.FAILED:
                return
            await mark_recovery(session, row, self._app[CLOCK]())
        await self._tell(RecordingResumed(ask=self._id))

    async def _add_track(self, began: TrackBegan) -> None:
        async with self._app[DATABASE].begin(self._organisation) as session:
            session.add(
                RecordingTrack(
                    id=began.track,
                    organisation_id=self._organisation,
                    recording_id=self._id,
                    participant=began.participant,
                    part=began.part,
                    offset_ms=began.offset_ms,
                )
            )

    async def _tell(self, event: RoomEvent) -> None:
        await self._app[HUB].publish(self._visit_id, event)
