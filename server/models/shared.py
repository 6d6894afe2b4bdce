"""What organisations build, publish and adopt from one another, version by version."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import ForeignKey, String, Text
from sqlalchemy.orm import Mapped, mapped_column

from server.db import Base, OwnedByOrganisation, UtcDateTime
from server.models.ids import new_id


class SharedVersion(OwnedByOrganisation, Base):
    """One version of something with a code that stays; older versions stay, too.

    ``adopted_from``: the version of another organisation that this one was taken from.
    """

    __abstract__ = True

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
