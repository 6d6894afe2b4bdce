"""The report: signed, delivered, on its way to the national record."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    _create_report()
    _create_report_code()
    _create_signer()
    _create_submission()
    _add_columns()


def _create_report() -> None:
    op.create_table(
        "report",
        sa.Column("id", sa.String(length=32), nullable=False),
        sa.Column("visit_id", sa.String(length=32), nullable=False),
        sa.Column("set_id", sa.String(length=32), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("kind", sa.String(length=32), nullable=False),
        sa.Column("replaces_id", sa.String(length=32), nullable=True),
        sa.Column("is_obscured", sa.Boolean(), nullable=False),
        sa.Column("sealed_content", sa.LargeBinary(), nullable=False),
        sa.Column("content_version", sa.Integer(), nullable=False),
        sa.Column("sealed_pdf", sa.LargeBinary(), nullable=True),
        sa.Column("sealed_cda", sa.LargeBinary(), nullable=True),
        sa.Column("pdf_sha256", sa.String(length=64), nullable=False),
        sa.Column("author_id", sa.String(length=32), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("signed_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("delivered_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("first_read_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("organisation_id", sa.String(length=32), nullable=False),
        sa.ForeignKeyConstraint(["author_id"], ["user.id"]),
        sa.ForeignKeyConstraint(["replaces_id"], ["report.id"]),
        sa.ForeignKeyConstraint(["visit_id"], ["visit.id"]),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("set_id", "version"),
    )
    _index("report", "organisation_id", "set_id", "visit_id")


def _create_report_code() -> None:
    op.create_table(
        "report_code",
        sa.Column("visit_id", sa.String(length=32), nullable=False),
        sa.Column("browser", sa.String(length=64), nullable=False),
        sa.Column("issued_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("issued_count", sa.Integer(), nullable=False),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("passed_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("organisation_id", sa.String(length=32), nullable=False),
        sa.ForeignKeyConstraint(["visit_id"], ["visit.id"]),
        sa.PrimaryKeyConstraint("visit_id"),
    )
    _index("report_code", "organisation_id")


def _create_signer() -> None:
    op.create_table(
        "signer",
        sa.Column("user_id", sa.String(length=32), nullable=False),
        sa.Column("kind", sa.String(length=32), nullable=False),
        sa.Column("sealed_content", sa.LargeBinary(), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("failed_pins", sa.Integer(), nullable=False),
        sa.Column("certificate_sha256", sa.String(length=64), nullable=False),
        sa.Column("valid_until", sa.DateTime(timezone=True), nullable=False),
        sa.Column("added_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("organisation_id", sa.String(length=32), nullable=False),
        sa.ForeignKeyConstraint(["user_id"], ["user.id"]),
        sa.PrimaryKeyConstraint("user_id"),
    )
    _index("signer", "organisation_id")


def _create_submission() -> None:
    op.create_table(
        "submission",
        sa.Column("id", sa.String(length=32), nullable=False),
        sa.Column("report_id", sa.String(length=32), nullable=False),
        sa.Column("state", sa.String(length=32), nullable=False),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("next_try_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("workflow_instance_id", sa.String(length=255), nullable=False),
        sa.Column("trace_id", sa.String(length=64), nullable=False),
        sa.Column("problem", sa.String(length=64), nullable=False),
        sa.Column("sealed_detail", sa.LargeBinary(), nullable=True),
        sa.Column("detail_version", sa.Integer(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("changed_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("organisation_id", sa.String(length=32), nullable=False),
        sa.ForeignKeyConstraint(["report_id"], ["report.id"]),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("report_id"),
    )
    _index("submission", "next_try_at", "organisation_id", "state")


def _add_columns() -> None:
    op.add_column(
        "clinic", sa.Column("site_code", sa.String(length=16), nullable=False, server_default="")
    )
    op.add_column(
        "clinic", sa.Column("site_name", sa.String(length=200), nullable=False, server_default="")
    )
    op.add_column(
        "clinic",
        sa.Column("discipline_code", sa.String(length=8), nullable=False, server_default=""),
    )
    op.add_column(
        "clinic", sa.Column("branch_code", sa.String(length=8), nullable=False, server_default="")
    )
    op.add_column(
        "organisation",
        sa.Column("region_code", sa.String(length=3), nullable=False, server_default=""),
    )
    op.add_column(
        "organisation",
        sa.Column("ministry_code", sa.String(length=16), nullable=False, server_default=""),
    )
    op.add_column(
        "organisation",
        sa.Column("street", sa.String(length=200), nullable=False, server_default=""),
    )
    op.add_column(
        "organisation",
        sa.Column("postal_code", sa.String(length=5), nullable=False, server_default=""),
    )
    op.add_column(
        "organisation", sa.Column("city", sa.String(length=100), nullable=False, server_default="")
    )
    op.add_column(
        "user",
        sa.Column("profession", sa.String(length=32), nullable=False, server_default="specialist"),
    )
    op.add_column("user", sa.Column("sealed_codice_fiscale", sa.LargeBinary(), nullable=True))
    op.add_column("user_session", sa.Column("sealed_signing_pin", sa.LargeBinary(), nullable=True))


def _index(table: str, *columns: str) -> None:
    for column in columns:
        op.create_index(f"ix_{table}_{column}", table, [column])
