"""Codes of the patterns: DICOM, HL7 and IHE, as BALP 1.1 asks for them."""

from __future__ import annotations

from typing import Any, Final

from server.audit import Act
from server.sessionexport.balp.kinds import Kind

Resource = dict[str, Any]

_THO: Final = "http://terminology.hl7.org/CodeSystem"
_DICOM: Final = "http://dicom.nema.org/resources/ontology/DCM"
_PARTICIPATION: Final = f"{_THO}/v3-ParticipationType"
_ENTITY_TYPES: Final = f"{_THO}/audit-entity-type"
_ENTITY_ROLES: Final = f"{_THO}/object-role"
_INTERACTIONS: Final = "http://hl7.org/fhir/restful-interaction"
REASON: Final = f"{_THO}/v3-ActReason"


def coding(system: str, code: str, display: str = "") -> Resource:
    return {"system": system, "code": code} | ({"display": display} if display else {})


def coded(system: str, code: str, display: str = "") -> Resource:
    """A CodeableConcept of one code."""
    return {"coding": [coding(system, code, display)]}


_REST: Final = coding(f"{_THO}/audit-event-type", "rest", "Restful Operation")
_DISCLOSED: Final = [coding(f"{_THO}/iso-21089-lifecycle", "disclose")]
_ALERT: Final = coding(_DICOM, "110113", "Security Alert")
_CONSENT_SUBTYPES: Final = [
    coding("https://profiles.ihe.net/ITI/BALP/CodeSystem/AuthZsubType", "AuthZ-Consent")
]
_TYPES: Final[dict[Kind, tuple[Resource, list[Resource]]]] = {
    Kind.CREATE: (_REST, [coding(_INTERACTIONS, "create")]),
    Kind.READ: (_REST, [coding(_INTERACTIONS, "read")]),
    Kind.UPDATE: (_REST, [coding(_INTERACTIONS, "update")]),
    Kind.DELETE: (_REST, [coding(_INTERACTIONS, "delete")]),
    Kind.QUERY: (_REST, [coding(_INTERACTIONS, "search")]),
    Kind.CONSENT_DECISION: (_ALERT, _CONSENT_SUBTYPES),
    Kind.DISCLOSURE: (coding(_DICOM, "110106", "Export"), _DISCLOSED),
    Kind.RECEPTION: (coding(_DICOM, "110107", "Import"), _DISCLOSED),
    Kind.ALERT: (_ALERT, []),
}
_LOGIN_TYPE: Final = coding(_DICOM, "110114", "User Authentication")
_LOGIN: Final = coding(_DICOM, "110122", "Login")
_LOGOUT: Final = coding(_DICOM, "110123", "Logout")

_FROM: Final = coded(_DICOM, "110153", "Source Role ID")
_TO: Final = coded(_DICOM, "110152", "Destination Role ID")
_APPLICATION: Final = coded(_DICOM, "110150", "Application")
_KEEPER: Final = coded(f"{_THO}/provenance-participant-type", "custodian", "Custodian")
_DECIDER: Final = coded(f"{_THO}/extra-security-role-type", "authserver", "authorization server")
ENDS: Final[dict[Kind, tuple[Resource, Resource]]] = {
    Kind.CREATE: (_FROM, _TO),
    Kind.READ: (_TO, _FROM),
    Kind.UPDATE: (_FROM, _TO),
    Kind.DELETE: (_APPLICATION, _KEEPER),
    Kind.QUERY: (_FROM, _TO),
    Kind.CONSENT_DECISION: (_APPLICATION, _DECIDER),
    Kind.DISCLOSURE: (_TO, _FROM),
    Kind.RECEPTION: (_FROM, _TO),
}
"""Types of the two ends, the other one and the platform's: where the data comes from and goes to
(for a query, where the question does)."""

RECIPIENT: Final = coded(_PARTICIPATION, "IRCP", "information recipient")
_AUTHOR: Final = coded(_PARTICIPATION, "AUT", "author (originator)")
USERS: Final = {Kind.CREATE: _AUTHOR, Kind.UPDATE: _AUTHOR, Kind.DELETE: _AUTHOR}
PROVIDER: Final = coded(f"{_THO}/v3-RoleClass", "PROV", "healthcare provider")

PERSON: Final = coding(_ENTITY_TYPES, "1", "Person")
SYSTEM_OBJECT: Final = coding(_ENTITY_TYPES, "2", "System Object")
CONSENT_TYPE: Final = coding("http://hl7.org/fhir/resource-types", "Consent")
PATIENT_ROLE: Final = coding(_ENTITY_ROLES, "1", "Patient")
REPORT_ROLE: Final = coding(_ENTITY_ROLES, "3", "Report")
DOMAIN_ROLE: Final = coding(_ENTITY_ROLES, "4", "Domain Resource")
QUERY_ROLE: Final = coding(_ENTITY_ROLES, "24", "Query")
APPLICATION_SERVER: Final = coding(f"{_THO}/security-source-type", "4", "Application Server")
NETWORK_URI: Final = "5"
NOT_KEPT: Final = {
    "extension": [
        {
            "url": "http://hl7.org/fhir/StructureDefinition/data-absent-reason",
            "valueCode": "masked",
        }
    ]
}
"""For the address of a browser, which the log does not hold."""


def types_of(kind: Kind, act: Act) -> tuple[Resource, list[Resource]]:
    """``type`` and ``subtype`` of an event."""
    if kind is Kind.LOGIN:
        return _LOGIN_TYPE, [_LOGOUT if act is Act.LOGGED_OUT else _LOGIN]
    return _TYPES[kind]
