"""Keeps recordings going: a recorder process for each that is live, its tapes into the store when
it is over.

Runs in the process that leads. What is live stands in the rows, so that another process can take
over: the recorder dies with the one that started it, the next one is a new part with a gap.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import suppress
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Final

from aiohttp import web
from sqlalchemy import or_, select

from server.db import EVERY_ORGANISATION
from server.models import Recording
from server.recording.rows import LIVE
from server.recording.sitting import Sitting
from server.recording.tracks import Archivist
from server.sealed import TAPE_FOLDER
from server.services import CLOCK, DATABASE, KEYRING, LISTENING, RECORDINGS, SETTINGS

LOOK_SECONDS: Final = 2.0
AGAIN_SECONDS: Final = 30.0
"""After a tape could not be taken into the store."""

logger = logging.getLogger(__name__)


class Keeper:
    """All recordings of the installation, while this process leads."""

    def __init__(self) -> None:
        self._woken = asyncio.Event()
        self._kept: dict[str, asyncio.Task[None]] = {}
        self._sittings: dict[str, Sitting] = {}
        self._began: datetime | None = None
        """Rooms that are in the memory of a process end with it."""

    def wake(self) -> None:
        """Something was written about a recording."""
        self._woken.set()

    def find_pid(self, recording_id: str) -> int | None:
        """The process that records now."""
        sitting = self._sittings.get(recording_id)
        return sitting.pid if sitting is not None else None

    async def lifetime(self, app: web.Application) -> AsyncIterator[None]:
        """Look again and again what is to be kept; end every process in the end."""
        if self._began is None and not app[SETTINGS].valkey_url:
            self._began = app[CLOCK]()
        self._looking = asyncio.create_task(self._look_on(app))
        yield
        await self.stop()

    async def stop(self) -> None:
        """End every process; what is live goes on where somebody else leads."""
        self._looking.cancel()
        await asyncio.wait({self._looking})
        kept = list(self._kept.values())
        for task in kept:
            task.cancel()
        await asyncio.gather(*kept, return_exceptions=True)

    async def _look_on(self, app: web.Application) -> None:
        await app[LISTENING].wait()
        while True:
            self._woken.clear()
            try:
                await self._look(app)
            except Exception as error:  # noqa: BLE001 - whatever it is, it is tried again
                logger.warning("recordings are not looked at: %s", type(error).__name__)
            with suppress(TimeoutError):
                async with asyncio.timeout(LOOK_SECONDS):
                    await self._woken.wait()

    async def _look(self, app: web.Application) -> None:
        query = select(Recording).where(
            or_(Recording.state.in_(LIVE), Recording.is_copied.is_(False))
        )
        async with app[DATABASE].read(EVERY_ORGANISATION) as session:
            found = (await session.scalars(query)).all()
        for recording in found:
            sitting = self._sittings.get(recording.id)
            if sitting is not None and recording.state not in LIVE:
                sitting.finish()
            if recording.id not in self._kept:
                task = asyncio.create_task(self._keep(app, recording))
                self._kept[recording.id] = task
                task.add_done_callback(partial(self._forget, recording.id))

    def _forget(self, recording_id: str, task: asyncio.Task[None]) -> None:
        del self._kept[recording_id]

    async def _keep(self, app: web.Application, recording: Recording) -> None:
        """One recording from its ask to the store."""
        archivist = Archivist(
            app[DATABASE], app[KEYRING], app[RECORDINGS], _folder_of(app), app[CLOCK]
        )
        sitting = self._sittings[recording.id] = Sitting(app, recording, archivist)
        try:
            if self._began is not None and recording.asked_at < self._began:
                await sitting.end_live("log_lost")
            elif recording.state in LIVE:
                await sitting.run()
            if not (await sitting.is_live() or await archivist.take(recording)):
                await asyncio.sleep(AGAIN_SECONDS)
        except Exception:
            logger.exception("recording %s is not kept", recording.id)
            await asyncio.sleep(LOOK_SECONDS)
        finally:
            del self._sittings[recording.id]


def _folder_of(app: web.Application) -> Path:
    folder = app[SETTINGS].data_dir / TAPE_FOLDER
    folder.mkdir(mode=0o700, exist_ok=True)
    return folder


KEEPER: Final = web.AppKey("recording_keeper", Keeper)
