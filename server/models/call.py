"""What was measured of a call and of the patient's line before it; numbers only, no address."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum

from sqlalchemy import ForeignKey, String, Text, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from server.db import Base, OwnedByOrganisation, UtcDateTime, word_column
from server.models.ids import new_id


class Direction(StrEnum):
    """As the page that measured sees it."""

    INCOMING = "incoming"
    OUTGOING = "outgoing"


class Suitability(StrEnum):
    """What the line was good for (national guidelines on televisita, quality of the link)."""

    SUITABLE = "suitable"
    VOICE_ONLY = "voice_only"
    NOT_SUITABLE = "not_suitable"


class CallInterval(OwnedByOrganisation, Base):
    """A few seconds of one direction of a call, measured by the page in ``seat``.

    ``seat``: ``patient`` or ``clinician``. ``path``: ``direct``, ``relay_udp``, ``relay_tcp`` or
    ``relay_tls``. ``rung``: step of the ladder that the sender of this direction was on.
    """

    __tablename__ = "call_interval"
    __table_args__ = (UniqueConstraint("visit_id", "seat", "direction", "began_at"),)

    id: Mapped[str] = mapped_column(String(32), primary_key=True, default=new_id)
    visit_id: Mapped[str] = mapped_column(ForeignKey("visit.id"), index=True)
    seat: Mapped[str] = mapped_column(String(16))
    direction: Mapped[Direction] = mapped_column(word_column(Direction))
    began_at: Mapped[datetime] = mapped_column(UtcDateTime)
    seconds: Mapped[float]
    loss_percent: Mapped[float]
    rtt_ms: Mapped[int]
    jitter_ms: Mapped[int]
    concealed_percent: Mapped[float]
    frozen_ms: Mapped[int]
    frames_per_second: Mapped[float]
    kilobits_per_second: Mapped[int]
    path: Mapped[str] = mapped_column(String(16))
    rung: Mapped[str] = mapped_column(String(16))
    voice_score: Mapped[float | None]
    """E-model estimate as a mean opinion score, 1–4.5; an aid for trends, never printed."""


class CallOutage(OwnedByOrganisation, Base):
    """A time without a line, as the page in ``seat`` lived it. ``cause``: a word of the page."""

    __tablename__ = "call_outage"
    __table_args__ = (UniqueConstraint("visit_id", "seat", "began_at"),)

    id: Mapped[str] = mapped_column(String(32), primary_key=True, default=new_id)
    visit_id: Mapped[str] = mapped_column(ForeignKey("visit.id"), index=True)
    seat: Mapped[str] = mapped_column(String(16))
    began_at: Mapped[datetime] = mapped_column(UtcDateTime)
    seconds: Mapped[float]
    cause: Mapped[str] = mapped_column(String(32))


class LineTest(OwnedByOrganisation, Base):
    """One run of the patient's test before the visit; the newest counts.

    ``steps``: JSON of step name → {"result": "ok" | "failed" | "skipped", figures}.
    ``problems``: JSON list of step names that a person should hear of.
    """

    __tablename__ = "line_test"

    id: Mapped[str] = mapped_column(String(32), primary_key=True, default=new_id)
    visit_id: Mapped[str] = mapped_column(ForeignKey("visit.id"), index=True)
    taken_at: Mapped[datetime] = mapped_column(UtcDateTime)
    steps: Mapped[str] = mapped_column(Text)
    problems: Mapped[str] = mapped_column(Text, default="[]")
    browser: Mapped[str] = mapped_column(String(32), default="")
