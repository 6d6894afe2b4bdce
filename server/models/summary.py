"""What lists, exports and figures need of a visit, in one row; and what people make of the list.

The rows of :class:`VisitSummary` are a projection of the session log, of the booking and of what
was measured (:mod:`server.summary`): they can be deleted and made again.
"""

from __future__ import annotations

from datetime import date, datetime

from sqlalchemy import BigInteger, Date, ForeignKey, Index, Integer, String, Text
from sqlalchemy.orm import Mapped, mapped_column

from server.db import Base, OrganisationId, OwnedByOrganisation, UtcDateTime, word_column
from server.models.call import Suitability
from server.models.ids import new_id
from server.models.visit import Outcome, VisitState

_NUMBER = BigInteger().with_variant(Integer(), "sqlite")


class VisitSummary(OwnedByOrganisation, Base):
    """One visit as the list shows it. Times of the room are those of the log; no name, no code.

    Written by :mod:`server.summary` alone, within a second of the entry that changes it.
    """

    __tablename__ = "visit_summary"

    visit_id: Mapped[str] = mapped_column(ForeignKey("visit.id"), primary_key=True)
    organisation_id: Mapped[OrganisationId] = mapped_column(String(32))
    start: Mapped[datetime] = mapped_column(UtcDateTime)
    scheduled_minutes: Mapped[int]
    clinic_id: Mapped[str | None] = mapped_column(String(32))
    clinician_id: Mapped[str | None] = mapped_column(String(32))
    state: Mapped[VisitState] = mapped_column(word_column(VisitState))
    outcome: Mapped[Outcome | None] = mapped_column(word_column(Outcome))
    outcome_reason: Mapped[str] = mapped_column(String(32), default="")
    verdict: Mapped[Suitability | None] = mapped_column(word_column(Suitability))
    """As measured: what was proposed to the clinician."""
    stated: Mapped[Suitability | None] = mapped_column(word_column(Suitability))
    """What the clinician stated."""
    priority: Mapped[str] = mapped_column(String(1), default="")
    """U, B, D or P; empty when CUP does not say."""
    is_first_visit: Mapped[bool] = mapped_column(default=False)
    prescribed_on: Mapped[date | None] = mapped_column(Date)
    booked_on: Mapped[date | None] = mapped_column(Date)
    """As CUP says, else the day on which the booking came in."""
    offered_on: Mapped[date | None] = mapped_column(Date)
    """The first day that was offered (waiting lists count to it)."""
    municipality: Mapped[str] = mapped_column(String(64), default="")
    """Of residence, the city alone; empty when CUP does not say."""
    has_interpreter: Mapped[bool] = mapped_column(default=False)
    has_companions: Mapped[bool] = mapped_column(default=False)
    created_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    """When the booking came in."""
    invited_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    """When the first message left."""
    claimed_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    """When the link was first opened with the birth date."""
    waiting_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    patient_joined_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    clinician_joined_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    admitted_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    """The first time."""
    media_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    """When a picture or a sound first arrived."""
    closed_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    waited_seconds: Mapped[int | None]
    """From the waiting room to the first admission, or to the end without one."""
    visit_seconds: Mapped[int | None]
    """From the first admission to the end."""
    patient_drops: Mapped[int] = mapped_column(default=0)
    clinician_drops: Mapped[int] = mapped_column(default=0)
    broken_seconds: Mapped[int] = mapped_column(default=0)
    """Without a line, as the pages measured; both sides of one break count once."""
    failed_claims: Mapped[int] = mapped_column(default=0)
    path: Mapped[str] = mapped_column(String(16), default="")
    """How the two reached each other for most of the time: ``direct``, ``relay_udp``…"""
    browser: Mapped[str] = mapped_column(String(32), default="")
    """Family of the patient's browser, as in ``line_test``."""
    device: Mapped[str] = mapped_column(String(16), default="")
    """``phone``, ``tablet``, ``computer``; empty when not known."""
    problems: Mapped[str] = mapped_column(String(255), default="")
    """:class:`server.summary.Problem` words, with commas between and around them."""
    has_problem: Mapped[bool] = mapped_column(default=False)
    problem_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    """When the newest problem came up."""

    __table_args__ = (
        Index("ix_visit_summary_start", "organisation_id", "start", "visit_id"),
        Index("ix_visit_summary_clinic", "organisation_id", "clinic_id", "start", "visit_id"),
        Index("ix_visit_summary_clinician", "organisation_id", "clinician_id", "start", "visit_id"),
        Index("ix_visit_summary_outcome", "organisation_id", "outcome", "start", "visit_id"),
        Index("ix_visit_summary_state", "organisation_id", "state", "start", "visit_id"),
        Index("ix_visit_summary_verdict", "organisation_id", "verdict", "start", "visit_id"),
        Index("ix_visit_summary_problem", "organisation_id", "has_problem", "start", "visit_id"),
        Index("ix_visit_summary_problem_at", "organisation_id", "problem_at"),
    )

    @property
    def drops(self) -> int:
        """Lines lost, of both sides."""
        return self.patient_drops + self.clinician_drops


class SummaryHead(OwnedByOrganisation, Base):
    """How far the summaries follow the log of one organisation."""

    __tablename__ = "summary_head"

    organisation_id: Mapped[OrganisationId] = mapped_column(
        ForeignKey("organisation.id"), primary_key=True
    )
    size: Mapped[int] = mapped_column(_NUMBER, default=0)
    """The next entry to be read."""


class ProblemAcknowledgement(OwnedByOrganisation, Base):
    """Somebody has taken a problem of a visit in charge; it leaves the list of open problems."""

    __tablename__ = "problem_acknowledgement"

    visit_id: Mapped[str] = mapped_column(ForeignKey("visit.id"), primary_key=True)
    kind: Mapped[str] = mapped_column(String(32), primary_key=True)
    user_id: Mapped[str] = mapped_column(ForeignKey("user.id"))
    acknowledged_at: Mapped[datetime] = mapped_column(UtcDateTime)


class SavedView(OwnedByOrganisation, Base):
    """A filter of the list of sessions that a person wants again."""

    __tablename__ = "saved_view"

    id: Mapped[str] = mapped_column(String(32), primary_key=True, default=new_id)
    user_id: Mapped[str] = mapped_column(ForeignKey("user.id"), index=True)
    name: Mapped[str] = mapped_column(String(60))
    query: Mapped[str] = mapped_column(Text)
    """The canonical query of the address."""
    created_at: Mapped[datetime] = mapped_column(UtcDateTime)
