"""The visit of a report: encounter, order, appointment and what was done. Pure.

Times are the actual ones; the appointment's are those it was booked for.
"""

from __future__ import annotations

from server.report import words
from server.report.content import Presence
from server.report.fhir import rules
from server.report.fhir.parts import UNKNOWN, Forms, Resource, coded, instant, period, told
from server.report.fhir.people import list_specialties
from server.report.texts import clean
from server.sealed import Coding, Section


def make_encounter(forms: Forms) -> Resource:
    """Actual times: of the visit, and of the clinician in it."""
    content, session = forms.content, forms.content.session
    order = content.order
    code, display, _ = rules.PRIORITIES.get(order.priority, ("", "", ""))
    role = {
        "individual": forms.reference("Practitioner"),
        "period": _clinician_period(forms),
    }
    conditions = [
        {"condition": forms.reference(f"Condition{number}")}
        for number in range(len(content.diagnosis_codes))
    ]
    return forms.make(
        "Encounter",
        {
            "identifier": [{"system": rules.EPISODE, "value": order.episode_code}],
            "status": "finished",
            "class": {"system": rules.ACT_CODE, "code": "VR", "display": "virtual"},
            "subject": forms.reference("Patient"),
            "basedOn": [forms.reference("ServiceRequest")],
            "participant": [role],
            "appointment": [forms.reference("Appointment")],
            "period": period(session.began_at, session.ended_at),
            "serviceProvider": forms.reference("Organization"),
        },
        of="EncounterTelevisita",
        type=list_specialties(forms),
        priority=coded(rules.ACT_PRIORITY, code, display) if code else {},
        diagnosis=conditions,
    )


def _clinician_period(forms: Forms) -> Resource:
    session = forms.content.session
    spans = [
        span
        for one in session.attendance
        if one.who is Presence.CLINICIAN
        for span in one.intervals
    ]
    if not spans:
        return period(session.began_at, session.ended_at)
    return period(min(start for start, _ in spans), max(end for _, end in spans))


def make_service_request(forms: Forms) -> Resource:
    """NRE as requisition; without a prescription (TV-11) the booking stands for it."""
    content, order = forms.content, forms.content.order
    _, _, priority = rules.PRIORITIES.get(order.priority, ("", "", ""))
    nre = [{"system": rules.NRE, "value": order.nre}] if order.nre else []
    branch = content.body.branch_code
    category = coded(rules.BRANCHES, branch, content.body.clinic_name or content.body.name)
    on = order.prescribed_on
    return forms.make(
        "ServiceRequest",
        {
            "identifier": [*nre, {"value": order.booking_code}],
            "status": "completed",
            "intent": "order",
            "category": [category],
            "code": _service_code(forms, content.services[0], order.regional_code),
            "subject": forms.reference("Patient"),
            "requester": {"type": "Practitioner", "display": order.prescriber}
            if order.prescriber
            else UNKNOWN,
        }
        | ({"authoredOn": on.isoformat()} if on else {"_authoredOn": UNKNOWN}),
        of="ServiceRequestTelevisita",
        requisition=told(value=order.nre),
        priority=priority,
        insurance=[{"type": "Coverage", "display": order.exemption}] if order.exemption else [],
        reasonCode=_reasons(forms),
    )


def _reasons(forms: Forms) -> list[Resource]:
    question = clean(forms.content.sections.get(Section.QUESTION, ""))
    codes = [coded(rules.ICD9_CM, one.code, one.display) for one in forms.content.question_codes]
    return codes or ([{"text": question}] if question else [])


def _service_code(forms: Forms, service: Coding, regional: str = "") -> Resource:
    code = coded(rules.NOMENCLATURE, service.code, service.display)
    if not regional:
        return code
    local = {"system": rules.REGIONAL_CATALOGUE, "code": regional}
    return code | {"coding": [*code.get("coding", []), local]}


def make_appointment(forms: Forms) -> Resource:
    order, session = forms.content.order, forms.content.session
    booked = order.booked_on
    return forms.make(
        "Appointment",
        {
            "identifier": [{"value": order.booking_code}],
            "status": "fulfilled",
            "basedOn": [forms.reference("ServiceRequest")],
            "start": instant(order.starts_at or session.began_at),
            "end": instant(order.ends_at or session.ended_at),
            "participant": [
                {"actor": forms.reference(actor), "status": "accepted"}
                for actor in ("Patient", "PractitionerRole")
            ],
        },
        of="AppointmentTelevisita",
        created=booked.isoformat() if booked else "",
    )


def make_procedure(forms: Forms, number: int) -> Resource:
    content, session = forms.content, forms.content.session
    performer = {"actor": forms.reference("PractitionerRole")}
    return forms.make(
        "Procedure",
        {
            "status": "completed",
            "code": _service_code(forms, content.services[number]),
            "subject": forms.reference("Patient"),
            "encounter": forms.reference("Encounter"),
            "basedOn": [forms.reference("ServiceRequest")],
            "performedPeriod": period(session.began_at, session.ended_at),
            "performer": [performer],
            "report": [forms.reference("Composition")],
            "note": [{"text": " ".join(words.session_sentences(content))}],
        },
        of="ProcedureTelevisita",
        name=f"Procedure{number}",
    )
