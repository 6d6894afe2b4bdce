"""Training: scenarios that organisations build and share, and the visits held to practise."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import ForeignKey, String, Text, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from server.db import Base, OwnedByOrganisation, UtcDateTime
from server.models.ids import new_id


class TrainingScenario(OwnedByOrganisation, Base):
    """One version of a scenario that a facilitator built; older versions stay.

    ``content``: JSON of :class:`server.training.scenario.Scenario`, about nobody real.
    ``adopted_from``: the scenario of another organisation that this one was taken from.
    """

    __tablename__ = "training_scenario"
    __table_args__ = (UniqueConstraint("organisation_id", "code", "version"),)

    id: Mapped[str] = mapped_column(String(32), primary_key=True, default=new_id)
    code: Mapped[str] = mapped_column(String(64))
    version: Mapped[int] = mapped_column(default=1)
    title: Mapped[str] = mapped_column(String(200))
    content: Mapped[str] = mapped_column(Text)
    author_id: Mapped[str] = mapped_column(ForeignKey("user.id"))
    saved_at: Mapped[datetime] = mapped_column(UtcDateTime)
    published_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    """Since when the other organisations of the installation see it."""
    withdrawn_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    adopted_from: Mapped[str | None] = mapped_column(String(32))


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
