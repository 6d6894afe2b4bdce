"""What we say in FHIR R4 about ourselves and about what went wrong. Pure.

Answers carry ids, times, states and field names, never a clinical word and never a name.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Final

from server.cup.booking import Fault, Notice, Reason
from server.cup.fhir.mapping import PATHS
from server.cup.fhir.tree import LINKS, Resource

_GUIDE: Final = "http://hl7.it/fhir/televisita/StructureDefinition"
_PUBLISHED_ON: Final = "2026-11-22"
_ISSUE_CODES: Final = {
    Reason.MISSING: "required",
    Reason.NOT_KNOWN: "code-invalid",
    Reason.TOO_LONG: "too-long",
    Reason.TOO_LARGE: "too-long",
    Reason.TOO_MANY_ROWS: "too-long",
    Reason.UNREADABLE: "structure",
    Reason.NOT_UTF_8: "structure",
    Reason.NESTED_TOO_DEEP: "structure",
    Reason.NOT_A_BOOKING: "not-supported",
    Reason.OTHER_ORGANISATION: "business-rule",
    Reason.CONTROL_ID_REUSED: "duplicate",
    Reason.PROFILE_ELEMENT_MISSING: "required",
}
"""FHIR's word for a reason; the others are wrong values."""


def render_search(url: str, found: Sequence[tuple[str, Resource]]) -> Resource:
    """A searchset of resources with their full URLs."""
    bundle: Resource = {
        "resourceType": "Bundle",
        "type": "searchset",
        "total": len(found),
        "link": [{"relation": "self", "url": url}],
    }
    if found:
        bundle["entry"] = [
            {"fullUrl": full_url, "resource": resource, "search": {"mode": "match"}}
            for full_url, resource in found
        ]
    return bundle


def render_issue(severity: str, code: str, words: str, expression: str = "") -> Resource:
    issue: Resource = {"severity": severity, "code": code, "diagnostics": words}
    if expression:
        issue["expression"] = [expression]
    return issue


def render_fault(fault: Fault, message_id: str) -> Resource:
    """Why a message is in quarantine, and under which id a person finds it there."""
    words = f"{fault.field}: {fault.reason.words}; quarantine {message_id}"
    code = _ISSUE_CODES.get(fault.reason, "value")
    return render_issue("error", code, words, fault.path or PATHS[fault.field])


def render_notice(notice: Notice) -> Resource:
    words = f"{notice.field}: {notice.reason.words}"
    code = _ISSUE_CODES.get(notice.reason, "value")
    return render_issue("warning", code, words, PATHS[notice.field])


def render_outcome(issues: Iterable[Resource]) -> Resource:
    """An OperationOutcome; without issues it says that all is well."""
    found = list(issues) or [render_issue("information", "informational", "taken")]
    return {"resourceType": "OperationOutcome", "issue": found}


def render_capabilities(base_url: str) -> Resource:
    """The CapabilityStatement of this installation."""
    return {
        "resourceType": "CapabilityStatement",
        "status": "active",
        "date": _PUBLISHED_ON,
        "kind": "instance",
        "software": {"name": "Accanto"},
        "implementation": {"description": "Bookings of televisite from CUP", "url": base_url},
        "fhirVersion": "4.0.1",
        "format": ["application/fhir+json", "json"],
        "implementationGuide": ["http://hl7.it/fhir/televisita/ImplementationGuide/televisita"],
        "rest": [
            {
                "mode": "server",
                "documentation": "An Appointment is found by its first identifier, the booking "
                "code. What it refers to is sent with it, in the same bundle, or before or after "
                "it on its own. A message that cannot be applied is answered with an "
                "OperationOutcome and kept in quarantine. What a profile asks for and a message "
                "leaves out is a warning.",
                "security": {"description": "A bearer token of each source, in Authorization"},
                "resource": [
                    _appointment_capabilities(),
                    *(_kept_capabilities(kind) for kind in sorted(LINKS) if kind != "Appointment"),
                ],
                "interaction": [{"code": "transaction"}, {"code": "batch"}],
            }
        ],
    }


def _appointment_capabilities() -> Resource:
    return {
        "type": "Appointment",
        "supportedProfile": [f"{_GUIDE}/AppointmentTelevisita"],
        "interaction": [{"code": code} for code in ("create", "update", "read", "search-type")],
        "versioning": "versioned",
        "readHistory": False,
        "updateCreate": True,
        "conditionalCreate": True,
        "conditionalUpdate": True,
        "referencePolicy": ["literal", "logical", "local"],
        "searchParam": [{"name": "identifier", "type": "token"}],
    }


def _kept_capabilities(kind: str) -> Resource:
    return {
        "type": kind,
        "interaction": [{"code": "create"}, {"code": "update"}],
        "versioning": "versioned",
        "updateCreate": True,
        "conditionalCreate": True,
        "conditionalUpdate": True,
    }


def instant(moment: datetime) -> str:
    """A FHIR ``instant``."""
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")
