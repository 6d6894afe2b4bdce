"""What recordings a clinician has: those of the own visits whose record is still kept."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from server.caseload import load_visit_of, visits_of
from server.errors import Conflict, NotFound
from server.models import Kept, LegalHold, Recording, RecordingTrack, TrackState, Visit
from server.terms import load_terms

_MOST_LISTED: Final = 200
_WHOLE: Final = (TrackState.KEPT, TrackState.CUT)


@dataclass(frozen=True, slots=True)
class Archived:
    """One recording with its visit, and its tracks by person and part."""

    recording: Recording
    visit: Visit
    tracks: Sequence[RecordingTrack]
    kept_until: datetime
    is_held: bool
    """A legal hold runs: it is kept longer."""

    @property
    def is_ready(self) -> bool:
        """It is over, and every track of it is in the store."""
        has_ended = self.recording.ended_at is not None
        return has_ended and all(track.state in _WHOLE for track in self.tracks)

    @property
    def duration_ms(self) -> int:
        """From its beginning to the last frame of anybody."""
        return max((track.offset_ms + track.duration_ms for track in self.tracks), default=0)


async def load_archive(session: AsyncSession, clinician_id: str) -> list[Archived]:
    """The newest first. What was refused, or stopped before its first frame, is none."""
    visits = visits_of(clinician_id).join(Recording, Recording.visit_id == Visit.id)
    has_tracks = select(RecordingTrack.recording_id)
    statement = (
        visits.add_columns(Recording)
        .where(Recording.id.in_(has_tracks))
        .order_by(Recording.asked_at.desc())
        .limit(_MOST_LISTED)
    )
    found = (await session.execute(statement)).all()
    return [await _gather(session, recording, visit) for visit, recording in found]


async def load_archived(session: AsyncSession, clinician_id: str, recording_id: str) -> Archived:
    """One recording of a visit of this clinician.

    :raises NotFound: there is none, or it is not theirs.
    :raises Erased: the term of the visit is over.
    """
    recording = await session.get(Recording, recording_id)
    if recording is None:
        raise NotFound
    visit = await load_visit_of(session, clinician_id, recording.visit_id)
    archived = await _gather(session, recording, visit)
    if not archived.tracks:
        raise NotFound
    return archived


def check_ready(archived: Archived) -> None:
    """:raises Conflict: it still runs, or is still being stored."""
    if not archived.is_ready:
        raise Conflict("the recording is not stored yet")


def find_track(archived: Archived, track_id: str) -> RecordingTrack:
    """:raises NotFound: none of this recording."""
    for track in archived.tracks:
        if track.id == track_id:
            return track
    raise NotFound


async def _gather(session: AsyncSession, recording: Recording, visit: Visit) -> Archived:
    tracks = await session.scalars(
        select(RecordingTrack)
        .where(RecordingTrack.recording_id == recording.id)
        .order_by(RecordingTrack.participant, RecordingTrack.part)
    )
    hold = select(LegalHold.id).where(LegalHold.visit_id == visit.id, LegalHold.lifted_at.is_(None))
    terms = await load_terms(session, visit.organisation_id)
    return Archived(
        recording=recording,
        visit=visit,
        tracks=tracks.all(),
        kept_until=recording.asked_at + timedelta(days=terms[Kept.RECORDING]),
        is_held=await session.scalar(hold.limit(1)) is not None,
    )
