"""The header of the CDA2: what the document is, who it is about, who made it, for which order."""

from __future__ import annotations

from urllib.parse import quote

from server.report import words
from server.report.cda import rules
from server.report.cda.xml import (
    Element,
    add,
    add_address,
    add_id,
    add_known,
    add_loinc,
    add_name,
    add_optional,
    add_period,
    add_phone,
    add_unknown,
    moment,
)
from server.report.content import Address, Body, Patient, Professional, ReportContent
from server.report.texts import clean_line

_MOBILE_PREFIXES = ("3", "+393", "00393")


def add_header(root: Element, content: ReportContent) -> None:
    """Everything before the component, in the order of the XSD."""
    _add_kind(root, content)
    _add_patient(root, content.patient, content.body)
    _add_author(root, content)
    _add_custodian(root, content.body)
    _add_signer(root, content)
    _add_prescriber(root, content)
    _add_order(root, content)
    _add_service(root, content)
    _add_related(root, content)
    _add_encounter(root, content)


def _add_kind(root: Element, content: ReportContent) -> None:
    document, body = content.document, content.body
    add(root, "realmCode", code="IT")
    add(root, "typeId", root="2.16.840.1.113883.1.3", extension="POCD_MT000040UV02")
    add(
        root,
        "templateId",
        root=rules.TEMPLATE,
        extension=rules.TEMPLATE_VERSION,
        assigningAuthorityName="HL7 Italia",
    )
    add_id(root, rules.document_root(body), document.id)
    add_loinc(root, "75496-0", "Telehealth note")
    add(root, "title", words.title_of(document))
    add(root, "effectiveTime", value=moment(document.created_at))
    add(
        root,
        "confidentialityCode",
        code="V" if document.is_obscured else "N",
        codeSystem=rules.CONFIDENTIALITY,
        codeSystemName="HL7 Confidentiality",
        displayName="very restricted" if document.is_obscured else "normal",
    )
    add(root, "languageCode", code="it-IT")
    add_id(root, rules.document_root(body), document.set_id, "setId")
    add(root, "versionNumber", value=str(document.version))


def _add_patient(root: Element, patient: Patient, body: Body) -> None:
    role = add(add(root, "recordTarget"), "patientRole")
    for place, value in rules.patient_roots(patient.identifier, body):
        add_id(role, place, value)
    add_address(role, patient.residence, "HP")
    is_mobile = patient.phone.startswith(_MOBILE_PREFIXES)
    add_phone(role, patient.phone, "MC" if is_mobile else "HP")
    if clean_line(patient.email):
        mailbox = quote(clean_line(patient.email), safe="@+")
        add(role, "telecom", use="HP", value=f"mailto:{mailbox}")
    person = add(role, "patient")
    add_name(person, patient.family_name, patient.given_name)
    code, display = rules.GENDERS[patient.sex]
    add(
        person,
        "administrativeGenderCode",
        code=code,
        codeSystem=rules.GENDER,
        codeSystemName="HL7 AdministrativeGender",
        displayName=display,
    )
    if patient.birth_date is None:
        add_unknown(person, "birthTime")
    else:
        add(person, "birthTime", value=f"{patient.birth_date:%Y%m%d}")
    _add_birth_place(person, patient.birth_place)


def _add_birth_place(person: Element, place: Address) -> None:
    """ERRORE-22: it must be there; unknown where nothing is known."""
    parent = add(add(person, "birthplace"), "place")
    if place == Address():
        add_unknown(parent, "addr")
        return
    address = add(parent, "addr")
    add_known(address, "country", place.country)
    add_optional(address, "county", place.province)
    add_known(address, "city", place.city)


def _add_author(root: Element, content: ReportContent) -> None:
    author = add(root, "author")
    add(author, "time", value=moment(content.document.created_at))
    assigned = add(author, "assignedAuthor", classCode="ASSIGNED")
    _add_professional_id(assigned, content.author)
    add(
        assigned,
        "code",
        code="221",
        codeSystem=rules.OCCUPATION,
        codeSystemName="ISCO-08",
        displayName="Medici",
    )
    add_phone(assigned, content.body.phone, "WP")
    _add_person(assigned, content.author)


def _add_professional_id(parent: Element, person: Professional) -> None:
    add_id(parent, rules.Root(rules.CODICE_FISCALE, "MEF"), person.codice_fiscale)


def _add_person(parent: Element, person: Professional) -> None:
    add_name(add(parent, "assignedPerson"), person.family_name, person.given_name, person.title)


def _add_body_id(parent: Element, body: Body) -> None:
    """ERRORE and W002: by the Ministry's code, else by our own."""
    if body.ministry_code:
        root = rules.Root(rules.BODY_CODE, "Ministero della Salute")
        add_id(parent, root, body.ministry_code)
    else:
        add_id(parent, rules.own_root(body, "body"), body.code)


def _add_custodian(root: Element, body: Body) -> None:
    assigned = add(add(root, "custodian"), "assignedCustodian")
    organisation = add(assigned, "representedCustodianOrganization")
    _add_body_id(organisation, body)
    add_known(organisation, "name", body.name)
    add_phone(organisation, body.phone, "WP")
    add_address(organisation, body.address, "WP")


def _add_signer(root: Element, content: ReportContent) -> None:
    signer = add(root, "legalAuthenticator")
    add(signer, "time", value=moment(content.document.created_at))
    add(signer, "signatureCode", code="S")
    assigned = add(signer, "assignedEntity")
    _add_professional_id(assigned, content.author)
    _add_person(assigned, content.author)


def _add_prescriber(root: Element, content: ReportContent) -> None:
    """CUP gives one text: which part of it is the family name, it does not say."""
    prescriber = clean_line(content.order.prescriber)
    if not prescriber:
        return
    participant = add(root, "participant", typeCode="REF")
    entity = add(participant, "associatedEntity", classCode="PROV")
    add_unknown(entity, "id")
    add_name(add(entity, "associatedPerson"), prescriber, "")


def _add_order(root: Element, content: ReportContent) -> None:
    """ERRORE-40: the order is there also without a prescription (TV-11), by its booking."""
    order = add(add(root, "inFulfillmentOf"), "order", classCode="ACT", moodCode="RQO")
    if content.order.nre:
        add_id(order, rules.Root(rules.NRE, "MEF"), content.order.nre)
    add_id(order, rules.own_root(content.body, "booking"), content.order.booking_code)
    if content.order.priority in rules.PRIORITIES:
        code, display = rules.PRIORITIES[content.order.priority]
        add(
            order,
            "priorityCode",
            code=code,
            codeSystem=rules.ACT_PRIORITY,
            codeSystemName="HL7 ActPriority",
            displayName=display,
        )


def _add_service(root: Element, content: ReportContent) -> None:
    event = add(add(root, "documentationOf"), "serviceEvent")
    add(
        event,
        "code",
        code="PROG",
        codeSystem=rules.ACCESS,
        codeSystemName="ActCode",
        displayName="Accesso Programmato",
    )
    add_period(event, content.session.began_at, content.session.ended_at)


def _add_related(root: Element, content: ReportContent) -> None:
    """A later version replaces the one before; the first of an addendum completes its report."""
    document = content.document
    if not document.replaces_id:
        return
    is_version = document.version > 1
    related = add(root, "relatedDocument", typeCode="RPLC" if is_version else "APND")
    parent = add(related, "parentDocument")
    place = rules.document_root(content.body)
    add_id(parent, place, document.replaces_id)
    if is_version:
        add_id(parent, place, document.set_id, "setId")
    if document.replaces_version:
        add(parent, "versionNumber", value=str(document.replaces_version))


def _add_encounter(root: Element, content: ReportContent) -> None:
    body, order = content.body, content.order
    encounter = add(add(root, "componentOf"), "encompassingEncounter")
    if order.episode_code:
        add_id(encounter, rules.episode_root(body), order.episode_code)
    add(
        encounter,
        "code",
        code="VR",
        codeSystem=rules.ACT_CODE,
        codeSystemName="ActCode",
        displayName="virtual",
    )
    add_period(encounter, content.session.began_at, content.session.ended_at)
    facility = add(add(encounter, "location"), "healthCareFacility")
    if body.clinic_code:
        add_id(facility, rules.own_root(body, "clinic"), body.clinic_code)
    if clean_line(body.clinic_name):
        add(add(facility, "location"), "name", clean_line(body.clinic_name))
    provider = add(facility, "serviceProviderOrganization", classCode="ORG")
    if body.site_code:
        add_id(provider, rules.Root(rules.SITE_CODE, "Ministero della Salute"), body.site_code)
    add_known(provider, "name", body.site_name or body.name)
    add_phone(provider, body.phone, "WP")
    whole = add(provider, "asOrganizationPartOf")
    _add_body_id(whole, body)
