"""The organisation (*ente*), its clinics and its keys."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum

from sqlalchemy import JSON, ForeignKey, LargeBinary, String, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from server.db import Base, OrganisationId, OwnedByOrganisation, UtcDateTime, word_column
from server.models.ids import new_id


class Phase(StrEnum):
    """How far an organisation has been switched on (design §5)."""

    COLLAUDO = "collaudo"
    """Everything works here, nothing leaves: no message to patients, no outbox."""
    SPERIMENTALE = "sperimentale"
    """Messages leave for the pilot clinics only."""
    ATTIVO = "attivo"


class NoticeRule(StrEnum):
    """How a region counts the days before which a patient may still cancel (domain §8)."""

    WORKING_DAYS = "working_days"
    SOLAR_DAYS = "solar_days"


class Organisation(Base):
    """One health body. ``code`` is what CUP files and commands call it."""

    __tablename__ = "organisation"

    id: Mapped[OrganisationId] = mapped_column(String(32), primary_key=True, default=new_id)
    code: Mapped[str] = mapped_column(String(32), unique=True)
    name: Mapped[str] = mapped_column(String(200))
    desk_phone: Mapped[str] = mapped_column(String(32))
    is_totp_required: Mapped[bool] = mapped_column(default=True)
    is_relay_only: Mapped[bool] = mapped_column(default=False)
    phase: Mapped[Phase] = mapped_column(word_column(Phase), default=Phase.COLLAUDO)
    pilot_clinics: Mapped[list[str]] = mapped_column(JSON, default=list)
    """Codes of the clinics that are live in the phase *sperimentale*."""
    province: Mapped[str] = mapped_column(String(2), default="")
    """Whose patron saint is a holiday (``MI``, ``FI``…); empty: national holidays only."""
    notice_days: Mapped[int] = mapped_column(default=2)
    notice_rule: Mapped[NoticeRule] = mapped_column(
        word_column(NoticeRule), default=NoticeRule.WORKING_DAYS
    )


class PhaseChange(OwnedByOrganisation, Base):
    """One line of the history of phases; the last one is the phase of now."""

    __tablename__ = "phase_change"

    id: Mapped[str] = mapped_column(String(32), primary_key=True, default=new_id)
    phase: Mapped[Phase] = mapped_column(word_column(Phase))
    pilot_clinics: Mapped[list[str]] = mapped_column(JSON, default=list)
    changed_at: Mapped[datetime] = mapped_column(UtcDateTime)
    changed_by: Mapped[str] = mapped_column(String(32), default="")
    """A user; empty for the command line."""


class Clinic(OwnedByOrganisation, Base):
    """A unit (*ambulatorio*) where visits are booked."""

    __tablename__ = "clinic"
    __table_args__ = (UniqueConstraint("organisation_id", "code"),)

    id: Mapped[str] = mapped_column(String(32), primary_key=True, default=new_id)
    code: Mapped[str] = mapped_column(String(64))
    name: Mapped[str] = mapped_column(String(200))


class OrganisationKey(OwnedByOrganisation, Base):
    """A secret of one organisation, wrapped by the root key. ``purpose``: kek, join, index."""

    __tablename__ = "organisation_key"

    organisation_id: Mapped[OrganisationId] = mapped_column(
        ForeignKey("organisation.id"), primary_key=True
    )
    purpose: Mapped[str] = mapped_column(String(16), primary_key=True)
    version: Mapped[int] = mapped_column(primary_key=True, default=1)
    wrapped: Mapped[bytes] = mapped_column(LargeBinary)


class DataKey(OwnedByOrganisation, Base):
    """The key of one visit (or patient, or user), wrapped by the organisation's KEK."""

    __tablename__ = "data_key"
    __table_args__ = (UniqueConstraint("organisation_id", "owner"),)

    id: Mapped[str] = mapped_column(String(32), primary_key=True, default=new_id)
    owner: Mapped[str] = mapped_column(String(64))
    kek_version: Mapped[int]
    wrapped: Mapped[bytes] = mapped_column(LargeBinary)
    created_at: Mapped[datetime] = mapped_column(UtcDateTime)
