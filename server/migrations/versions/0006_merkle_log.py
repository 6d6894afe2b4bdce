"""The session log becomes a Merkle tree.

Entries keep their text and order. They get their leaf's hash here and their numbers, now from 0,
from the sequencer at the next start.
"""

from __future__ import annotations

from base64 import b64encode
from hashlib import sha256

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"

_NUMBER = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
_ROWS_AT_ONCE = 1000


def upgrade() -> None:
    op.rename_table("log_entry", "log_entry_before")
    op.drop_index("ix_log_entry_visit_id", "log_entry_before")
    _create_log_entry()
    _carry_entries_over()
    op.drop_table("log_entry_before")
    _grow_log_head()
    _create_log_tile()
    _create_log_checkpoint()
    _create_log_value()


def _create_log_entry() -> None:
    op.create_table(
        "log_entry",
        sa.Column("id", _NUMBER, autoincrement=True, nullable=False),
        sa.Column("organisation", sa.String(length=32), nullable=False),
        sa.Column("seq", _NUMBER, nullable=True),
        sa.Column("visit_id", sa.String(length=32), nullable=True),
        sa.Column("entry", sa.Text(), nullable=False),
        sa.Column("leaf", sa.String(length=44), nullable=True),
        sa.ForeignKeyConstraint(["organisation"], ["organisation.id"]),
        sa.PrimaryKeyConstraint("id", name="log_entry_id_key"),
    )
    op.create_index("ix_log_entry_visit_id", "log_entry", ["visit_id"])
    op.create_index(
        "ix_log_entry_place",
        "log_entry",
        ["organisation", "seq"],
        unique=True,
        sqlite_where=sa.text("seq IS NOT NULL"),
        postgresql_where=sa.text("seq IS NOT NULL"),
    )
    op.create_index(
        "ix_log_entry_unnumbered",
        "log_entry",
        ["organisation", "id"],
        sqlite_where=sa.text("seq IS NULL"),
        postgresql_where=sa.text("seq IS NULL"),
    )


def _carry_entries_over() -> None:
    connection = op.get_bind()
    names = ("organisation_id", "seq", "visit_id", "entry")
    before = sa.table("log_entry_before", *(sa.column(name) for name in names))
    after = sa.table(
        "log_entry", *(sa.column(name) for name in ("organisation", "visit_id", "entry", "leaf"))
    )
    rows = sa.select(before).order_by(before.c.organisation_id, before.c.seq)
    for group in connection.execute(rows).partitions(_ROWS_AT_ONCE):
        values = [
            {
                "organisation": row.organisation_id,
                "visit_id": row.visit_id,
                "entry": row.entry,
                "leaf": b64encode(sha256(b"\x00" + row.entry.encode()).digest()).decode(),
            }
            for row in group
        ]
        connection.execute(sa.insert(after), values)


def _grow_log_head() -> None:
    with op.batch_alter_table("log_head") as head:
        head.alter_column("size", type_=_NUMBER, existing_type=sa.Integer())
        head.add_column(
            sa.Column("frontier", sa.LargeBinary(), nullable=False, server_default=sa.text("''"))
        )
    with op.batch_alter_table("log_head") as head:
        head.alter_column("frontier", server_default=None)
    op.execute("UPDATE log_head SET size = 0")


def _create_log_tile() -> None:
    op.create_table(
        "log_tile",
        sa.Column("organisation_id", sa.String(length=32), nullable=False),
        sa.Column("level", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("number", _NUMBER, autoincrement=False, nullable=False),
        sa.Column("hashes", sa.LargeBinary(), nullable=False),
        sa.ForeignKeyConstraint(["organisation_id"], ["organisation.id"]),
        sa.PrimaryKeyConstraint("organisation_id", "level", "number"),
    )


def _create_log_checkpoint() -> None:
    op.create_table(
        "log_checkpoint",
        sa.Column("organisation_id", sa.String(length=32), nullable=False),
        sa.Column("size", _NUMBER, autoincrement=False, nullable=False),
        sa.Column("note", sa.Text(), nullable=False),
        sa.Column("signed_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(["organisation_id"], ["organisation.id"]),
        sa.PrimaryKeyConstraint("organisation_id", "size"),
    )


def _create_log_value() -> None:
    op.create_table(
        "log_value",
        sa.Column("digest", sa.String(length=44), nullable=False),
        sa.Column("visit_id", sa.String(length=32), nullable=True),
        sa.Column("salt", sa.LargeBinary(), nullable=False),
        sa.Column("sealed_value", sa.LargeBinary(), nullable=False),
        sa.Column("organisation_id", sa.String(length=32), nullable=False),
        sa.PrimaryKeyConstraint("digest"),
    )
    for column in ("organisation_id", "visit_id"):
        op.create_index(f"ix_log_value_{column}", "log_value", [column])
