"""Events as FHIR R4 resources of the televisita guide. Pure.

A booking is named by its identifier, never by a name or a codice fiscale: CUP knows whose it is.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from server.cup.fhir.mapping import NOSOLOGICAL_SYSTEM
from server.cup.fhir.tree import Resource
from server.cup.fhir.words import instant
from server.cup.outbox.outgoing import OutgoingEvent
from server.models import EventKind, Outcome

EVENT_SYSTEM: Final = "urn:accanto:event"
"""Of the identifiers that keep a repeat from being taken twice."""
_GUIDE: Final = "http://hl7.it/fhir/televisita/StructureDefinition"
_CANCELLATION: Final = "http://terminology.hl7.org/CodeSystem/appointment-cancellation-reason"
_PARTICIPATION: Final = "http://terminology.hl7.org/CodeSystem/v3-ParticipationType"
_ACT_CODE: Final = "http://terminology.hl7.org/CodeSystem/v3-ActCode"
_ORGANISATION: Final = "http://hl7.it/sid/fls"
_CATALOGUE: Final = "http://hl7.it/fhir/televisita/CodeSystem/CsCatalogoNazionalePrestazioni"
_KIND_STATUSES: Final = {EventKind.CHECKED_IN: "checked-in", EventKind.BEGUN: "arrived"}
_OUTCOME_STATUSES: Final = {Outcome.COMPLETED: "fulfilled", Outcome.NO_SHOW_PATIENT: "noshow"}
"""Every other outcome is no fault of the patient: cancelled by the structure, with the reason."""
_CANCELLATION_CODES: Final = {
    Outcome.TECHNICAL_FAILURE: ("maint", "Equipment Maintenance/Repair"),
    Outcome.NO_SHOW_CLINICIAN: ("prov", "Provider"),
}


def status_of(event: OutgoingEvent, words: Mapping[str, str]) -> str:
    """What the Appointment of CUP becomes; ``words`` are how this source writes an outcome."""
    if event.kind in _KIND_STATUSES:
        return _KIND_STATUSES[event.kind]
    outcome = Outcome(str(event.facts["outcome"]))
    return words.get(outcome) or _OUTCOME_STATUSES.get(outcome, "cancelled")


def render_response(event: OutgoingEvent) -> Resource:
    """The patient comes, or asks to cancel."""
    is_coming = event.kind is EventKind.CONFIRMED
    response: Resource = {
        "resourceType": "AppointmentResponse",
        "identifier": [_own_identifier(event)],
        "appointment": _booking(event),
        "start": instant(event.start),
        "end": instant(event.end),
        "participantType": [_subject()],
        "participantStatus": "accepted" if is_coming else "declined",
    }
    if event.facts.get("late"):
        response["comment"] = "late"
    return response


def render_status(event: OutgoingEvent, theirs: Resource, words: Mapping[str, str]) -> Resource:
    """CUP's own Appointment with its new status, or a bare one when CUP does not show its own."""
    status = status_of(event, words)
    appointment: Resource = {
        "resourceType": "Appointment",
        "identifier": [{"value": event.booking_code}],
        "start": instant(event.start),
        "end": instant(event.end),
        "participant": [{"type": [_subject()], "status": "accepted"}],
        **theirs,
        "status": status,
    }
    appointment.pop("cancelationReason", None)
    if status == "cancelled":
        appointment["cancelationReason"] = _cancellation(event)
    return appointment


def render_encounter(event: OutgoingEvent) -> Resource:
    """``EncounterTelevisita``: what took place, with the actual times of the session log."""
    period = {
        "start": str(event.facts.get("began_at") or instant(event.start)),
        "end": str(event.facts.get("ended_at") or instant(event.sent_at)),
    }
    encounter: Resource = {
        "resourceType": "Encounter",
        "meta": {"profile": [f"{_GUIDE}/EncounterTelevisita"]},
        "identifier": [{"system": NOSOLOGICAL_SYSTEM, "value": nosological_code(event)}],
        "status": "finished",
        "class": {"system": _ACT_CODE, "code": "VR", "display": "virtual"},
        "appointment": [_booking(event)],
        "period": period,
        "serviceProvider": {
            "type": "Organization",
            "identifier": {"system": _ORGANISATION, "value": event.organisation_code},
        },
    }
    if event.clinician_code:
        clinician = {"type": "Practitioner", "identifier": {"value": event.clinician_code}}
        encounter["participant"] = [{"period": period, "individual": clinician}]
    return encounter


def render_rectification(event: OutgoingEvent, words: Mapping[str, str]) -> Resource | None:
    """CUP is asked to look at its data of the patient; which fields, never their values. None where
    the source has no word for it."""
    word = words.get(event.kind.value)
    if not word:
        return None
    return {
        "resourceType": "Task",
        "identifier": [_own_identifier(event)],
        "status": "requested",
        "intent": "order",
        "code": {"text": word},
        "description": str(event.facts["fields"]),
        "focus": _booking(event),
        "authoredOn": instant(event.sent_at),
    }


def render_rebooking(event: OutgoingEvent) -> Resource:
    """A new booking is asked for, in person, and the reason is named."""
    appointment: Resource = {
        "resourceType": "Appointment",
        "identifier": [_own_identifier(event)],
        "status": "proposed",
        "reasonCode": [{"text": _reason(event)}],
        "supportingInformation": [_booking(event)],
        "comment": "in person",
        "participant": [{"type": [_subject()], "required": "required", "status": "needs-action"}],
    }
    if event.service_code:
        coding = {"system": _CATALOGUE, "code": event.service_code}
        appointment["serviceType"] = [{"coding": [coding]}]
    return appointment


def nosological_code(event: OutgoingEvent) -> str:
    """One encounter per booking: the same at every repeat."""
    return f"{event.organisation_code}.{event.booking_code}"


def _cancellation(event: OutgoingEvent) -> Resource:
    outcome = Outcome(str(event.facts["outcome"]))
    code, display = _CANCELLATION_CODES.get(outcome, ("other", "Other"))
    coding = {"system": _CANCELLATION, "code": code, "display": display}
    return {"coding": [coding], "text": _reason(event)}


def _reason(event: OutgoingEvent) -> str:
    """Stable words: how the visit ended and why."""
    words = (str(event.facts.get(name, "")) for name in ("outcome", "reason"))
    return " ".join(word.replace("_", " ") for word in words if word) or "in person"


def _own_identifier(event: OutgoingEvent) -> Resource:
    return {"system": EVENT_SYSTEM, "value": event.control_id}


def _booking(event: OutgoingEvent) -> Resource:
    return {"type": "Appointment", "identifier": {"value": event.booking_code}}


def _subject() -> Resource:
    return {"coding": [{"system": _PARTICIPATION, "code": "SBJ"}]}
