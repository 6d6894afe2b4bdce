"""What is inside each sealed column, as types."""

from __future__ import annotations

from datetime import date
from enum import StrEnum

import msgspec


class AddressParts(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A place in the parts that CUP sent; empty where it did not say."""

    text: str = ""
    """The whole of it: parts of another text say nothing of this one."""
    street: str = ""
    postal_code: str = ""
    city: str = ""
    province: str = ""
    country: str = ""


class Identity(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Who the patient is and how to reach them; texts as CUP wrote them, empty when unknown."""

    family_name: str = ""
    given_name: str = ""
    birth_date: date | None = None
    sex: str = ""
    """``M``, ``F`` or empty."""
    codice_fiscale: str = ""
    phone: str = ""
    email: str = ""
    address: str = ""
    residence: AddressParts | None = None
    """The parts of ``address``, as long as their text is the same."""
    birth_place: AddressParts | None = None
    team_card: str = ""
    """Number of the European health insurance card (TEAM)."""
    team_number: str = ""
    """Her personal number at the insurer of that card."""
    ana_code: str = ""
    """Number in the national registry of those in care (ANA)."""
    language: str = ""
    """``en`` when the patient reads no Italian; the messages are written in it."""

    @property
    def full_name(self) -> str:
        return f"{self.given_name} {self.family_name}".strip()


class Details(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What CUP says of the booking beyond time and place."""

    nre: str = ""
    question: str = ""
    """The prescriber's question (*quesito diagnostico*), shown as the reason."""
    service_code: str = ""
    """National nomenclature."""
    service_name: str = ""
    regional_code: str = ""
    """The region's own catalogue."""
    exemption: str = ""
    prescriber: str = ""
    agenda: str = ""
    """CUP's name of the agenda the slot is from."""
    prescribed_on: date | None = None
    booked_on: date | None = None
    offered_on: date | None = None
    """The first date CUP offered (waiting-time statistics, domain WL-06)."""
    interpreter: str = ""
    """Language an interpreter is needed for; empty: none."""


class Answers(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What the patient answered at check-in; empty means *not answered*."""

    address: str = ""
    companions: str = ""
    """Who is with the patient, in free words."""
    camera: str = ""
    """``ok``, ``failed`` or ``skipped``; the same for the two below."""
    microphone: str = ""
    loudspeaker: str = ""


class Eligibility(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The clinician's gate of TV-03: one ground, and a reason for a first visit (TV-02)."""

    ground: str
    reason: str = ""


class Section(StrEnum):
    """The parts of a note, in the order of the national data set (DM 19/11/2025 all. 1 §2.20)."""

    QUESTION = "question"
    HISTORY = "history"
    ALLERGIES = "allergies"
    CURRENT_THERAPY = "current_therapy"
    EARLIER_TESTS = "earlier_tests"
    EXAMINATION = "examination"
    PERFORMED = "performed"
    COMPARISON = "comparison"
    FINDINGS = "findings"
    DIAGNOSIS = "diagnosis"
    CONCLUSIONS = "conclusions"
    ADVICE = "advice"
    FURTHER_TESTS = "further_tests"
    THERAPY = "therapy"
    SUBJECTIVE = "subjective"
    OBJECTIVE = "objective"
    ASSESSMENT = "assessment"
    PLAN = "plan"
    FREE = "free"
    """Working notes; like the four of SOAP they never go into a report."""


NATIONAL_SECTIONS = tuple(Section)[: list(Section).index(Section.SUBJECTIVE)]
"""Those that a report has."""


class Coding(msgspec.Struct, frozen=True, kw_only=True):
    """One code chosen from a list, with the words it had there."""

    system: str
    """A :class:`server.models.CodeSystem`."""
    code: str
    display: str
    list_version: str = ""


class NoteContent(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The clinician's note. A section that is not there is empty."""

    sections: dict[Section, str] = {}
    question_codes: list[Coding] = []
    diagnosis_codes: list[Coding] = []
    services: list[Coding] = []
    """What was done; empty: the booked service."""
    template_id: str = ""

    def text_of(self, section: Section) -> str:
        return self.sections.get(section, "")


class AttachmentWords(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What goes with a file of a visit."""

    file_name: str = ""
    caption: str = ""
    device: str = ""
    """Where it comes from, as the browser says: camera label, picture size."""
    consent_hash: str = ""
    """SHA-256 of the text that the patient agreed to before a still."""
