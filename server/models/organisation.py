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
    region_code: Mapped[str] = mapped_column(String(3), default="")
    """ISTAT region with a leading zero: ``030`` Lombardia, ``090`` Toscana."""
    ministry_code: Mapped[str] = mapped_column(String(16), default="")
    """Code of the body in the Ministry's registry (FLS.11), for the custodian of a report."""
    street: Mapped[str] = mapped_column(String(200), default="")
    postal_code: Mapped[str] = mapped_column(String(5), default="")
    city: Mapped[str] = mapped_column(String(100), default="")
    is_recording_allowed: Mapped[bool] = mapped_column(default=False)
    recording_purposes: Mapped[list[str]] = mapped_column(JSON, default=list)
    """Words of :class:`server.models.RecordingPurpose` that a clinician may record for."""
    is_training: Mapped[bool] = mapped_column(default=False)
    """Its visits are practice: nothing leaves, and every night it is emptied."""


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
    site_code: Mapped[str] = mapped_column(String(16), default="")
    """Code of the building (*presidio*, HSP.11 or STS.11); its name is beside it."""
    site_name: Mapped[str] = mapped_column(String(200), default="")
    discipline_code: Mapped[str] = mapped_column(String(8), default="")
    """Two digits of the Ministry's list of disciplines: ``08`` cardiology."""
    branch_code: Mapped[str] = mapped_column(String(8), default="")
    """Two digits of the list of outpatient branches (*branca*)."""


class OrganisationKey(OwnedByOrganisation, Base):
    """A secret of one organisation, wrapped by the root key. ``purpose``: kek, join, index.

    The highest version of ``kek`` wraps what is new; older ones only open, until nothing is left
    under them and their row is deleted.
    """

    __tablename__ = "organisation_key"

    organisation_id: Mapped[OrganisationId] = mapped_column(
        ForeignKey("organisation.id"), primary_key=True
    )
    purpose: Mapped[str] = mapped_column(String(16), primary_key=True)
    version: Mapped[int] = mapped_column(primary_key=True, default=1)
    wrapped: Mapped[bytes] = mapped_column(LargeBinary)
    root_id: Mapped[str] = mapped_column(String(16), default="")
    """Key check value of the root key that wraps it; empty until the first start after 0004."""
    check_value: Mapped[str] = mapped_column(String(16), default="")
    """Key check value of the secret itself."""
    created_at: Mapped[datetime | None] = mapped_column(UtcDateTime)


class DataKey(OwnedByOrganisation, Base):
    """The key of one visit (or patient, or user), wrapped by the organisation's KEK.

    A shredded key leaves its row: ``wrapped`` is empty and ``shredded_at`` says since when.
    """

    __tablename__ = "data_key"
    __table_args__ = (UniqueConstraint("organisation_id", "owner"),)

    id: Mapped[str] = mapped_column(String(32), primary_key=True, default=new_id)
    owner: Mapped[str] = mapped_column(String(64))
    kek_version: Mapped[int]
    wrapped: Mapped[bytes] = mapped_column(LargeBinary)
    created_at: Mapped[datetime] = mapped_column(UtcDateTime)
    shredded_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
