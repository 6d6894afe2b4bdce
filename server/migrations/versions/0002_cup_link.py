"""The CUP link: inbox, outbox, messages to patients, phases, reconciliation."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    _create_phase_change()
    _create_patient_identifier()
    _create_reconciliation()
    _create_difference()
    _create_inbox_message()
    _create_fhir_tables()
    _create_outbox_event()
    _create_patient_message()
    _create_visit_change()
    _widen_tables()
    op.drop_table("import_issue")


def _create_phase_change() -> None:
    op.create_table(
        "phase_change",
        sa.Column("id", sa.String(length=32), nullable=False),
        sa.Column("phase", sa.String(length=32), nullable=False),
        sa.Column("pilot_clinics", sa.JSON(), nullable=False),
        sa.Column("changed_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("changed_by", sa.String(length=32), nullable=False),
        sa.Column("organisation_id", sa.String(length=32), nullable=False),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index("ix_phase_change_organisation_id", "phase_change", ["organisation_id"])


def _create_patient_identifier() -> None:
    op.create_table(
        "patient_identifier",
        sa.Column("id", sa.String(length=32), nullable=False),
        sa.Column("source_id", sa.String(length=32), nullable=False),
        sa.Column("identifier_index", sa.String(length=32), nullable=False),
        sa.Column("patient_id", sa.String(length=32), nullable=False),
        sa.Column("organisation_id", sa.String(length=32), nullable=False),
        sa.ForeignKeyConstraint(["patient_id"], ["patient.id"]),
        sa.ForeignKeyConstraint(["source_id"], ["source.id"]),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("source_id", "identifier_index"),
    )
    op.create_index(
        "ix_patient_identifier_organisation_id", "patient_identifier", ["organisation_id"]
    )
    op.create_index(
        "ix_patient_identifier_known", "patient_identifier", ["organisation_id", "identifier_index"]
    )
    op.create_index("ix_patient_identifier_patient_id", "patient_identifier", ["patient_id"])


def _create_reconciliation() -> None:
    op.create_table(
        "reconciliation",
        sa.Column("id", sa.String(length=32), nullable=False),
        sa.Column("source_id", sa.String(length=32), nullable=False),
        sa.Column("compared_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("compared", sa.Integer(), nullable=False),
        sa.Column("organisation_id", sa.String(length=32), nullable=False),
        sa.ForeignKeyConstraint(["source_id"], ["source.id"]),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index("ix_reconciliation_organisation_id", "reconciliation", ["organisation_id"])
    op.create_index("ix_reconciliation_source_id", "reconciliation", ["source_id"])


def _create_difference() -> None:
    op.create_table(
        "difference",
        sa.Column("id", sa.String(length=32), nullable=False),
        sa.Column("reconciliation_id", sa.String(length=32), nullable=False),
        sa.Column("booking_code", sa.String(length=64), nullable=False),
        sa.Column("kind", sa.String(length=32), nullable=False),
        sa.Column("fields", sa.String(length=255), nullable=False),
        sa.Column("organisation_id", sa.String(length=32), nullable=False),
        sa.ForeignKeyConstraint(["reconciliation_id"], ["reconciliation.id"]),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index("ix_difference_organisation_id", "difference", ["organisation_id"])
    op.create_index("ix_difference_reconciliation_id", "difference", ["reconciliation_id"])


def _create_inbox_message() -> None:
    op.create_table(
        "inbox_message",
        sa.Column("id", sa.String(length=32), nullable=False),
        sa.Column("source_id", sa.String(length=32), nullable=False),
        sa.Column("connector", sa.String(length=32), nullable=False),
        sa.Column("control_id", sa.String(length=200), nullable=True),
        sa.Column("content_digest", sa.String(length=32), nullable=False),
        sa.Column("booking_code", sa.String(length=64), nullable=False),
        sa.Column("event", sa.String(length=16), nullable=False),
        sa.Column("message_order", sa.String(length=255), nullable=False),
        sa.Column("state", sa.String(length=32), nullable=False),
        sa.Column("reason", sa.String(length=64), nullable=False),
        sa.Column("field", sa.String(length=64), nullable=False),
        sa.Column("warnings", sa.String(length=255), nullable=False),
        sa.Column("line", sa.Integer(), nullable=False),
        sa.Column("sealed_raw", sa.LargeBinary(), nullable=False),
        sa.Column("visit_id", sa.String(length=32), nullable=True),
        sa.Column("repeats", sa.Integer(), nullable=False),
        sa.Column("received_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("decided_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("organisation_id", sa.String(length=32), nullable=False),
        sa.ForeignKeyConstraint(["source_id"], ["source.id"]),
        sa.ForeignKeyConstraint(["visit_id"], ["visit.id"]),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("source_id", "control_id"),
    )
    op.create_index(
        "ix_inbox_message_booking", "inbox_message", ["source_id", "booking_code", "state"]
    )
    op.create_index("ix_inbox_message_organisation_id", "inbox_message", ["organisation_id"])
    op.create_index("ix_inbox_message_received_at", "inbox_message", ["received_at"])
    op.create_index(
        "ix_inbox_message_rates", "inbox_message", ["source_id", "state", "received_at"]
    )
    op.create_index("ix_inbox_message_state", "inbox_message", ["state"])
    op.create_index("ix_inbox_message_visit_id", "inbox_message", ["visit_id"])


def _create_fhir_tables() -> None:
    op.create_table(
        "fhir_resource",
        sa.Column("id", sa.String(length=32), nullable=False),
        sa.Column("source_id", sa.String(length=32), nullable=False),
        sa.Column("resource_index", sa.String(length=32), nullable=False),
        sa.Column("kind", sa.String(length=32), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("sealed_content", sa.LargeBinary(), nullable=True),
        sa.Column("logical_id", sa.String(length=64), nullable=False),
        sa.Column("booking_code", sa.String(length=64), nullable=False),
        sa.Column("message_id", sa.String(length=32), nullable=True),
        sa.Column("updated_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("organisation_id", sa.String(length=32), nullable=False),
        sa.ForeignKeyConstraint(["message_id"], ["inbox_message.id"]),
        sa.ForeignKeyConstraint(["source_id"], ["source.id"]),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("source_id", "resource_index"),
    )
    op.create_index("ix_fhir_resource_booking_code", "fhir_resource", ["booking_code"])
    op.create_index("ix_fhir_resource_organisation_id", "fhir_resource", ["organisation_id"])
    op.create_index("ix_fhir_resource_updated_at", "fhir_resource", ["updated_at"])
    op.create_table(
        "fhir_awaited",
        sa.Column("id", sa.String(length=32), nullable=False),
        sa.Column("resource_index", sa.String(length=32), nullable=False),
        sa.Column("appointment_id", sa.String(length=32), nullable=False),
        sa.Column("organisation_id", sa.String(length=32), nullable=False),
        sa.ForeignKeyConstraint(["appointment_id"], ["fhir_resource.id"]),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index("ix_fhir_awaited_appointment_id", "fhir_awaited", ["appointment_id"])
    op.create_index("ix_fhir_awaited_organisation_id", "fhir_awaited", ["organisation_id"])
    op.create_index("ix_fhir_awaited_resource_index", "fhir_awaited", ["resource_index"])


def _create_outbox_event() -> None:
    op.create_table(
        "outbox_event",
        sa.Column("number", sa.Integer(), autoincrement=True, nullable=False),
        sa.Column("id", sa.String(length=32), nullable=False),
        sa.Column("source_id", sa.String(length=32), nullable=False),
        sa.Column("visit_id", sa.String(length=32), nullable=False),
        sa.Column("kind", sa.String(length=32), nullable=False),
        sa.Column("facts", sa.Text(), nullable=False),
        sa.Column("state", sa.String(length=32), nullable=False),
        sa.Column("reason", sa.String(length=64), nullable=False),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("tried_since", sa.DateTime(timezone=True), nullable=True),
        sa.Column("next_attempt_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("delivered_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("organisation_id", sa.String(length=32), nullable=False),
        sa.ForeignKeyConstraint(["source_id"], ["source.id"]),
        sa.ForeignKeyConstraint(["visit_id"], ["visit.id"]),
        sa.PrimaryKeyConstraint("number"),
        sa.UniqueConstraint("id"),
    )
    op.create_index("ix_outbox_event_organisation_id", "outbox_event", ["organisation_id"])
    op.create_index("ix_outbox_event_source_id", "outbox_event", ["source_id"])
    op.create_index("ix_outbox_event_state", "outbox_event", ["state"])
    op.create_index("ix_outbox_event_visit_id", "outbox_event", ["visit_id"])


def _create_patient_message() -> None:
    op.create_table(
        "patient_message",
        sa.Column("id", sa.String(length=32), nullable=False),
        sa.Column("visit_id", sa.String(length=32), nullable=False),
        sa.Column("kind", sa.String(length=32), nullable=False),
        sa.Column("occasion", sa.String(length=64), nullable=False),
        sa.Column("parameters", sa.Text(), nullable=False),
        sa.Column("state", sa.String(length=32), nullable=False),
        sa.Column("channel", sa.String(length=32), nullable=True),
        sa.Column("reason", sa.String(length=64), nullable=False),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("due_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("sent_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("organisation_id", sa.String(length=32), nullable=False),
        sa.ForeignKeyConstraint(["visit_id"], ["visit.id"]),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("visit_id", "kind", "occasion"),
    )
    op.create_index("ix_patient_message_due_at", "patient_message", ["due_at"])
    op.create_index("ix_patient_message_organisation_id", "patient_message", ["organisation_id"])
    op.create_index("ix_patient_message_state", "patient_message", ["state"])
    op.create_index("ix_patient_message_visit_id", "patient_message", ["visit_id"])


def _create_visit_change() -> None:
    op.create_table(
        "visit_change",
        sa.Column("number", sa.Integer(), autoincrement=True, nullable=False),
        sa.Column("visit_id", sa.String(length=32), nullable=False),
        sa.Column("kind", sa.String(length=32), nullable=False),
        sa.Column("changed_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("organisation_id", sa.String(length=32), nullable=False),
        sa.ForeignKeyConstraint(["visit_id"], ["visit.id"]),
        sa.PrimaryKeyConstraint("number"),
    )
    op.create_index("ix_visit_change_changed_at", "visit_change", ["changed_at"])
    op.create_index("ix_visit_change_organisation_id", "visit_change", ["organisation_id"])


def _widen_tables() -> None:
    op.add_column(
        "appointment",
        sa.Column("message_order", sa.String(length=255), nullable=False, server_default=""),
    )
    op.add_column(
        "appointment", sa.Column("confirmed_at", sa.DateTime(timezone=True), nullable=True)
    )
    op.add_column(
        "appointment", sa.Column("cancel_asked_at", sa.DateTime(timezone=True), nullable=True)
    )
    op.add_column(
        "appointment",
        sa.Column("is_cancel_late", sa.Boolean(), nullable=False, server_default=sa.false()),
    )
    op.add_column("appointment", sa.Column("sealed_justification", sa.LargeBinary(), nullable=True))
    op.add_column(
        "organisation",
        sa.Column("phase", sa.String(length=32), nullable=False, server_default="collaudo"),
    )
    op.add_column(
        "organisation", sa.Column("pilot_clinics", sa.JSON(), nullable=False, server_default="[]")
    )
    op.add_column(
        "organisation",
        sa.Column("province", sa.String(length=2), nullable=False, server_default=""),
    )
    op.add_column(
        "organisation", sa.Column("notice_days", sa.Integer(), nullable=False, server_default="2")
    )
    op.add_column(
        "organisation",
        sa.Column(
            "notice_rule", sa.String(length=32), nullable=False, server_default="working_days"
        ),
    )
    op.add_column(
        "source", sa.Column("name", sa.String(length=200), nullable=False, server_default="")
    )
    op.add_column("source", sa.Column("settings", sa.Text(), nullable=False, server_default="{}"))
    op.add_column("source", sa.Column("token_hash", sa.String(length=64), nullable=True))
    op.add_column("source", sa.Column("sealed_outgoing_token", sa.LargeBinary(), nullable=True))
    op.add_column(
        "source", sa.Column("poll_cursor", sa.String(length=64), nullable=False, server_default="")
    )
    op.add_column(
        "source", sa.Column("is_paused", sa.Boolean(), nullable=False, server_default=sa.false())
    )
    op.add_column(
        "source",
        sa.Column("delivery_holder", sa.String(length=32), nullable=False, server_default=""),
    )
    op.add_column("source", sa.Column("delivery_until", sa.DateTime(timezone=True), nullable=True))
    op.create_index("ix_source_token_hash", "source", ["token_hash"], unique=True)
    op.add_column(
        "visit", sa.Column("device_code_issued_at", sa.DateTime(timezone=True), nullable=True)
    )
    op.add_column(
        "visit", sa.Column("device_code_attempts", sa.Integer(), nullable=False, server_default="0")
    )
    op.add_column("visit", sa.Column("device_code_browser", sa.String(length=64), nullable=True))
    op.add_column(
        "patient",
        sa.Column("is_to_complete", sa.Boolean(), nullable=False, server_default=sa.false()),
    )
    op.add_column(
        "patient", sa.Column("identity_orders", sa.Text(), nullable=False, server_default="{}")
    )
