"""What a report says, before it has a form: DM 19/11/2025 all. 1 §2.20, TV-12.

Pure. Everything a form needs is here, so that a report that was signed can be made again byte by
byte from its sealed content, whatever has happened to the rows since.
"""

from __future__ import annotations

from datetime import date, datetime
from enum import StrEnum

import msgspec

from server.models import Outcome, ReportKind, Suitability
from server.sealed import Coding, Section


class IdentifierKind(StrEnum):
    """By what a patient is known to the national record."""

    CODICE_FISCALE = "codice_fiscale"
    STP = "stp"
    ENI = "eni"
    TEAM = "team"
    """``value`` is the personal number, ``card`` the number of the card."""
    ANA = "ana"
    """The number in the national registry of those in care (*Anagrafe nazionale assistiti*)."""
    REGIONAL = "regional"
    """The organisation's own number, where there is nothing else."""


class Identifier(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    kind: IdentifierKind
    value: str
    card: str = ""


class Address(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Texts as CUP wrote them; empty is *not known*. ``country``: ISO 3166 name or ``Italia``."""

    street: str = ""
    postal_code: str = ""
    city: str = ""
    province: str = ""
    country: str = ""


class Patient(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    identifier: Identifier
    family_name: str
    given_name: str
    sex: str = ""
    """``M``, ``F`` or empty."""
    birth_date: date | None = None
    birth_place: Address = Address()
    residence: Address = Address()
    phone: str = ""
    email: str = ""


class Professional(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    family_name: str
    given_name: str
    title: str = ""
    codice_fiscale: str = ""


class Body(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The organisation (*azienda*) and, within, where the visit is booked (*unità operativa*)."""

    code: str
    name: str
    ministry_code: str = ""
    """Six digits of the Ministry's list of bodies (FLS.11)."""
    region_code: str = ""
    address: Address = Address()
    phone: str = ""
    clinic_code: str = ""
    clinic_name: str = ""
    site_code: str = ""
    site_name: str = ""
    discipline_code: str = ""
    branch_code: str = ""


class Order(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The prescription and the booking."""

    booking_code: str
    nre: str = ""
    priority: str = ""
    """U, B, D or P."""
    prescriber: str = ""
    prescribed_on: date | None = None
    booked_on: date | None = None
    starts_at: datetime | None = None
    ends_at: datetime | None = None
    """When the visit was booked for."""
    exemption: str = ""
    is_first_visit: bool = False
    episode_code: str = ""
    """*Codice nosologico*: the number of this service at the organisation."""
    regional_code: str = ""


class Presence(StrEnum):
    PATIENT = "patient"
    CLINICIAN = "clinician"
    CAREGIVER = "caregiver"
    INTERPRETER = "interpreter"
    PROFESSIONAL = "professional"


class Attendance(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Who took part. Intervals are measured for the patient and the clinician; for the others the
    clinician states that they were there."""

    who: Presence
    words: str = ""
    """For a companion: who it is, as the patient wrote at check-in."""
    intervals: list[tuple[datetime, datetime]] = []


class LineBand(StrEnum):
    """How a stretch of the line was, in a word."""

    GOOD = "good"
    WEAK = "weak"
    """The voice held, the picture not."""
    BAD = "bad"


class LineStretch(msgspec.Struct, frozen=True, kw_only=True):
    """Some minutes of what one side sent, as the other received it."""

    sender: Presence
    began_at: datetime
    ended_at: datetime
    band: LineBand


class Session(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What the session log says of the visit."""

    began_at: datetime
    ended_at: datetime
    outcome: Outcome
    attendance: list[Attendance] = []
    suitability: Suitability | None = None
    """As the clinician stated it."""
    proposed: Suitability | None = None
    """As it was measured."""
    breaks: list[tuple[datetime, float]] = []
    """When the line was away, and for how many seconds."""
    line: list[LineStretch] = []
    """Both directions as measured; empty where nothing was."""


class Picture(msgspec.Struct, frozen=True, kw_only=True):
    """The one image of the document: a clinical still, else the chart of presence and line."""

    media_type: str
    content: bytes
    caption: str = ""
    is_clinical: bool = False


class Document(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Ids and time of the document. ``set_id`` is the same for all versions."""

    id: str
    set_id: str
    version: int
    created_at: datetime
    kind: ReportKind = ReportKind.REPORT
    replaces_id: str = ""
    """Of the version before (RPLC) or of the report that an addendum completes (APND)."""
    replaces_version: int = 0
    is_obscured: bool = False
    is_annotation: bool = False
    """The digital annotation of a general practitioner or paediatrician (TV-11)."""


class ReportContent(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The whole of it. ``sections`` holds national sections only (``NATIONAL_SECTIONS``)."""

    document: Document
    patient: Patient
    author: Professional
    body: Body
    order: Order
    session: Session
    sections: dict[Section, str]
    question_codes: list[Coding] = []
    diagnosis_codes: list[Coding] = []
    services: list[Coding]
    """At least one: what was done."""
    picture: Picture
