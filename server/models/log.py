"""The session log: entries, the tree over them, and what was signed of it (design §4)."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import BigInteger, ForeignKey, Index, Integer, LargeBinary, String, Text
from sqlalchemy.orm import Mapped, mapped_column

from server.db import Base, OrganisationId, OwnedByOrganisation, UtcDateTime

_NUMBER = BigInteger().with_variant(Integer(), "sqlite")


class LogEntry(OwnedByOrganisation, Base):
    """One line of the session log. Written only by :func:`server.audit.append`; the sequencer gives
    it its ``seq``, within a second."""

    __tablename__ = "log_entry"

    id: Mapped[int] = mapped_column(_NUMBER, primary_key=True, autoincrement=True)
    """The order of arrival; of lines without a number, too."""
    organisation_id: Mapped[OrganisationId] = mapped_column(
        "organisation", ForeignKey("organisation.id")
    )
    seq: Mapped[int | None] = mapped_column(_NUMBER)
    """The place in the organisation's log, from 0: the leaf's index in the tree."""
    visit_id: Mapped[str | None] = mapped_column(String(32), index=True)
    entry: Mapped[str] = mapped_column(Text)
    """Canonical JSON: sorted keys, no spaces, UTF-8. Empty once its term is over."""
    leaf: Mapped[str | None] = mapped_column(String(44))
    """The hash of the leaf (RFC 9162), base64; made where the entry was written."""

    __table_args__ = (
        Index(
            "ix_log_entry_place",
            "organisation",
            "seq",
            unique=True,
            sqlite_where=seq.is_not(None),
            postgresql_where=seq.is_not(None),
        ),
        Index(
            "ix_log_entry_unnumbered",
            "organisation",
            "id",
            sqlite_where=seq.is_(None),
            postgresql_where=seq.is_(None),
        ),
    )


class LogHead(OwnedByOrganisation, Base):
    """The tree of one organisation's log as far as it has grown."""

    __tablename__ = "log_head"

    organisation_id: Mapped[OrganisationId] = mapped_column(
        ForeignKey("organisation.id"), primary_key=True
    )
    size: Mapped[int] = mapped_column(_NUMBER, default=0)
    """How many entries have a number."""
    frontier: Mapped[bytes] = mapped_column(LargeBinary, default=b"")
    """:meth:`server.tlog.tree.Frontier.encode`."""


class LogTile(OwnedByOrganisation, Base):
    """256 neighbouring hashes of the tree, as in C2SP tlog-tiles: of leaves at level 0, of whole
    tiles of the level below above it. Only whole tiles are here."""

    __tablename__ = "log_tile"

    organisation_id: Mapped[OrganisationId] = mapped_column(
        ForeignKey("organisation.id"), primary_key=True
    )
    level: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    number: Mapped[int] = mapped_column(_NUMBER, primary_key=True, autoincrement=False)
    hashes: Mapped[bytes] = mapped_column(LargeBinary)


class LogCheckpoint(OwnedByOrganisation, Base):
    """What the signer has signed. The signer keeps the same, out of this database's reach."""

    __tablename__ = "log_checkpoint"

    organisation_id: Mapped[OrganisationId] = mapped_column(
        ForeignKey("organisation.id"), primary_key=True
    )
    size: Mapped[int] = mapped_column(_NUMBER, primary_key=True, autoincrement=False)
    note: Mapped[str] = mapped_column(Text)
    """C2SP signed note."""
    signed_at: Mapped[datetime] = mapped_column(UtcDateTime)


class LogValue(OwnedByOrganisation, Base):
    """A personal value of an entry, which holds its salted digest only. Deleting the row erases the
    value; the entry and every proof stay as they are."""

    __tablename__ = "log_value"

    digest: Mapped[str] = mapped_column(String(44), primary_key=True)
    """SHA-256 of salt and value, base64: what stands in the entry."""
    visit_id: Mapped[str | None] = mapped_column(String(32), index=True)
    salt: Mapped[bytes] = mapped_column(LargeBinary)
    sealed_value: Mapped[bytes] = mapped_column(LargeBinary)
