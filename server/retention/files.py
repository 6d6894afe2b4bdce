"""The sealed files of records that end: attachments, tracks of recordings and their tapes."""

from __future__ import annotations

import asyncio
import logging
import time
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from recordings.store import SealedFolder, SealedStore
from recordings.tapes import tape_path, tracks_on_tape
from server.models import Attachment, RecordingTrack
from server.retention.erasure import Left
from server.sealed import ATTACHMENTS_FOLDER, TAPE_FOLDER, open_recordings
from server.settings import Settings

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class SealedFiles:
    """Where they lie."""

    attachments: SealedFolder
    recordings: SealedStore
    tapes: Path

    @classmethod
    def of(cls, settings: Settings) -> SealedFiles:
        """Those of an installation."""
        return cls(
            SealedFolder(settings.data_dir / ATTACHMENTS_FOLDER),
            open_recordings(settings),
            settings.data_dir / TAPE_FOLDER,
        )

    async def delete(self, left: Left) -> int:
        """What an end has left; how many there were. What the store does not delete now, because
        it does not answer, the sweep of another night does."""
        try:
            return await asyncio.to_thread(self._delete, left)
        except OSError as error:
            logger.warning("files of an ended record wait cause=%s", type(error).__name__)
            return 0

    async def sweep(self, session: AsyncSession, older_than_seconds: float) -> int:
        """Files whose row is gone, because a process was killed between the two."""
        attachments = set(await session.scalars(select(Attachment.id)))
        tracks = set(await session.scalars(select(RecordingTrack.id)))
        return await asyncio.to_thread(self._sweep, attachments, tracks, older_than_seconds)

    def _delete(self, left: Left) -> int:
        deleted = [self.attachments.delete(name) for name in left.attachments]
        for track in left.tracks:
            tape_path(self.tapes, track).unlink(missing_ok=True)
            deleted.append(self.recordings.delete(track))
        return sum(deleted)

    def _sweep(self, attachments: set[str], tracks: set[str], older_than_seconds: float) -> int:
        found = [
            name
            for name in self.attachments.names_older_than(older_than_seconds)
            if name not in attachments
        ]
        recordings = {
            *self.recordings.names_older_than(older_than_seconds),
            *self._tapes_older_than(older_than_seconds),
        }
        deleted = self._delete(Left(found, sorted(recordings - tracks)))
        swept = self.attachments.sweep(older_than_seconds)
        return deleted + swept + self.recordings.sweep(older_than_seconds)

    def _tapes_older_than(self, seconds: float) -> list[str]:
        before = time.time() - seconds
        return [
            track
            for track in tracks_on_tape(self.tapes)
            if tape_path(self.tapes, track).stat().st_mtime < before
        ]
