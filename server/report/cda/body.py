"""The body of the CDA2: one section per theme, texts as paragraphs, codes as entries."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Sequence
from typing import Final

from server.report import words
from server.report.cda import rules
from server.report.cda.xml import (
    Element,
    add,
    add_loinc,
    add_paragraphs,
    add_period,
    add_unknown,
    moment,
)
from server.report.content import ReportContent
from server.report.texts import clean_line, paragraphs
from server.sealed import Coding, Section

_IMAGE: Final = "IMMAGINE"
_SUBSECTIONS: Final = (Section.ALLERGIES, Section.CURRENT_THERAPY)


def add_body(root: Element, content: ReportContent) -> None:
    structured = add(add(root, "component"), "structuredBody", classCode="DOCBODY", moodCode="EVN")
    for kind in rules.SECTIONS:
        if kind in _SUBSECTIONS:
            continue
        if kind is Section.PERFORMED:
            _add_performed(structured, content)
        elif kind is Section.HISTORY:
            _add_history(structured, content)
        else:
            _add_theme(structured, content, kind)


def _add_section(parent: Element, kind: Section) -> tuple[Element, Element]:
    """A section with its title; gives it and its text, still empty."""
    rule = rules.SECTIONS[kind]
    section = add(add(parent, "component"), "section", ID=kind.name)
    add(section, "templateId", root=f"{rules.SECTION_TEMPLATES}.{rule.template}")
    add_loinc(section, rule.code, rule.display)
    add(section, "title", words.SECTION_TITLES[kind])
    return section, add(section, "text")


def _lines_of(content: ReportContent, kind: Section) -> list[str]:
    return paragraphs(content.sections.get(kind, ""))


def _add_theme(structured: Element, content: ReportContent, kind: Section) -> None:
    """A section of text and, for the question and the diagnosis, of codes."""
    codings = _codings_of(content, kind)
    lines = _lines_of(content, kind)
    if not (lines or codings):
        return
    section, text = _add_section(structured, kind)
    add_paragraphs(text, lines)
    _add_coded_lines(text, codings, kind)
    if kind is Section.QUESTION:
        _add_codes(section, codings[:1], rules.QUESTION_ENTRY, kind)
    elif kind is Section.DIAGNOSIS:
        _add_codes(section, codings, rules.DIAGNOSIS_ENTRY, kind)


def _codings_of(content: ReportContent, kind: Section) -> Sequence[Coding]:
    if kind is Section.QUESTION:
        return content.question_codes
    return content.diagnosis_codes if kind is Section.DIAGNOSIS else ()


def _add_coded_lines(text: Element, codings: Sequence[Coding], kind: Section) -> None:
    for number, coding in enumerate(codings, 1):
        line = clean_line(f"{coding.code} {coding.display}")
        add(text, "paragraph", f"ICD-9-CM {line}", ID=f"{kind.name}_{number}")


def _add_codes(
    section: Element, codings: Sequence[Coding], topic: tuple[str, str], kind: Section
) -> None:
    """At most one entry of a question (ERRORE-b12): its other codes stay in the text, as does a
    code that is none of ICD-9-CM by its form."""
    for number, coding in enumerate(codings, 1):
        code = rules.diagnosis_code(coding.code)
        if not code:
            continue
        entry = add(section, "entry")
        observation = add(entry, "observation", classCode="OBS", moodCode="EVN")
        add_loinc(observation, *topic)
        value = add(
            observation,
            "value",
            code=code,
            codeSystem=rules.ICD9_CM,
            codeSystemName="ICD9-CM",
            displayName=coding.display,
        )
        value.set("xsi:type", "CD")
        original = add(value, "originalText")
        add(original, "reference", value=f"#{kind.name}_{number}")


def _add_history(structured: Element, content: ReportContent) -> None:
    """Allergies and current therapy are sections of the history, which then must have a text."""
    lines = _lines_of(content, Section.HISTORY)
    parts = {kind: _lines_of(content, kind) for kind in _SUBSECTIONS}
    if not (lines or any(parts.values())):
        return
    section, text = _add_section(structured, Section.HISTORY)
    add_paragraphs(text, lines or ["Si veda quanto segue."])
    for kind, part in parts.items():
        if part:
            _, inner = _add_section(section, kind)
            add_paragraphs(inner, part)


def _add_performed(structured: Element, content: ReportContent) -> None:
    """What was done, how and when; and the one image of the document (ERRORE-b4 to b6)."""
    section, text = _add_section(structured, Section.PERFORMED)
    for number, service in enumerate(content.services, 1):
        line = clean_line(f"{service.code} {service.display}")
        add(text, "paragraph", line, ID=f"PRESTAZIONE_{number}")
    add_paragraphs(text, words.session_sentences(content))
    add_paragraphs(text, _lines_of(content, Section.PERFORMED))
    shown = add(text, "renderMultiMedia", referencedObject=_IMAGE)
    add(shown, "caption", clean_line(content.picture.caption) or "Immagine")
    _add_act(section, content)
    _add_image(section, content)


def _add_act(section: Element, content: ReportContent) -> None:
    act = add(add(section, "entry"), "act", classCode="ACT", moodCode="EVN")
    _add_service_code(act, content.services[0])
    add(act, "effectiveTime", value=moment(content.session.began_at))
    body = content.body
    _add_setting(act, rules.BRANCH_TEMPLATE, rules.BRANCH, body.branch_code)
    _add_setting(act, rules.DISCIPLINE_TEMPLATE, rules.DISCIPLINE, body.discipline_code)
    for number, service in enumerate(content.services, 1):
        procedure = _add_procedure(act, content, service, number)
        if number == 1:
            _add_note(procedure, content)


def _add_setting(act: Element, template: str, system: str, code: str) -> None:
    """*Branca* and *disciplina* (ERRORE-b122 and b123); unknown where the clinic has none."""
    relation = add(act, "entryRelationship", typeCode="COMP")
    observation = add(relation, "observation", classCode="OBS", moodCode="EVN")
    add(observation, "templateId", root=template)
    if code:
        add(observation, "code", code=code, codeSystem=system)
    else:
        add_unknown(observation, "code")


def _add_procedure(act: Element, content: ReportContent, service: Coding, number: int) -> Element:
    relation = add(act, "entryRelationship", typeCode="COMP")
    procedure = add(relation, "procedure", classCode="PROC", moodCode="EVN")
    code = _add_service_code(procedure, service)
    original = add(code, "originalText")
    add(original, "reference", value=f"#PRESTAZIONE_{number}")
    add(procedure, "statusCode", code="completed")
    add_period(procedure, content.session.began_at, content.session.ended_at)
    return procedure


def _add_service_code(parent: Element, service: Coding) -> Element:
    """Unknown where CUP gave only words."""
    if not clean_line(service.code):
        return add_unknown(parent, "code")
    code, system = rules.service_code(clean_line(service.code))
    return add(parent, "code", code=code, codeSystem=system, displayName=service.display)


def _add_note(procedure: Element, content: ReportContent) -> None:
    """*Nota Prestazioni Tele*: what TV-12 asks for, once more where machines look for it."""
    relation = add(procedure, "entryRelationship", typeCode="COMP")
    note = add(relation, "act", classCode="ACT", moodCode="EVN")
    add_loinc(note, *rules.REMOTE_NOTE)
    add(note, "text", " ".join(words.session_sentences(content)))


def _add_image(section: Element, content: ReportContent) -> None:
    image = add(
        add(section, "entry"), "observationMedia", classCode="OBS", moodCode="EVN", ID=_IMAGE
    )
    value = add(image, "value", mediaType=content.picture.media_type, representation="B64")
    value.text = b64encode(content.picture.content).decode("ascii")
    value.set("xsi:type", "ED")
