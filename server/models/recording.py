"""A recording of a visit: who agreed to it, and what was kept of whom."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum

from sqlalchemy import JSON, BigInteger, ForeignKey, String, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from server.db import Base, OwnedByOrganisation, UtcDateTime, word_column
from server.models.ids import new_id


class RecordingPurpose(StrEnum):
    """What a recording is for. The organisation says which of them it allows."""

    CARE = "care"
    """To look again at what was seen in the visit."""
    SECOND_OPINION = "second_opinion"
    TEACHING = "teaching"


class RecordingState(StrEnum):
    """``asked → on ⇄ failed``, and from each of them ``ended``; ``asked → refused``."""

    ASKED = "asked"
    REFUSED = "refused"
    ON = "on"
    FAILED = "failed"
    """Allowed by everybody, but nothing is being written."""
    ENDED = "ended"


class RecordingAnswer(StrEnum):
    ACCEPTED = "accepted"
    REFUSED = "refused"
    STOPPED = "stopped"


class TrackState(StrEnum):
    """``growing`` on a tape, then ``kept`` whole in the store, or ``cut``: kept without its end."""

    GROWING = "growing"
    KEPT = "kept"
    CUT = "cut"


class Recording(OwnedByOrganisation, Base):
    """One ask for a recording and what came of it; ``id`` is the ``ask`` of the room."""

    __tablename__ = "recording"

    id: Mapped[str] = mapped_column(String(32), primary_key=True, default=new_id)
    visit_id: Mapped[str] = mapped_column(ForeignKey("visit.id"), index=True)
    purpose: Mapped[RecordingPurpose] = mapped_column(word_column(RecordingPurpose))
    text_version: Mapped[str] = mapped_column(String(16))
    text_hash: Mapped[str] = mapped_column(String(64))
    """SHA-256 of the text that was on the screen of who asked."""
    asked_by: Mapped[str] = mapped_column(String(32))
    """A user."""
    asked_at: Mapped[datetime] = mapped_column(UtcDateTime, index=True)
    state: Mapped[RecordingState] = mapped_column(word_column(RecordingState), index=True)
    began_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    """When everybody had accepted; offsets of the tracks count from here."""
    ended_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    end_reason: Mapped[str] = mapped_column(String(32), default="")
    """A stable word: ``stopped``, ``refused``, ``closed``, ``withdrawn``, ``disk_full``…"""
    is_copied: Mapped[bool] = mapped_column(default=False)
    """Every track is whole in the store and no tape is left."""


class RecordingConsent(OwnedByOrganisation, Base):
    """One answer of one person to the ask; a later answer is a new row."""

    __tablename__ = "recording_consent"

    id: Mapped[str] = mapped_column(String(32), primary_key=True, default=new_id)
    recording_id: Mapped[str] = mapped_column(ForeignKey("recording.id"), index=True)
    participant: Mapped[str] = mapped_column(String(16))
    """The seat: ``patient`` or ``clinician``."""
    answer: Mapped[RecordingAnswer] = mapped_column(word_column(RecordingAnswer))
    text_version: Mapped[str] = mapped_column(String(16))
    text_hash: Mapped[str] = mapped_column(String(64))
    """SHA-256 of the text that was on the screen, in its language."""
    at: Mapped[datetime] = mapped_column(UtcDateTime)


class RecordingTrack(OwnedByOrganisation, Base):
    """Sound and picture of one person over one connection; its content is in the store."""

    __tablename__ = "recording_track"
    __table_args__ = (UniqueConstraint("recording_id", "participant", "part"),)

    id: Mapped[str] = mapped_column(String(32), primary_key=True)
    recording_id: Mapped[str] = mapped_column(ForeignKey("recording.id"), index=True)
    participant: Mapped[str] = mapped_column(String(16))
    part: Mapped[int]
    """0, 1, 2 …: a new connection of the same person is a new part."""
    offset_ms: Mapped[int]
    """From ``began_at`` of the recording to the first frame."""
    duration_ms: Mapped[int] = mapped_column(default=0)
    frames: Mapped[int] = mapped_column(default=0)
    """Frames of the picture."""
    packets: Mapped[int] = mapped_column(default=0)
    """Packets of the sound."""
    sealed_bytes: Mapped[int] = mapped_column(BigInteger, default=0)
    sealed_sha256: Mapped[str] = mapped_column(String(64), default="")
    """Of the sealed file."""
    gaps: Mapped[list[list[int | str]]] = mapped_column(JSON, default=list)
    """Each ``[from_ms, to_ms, reason]`` by the time of the track."""
    state: Mapped[TrackState] = mapped_column(word_column(TrackState), default=TrackState.GROWING)
