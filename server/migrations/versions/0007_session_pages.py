"""A summary of each visit for the list of sessions, saved views, problems taken in charge.

The summaries are empty here: they are made from the log at the next start.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"

_NUMBER = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
_TIME = sa.DateTime(timezone=True)
_INDICES = {
    "start": ["start", "visit_id"],
    "clinic": ["clinic_id", "start", "visit_id"],
    "clinician": ["clinician_id", "start", "visit_id"],
    "outcome": ["outcome", "start", "visit_id"],
    "state": ["state", "start", "visit_id"],
    "verdict": ["verdict", "start", "visit_id"],
    "problem": ["has_problem", "start", "visit_id"],
    "problem_at": ["problem_at"],
}


def upgrade() -> None:
    _create_visit_summary()
    op.create_table(
        "summary_head",
        sa.Column("organisation_id", sa.String(length=32), nullable=False),
        sa.Column("size", _NUMBER, nullable=False),
        sa.ForeignKeyConstraint(["organisation_id"], ["organisation.id"]),
        sa.PrimaryKeyConstraint("organisation_id"),
    )
    _create_problem_acknowledgement()
    _create_saved_view()


def _create_visit_summary() -> None:
    word = sa.String(length=32)
    op.create_table(
        "visit_summary",
        sa.Column("visit_id", word, nullable=False),
        sa.Column("organisation_id", word, nullable=False),
        sa.Column("start", _TIME, nullable=False),
        sa.Column("scheduled_minutes", sa.Integer(), nullable=False),
        sa.Column("clinic_id", word, nullable=True),
        sa.Column("clinician_id", word, nullable=True),
        sa.Column("state", word, nullable=False),
        sa.Column("outcome", word, nullable=True),
        sa.Column("outcome_reason", word, nullable=False),
        sa.Column("verdict", word, nullable=True),
        sa.Column("stated", word, nullable=True),
        sa.Column("priority", sa.String(length=1), nullable=False),
        sa.Column("is_first_visit", sa.Boolean(), nullable=False),
        *(sa.Column(f"{name}_on", sa.Date()) for name in ("prescribed", "booked", "offered")),
        sa.Column("municipality", sa.String(length=64), nullable=False),
        sa.Column("has_interpreter", sa.Boolean(), nullable=False),
        sa.Column("has_companions", sa.Boolean(), nullable=False),
        *(
            sa.Column(f"{name}_at", _TIME)
            for name in (
                "created", "invited", "claimed", "waiting", "patient_joined", "clinician_joined",
                "admitted", "media", "closed",
            )
        ),
        sa.Column("waited_seconds", sa.Integer()),
        sa.Column("visit_seconds", sa.Integer()),
        *(
            sa.Column(name, sa.Integer(), nullable=False)
            for name in ("patient_drops", "clinician_drops", "broken_seconds", "failed_claims")
        ),
        sa.Column("path", sa.String(length=16), nullable=False),
        sa.Column("browser", word, nullable=False),
        sa.Column("device", sa.String(length=16), nullable=False),
        sa.Column("problems", sa.String(length=255), nullable=False),
        sa.Column("has_problem", sa.Boolean(), nullable=False),
        sa.Column("problem_at", _TIME),
        sa.ForeignKeyConstraint(["visit_id"], ["visit.id"]),
        sa.PrimaryKeyConstraint("visit_id"),
    )  # fmt: skip
    for name, columns in _INDICES.items():
        op.create_index(f"ix_visit_summary_{name}", "visit_summary", ["organisation_id", *columns])


def _create_problem_acknowledgement() -> None:
    op.create_table(
        "problem_acknowledgement",
        sa.Column("visit_id", sa.String(length=32), nullable=False),
        sa.Column("kind", sa.String(length=32), nullable=False),
        sa.Column("user_id", sa.String(length=32), nullable=False),
        sa.Column("acknowledged_at", _TIME, nullable=False),
        sa.Column("organisation_id", sa.String(length=32), nullable=False),
        sa.ForeignKeyConstraint(["user_id"], ["user.id"]),
        sa.ForeignKeyConstraint(["visit_id"], ["visit.id"]),
        sa.PrimaryKeyConstraint("visit_id", "kind"),
    )
    op.create_index(
        "ix_problem_acknowledgement_organisation_id", "problem_acknowledgement", ["organisation_id"]
    )


def _create_saved_view() -> None:
    op.create_table(
        "saved_view",
        sa.Column("id", sa.String(length=32), nullable=False),
        sa.Column("user_id", sa.String(length=32), nullable=False),
        sa.Column("name", sa.String(length=60), nullable=False),
        sa.Column("query", sa.Text(), nullable=False),
        sa.Column("created_at", _TIME, nullable=False),
        sa.Column("organisation_id", sa.String(length=32), nullable=False),
        sa.ForeignKeyConstraint(["user_id"], ["user.id"]),
        sa.PrimaryKeyConstraint("id"),
    )
    for column in ("organisation_id", "user_id"):
        op.create_index(f"ix_saved_view_{column}", "saved_view", [column])
