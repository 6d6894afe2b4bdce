"""The questions that every message asks of the database, as statements that are built once.

What messages name (clinicians, clinics, organisations, people) is one statement; by ORM it would be
six.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

from sqlalchemy import bindparam, literal, select, union_all
from sqlalchemy.orm import contains_eager, joinedload

from server.cup.booking import Booking
from server.db import Base
from server.models import Appointment, InboxMessage, MessageState, UserRole, Visit

_TABLES: Final = Base.metadata.tables
_USERS: Final = _TABLES["user"]
_CLINICS: Final = _TABLES["clinic"]
_ORGANISATIONS: Final = _TABLES["organisation"]
_PATIENTS: Final = _TABLES["patient"]
_IDENTIFIERS: Final = _TABLES["patient_identifier"]
_MESSAGES: Final = _TABLES["inbox_message"]
_APPOINTMENTS: Final = _TABLES["appointment"]
_VISITS: Final = _TABLES["visit"]


def _listed(name: str) -> Any:
    return bindparam(name, expanding=True)


LOOK_UP: Final = union_all(
    select(literal("clinician"), _USERS.c.code, _USERS.c.id, literal(""))
    .where(_USERS.c.organisation_id == bindparam("organisation"))
    .where(_USERS.c.role == UserRole.CLINICIAN)
    .where(_USERS.c.code.in_(_listed("clinicians"))),
    select(literal("clinic"), _CLINICS.c.code, _CLINICS.c.id, _CLINICS.c.name)
    .where(_CLINICS.c.organisation_id == bindparam("organisation"))
    .where(_CLINICS.c.code.in_(_listed("clinics"))),
    select(literal("organisation"), _ORGANISATIONS.c.code, _ORGANISATIONS.c.id, literal(""))
    .where(_ORGANISATIONS.c.code.in_(_listed("organisations"))),
    select(literal("person"), _PATIENTS.c.codice_fiscale_index, _PATIENTS.c.id, literal(""))
    .where(_PATIENTS.c.organisation_id == bindparam("organisation"))
    .where(_PATIENTS.c.codice_fiscale_index.in_(_listed("people"))),
    select(
        literal("alias"), _IDENTIFIERS.c.identifier_index, _IDENTIFIERS.c.patient_id, literal("")
    )
    .where(_IDENTIFIERS.c.organisation_id == bindparam("organisation"))
    .where(_IDENTIFIERS.c.identifier_index.in_(_listed("people"))),
    select(
        literal("key"), _IDENTIFIERS.c.identifier_index, _IDENTIFIERS.c.patient_id, literal("")
    )
    .where(_IDENTIFIERS.c.source_id == bindparam("source"))
    .where(_IDENTIFIERS.c.identifier_index.in_(_listed("keys"))),
)  # fmt: skip
"""Everything that messages name, in one statement that is built once."""


KNOWN: Final = union_all(
    select(literal("message"), _MESSAGES.c.id)
    .where(_MESSAGES.c.source_id == bindparam("source"))
    .where(_MESSAGES.c.control_id.in_(_listed("control_ids"))),
    select(literal("message"), _MESSAGES.c.id)
    .where(_MESSAGES.c.source_id == bindparam("source"))
    .where(_MESSAGES.c.booking_code.in_(_listed("booking_codes")))
    .where(_MESSAGES.c.state == MessageState.QUARANTINED),
    select(literal("visit"), _VISITS.c.id)
    .join(_APPOINTMENTS, _APPOINTMENTS.c.id == _VISITS.c.appointment_id)
    .where(_APPOINTMENTS.c.source_id == bindparam("source"))
    .where(_APPOINTMENTS.c.booking_code.in_(_listed("booking_codes"))),
)
"""The ids of what is here already. Most bookings are new, and nothing is; each part has its index,
because a table of all messages only grows."""
KNOWN_MESSAGES: Final = select(InboxMessage).where(InboxMessage.id.in_(_listed("ids")))
KNOWN_VISITS: Final = (
    select(Visit)
    .join(Visit.appointment)
    .where(Visit.id.in_(_listed("ids")))
    .options(
        contains_eager(Visit.appointment).options(
            joinedload(Appointment.patient), joinedload(Appointment.clinic)
        )
    )
)


def clinic_code_of(booking: Booking) -> str:
    """What finds a clinic: its code, else its name."""
    return booking.clinic_code or booking.clinic_name[:64]


def unique(texts: Iterable[str]) -> list[str]:
    return [text for text in dict.fromkeys(texts) if text]
