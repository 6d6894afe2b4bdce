"""Patient, professional and body of a report. Pure."""

from __future__ import annotations

from server.report.content import IdentifierKind
from server.report.fhir import rules
from server.report.fhir.parts import UNKNOWN, Forms, Resource, address_of, coded, told
from server.report.texts import clean_line


def make_patient(forms: Forms) -> Resource:
    patient = forms.content.patient
    born = patient.birth_date
    name = told(
        family=clean_line(patient.family_name),
        given=[given] if (given := clean_line(patient.given_name)) else [],
    )
    phone = [{"system": "phone", "value": patient.phone}] if patient.phone else []
    email = [{"system": "email", "value": patient.email}] if patient.email else []
    place = address_of(patient.birth_place)
    home = address_of(patient.residence)
    return forms.make(
        "Patient",
        {
            "identifier": _patient_identifiers(forms),
            "name": [name],
            "gender": rules.GENDERS[patient.sex],
        }
        | ({"birthDate": born.isoformat()} if born else {"_birthDate": UNKNOWN}),
        of="PatientTelevisita",
        telecom=phone + email,
        address=[home | {"use": "home"}] if home else [],
        extension=[{"url": rules.BIRTH_PLACE, "valueAddress": place}] if place else [],
    )


def _patient_identifiers(forms: Forms) -> list[Resource]:
    identifier = forms.content.patient.identifier
    if identifier.kind is IdentifierKind.REGIONAL:
        system = rules.region_system(forms.content.body.region_code)
    else:
        system = rules.PATIENT_SYSTEMS[identifier.kind]
    own = [{"system": system, "value": identifier.value}]
    if identifier.kind is IdentifierKind.TEAM:
        return [{"system": rules.TEAM_CARD, "value": identifier.card}, *own]
    return own


def make_practitioner(forms: Forms) -> Resource:
    author = forms.content.author
    name = told(
        family=author.family_name,
        given=[author.given_name] if author.given_name else [],
        prefix=[author.title] if author.title else [],
    )
    return forms.make(
        "Practitioner",
        {"identifier": [_author_identifier(forms)], "name": [name]},
        of="PractitionerTelevisita",
    )


def _author_identifier(forms: Forms) -> Resource:
    code = forms.content.author.codice_fiscale
    return {"system": rules.PATIENT_SYSTEMS[IdentifierKind.CODICE_FISCALE], "value": code}


def make_role(forms: Forms) -> Resource:
    return forms.make(
        "PractitionerRole",
        {
            "identifier": [_author_identifier(forms)],
            "practitioner": forms.reference("Practitioner"),
            "organization": forms.reference("Organization"),
        },
        of="PractitionerRoleTelevisita",
        specialty=list_specialties(forms),
    )


def list_specialties(forms: Forms) -> list[Resource]:
    """The discipline of the clinic, where it has one."""
    body = forms.content.body
    if not body.discipline_code:
        return []
    return [coded(rules.SPECIALTIES, body.discipline_code, body.clinic_name)]


def make_organisation(forms: Forms) -> Resource:
    body = forms.content.body
    system = f"{rules.SID}/fls" if body.ministry_code else "urn:accanto:organisation"
    place = address_of(body.address)
    return forms.make(
        "Organization",
        {
            "identifier": [{"system": system, "value": body.ministry_code or body.code}],
            "name": body.name,
        },
        of="OrganizationT1",
        telecom=[{"system": "phone", "value": body.phone}] if body.phone else [],
        address=[place] if place else [],
    )
