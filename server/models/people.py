"""Staff: who works with the platform and their login sessions."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum

from sqlalchemy import ForeignKey, LargeBinary, String
from sqlalchemy.orm import Mapped, mapped_column, relationship

from server.db import Base, OwnedByOrganisation, UtcDateTime, word_column
from server.models.ids import new_id
from server.models.organisation import Organisation


class UserRole(StrEnum):
    """The staff columns of the table in design §4."""

    CLINICIAN = "clinician"
    DESK = "desk"
    MANAGER = "manager"
    AUDITOR = "auditor"
    ADMINISTRATOR = "administrator"


class Profession(StrEnum):
    """What a visit of this clinician ends with (TV-11)."""

    SPECIALIST = "specialist"
    """A signed report."""
    GENERAL_PRACTITIONER = "general_practitioner"
    """Also paediatricians of free choice: a signed digital annotation, no prescription needed."""


class User(OwnedByOrganisation, Base):
    """A member of staff. ``code`` is the clinician's code in CUP messages."""

    __tablename__ = "user"

    id: Mapped[str] = mapped_column(String(32), primary_key=True, default=new_id)
    organisation_id: Mapped[str] = mapped_column(  # type: ignore[assignment]
        ForeignKey("organisation.id"), index=True
    )
    username: Mapped[str] = mapped_column(String(64), unique=True)
    password_hash: Mapped[str] = mapped_column(String(200))
    role: Mapped[UserRole] = mapped_column(word_column(UserRole))
    title: Mapped[str] = mapped_column(String(32), default="")
    """As people are addressed: "dott.ssa", "dott."; empty for non-clinicians."""
    given_name: Mapped[str] = mapped_column(String(100), default="")
    family_name: Mapped[str] = mapped_column(String(100), default="")
    code: Mapped[str | None] = mapped_column(String(64), index=True)
    profession: Mapped[Profession] = mapped_column(
        word_column(Profession), default=Profession.SPECIALIST
    )
    sealed_codice_fiscale: Mapped[bytes | None] = mapped_column(LargeBinary)
    """Who signs a report is named in it by codice fiscale."""
    sealed_totp_secret: Mapped[bytes | None] = mapped_column(LargeBinary)
    failed_logins: Mapped[int] = mapped_column(default=0)
    last_failed_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    is_disabled: Mapped[bool] = mapped_column(default=False)
    is_facilitator: Mapped[bool] = mapped_column(default=False)
    """May build, publish and adopt scenarios for practice visits."""
    twin_of: Mapped[str | None] = mapped_column(String(32), index=True, unique=True)
    """In the training organisation: the user of another one who practises as this one."""
    organisation: Mapped[Organisation] = relationship(lazy="raise_on_sql")

    @property
    def display_name(self) -> str:
        """Title and names as patients read them: "dott.ssa Anna Bianchi"."""
        return " ".join(part for part in (self.title, self.given_name, self.family_name) if part)


class UserSession(OwnedByOrganisation, Base):
    """A login. Only the SHA-256 of the cookie's token is kept."""

    __tablename__ = "user_session"

    token_hash: Mapped[str] = mapped_column(String(64), primary_key=True)
    user_id: Mapped[str] = mapped_column(ForeignKey("user.id"), index=True)
    created_at: Mapped[datetime] = mapped_column(UtcDateTime)
    seen_at: Mapped[datetime] = mapped_column(UtcDateTime)
    is_second_factor_done: Mapped[bool] = mapped_column(default=True)
    sealed_signing_pin: Mapped[bytes | None] = mapped_column(LargeBinary)
    """PIN or passphrase of the signature, once given, until this login ends."""
    user: Mapped[User] = relationship(lazy="raise_on_sql")
