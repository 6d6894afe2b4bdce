"""The minor bodies of rules of the bundles: systems, codes and profiles of HL7 Italia's guide.

Source: ``hl7-it/televisita`` 0.2.0 (aliases, profiles, code systems), a draft. What it leaves open
is named by HL7 Italia's OIDs, as it-core does.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from server.report.content import IdentifierKind
from server.sealed import Section

GUIDE: Final = "http://hl7.it/fhir/televisita"
SID: Final = "http://hl7.it/sid"
LOINC: Final = "http://loinc.org"
ICD9_CM: Final = "http://hl7.org/fhir/sid/icd-9-cm"
ACT_CODE: Final = "http://terminology.hl7.org/CodeSystem/v3-ActCode"
ACT_PRIORITY: Final = "http://terminology.hl7.org/CodeSystem/v3-ActPriority"
NOMENCLATURE: Final = f"{GUIDE}/CodeSystem/CsCatalogoNazionalePrestazioni"
REGIONAL_CATALOGUE: Final = f"{GUIDE}/CodeSystem/catalogoRegionalePrestazioni"
BRANCHES: Final = f"{GUIDE}/CodeSystem/branca-prestazione"
SPECIALTIES: Final = f"{GUIDE}/CodeSystem/csspecialityPractitionerRole"
EPISODE: Final = f"{GUIDE}/sid/codiceNosologico"
BIRTH_PLACE: Final = f"{GUIDE}/StructureDefinition/birth-place-ita"
ABSENT: Final = "http://hl7.org/fhir/StructureDefinition/data-absent-reason"
OID: Final = "urn:oid:2.16.840.1.113883.2.9.4.3"
NRE: Final = f"{OID}.9"
TEAM_CARD: Final = f"{OID}.7"
PATIENT_SYSTEMS: Final[Mapping[IdentifierKind, str]] = {
    IdentifierKind.CODICE_FISCALE: f"{SID}/codiceFiscale",
    IdentifierKind.STP: f"{OID}.17",
    IdentifierKind.ENI: f"{SID}/eni",
    IdentifierKind.ANA: f"{OID}.15",
    IdentifierKind.TEAM: f"{OID}.3",
}
"""Each as the profile PatientTelevisita wants it; a regional number: :func:`region_system`."""
GENDERS: Final[Mapping[str, str]] = {"M": "male", "F": "female", "": "unknown"}
PRIORITIES: Final[Mapping[str, tuple[str, str, str]]] = {
    "U": ("S", "stat", "stat"),
    "B": ("A", "ASAP", "asap"),
    "D": ("EL", "elective", "routine"),
    "P": ("R", "routine", "routine"),
}
"""PNGLA class → HL7 ActPriority with its display, and FHIR's word."""
INITIAL_PICTURE: Final = ("10164-2", "Inquadramento Clinico Iniziale")
INITIAL_SECTIONS: Final = (
    Section.HISTORY,
    Section.ALLERGIES,
    Section.CURRENT_THERAPY,
    Section.EXAMINATION,
)
ATTACHMENTS: Final = ("77599-9", "Documenti allegati")
SECTION_CODES: Final[Mapping[Section, str]] = {
    Section.QUESTION: "29299-5",
    Section.HISTORY: "11329-0",
    Section.ALLERGIES: "48765-2",
    Section.CURRENT_THERAPY: "10160-0",
    Section.EXAMINATION: "29545-1",
    Section.EARLIER_TESTS: "30954-2",
    Section.COMPARISON: "93126-1",
    Section.FINDINGS: "47045-0",
    Section.DIAGNOSIS: "29548-5",
    Section.CONCLUSIONS: "55110-1",
    Section.ADVICE: "62385-0",
    Section.FURTHER_TESTS: "80615-8",
    Section.THERAPY: "93341-6",
    Section.PERFORMED: "62387-6",
}
"""In the order of the guide."""
TEXT_ONLY: Final = frozenset({Section.ALLERGIES, Section.CURRENT_THERAPY, Section.THERAPY})
"""The guide has coded resources for these; out of free text none is made."""
NARRATIVES: Final = frozenset(
    {Section.HISTORY, Section.EXAMINATION, Section.COMPARISON, Section.ADVICE}
)
"""Sections whose Observation is of the profile *Narrative*."""


def region_system(region_code: str) -> str:
    """Of a number that the body gave a patient, below its region as in the CDA2."""
    return f"urn:oid:2.16.840.1.113883.2.9.2.{int(region_code)}.4.1"
