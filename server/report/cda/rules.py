"""The minor bodies of rules of the CDA2: OIDs, codes and how Italian ones are written.

Sources: Schematron and dictionaries of ``it-fse-catalogs`` (Referto di Televisita v1.0), the
samples of ``it-fse-support`` (regional OIDs), PrS v2.7 (priorities). A change of the national
rules is a change here.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final, NamedTuple
from uuid import NAMESPACE_OID, uuid5

from server.errors import InvalidInput
from server.report.content import Body, Identifier, IdentifierKind
from server.sealed import Section

TEMPLATE: Final = "2.16.840.1.113883.2.9.10.1.16.1.1"
TEMPLATE_VERSION: Final = "1.0"
SECTION_TEMPLATES: Final = "2.16.840.1.113883.3.1937.777.63.10"
LOINC: Final = "2.16.840.1.113883.6.1"
CONFIDENTIALITY: Final = "2.16.840.1.113883.5.25"
GENDER: Final = "2.16.840.1.113883.5.1"
ACT_CODE: Final = "2.16.840.1.113883.5.4"
ACT_PRIORITY: Final = "2.16.840.1.113883.5.7"
ACCESS: Final = "2.16.840.1.113883.2.9.5.1.4"
OCCUPATION: Final = "2.16.840.1.113883.2.9.6.2.7"
ICD9_CM: Final = "2.16.840.1.113883.6.103"
"""Diagnoses and, in Italy, procedures."""
NOMENCLATURE: Final = "2.16.840.1.113883.2.9.6.1.11"
"""The national list of outpatient services."""
BRANCH: Final = "2.16.840.1.113883.2.9.6.1.10"
DISCIPLINE: Final = "2.16.840.1.113883.2.9.6.1.9"
BRANCH_TEMPLATE: Final = f"{SECTION_TEMPLATES}.703"
DISCIPLINE_TEMPLATE: Final = f"{SECTION_TEMPLATES}.704"
CODICE_FISCALE: Final = "2.16.840.1.113883.2.9.4.3.2"
NRE: Final = "2.16.840.1.113883.2.9.4.3.9"
BODY_CODE: Final = "2.16.840.1.113883.2.9.4.1.1"
SITE_CODE: Final = "2.16.840.1.113883.2.9.4.1.2"
_REGIONS: Final = "2.16.840.1.113883.2.9.2"
_BODIES: Final[Mapping[int, str]] = {
    10: "Regione Piemonte", 20: "Regione Valle d'Aosta", 30: "Regione Lombardia",
    41: "Provincia autonoma di Bolzano", 42: "Provincia autonoma di Trento",
    50: "Regione Veneto", 60: "Regione Friuli-Venezia Giulia", 70: "Regione Liguria",
    80: "Regione Emilia-Romagna", 90: "Regione Toscana", 100: "Regione Umbria",
    110: "Regione Marche", 120: "Regione Lazio", 130: "Regione Abruzzo", 140: "Regione Molise",
    150: "Regione Campania", 160: "Regione Puglia", 170: "Regione Basilicata",
    180: "Regione Calabria", 190: "Regione Siciliana", 200: "Regione Sardegna",
}  # fmt: skip
"""The arcs that ERRORE-12 and ERRORE-68 know: ISTAT's number of the region, Trento and Bolzano on
their own."""
_PATIENT_ROOTS: Final[Mapping[IdentifierKind, tuple[str, str]]] = {
    IdentifierKind.CODICE_FISCALE: (CODICE_FISCALE, "MEF"),
    IdentifierKind.STP: ("2.16.840.1.113883.2.9.4.3.17", "Ministero della Salute"),
    IdentifierKind.ENI: ("2.16.840.1.113883.2.9.4.3.18", "Ministero della Salute"),
    IdentifierKind.ANA: ("2.16.840.1.113883.2.9.4.3.15", "MEF"),
}
_TEAM_CARD: Final = "2.16.840.1.113883.2.9.4.3.7"
_TEAM_PERSON: Final = "2.16.840.1.113883.2.9.4.3.3"
PRIORITIES: Final[Mapping[str, tuple[str, str]]] = {
    "U": ("S", "Urgente"),
    "B": ("A", "Breve"),
    "D": ("EL", "Differibile"),
    "P": ("R", "Programmata"),
}
"""PNGLA class → HL7 ActPriority, with its Italian word."""
GENDERS: Final[Mapping[str, tuple[str, str]]] = {
    "M": ("M", "Maschio"),
    "F": ("F", "Femmina"),
    "": ("UN", "Non definito"),
}
"""ERRORE-19 and -20 leave no room for a null flavour."""
_VISIT_PROCEDURES: Final = re.compile(r"(89\.0[1-9]|89\.13|89\.26|89\.7|95\.0[123])(?:\.|[A-Z]|$)")
"""Visits of the nomenclature whose stem is a procedure of ICD-9-CM: 89.01.3 is a kind of 89.01."""
_DIAGNOSIS: Final = re.compile(r"(\d{3}|V\d{2}|E\d{3})(?:\.?(\d{1,2}))?", re.ASCII)


class Root(NamedTuple):
    """Where an identifier is unique, and who gives it."""

    oid: str
    authority: str


class SectionRule(NamedTuple):
    """What the national record calls a section."""

    code: str
    display: str
    template: int


SECTIONS: Final[Mapping[Section, SectionRule]] = {
    Section.QUESTION: SectionRule("29299-5", "Motivo della visita", 648),
    Section.HISTORY: SectionRule("11329-0", "Storia generale", 649),
    Section.ALLERGIES: SectionRule("48765-2", "Allergie e/o reazioni avverse", 652),
    Section.CURRENT_THERAPY: SectionRule("10160-0", "Uso di farmaci", 653),
    Section.EARLIER_TESTS: SectionRule(
        "30954-2", "Test diagnostici o dati di laboratorio rilevanti", 656
    ),
    Section.EXAMINATION: SectionRule("29545-1", "Osservazioni fisiche", 669),
    Section.PERFORMED: SectionRule("62387-6", "Interventi", 657),
    Section.COMPARISON: SectionRule("93126-1", "Confronto con precedenti esami eseguiti", 694),
    Section.FINDINGS: SectionRule("47045-0", "Referto", 695),
    Section.DIAGNOSIS: SectionRule("29548-5", "Diagnosi", 696),
    Section.CONCLUSIONS: SectionRule("55110-1", "Conclusioni", 698),
    Section.ADVICE: SectionRule("62385-0", "Raccomandazioni", 699),
    Section.FURTHER_TESTS: SectionRule("80615-8", "Follow-up", 701),
    Section.THERAPY: SectionRule("93341-6", "Terapia farmacologica consigliata", 702),
}
"""In the order of the document."""
QUESTION_ENTRY: Final = ("29298-7", "Motivo della visita")
DIAGNOSIS_ENTRY: Final = ("29308-4", "Diagnosi")
REMOTE_NOTE: Final = ("48767-8", "Annotazioni e commenti")
"""*Nota Prestazioni Tele*."""


def region_root(body: Body, leaf: str) -> Root | None:
    """A root of the body's region; none where the region is not known."""
    arc = int(body.region_code) if body.region_code.isascii() and body.region_code.isdigit() else 0
    return Root(f"{_REGIONS}.{arc}.{leaf}", _BODIES[arc]) if arc in _BODIES else None


def own_root(body: Body, subject: str) -> Root:
    """A root of the body itself for numbers that no national OID is for: a UUID, which HL7 II
    admits, the same at every rendering."""
    return Root(str(uuid5(NAMESPACE_OID, f"accanto:{body.code}:{subject}")).upper(), body.name)


def document_root(body: Body) -> Root:
    return region_root(body, "4.4") or own_root(body, "document")


def episode_root(body: Body) -> Root:
    """*Codice nosologico*: below region and body, as in the national samples."""
    code = body.ministry_code
    if code.isascii() and code.isdigit() and len(code) == 6 and region_root(body, "4.4"):
        return Root(f"{_REGIONS}.{int(code)}.4.6", body.name)
    return own_root(body, "episode")


def patient_roots(identifier: Identifier, body: Body) -> list[tuple[Root, str]]:
    """The ids of the patient. A card of another country is two of them (ERRORE-13).

    :raises InvalidInput: the organisation's own number is all there is, and its region unknown.
    """
    match identifier.kind:
        case IdentifierKind.TEAM:
            return [
                (Root(_TEAM_CARD, "Istituzione estera"), identifier.card),
                (Root(_TEAM_PERSON, "Istituzione estera"), identifier.value),
            ]
        case IdentifierKind.REGIONAL:
            root = region_root(body, "4.1")
            if root is None:
                raise InvalidInput("organisation.region_code", "missing")
            return [(root, identifier.value)]
        case kind:
            oid, authority = _PATIENT_ROOTS[kind]
            return [(Root(oid, authority), identifier.value)]


def service_code(code: str) -> tuple[str, str]:
    """Code and system of a service: ICD-9-CM for what is certainly in it, else the national
    nomenclature."""
    match = _VISIT_PROCEDURES.match(code)
    return (match[1], ICD9_CM) if match else (code, NOMENCLATURE)


def diagnosis_code(code: str) -> str:
    """An ICD-9-CM code with its point; empty when it has another form."""
    match = _DIAGNOSIS.fullmatch(code.strip().upper())
    if match is None:
        return ""
    return f"{match[1]}.{match[2]}" if match[2] else match[1]
