"""What a Patient of the Italian televisita guide says: names, numbers, contacts, places. Pure.

Both guides' system for the codice fiscale are read. Called by :mod:`server.cup.fhir.mapping`.
"""

from __future__ import annotations

from typing import Final

from server.cup.booking import Field
from server.cup.fhir.tree import Resource, first, item, items, joined, text

HL7_ITALIA: Final = "urn:oid:2.16.840.1.113883.2.9.4.3."
CODICE_FISCALE_SYSTEMS: Final = ("http://hl7.it/sid/codiceFiscale", f"{HL7_ITALIA}2")
_PERSON_SYSTEMS: Final = (
    *CODICE_FISCALE_SYSTEMS,
    f"{HL7_ITALIA}17", "http://hl7.it/sid/stp",
    f"{HL7_ITALIA}18", "http://hl7.it/sid/eni",
)  # fmt: skip
"""Codice fiscale, then STP, then ENI (domain §3.1); of ANPR and regional registries only a keyed
hash is kept."""
_ANA_SYSTEMS: Final = (f"{HL7_ITALIA}15",)
_TEAM_NUMBER_SYSTEMS: Final = (f"{HL7_ITALIA}3",)
_BIRTH_PLACES: Final = frozenset(
    {
        "http://hl7.it/fhir/televisita/StructureDefinition/birth-place-ita",
        "http://hl7.org/fhir/StructureDefinition/patient-birthPlace",
    }
)
_TEAM_SYSTEMS: Final = (f"{HL7_ITALIA}7", "http://hl7.it/sid/team")
_INTERPRETER: Final = "http://hl7.org/fhir/StructureDefinition/patient-interpreterRequired"
_NO_SEX: Final = frozenset({"other", "unknown"})


def patient_texts(patient: Resource) -> dict[Field, str]:
    """Everything about the patient that a booking keeps."""
    name = first(patient, "name")
    telecoms = {
        text(telecom, "system"): text(telecom, "value")
        for telecom in reversed(items(patient, "telecom"))
    }
    language, gender = _language(patient), text(patient, "gender")
    return {
        Field.FAMILY_NAME: text(name, "family") or text(name, "text"),
        Field.GIVEN_NAME: joined(name, "given"),
        Field.BIRTH_DATE: text(patient, "birthDate"),
        Field.SEX: "" if gender in _NO_SEX else gender,
        Field.CODICE_FISCALE: identifier_of(patient, _PERSON_SYSTEMS),
        Field.TEAM_CARD: identifier_of(patient, _TEAM_SYSTEMS),
        Field.TEAM_NUMBER: identifier_of(patient, _TEAM_NUMBER_SYSTEMS),
        Field.ANA_CODE: identifier_of(patient, _ANA_SYSTEMS),
        Field.PHONE: telecoms.get("phone") or telecoms.get("sms", ""),
        Field.EMAIL: telecoms.get("email", ""),
        **_address_texts(first(patient, "address")),
        **_birth_place_texts(patient),
        Field.LANGUAGE: language,
        Field.INTERPRETER: "yes" if _is_interpreter_needed(patient) else "",
    }


def _language(patient: Resource) -> str:
    spoken = items(patient, "communication")
    spoken.sort(key=lambda each: each.get("preferred") is not True)
    language = item(next(iter(spoken), {}), "language")
    return text(first(language, "coding"), "code") or text(language, "text")


def _is_interpreter_needed(patient: Resource) -> bool:
    return any(
        text(extension, "url") == _INTERPRETER and extension.get("valueBoolean") is True
        for extension in items(patient, "extension")
    )


def identifier_of(resource: Resource, systems: tuple[str, ...]) -> str:
    """The value under the first of some systems that is there."""
    values = {
        text(identifier, "system"): text(identifier, "value")
        for identifier in items(resource, "identifier")
    }
    return next((values[system] for system in systems if values.get(system)), "")


def patient_keys(patient: Resource) -> tuple[str, ...]:
    """The source's own numbers of the patient: whatever is no codice fiscale, STP or ENI."""
    return tuple(
        f"{system}||{value}"
        for identifier in items(patient, "identifier")
        if (system := text(identifier, "system")) not in _PERSON_SYSTEMS
        and (value := text(identifier, "value"))
        and system
    )


def _address_texts(address: Resource) -> dict[Field, str]:
    town = " ".join(part for key in ("postalCode", "city") if (part := text(address, key)))
    street = joined(address, "line")
    whole = text(address, "text") or ", ".join(part for part in (street, town) if part)
    return {
        Field.ADDRESS: whole,
        Field.STREET: street,
        Field.POSTAL_CODE: text(address, "postalCode"),
        Field.CITY: text(address, "city"),
        Field.PROVINCE: text(address, "district"),
        Field.COUNTRY: text(address, "country"),
    }


def _birth_place_texts(patient: Resource) -> dict[Field, str]:
    for extension in items(patient, "extension"):
        if text(extension, "url") in _BIRTH_PLACES:
            place = item(extension, "valueAddress")
            return {
                Field.BIRTH_CITY: text(place, "city") or text(place, "text"),
                Field.BIRTH_PROVINCE: text(place, "district"),
                Field.BIRTH_COUNTRY: text(place, "country"),
            }
    return {}
