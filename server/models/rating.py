"""What the two people of a visit thought of it afterwards."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum

from sqlalchemy import ForeignKey, LargeBinary, String
from sqlalchemy.orm import Mapped, mapped_column

from server.db import Base, OwnedByOrganisation, UtcDateTime, word_column


class Score(StrEnum):
    """The three answers, the best first."""

    GOOD = "good"
    FAIR = "fair"
    POOR = "poor"


class Rating(OwnedByOrganisation, Base):
    """The rating of one visit by one side; ``seat``: ``patient`` or ``clinician``.

    Each answer can be given alone and changed. The other side never sees it.
    """

    __tablename__ = "rating"

    visit_id: Mapped[str] = mapped_column(ForeignKey("visit.id"), primary_key=True)
    seat: Mapped[str] = mapped_column(String(16), primary_key=True)
    visit_score: Mapped[Score | None] = mapped_column(word_column(Score))
    """How the visit went."""
    line_score: Mapped[Score | None] = mapped_column(word_column(Score))
    """How well they saw and heard each other."""
    sealed_words: Mapped[bytes | None] = mapped_column(LargeBinary)
    """The sentence, as text."""
    words_version: Mapped[int] = mapped_column(default=0)
    rated_at: Mapped[datetime] = mapped_column(UtcDateTime, index=True)
    """When it was changed last."""
