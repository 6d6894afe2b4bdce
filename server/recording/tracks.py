"""From the tapes of a recording that is over to sealed files of the store.

A tape that is not on this machine stays as it is: whoever has it takes it in. Nothing is deleted
before the file is whole in the store and the row says so. A tape without a row, because who was to
write it down died just then, gets one.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from recordings.finishing import Figures, Finished
from recordings.label import Label, read_label
from recordings.store import SealedStore
from recordings.tapes import TapeKey, key_of_tape, tape_path, tracks_on_tape
from recordings.vault import SealBroken
from server.audit import Act, Fact
from server.db import Database, OrganisationId
from server.keyring import Keyring
from server.models import Recording, RecordingTrack, TrackState
from server.recording.rows import append_own, load_tracks
from server.sealed import track_place

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Taken:
    """What the store has of a track."""

    figures: Figures
    sealed_bytes: int
    sha256: str


@dataclass(frozen=True, slots=True)
class Archivist:
    """Takes tapes into the store."""

    database: Database
    keyring: Keyring
    store: SealedStore
    folder: Path
    clock: Callable[[], datetime]

    async def take(self, recording: Recording) -> bool:
        """Every tape of it; whether none is left."""
        organisation = OrganisationId(recording.organisation_id)
        await self.adopt(recording)
        async with self.database.read(organisation) as session:
            tracks = await load_tracks(session, recording.id)
        left = [track for track in tracks if track.state is TrackState.GROWING]
        taken = [await self._take_track(recording, track) for track in left]
        if not all(taken):
            return False
        async with self.database.begin(organisation) as session:
            row = await session.get_one(Recording, recording.id)
            row.is_copied = True
        return True

    async def adopt(self, recording: Recording) -> None:
        """Tapes of it that have no row, while nobody records it."""
        async with self.database.read(OrganisationId(recording.organisation_id)) as session:
            known = {track.id for track in await load_tracks(session, recording.id)}
        unknown = set(await asyncio.to_thread(tracks_on_tape, self.folder)) - known
        if not unknown:
            return
        key = await self.open_key(recording)
        found = await asyncio.to_thread(self._read_labels, sorted(unknown), key)
        for track, label in sorted(found.items(), key=_by_part):
            await self._add_track(recording, track, label)

    def _read_labels(self, tracks: list[str], key: TapeKey) -> dict[str, Label]:
        """Blocks. A tape without a frame is left to the sweep of the night."""
        found: dict[str, Label] = {}
        for track in tracks:
            try:
                is_own = key_of_tape(self.folder, track) == key.key_id
                label = read_label(self.folder, track, key) if is_own else None
            except FileNotFoundError:
                continue
            except SealBroken:
                logger.error("tape %s is not what was written", track)
                continue
            if label is not None:
                found[track] = label
        return found

    async def _add_track(self, recording: Recording, track: str, label: Label) -> None:
        organisation = OrganisationId(recording.organisation_id)
        async with self.database.begin(organisation) as session:
            others = await load_tracks(session, recording.id)
            taken = {one.part for one in others if one.participant == label.participant}
            part = label.part if label.part not in taken else 1 + max(taken)
            session.add(
                RecordingTrack(
                    id=track,
                    organisation_id=organisation,
                    recording_id=recording.id,
                    participant=label.participant,
                    part=part,
                    offset_ms=label.offset_ms,
                )
            )
            facts: dict[str, Fact] = {"participant": label.participant, "part": part}
            await append_own(session, recording, Act.RECORDING_FOUND, self.clock(), facts)
        logger.warning("tape %s of recording %s had no row", track, recording.id)

    async def _take_track(self, recording: Recording, track: RecordingTrack) -> bool:
        key = await self.open_key(recording)
        context = track_place(recording, track.id, "content", 1).context(key.key_id)
        try:
            taken = await asyncio.to_thread(self._copy, track.id, key, context)
        except FileNotFoundError:
            logger.warning("the tape of track %s is not on this machine", track.id)
            return False
        await self._write_down(track, taken)
        await asyncio.to_thread(tape_path(self.folder, track.id).unlink, missing_ok=True)
        return True

    async def open_key(self, recording: Recording) -> TapeKey:
        """The data key of the recording, made when there is none yet."""
        organisation = OrganisationId(recording.organisation_id)
        async with self.database.begin(organisation) as session:
            place = track_place(recording, recording.id, "content", 1)
            key_id, key = await self.keyring.data_key(session, place)
        return TapeKey(key, key_id, organisation, recording.visit_id)

    def _copy(self, track: str, key: TapeKey, context: bytes) -> Taken | None:
        """Blocks. None: nothing was kept."""
        finished = Finished(self.folder, track, key)
        if finished.is_empty:
            return None
        with self.store.create(track, key.key_id, key.key, context) as writer:
            for piece in finished.pieces():
                writer.write(piece)
        return Taken(finished.figures, writer.sealed_bytes, writer.sha256)

    async def _write_down(self, track: RecordingTrack, taken: Taken | None) -> None:
        async with self.database.begin(OrganisationId(track.organisation_id)) as session:
            row = await session.get_one(RecordingTrack, track.id)
            if taken is None:
                await session.delete(row)
                return
            figures = taken.figures
            row.duration_ms, row.frames = figures.duration_ms, figures.frames
            row.packets, row.gaps = figures.packets, [list(gap) for gap in figures.gaps]
            row.sealed_bytes, row.sealed_sha256 = taken.sealed_bytes, taken.sha256
            row.state = TrackState.CUT if figures.is_cut else TrackState.KEPT


def _by_part(found: tuple[str, Label]) -> tuple[str, int]:
    return found[1].participant, found[1].part
