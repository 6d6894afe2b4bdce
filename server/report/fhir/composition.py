"""The Composition of a report and what its sections refer to. Pure.

A caregiver is named in the text of *Prestazioni* alone: the profile of Encounter has no place for
one (``participant.individual`` is a professional, domain §3.2).
"""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Iterator

from server.models import ReportKind
from server.report import words
from server.report.fhir import rules
from server.report.fhir.parts import RFC_3986, Forms, Resource, coded, instant, narrative, told
from server.report.texts import clean_line, paragraphs
from server.sealed import Coding, Section


def make_composition(forms: Forms) -> Resource:
    document = forms.content.document
    role, when = forms.reference("PractitionerRole"), instant(document.created_at)
    set_id = forms.id("set", document.set_id)
    return forms.make(
        "Composition",
        {
            "identifier": {"system": RFC_3986, "value": f"urn:uuid:{set_id}"},
            "status": "amended" if document.version > 1 else "final",
            "type": coded(rules.LOINC, "75496-0", "Telehealth Note"),
            "subject": forms.reference("Patient"),
            "encounter": forms.reference("Encounter"),
            "date": when,
            "author": [role],
            "title": words.TITLE,
            "confidentiality": "V" if document.is_obscured else "N",
            "attester": [{"mode": "legal", "time": when, "party": role}],
            "custodian": forms.reference("Organization"),
            "section": list(_sections(forms)),
        },
        of="CompositionRefertoTelevisita",
        relatesTo=_relations(forms),
    )


def _relations(forms: Forms) -> list[Resource]:
    document = forms.content.document
    if not document.replaces_id:
        return []
    is_addendum = document.kind is ReportKind.ADDENDUM and document.version == 1
    target = f"urn:uuid:{forms.id('Bundle', document.replaces_id)}"
    return [
        {
            "code": "appends" if is_addendum else "replaces",
            "targetIdentifier": {"system": RFC_3986, "value": target},
        }
    ]


def _sections(forms: Forms) -> Iterator[Resource]:
    """In the order of the guide; history, allergies, therapy and examination within one."""
    initial = [_section(forms, kind) for kind in rules.INITIAL_SECTIONS if _lines(forms, kind)]
    for kind in rules.SECTION_CODES:
        if kind in rules.INITIAL_SECTIONS:
            if initial and kind is rules.INITIAL_SECTIONS[0]:
                code, title = rules.INITIAL_PICTURE
                yield {"title": title, "code": coded(rules.LOINC, code), "section": initial}
        elif kind is Section.PERFORMED or _lines(forms, kind):
            yield _section(forms, kind)
    code, title = rules.ATTACHMENTS
    picture = [forms.reference("DocumentReference")]
    yield {"title": title, "code": coded(rules.LOINC, code), "entry": picture}


def _section(forms: Forms, kind: Section) -> Resource:
    if kind is Section.PERFORMED:
        count = len(forms.content.services)
        entries = [forms.reference(f"Procedure{number}") for number in range(count)]
        lines = [*words.session_sentences(forms.content), *_lines(forms, kind)]
    else:
        entries = [] if kind in rules.TEXT_ONLY else [forms.reference(kind.value)]
        lines = _lines(forms, kind)
    return {
        "title": words.SECTION_TITLES[kind],
        "code": coded(rules.LOINC, rules.SECTION_CODES[kind]),
        "text": narrative(lines),
    } | told(entry=entries)


def _lines(forms: Forms, kind: Section) -> list[str]:
    """The text of a section with the words of its codes."""
    codings: list[Coding] = []
    if kind is Section.QUESTION:
        codings = forms.content.question_codes
    elif kind is Section.DIAGNOSIS:
        codings = forms.content.diagnosis_codes
    coded_lines = (clean_line(f"{one.code} {one.display}") for one in codings)
    return [*paragraphs(forms.content.sections.get(kind, "")), *coded_lines]


def find_observed(forms: Forms) -> list[Section]:
    apart = rules.TEXT_ONLY | {Section.PERFORMED}
    return [kind for kind in rules.SECTION_CODES if kind not in apart and _lines(forms, kind)]


def make_observation(forms: Forms, kind: Section) -> Resource:
    is_narrative = kind in rules.NARRATIVES
    return forms.make(
        "Observation",
        {
            "status": "final",
            "code": coded(rules.LOINC, rules.SECTION_CODES[kind]),
            "subject": forms.reference("Patient"),
            "encounter": forms.reference("Encounter"),
            "performer": [forms.reference("Practitioner")],
            "effectiveDateTime": instant(forms.content.session.ended_at),
            "valueString": "\n".join(_lines(forms, kind)),
        },
        of="ObservationTelevisitaNarrative" if is_narrative else "ObservationTelevisita",
        name=kind.value,
    )


def make_condition(forms: Forms, number: int) -> Resource:
    coding = forms.content.diagnosis_codes[number]
    return forms.make(
        "Condition",
        {
            "code": coded(rules.ICD9_CM, coding.code, coding.display),
            "subject": forms.reference("Patient"),
            "encounter": forms.reference("Encounter"),
        },
        name=f"Condition{number}",
    )


def make_picture(forms: Forms) -> Resource:
    picture = forms.content.picture
    attachment = {
        "contentType": picture.media_type,
        "data": b64encode(picture.content).decode("ascii"),
    }
    return forms.make(
        "DocumentReference",
        {
            "status": "current",
            "subject": forms.reference("Patient"),
            "date": instant(forms.content.document.created_at),
            "content": [{"attachment": attachment | told(title=clean_line(picture.caption))}],
        },
    )
