"""What an Appointment of the Italian televisita guide says of a booking. Pure.

Both guides' system for the codice fiscale are read. What the profiles ask for and a message
leaves out is a warning, never a refusal (domain §9).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from server.cup.booking import Field
from server.cup.fhir.patient import (
    CODICE_FISCALE_SYSTEMS,
    HL7_ITALIA,
    identifier_of,
    patient_keys,
    patient_texts,
)
from server.cup.fhir.tree import Closure, Resource, first, item, items, joined, text

NOSOLOGICAL_SYSTEM: Final = "http://hl7.it/fhir/televisita/sid/codiceNosologico"
_NRE_SYSTEMS: Final = (f"{HL7_ITALIA}9", "http://hl7.it/sid/nre")
_NATIONAL_CATALOGUES: Final = frozenset(
    {
        "http://hl7.it/fhir/televisita/CodeSystem/CsCatalogoNazionalePrestazioni",
        "urn:oid:2.16.840.1.113883.2.9.6.1.11",
        "urn:oid:2.16.840.1.113883.6.103",
        "http://hl7.org/fhir/sid/icd-9-cm",
    }
)
_REGIONAL_CATALOGUE: Final = "catalogoregionale"
"""In the system's name, whatever the region puts around it."""
_ACT_PRIORITY_SYSTEMS: Final = (
    "urn:oid:2.16.840.1.113883.2.9.5.2.3",
    "http://terminology.hl7.org/CodeSystem/v3-ActPriority",
    "urn:oid:2.16.840.1.113883.5.7",
)
"""U, B, D, P of the national prescription first, then HL7 S, A, EL, R."""
_CONTROL_VISITS: Final = frozenset({"FOLLOWUP", "CHECKUP"})
"""HL7 table 0276; its other codes say nothing of first or control."""

PATHS: Final[Mapping[Field, str]] = {
    Field.MESSAGE: "Bundle",
    Field.CONTROL_ID: "Appointment.meta.versionId",
    Field.BOOKING_CODE: "Appointment.identifier",
    Field.START: "Appointment.start",
    Field.DATE: "Appointment.start",
    Field.TIME: "Appointment.start",
    Field.END: "Appointment.end",
    Field.MINUTES: "Appointment.minutesDuration",
    Field.STATUS: "Appointment.status",
    Field.FIRST_VISIT: "Appointment.appointmentType",
    Field.BOOKED_ON: "Appointment.created",
    Field.OFFERED_ON: "Appointment.requestedPeriod",
    Field.AGENDA: "HealthcareService.identifier",
    Field.ORGANISATION: "Organization.identifier",
    Field.CLINICIAN_CODE: "PractitionerRole.identifier",
    Field.CLINIC_CODE: "Location.identifier",
    Field.CLINIC_NAME: "Location.name",
    Field.PRIORITY: "ServiceRequest.priority",
    Field.NRE: "ServiceRequest.requisition",
    Field.SERVICE_CODE: "ServiceRequest.code",
    Field.SERVICE_NAME: "ServiceRequest.category",
    Field.REGIONAL_CODE: "ServiceRequest.code",
    Field.QUESTION: "ServiceRequest.reasonCode",
    Field.PRESCRIBER: "ServiceRequest.requester",
    Field.PRESCRIBED_ON: "ServiceRequest.authoredOn",
    Field.EXEMPTION: "ServiceRequest.insurance",
    Field.FAMILY_NAME: "Patient.name",
    Field.GIVEN_NAME: "Patient.name.given",
    Field.BIRTH_DATE: "Patient.birthDate",
    Field.SEX: "Patient.gender",
    Field.CODICE_FISCALE: "Patient.identifier",
    Field.TEAM_CARD: "Patient.identifier",
    Field.TEAM_NUMBER: "Patient.identifier",
    Field.ANA_CODE: "Patient.identifier",
    Field.PATIENT_ID: "Patient.identifier",
    Field.PHONE: "Patient.telecom",
    Field.EMAIL: "Patient.telecom",
    Field.ADDRESS: "Patient.address",
    Field.STREET: "Patient.address.line",
    Field.POSTAL_CODE: "Patient.address.postalCode",
    Field.CITY: "Patient.address.city",
    Field.PROVINCE: "Patient.address.district",
    Field.COUNTRY: "Patient.address.country",
    Field.BIRTH_CITY: "Patient.extension.valueAddress",
    Field.BIRTH_PROVINCE: "Patient.extension.valueAddress",
    Field.BIRTH_COUNTRY: "Patient.extension.valueAddress",
    Field.LANGUAGE: "Patient.communication",
    Field.INTERPRETER: "Patient.communication",
}


@dataclass(frozen=True, slots=True)
class Mapped:
    """The texts of one appointment, not yet looked at."""

    texts: dict[Field, str]
    organisation_codes: tuple[str, ...]
    clinician_codes: tuple[str, ...]
    patient_keys: tuple[str, ...]
    missing: tuple[Field, ...]
    """What the profiles of the guide ask for and the message does not say."""


def map_appointment(closure: Closure) -> Mapped:
    """Read an appointment and what it refers to."""
    appointment, actors = closure.appointment, closure.actors()
    request = closure.find(first(appointment, "basedOn"))
    patient = actors.get("Patient") or closure.find(item(request, "subject"))
    role = actors.get("PractitionerRole", {})
    practitioner = actors.get("Practitioner") or closure.find(item(role, "practitioner"))
    units = _organisations(role, closure)
    encounter = closure.find(item(request, "encounter"))
    bodies = (
        *reversed(units),
        closure.find(item(encounter, "serviceProvider")),
        closure.find(item(patient, "managingOrganization")),
        actors.get("Organization", {}),
    )
    texts = {
        **_appointment_texts(appointment),
        **_service_texts(item(request, "code") or first(appointment, "serviceType")),
        **_request_texts(request, closure),
        **patient_texts(patient),
        **_clinic_texts(actors.get("Location", {}), units),
        Field.AGENDA: _agenda(actors.get("HealthcareService", {}), closure),
        Field.QUESTION: _question(request, appointment),
        Field.PRIORITY: _priority(request, appointment, encounter),
    }
    return Mapped(
        texts,
        organisation_codes=_codes(*bodies),
        clinician_codes=_codes(role, practitioner),
        patient_keys=patient_keys(patient),
        missing=tuple(_missing_elements(appointment, request, patient)),
    )


def _organisations(role: Resource, closure: Closure) -> list[Resource]:
    """The organisation of a role and those above it, from the unit to the body."""
    chain: list[Resource] = []
    found = closure.find(item(role, "organization"))
    while found and found not in chain:
        chain.append(found)
        found = closure.find(item(found, "partOf"))
    return chain


def _appointment_texts(appointment: Resource) -> dict[Field, str]:
    minutes = appointment.get("minutesDuration")
    codings = items(item(appointment, "appointmentType"), "coding")
    is_control = any(text(coding, "code") in _CONTROL_VISITS for coding in codings)
    return {
        Field.BOOKING_CODE: text(first(appointment, "identifier"), "value"),
        Field.STATUS: text(appointment, "status"),
        Field.START: text(appointment, "start"),
        Field.END: text(appointment, "end"),
        Field.MINUTES: str(minutes) if isinstance(minutes, int) else "",
        Field.BOOKED_ON: text(appointment, "created"),
        Field.FIRST_VISIT: "controllo" if is_control else "",
    }


def _service_texts(service: Resource) -> dict[Field, str]:
    """The code of the national nomenclature, and the region's own."""
    codings = items(service, "coding")
    regional = [
        coding for coding in codings if _REGIONAL_CATALOGUE in text(coding, "system").casefold()
    ]
    others = [coding for coding in codings if coding not in regional]
    others.sort(key=lambda coding: text(coding, "system") not in _NATIONAL_CATALOGUES)
    chosen = next(iter([*others, *regional]), {})
    return {
        Field.SERVICE_CODE: text(next(iter(others), {}), "code"),
        Field.REGIONAL_CODE: text(next(iter(regional), {}), "code"),
        Field.SERVICE_NAME: text(service, "text") or text(chosen, "display"),
    }


def _request_texts(request: Resource, closure: Closure) -> dict[Field, str]:
    requester = item(request, "requester")
    found = closure.find(requester)
    doctor = closure.find(item(found, "practitioner")) or found
    insurance = first(request, "insurance")
    coverage = closure.find(insurance)
    nre = text(item(request, "requisition"), "value")
    return {
        Field.NRE: nre or identifier_of(request, _NRE_SYSTEMS),
        Field.PRESCRIBER: text(requester, "display") or _full_name(doctor),
        Field.PRESCRIBED_ON: text(request, "authoredOn"),
        Field.EXEMPTION: text(insurance, "display") or text(first(coverage, "identifier"), "value"),
    }


def _clinic_texts(location: Resource, units: list[Resource]) -> dict[Field, str]:
    """The Location, else the unit that is part of the body."""
    clinic = location or (units[0] if len(units) > 1 else {})
    return {
        Field.CLINIC_CODE: text(first(clinic, "identifier"), "value"),
        Field.CLINIC_NAME: text(clinic, "name"),
    }


def _agenda(service: Resource, closure: Closure) -> str:
    """The healthcare service that takes part, else the schedule of the slot."""
    slot = closure.find(first(closure.appointment, "slot"))
    agenda = service or closure.find(item(slot, "schedule"))
    return text(first(agenda, "identifier"), "value") or text(agenda, "name")


def _question(request: Resource, appointment: Resource) -> str:
    reasons = [*items(request, "reasonCode"), *items(appointment, "reasonCode")]
    said = [text(reason, "text") for reason in reasons]
    shown = [text(first(reason, "coding"), "display") for reason in reasons]
    return next((words for words in (*said, *shown) if words), "")


def _priority(request: Resource, appointment: Resource, encounter: Resource) -> str:
    """A coded extension of the request or the appointment, the encounter's code, else FHIR's own
    priority word."""
    codings = [
        coding
        for extension in (*items(request, "extension"), *items(appointment, "extension"))
        for coding in (
            *items(item(extension, "valueCodeableConcept"), "coding"),
            item(extension, "valueCoding"),
        )
    ]
    codings += items(item(encounter, "priority"), "coding")
    for system in _ACT_PRIORITY_SYSTEMS:
        for coding in codings:
            if text(coding, "system") == system:
                return text(coding, "code")
    return text(request, "priority")


def _codes(*resources: Resource) -> tuple[str, ...]:
    """The identifiers of some resources, a codice fiscale last."""
    identifiers = [
        identifier for resource in resources for identifier in items(resource, "identifier")
    ]
    identifiers.sort(key=lambda each: text(each, "system") in CODICE_FISCALE_SYSTEMS)
    return tuple(value for each in identifiers if (value := text(each, "value")))


def _full_name(person: Resource) -> str:
    name = first(person, "name")
    parts = (joined(name, "prefix"), joined(name, "given"), text(name, "family"))
    return text(name, "text") or " ".join(part for part in parts if part)


def _missing_elements(
    appointment: Resource, request: Resource, patient: Resource
) -> Iterator[Field]:
    """What ``AppointmentTelevisita``, ``ServiceRequestTelevisita`` and ``PatientTelevisita`` make
    mandatory, by the field that would have told it."""
    asked: list[tuple[Field, bool]] = [
        (Field.STATUS, bool(text(appointment, "status"))),
        (Field.NRE, bool(request.get("identifier") or request.get("requisition"))),
        (Field.CODICE_FISCALE, bool(patient.get("identifier"))),
        (Field.FAMILY_NAME, bool(text(first(patient, "name"), "family"))),
        (Field.BIRTH_DATE, bool(text(patient, "birthDate"))),
        (Field.SEX, bool(text(patient, "gender"))),
    ]
    if request:
        asked += [
            (Field.SERVICE_NAME, bool(request.get("category"))),
            (Field.PRESCRIBED_ON, bool(text(request, "authoredOn"))),
            (Field.PRESCRIBER, bool(request.get("requester"))),
        ]
    yield from (field for field, is_there in asked if not is_there)
