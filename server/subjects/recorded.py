"""The recordings of a person's visits: her own voice and picture. Those of the clinician are that
person's, and not in the copy (GDPR art. 15(4))."""

from __future__ import annotations

import zipfile
from collections.abc import Sequence

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from recordings.store import SealedStore
from recordings.vault import SealBroken
from server.keyring import Keyring, Shredded
from server.models import Recording, RecordingTrack, TrackState, Visit
from server.roomseed import PATIENT_SEAT
from server.sealed import open_track
from server.subjects.content import Recorded, RecordedPart


class RecordingGatherer:
    """Puts them into a zip piece by piece: they are long."""

    def __init__(
        self,
        keyring: Keyring,
        session: AsyncSession,
        store: SealedStore,
        archive: zipfile.ZipFile,
    ) -> None:
        self._keyring = keyring
        self._session = session
        self._store = store
        self._archive = archive

    async def gather(self, visit: Visit, folder: str) -> list[Recorded]:
        """The oldest first. What was sealed with a destroyed key is left out.

        :raises SealBroken: a file was altered in its middle.
        """
        rows = await self._session.scalars(
            select(Recording).where(Recording.visit_id == visit.id).order_by(Recording.asked_at)
        )
        return [
            await self._gather_one(recording, f"{folder}/registrazione-{number}")
            for number, recording in enumerate(rows.all(), 1)
        ]

    async def _gather_one(self, recording: Recording, name: str) -> Recorded:
        parts = [
            RecordedPart(
                begins_ms=track.offset_ms,
                lasts_ms=track.duration_ms,
                file=await self._keep(recording, track, f"{name}-{track.part}.webm"),
            )
            for track in await self._load_tracks(recording)
        ]
        return Recorded(
            purpose=recording.purpose,
            state=recording.state,
            asked_at=recording.asked_at,
            began_at=recording.began_at,
            ended_at=recording.ended_at,
            parts=parts,
        )

    async def _load_tracks(self, recording: Recording) -> Sequence[RecordingTrack]:
        found = await self._session.scalars(
            select(RecordingTrack)
            .where(RecordingTrack.recording_id == recording.id)
            .where(RecordingTrack.participant == PATIENT_SEAT)
            .where(RecordingTrack.state != TrackState.GROWING)
            .order_by(RecordingTrack.part)
        )
        return found.all()

    async def _keep(self, recording: Recording, track: RecordingTrack, name: str) -> str:
        """The name in the zip; empty where the file is lost."""
        try:
            opened = await open_track(self._keyring, self._session, self._store, recording, track)
        except (Shredded, SealBroken):
            return ""
        info = zipfile.ZipInfo(name)
        info.external_attr = 0o600 << 16
        with self._archive.open(info, "w", force_zip64=True) as file:
            for piece in opened.read(0, opened.size):
                file.write(piece)
        return name
