"""FHIR R4 as the Italian televisita guide shapes it: a Bundle, or one Appointment that contains
what it refers to. A pure mapping from bytes to rows; the line of a row is its entry in the bundle.

Both guides' system for the codice fiscale are read, and no other profile is asked for: what is
missing is missing, what is of a wrong type counts as missing.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, BinaryIO, Final

import msgspec

from server.cup.booking import Field, FieldError, FileRejected, ParsedRow, RowError
from server.cup.values import CELL_CHARACTERS, parse_booking

FILE_BYTES: Final = 5 * 1024 * 1024
DEPTH: Final = 32
ENTRIES: Final = 5_000
_CODICE_FISCALE_SYSTEMS: Final = (
    "http://hl7.it/sid/codiceFiscale",
    "urn:oid:2.16.840.1.113883.2.9.4.3.2",
)
_PERSON_SYSTEMS: Final = (
    *_CODICE_FISCALE_SYSTEMS,
    "urn:oid:2.16.840.1.113883.2.9.4.3.17",
    "http://hl7.it/sid/stp",
    "urn:oid:2.16.840.1.113883.2.9.4.3.18",
    "http://hl7.it/sid/eni",
)
"""Codice fiscale, then STP, then ENI (domain §3.1)."""
_ACT_PRIORITY_SYSTEMS: Final = (
    "urn:oid:2.16.840.1.113883.2.9.5.2.3",
    "http://terminology.hl7.org/CodeSystem/v3-ActPriority",
    "urn:oid:2.16.840.1.113883.5.7",
)
"""U, B, D, P of the national prescription first, then HL7 S, A, EL, R."""
_STRINGS: Final = re.compile(rb'"(?:[^"\\]++|\\.)*+(?:"|\\?\Z)', re.DOTALL)
_NOT_BOOKINGS: Final = frozenset({"proposed", "waitlist"})
_PATHS: Final = {
    Field.BOOKING_CODE: "Appointment.identifier",
    Field.START: "Appointment.start",
    Field.DATE: "Appointment.start",
    Field.END: "Appointment.end",
    Field.MINUTES: "Appointment.minutesDuration",
    Field.STATUS: "Appointment.status",
    Field.ORGANISATION: "Organization.identifier",
    Field.CLINICIAN_CODE: "PractitionerRole.identifier",
    Field.CLINIC_CODE: "Location.identifier",
    Field.CLINIC_NAME: "Location.name",
    Field.PRIORITY: "ServiceRequest.priority",
    Field.NRE: "ServiceRequest.requisition",
    Field.SERVICE_CODE: "ServiceRequest.code",
    Field.SERVICE_NAME: "ServiceRequest.code",
    Field.QUESTION: "ServiceRequest.reasonCode",
    Field.PRESCRIBER: "ServiceRequest.requester",
    Field.EXEMPTION: "ServiceRequest.insurance",
    Field.FAMILY_NAME: "Patient.name.family",
    Field.GIVEN_NAME: "Patient.name.given",
    Field.BIRTH_DATE: "Patient.birthDate",
    Field.SEX: "Patient.gender",
    Field.CODICE_FISCALE: "Patient.identifier",
    Field.PHONE: "Patient.telecom",
    Field.EMAIL: "Patient.telecom",
    Field.ADDRESS: "Patient.address",
}

Resource = dict[str, Any]


def parse_fhir(file: BinaryIO) -> Iterator[ParsedRow | RowError]:
    """Yield each Appointment of the file, good or wrong.

    :raises FileRejected: over a cap, not JSON, or without any Appointment.
    """
    document = _load_document(file.read(FILE_BYTES + 1))
    entries = _entries(document)
    index = _index(entries)
    appointments = [
        (number, resource)
        for number, (_, resource) in enumerate(entries, start=1)
        if resource.get("resourceType") == "Appointment"
        and resource.get("status") not in _NOT_BOOKINGS
    ]
    if not appointments:
        raise FileRejected("The FHIR file holds no booked or cancelled Appointment")
    for number, appointment in appointments:
        yield _parse_appointment(number, appointment, _Finder(index, appointment))


def _load_document(content: bytes) -> Resource:
    if len(content) > FILE_BYTES:
        raise FileRejected(f"A FHIR file may have {FILE_BYTES // 1024**2} MiB at most")
    if _depth(content) > DEPTH:
        raise FileRejected(f"The FHIR file nests deeper than {DEPTH} levels")
    try:
        document = msgspec.json.decode(content.removeprefix(b"\xef\xbb\xbf"))
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise FileRejected(f"The file is not JSON: {error}") from error
    if not isinstance(document, dict):
        raise FileRejected("The FHIR file is not a resource")
    return document


def _depth(content: bytes) -> int:
    deepest = depth = 0
    for bracket in re.findall(rb"[\[\]{}]", _STRINGS.sub(b"", content)):
        depth += 1 if bracket in b"[{" else -1
        deepest = max(deepest, depth)
    return deepest


def _entries(document: Resource) -> list[tuple[str, Resource]]:
    """Full URL and resource of each entry; a lone Appointment is a bundle of one."""
    if document.get("resourceType") != "Bundle":
        return [("", document)]
    entries = _items(document, "entry")
    if len(entries) > ENTRIES:
        raise FileRejected(f"A FHIR bundle may have {ENTRIES} entries at most")
    return [(_text(entry, "fullUrl"), _item(entry, "resource")) for entry in entries]


def _index(entries: list[tuple[str, Resource]]) -> dict[str, Resource]:
    index: dict[str, Resource] = {}
    for full_url, resource in entries:
        index[f"{_text(resource, 'resourceType')}/{_text(resource, 'id')}"] = resource
        if full_url:
            index[full_url] = resource
    return index


class _Finder:
    """Follows the references of one appointment: contained first, then the bundle."""

    def __init__(self, index: dict[str, Resource], appointment: Resource) -> None:
        self._index = index
        self._contained = {
            f"#{_text(resource, 'id')}": resource for resource in _items(appointment, "contained")
        }

    def find(self, reference: Resource) -> Resource:
        """The resource a Reference names, empty when the file does not hold it."""
        name = _text(reference, "reference")
        found = self._contained.get(name) or self._index.get(name)
        return found or self._index.get("/".join(name.split("/")[-2:]), {})

    def actors(self, appointment: Resource) -> dict[str, Resource]:
        """The participants by resource type; the first of each type counts."""
        actors: dict[str, Resource] = {}
        for participant in _items(appointment, "participant"):
            actor = self.find(_item(participant, "actor"))
            actors.setdefault(_text(actor, "resourceType"), actor)
        return actors

    def organisations(self, role: Resource) -> list[Resource]:
        """The organisation of a role and those above it, from the unit to the body."""
        chain: list[Resource] = []
        found = self.find(_item(role, "organization"))
        while found and found not in chain:
            chain.append(found)
            found = self.find(_item(found, "partOf"))
        return chain


def _parse_appointment(number: int, appointment: Resource, finder: _Finder) -> ParsedRow | RowError:
    raw = msgspec.json.encode(appointment)[:CELL_CHARACTERS]
    actors = finder.actors(appointment)
    request = finder.find(_first(appointment, "basedOn"))
    patient = actors.get("Patient") or finder.find(_item(request, "subject"))
    role = actors.get("PractitionerRole", {})
    practitioner = actors.get("Practitioner") or finder.find(_item(role, "practitioner"))
    units = finder.organisations(role)
    encounter = finder.find(_item(request, "encounter"))
    bodies = (
        *reversed(units),
        finder.find(_item(encounter, "serviceProvider")),
        finder.find(_item(patient, "managingOrganization")),
    )
    texts = {
        **_appointment_texts(appointment, request),
        **_request_texts(request, finder),
        **_patient_texts(patient),
        **_clinic_texts(actors.get("Location", {}), units),
    }
    texts[Field.QUESTION] = _question(request, appointment)
    texts[Field.PRIORITY] = _priority(request, appointment, encounter)
    organisation_codes = _codes(*bodies)
    try:
        booking = parse_booking(
            texts,
            organisation_codes=organisation_codes,
            clinician_codes=_codes(role, practitioner),
        )
    except FieldError as error:
        return RowError(number, _PATHS[error.field], error.reason, raw, organisation_codes)
    return ParsedRow(number, booking, raw, _PATHS)


def _appointment_texts(appointment: Resource, request: Resource) -> dict[Field, str]:
    service = _item(request, "code") or _first(appointment, "serviceType")
    minutes = appointment.get("minutesDuration")
    return {
        Field.BOOKING_CODE: _text(_first(appointment, "identifier"), "value"),
        Field.STATUS: _text(appointment, "status"),
        Field.START: _text(appointment, "start"),
        Field.END: _text(appointment, "end"),
        Field.MINUTES: str(minutes) if isinstance(minutes, int) else "",
        Field.SERVICE_CODE: _text(_first(service, "coding"), "code"),
        Field.SERVICE_NAME: _words(service),
    }


def _request_texts(request: Resource, finder: _Finder) -> dict[Field, str]:
    requester = _item(request, "requester")
    found = finder.find(requester)
    doctor = finder.find(_item(found, "practitioner")) or found
    insurance = _first(request, "insurance")
    coverage = finder.find(insurance)
    return {
        Field.NRE: _text(_item(request, "requisition"), "value"),
        Field.PRESCRIBER: _text(requester, "display") or _full_name(doctor),
        Field.EXEMPTION: _text(insurance, "display")
        or _text(_first(coverage, "identifier"), "value"),
    }


def _patient_texts(patient: Resource) -> dict[Field, str]:
    name = _first(patient, "name")
    telecoms = {
        _text(telecom, "system"): _text(telecom, "value")
        for telecom in reversed(_items(patient, "telecom"))
    }
    return {
        Field.FAMILY_NAME: _text(name, "family") or _text(name, "text"),
        Field.GIVEN_NAME: _joined(name, "given"),
        Field.BIRTH_DATE: _text(patient, "birthDate"),
        Field.SEX: _text(patient, "gender"),
        Field.CODICE_FISCALE: _person_identifier(patient),
        Field.PHONE: telecoms.get("phone", ""),
        Field.EMAIL: telecoms.get("email", ""),
        Field.ADDRESS: _address(_first(patient, "address")),
    }


def _clinic_texts(location: Resource, units: list[Resource]) -> dict[Field, str]:
    """The Location, else the unit that is part of the body."""
    clinic = location or (units[0] if len(units) > 1 else {})
    return {
        Field.CLINIC_CODE: _text(_first(clinic, "identifier"), "value"),
        Field.CLINIC_NAME: _text(clinic, "name"),
    }


def _question(request: Resource, appointment: Resource) -> str:
    reasons = [*_items(request, "reasonCode"), *_items(appointment, "reasonCode")]
    texts = [_text(reason, "text") for reason in reasons]
    return next((text for text in (*texts, *map(_words, reasons)) if text), "")


def _priority(request: Resource, appointment: Resource, encounter: Resource) -> str:
    """A coded extension of the request or the appointment, the encounter's code, else FHIR's own
    priority word."""
    codings = [
        coding
        for extension in (*_items(request, "extension"), *_items(appointment, "extension"))
        for coding in (
            *_items(_item(extension, "valueCodeableConcept"), "coding"),
            _item(extension, "valueCoding"),
        )
    ]
    codings += _items(_item(encounter, "priority"), "coding")
    for system in _ACT_PRIORITY_SYSTEMS:
        for coding in codings:
            if _text(coding, "system") == system:
                return _text(coding, "code")
    return _text(request, "priority")


def _person_identifier(patient: Resource) -> str:
    values = {
        _text(identifier, "system"): _text(identifier, "value")
        for identifier in _items(patient, "identifier")
    }
    return next((values[system] for system in _PERSON_SYSTEMS if values.get(system)), "")


def _codes(*resources: Resource) -> tuple[str, ...]:
    """The identifiers of some resources, a codice fiscale last."""
    identifiers = [
        identifier for resource in resources for identifier in _items(resource, "identifier")
    ]
    identifiers.sort(key=lambda each: _text(each, "system") in _CODICE_FISCALE_SYSTEMS)
    return tuple(value for each in identifiers if (value := _text(each, "value")))


def _full_name(person: Resource) -> str:
    name = _first(person, "name")
    parts = (_joined(name, "prefix"), _joined(name, "given"), _text(name, "family"))
    return _text(name, "text") or " ".join(part for part in parts if part)


def _address(address: Resource) -> str:
    town = " ".join(part for key in ("postalCode", "city") if (part := _text(address, key)))
    return _text(address, "text") or ", ".join(
        part for part in (_joined(address, "line"), town) if part
    )


def _words(concept: Resource) -> str:
    return _text(concept, "text") or _text(_first(concept, "coding"), "display")


def _text(resource: Resource, key: str) -> str:
    value = resource.get(key)
    return value.strip() if isinstance(value, str) else ""


def _joined(resource: Resource, key: str) -> str:
    value = resource.get(key)
    parts = value if isinstance(value, list) else []
    return " ".join(part.strip() for part in parts if isinstance(part, str))


def _item(resource: Resource, key: str) -> Resource:
    value = resource.get(key)
    return value if isinstance(value, dict) else {}


def _items(resource: Resource, key: str) -> list[Resource]:
    value = resource.get(key)
    return [each for each in value if isinstance(each, dict)] if isinstance(value, list) else []


def _first(resource: Resource, key: str) -> Resource:
    return next(iter(_items(resource, key)), {})
