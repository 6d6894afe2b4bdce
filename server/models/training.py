"""Training: scenarios that organisations build and share, and the visits held to practise."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import ForeignKey, String, Text, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from server.db import Base, OwnedByOrganisation, UtcDateTime
from server.models.ids import new_id
from server.models.shared import SharedVersion


class TrainingScenario(SharedVersion):
    """One version of a scenario that a facilitator built.

    ``content``: JSON of :class:`server.training.scenario.Scenario`, about nobody real.
    """

    __tablename__ = "training_scenario"
    __table_args__ = (UniqueConstraint("organisation_id", "code", "version"),)


class Practice(OwnedByOrganisation, Base):
    """A visit of the training organisation, held by a clinician of this one.

    Of ``visit_id`` the clinician ``user_id`` is ``twin_id``, a user of the training organisation
    who cannot log in. ``scenario``: as it was when the practice began.
    """

    __tablename__ = "practice"

    id: Mapped[str] = mapped_column(String(32), primary_key=True, default=new_id)
    user_id: Mapped[str] = mapped_column(ForeignKey("user.id"), index=True)
    twin_id: Mapped[str] = mapped_column(ForeignKey("user.id"))
    visit_id: Mapped[str] = mapped_column(ForeignKey("visit.id"), unique=True)
    scenario: Mapped[str] = mapped_column(Text)
    began_at: Mapped[datetime] = mapped_column(UtcDateTime)
