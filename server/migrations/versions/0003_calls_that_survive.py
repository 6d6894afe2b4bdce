"""Calls that survive: what was measured, when the line was away, the test before the visit."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    _create_call_interval()
    _create_call_outage()
    _create_line_test()
    op.add_column("visit", sa.Column("suitability", sa.String(length=32), nullable=True))
    op.add_column(
        "visit", sa.Column("suitability_stated_at", sa.DateTime(timezone=True), nullable=True)
    )
    op.add_column("visit", sa.Column("suitability_stated_by", sa.String(length=32), nullable=True))


def _create_call_interval() -> None:
    op.create_table(
        "call_interval",
        sa.Column("id", sa.String(length=32), nullable=False),
        sa.Column("visit_id", sa.String(length=32), nullable=False),
        sa.Column("seat", sa.String(length=16), nullable=False),
        sa.Column("direction", sa.String(length=32), nullable=False),
        sa.Column("began_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("seconds", sa.Double(), nullable=False),
        sa.Column("loss_percent", sa.Double(), nullable=False),
        sa.Column("rtt_ms", sa.Integer(), nullable=False),
        sa.Column("jitter_ms", sa.Integer(), nullable=False),
        sa.Column("concealed_percent", sa.Double(), nullable=False),
        sa.Column("frozen_ms", sa.Integer(), nullable=False),
        sa.Column("frames_per_second", sa.Double(), nullable=False),
        sa.Column("kilobits_per_second", sa.Integer(), nullable=False),
        sa.Column("path", sa.String(length=16), nullable=False),
        sa.Column("rung", sa.String(length=16), nullable=False),
        sa.Column("voice_score", sa.Double(), nullable=True),
        sa.Column("organisation_id", sa.String(length=32), nullable=False),
        sa.ForeignKeyConstraint(["visit_id"], ["visit.id"]),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("visit_id", "seat", "direction", "began_at"),
    )
    _index("call_interval")


def _create_call_outage() -> None:
    op.create_table(
        "call_outage",
        sa.Column("id", sa.String(length=32), nullable=False),
        sa.Column("visit_id", sa.String(length=32), nullable=False),
        sa.Column("seat", sa.String(length=16), nullable=False),
        sa.Column("began_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("seconds", sa.Double(), nullable=False),
        sa.Column("cause", sa.String(length=32), nullable=False),
        sa.Column("organisation_id", sa.String(length=32), nullable=False),
        sa.ForeignKeyConstraint(["visit_id"], ["visit.id"]),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("visit_id", "seat", "began_at"),
    )
    _index("call_outage")


def _create_line_test() -> None:
    op.create_table(
        "line_test",
        sa.Column("id", sa.String(length=32), nullable=False),
        sa.Column("visit_id", sa.String(length=32), nullable=False),
        sa.Column("taken_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("steps", sa.Text(), nullable=False),
        sa.Column("problems", sa.Text(), nullable=False),
        sa.Column("browser", sa.String(length=32), nullable=False),
        sa.Column("organisation_id", sa.String(length=32), nullable=False),
        sa.ForeignKeyConstraint(["visit_id"], ["visit.id"]),
        sa.PrimaryKeyConstraint("id"),
    )
    _index("line_test")


def _index(table: str) -> None:
    for column in ("visit_id", "organisation_id"):
        op.create_index(f"ix_{table}_{column}", table, [column])
