"""Where HL7 v2 says what: by default the first of :data:`PATHS` that holds something. The source's
``mapping.hl7_paths`` replaces the places of a field, its ``mapping.words`` the words. Besides:

========================  ========================================================================
codice fiscale, STP, ENI  PID-3, PID-2, PID-4, PID-19: by type, authority or form
TEAM card                 PID-3: by type or authority
patient's numbers         PID-3 (MRG-1 of a merge) as ``authority|type|value``
name, address             PID-5, PID-11
TEAM number, ANA          PID-3: by authority
birth place               PID-23
telephone, e-mail         PID-13, PID-14, PID-40; a mobile number first
clinician                 AIP-3, PV1-7, PV1-9; all are candidates
organisation              MSH-6, MSH-4; all are candidates
end                       TQ1-8, SCH-11.5, else the duration of AIS, AIP, AIL, AIG, SCH-9
service                   AIS-3: national nomenclature by system or form, else the region's code
unit                      AIL-3, PV1-3: point of care and description; else the agenda of SCH-5
prescriber                ORC-12, OBR-16, PV1-8
interpreter               PV1-15 ``A8``: in the language of PID-15
first visit or control    AIS-3; SCH-7 ``FOLLOWUP`` and ``CHECKUP`` are controls
booked on                 the day of MSH-7 of an S12
========================  ========================================================================
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from server.cup.booking import Field
from server.cup.hl7v2.wire import Path, parse_path
from server.sources import Mapping as SourceMapping

PATHS: Final[Mapping[Field, tuple[str, ...]]] = {
    Field.BOOKING_CODE: ("SCH-1.1", "SCH-2.1"),
    Field.START: ("TQ1-7", "AIS-4", "AIP-6", "AIL-6", "AIG-8", "SCH-11.4"),
    Field.END: ("TQ1-8",),
    Field.PRIORITY: ("TQ1-9", "SCH-11.6"),
    Field.AGENDA: ("SCH-5.2", "SCH-5.1"),
    Field.SERVICE_NAME: ("AIS-3.2", "AIS-3.5"),
    Field.NRE: ("SCH-26.1", "SCH-27.1", "ORC-2.1", "ORC-4.1", "OBR-2.1"),
    Field.QUESTION: ("OBR-31.2", "DG1-4", "DG1-3.2", "SCH-7.2"),
    Field.BIRTH_DATE: ("PID-7",),
    Field.SEX: ("PID-8",),
    Field.LANGUAGE: ("PID-15.1",),
}

_FIELDS: Final[Mapping[str, frozenset[int]]] = {
    "AIG": frozenset({8, 11, 12}),
    "AIL": frozenset({3, 6, 9, 10}),
    "AIP": frozenset({3, 6, 9, 10}),
    "AIS": frozenset({3, 4, 7, 8}),
    "DG1": frozenset({3, 4}),
    "MRG": frozenset({1}),
    "OBR": frozenset({2, 16, 31}),
    "ORC": frozenset({2, 4, 12}),
    "PID": frozenset({2, 3, 4, 5, 7, 8, 11, 13, 14, 15, 19, 23, 40}),
    "PV1": frozenset({3, 7, 8, 9, 15}),
    "SCH": frozenset({1, 2, 5, 7, 9, 10, 11, 25, 26, 27}),
    "TQ1": frozenset({7, 8, 9}),
}
"""All that is read; only this is split."""


def find_fields(mapped: Mapping[Field, Path]) -> dict[str, frozenset[int]]:
    """The fields to read of each segment, with those that a source's settings name."""
    fields = dict(_FIELDS)
    for path in mapped.values():
        fields[path.segment] = fields.get(path.segment, frozenset()) | {path.field}
    return fields


def find_mapped(mapping: SourceMapping) -> dict[Field, Path]:
    """The places that the source's settings name; what is no path is passed over."""
    found = ((name, parse_path(text)) for name, text in mapping.hl7_paths.items())
    return {Field(name): path for name, path in found if path and name in set(Field)}


def name_paths(mapping: SourceMapping) -> dict[Field, str]:
    """What each field is called, for people who look for a fault."""
    return _NAMES | {field: mapping.hl7_paths[field] for field in find_mapped(mapping)}


def _default_path(text: str) -> Path:
    path = parse_path(text)
    assert path is not None  # noqa: S101 a constant of this module
    return path


DEFAULTS: Final = {field: tuple(map(_default_path, places)) for field, places in PATHS.items()}
_NAMES: Final[dict[Field, str]] = {
    **{field: places[0] for field, places in PATHS.items()},
    Field.CODICE_FISCALE: "PID-3",
    Field.TEAM_CARD: "PID-3",
    Field.TEAM_NUMBER: "PID-3",
    Field.ANA_CODE: "PID-3",
    Field.PATIENT_ID: "PID-3",
    Field.FAMILY_NAME: "PID-5.1",
    Field.GIVEN_NAME: "PID-5.2",
    Field.ADDRESS: "PID-11",
    Field.STREET: "PID-11.1",
    Field.POSTAL_CODE: "PID-11.5",
    Field.CITY: "PID-11.3",
    Field.PROVINCE: "PID-11.4",
    Field.COUNTRY: "PID-11.6",
    Field.BIRTH_CITY: "PID-23",
    Field.PHONE: "PID-13",
    Field.EMAIL: "PID-13.4",
    Field.CLINICIAN_CODE: "AIP-3.1",
    Field.ORGANISATION: "MSH-6",
    Field.SERVICE_CODE: "AIS-3.1",
    Field.REGIONAL_CODE: "AIS-3.4",
    Field.MINUTES: "AIS-7",
    Field.CLINIC_CODE: "AIL-3.1",
    Field.CLINIC_NAME: "AIL-3.9",
    Field.PRESCRIBER: "ORC-12",
    Field.INTERPRETER: "PV1-15",
    Field.CONTROL_ID: "MSH-10",
}
