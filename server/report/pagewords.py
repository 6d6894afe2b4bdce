"""The report as the words of its pages: Italian headings, labels and dates, in national order.

Pure. The result is what ``layout.typ`` sets; it knows no rule of its own. Every value that people
wrote goes through :func:`~server.report.glyphs.readable`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import date, datetime
from typing import Any, Final

from babel.dates import format_date

from server.i18n import ROME
from server.models import Outcome, ReportKind
from server.report.content import Address, IdentifierKind, ReportContent
from server.report.glyphs import FONT_FAMILIES, readable
from server.report.words import (
    SECTION_TITLES,
    line_sentences,
    presence_sentences,
    title_of,
)
from server.sealed import NATIONAL_SECTIONS, Coding, Section

_CHART_SHARE: Final = 100
_STILL_SHARE: Final = 70
"""Width of the picture in per cent of the line."""
_IDENTIFIERS: Final[Mapping[IdentifierKind, str]] = {
    IdentifierKind.CODICE_FISCALE: "Codice fiscale",
    IdentifierKind.STP: "Codice STP",
    IdentifierKind.ENI: "Codice ENI",
    IdentifierKind.TEAM: "Numero personale (TEAM)",
    IdentifierKind.ANA: "Codice ANA",
    IdentifierKind.REGIONAL: "Codice presso l'azienda",
}
_SEXES: Final = {"F": "femmina", "M": "maschio"}
_PRIORITIES: Final = {
    "U": "U (urgente)",
    "B": "B (breve)",
    "D": "D (differibile)",
    "P": "P (programmata)",
}
_OUTCOMES: Final[Mapping[Outcome, str]] = {
    Outcome.COMPLETED: "prestazione completata",
    Outcome.CONVERTED_TO_IN_PERSON: "la visita prosegue in presenza",
    Outcome.TECHNICAL_FAILURE: "interrotta per un problema tecnico",
    Outcome.NO_SHOW_PATIENT: "paziente non presente",
    Outcome.NO_SHOW_CLINICIAN: "medico non presente",
}
_MODE: Final = "televisita (visita a distanza, in tempo reale, in video)"
_OBSCURED: Final = (
    "Per volontà del paziente questo documento è oscurato nel Fascicolo Sanitario Elettronico."
)
_HOW_TO_VERIFY: Final = (
    "La firma è contenuta nel file (PAdES, artt. 20 e 24 del D.Lgs. 82/2005) e si controlla con un"
    " programma di verifica delle firme. Una copia stampata non la contiene."
)

Facts = list[tuple[str, str]]


def describe_pages(content: ReportContent) -> dict[str, Any]:
    """What ``layout.typ`` reads as JSON."""
    document, body = content.document, content.body
    sections = [_section_part(content, section) for section in NATIONAL_SECTIONS]
    parts = [_patient_part(content), _order_part(content), *sections, _visit_part(content)]
    pages = {
        "title": title_of(document),
        "author": _author(content),
        "description": f"Televisita del {_day(content.session.began_at)}",
        "keywords": [document.id, content.order.booking_code],
        "body": body.name,
        "places": _filled(
            [body.site_name, body.clinic_name, _address(body.address), _phone(body.phone)]
        ),
        "document": _document_facts(content),
        "notices": _notices(content),
        "parts": [part for part in parts if part],
        "picture": _picture(content),
        "signature": _signature(content),
        "foot": _foot(content),
        "page": "Pagina",
        "of": "di",
        "attached": "Lo stesso documento in formato HL7 CDA2",
    }
    return {"fonts": list(FONT_FAMILIES)} | {name: _readable(said) for name, said in pages.items()}


def _readable(said: Any) -> Any:
    if isinstance(said, str):
        return readable(said)
    if isinstance(said, Mapping):
        return {name: _readable(value) for name, value in said.items()}
    return [_readable(value) for value in said] if isinstance(said, list | tuple) else said


# ---- head and foot ---------------------------------------------------------------------


def _author(content: ReportContent) -> str:
    author = content.author
    return " ".join(_filled([author.title, author.given_name, author.family_name]))


def _document_facts(content: ReportContent) -> Facts:
    document = content.document
    return [
        ("Documento", document.id),
        ("Versione", str(document.version)),
        ("Redatto il", _moment(document.created_at)),
        ("Medico", _author(content)),
    ]


def _notices(content: ReportContent) -> list[str]:
    document, notices = content.document, []
    if document.replaces_id and document.kind is ReportKind.ADDENDUM:
        notices.append(f"Integra il documento {document.replaces_id}.")
    elif document.replaces_id:
        notices.append(
            f"Versione {document.version}. Sostituisce la versione {document.replaces_version}"
            f" (documento {document.replaces_id}), che non è più valida."
        )
    return [*notices, _OBSCURED] if document.is_obscured else notices


def _foot(content: ReportContent) -> list[str]:
    patient = content.patient
    who = f"{patient.family_name} {patient.given_name}"
    if patient.birth_date is not None:
        who += f" · {_date(patient.birth_date)}"
    return [f"{title_of(content.document)} · {content.body.name}", who]


# ---- parts -----------------------------------------------------------------------------


def _part(title: str, facts: Iterable[tuple[str, str]], text: str = "") -> dict[str, Any]:
    return {
        "title": title,
        "facts": [(label, value) for label, value in facts if value],
        "paragraphs": [part.strip("\n") for part in text.split("\n\n") if part.strip()],
    }


def _patient_part(content: ReportContent) -> dict[str, Any]:
    patient, identifier = content.patient, content.patient.identifier
    return _part(
        "Paziente",
        [
            ("Cognome e nome", f"{patient.family_name} {patient.given_name}"),
            (_IDENTIFIERS[identifier.kind], identifier.value),
            ("Numero della tessera", identifier.card),
            ("Data di nascita", _date(patient.birth_date)),
            ("Luogo di nascita", _address(patient.birth_place)),
            ("Sesso", _SEXES.get(patient.sex, "")),
            ("Residenza", _address(patient.residence)),
        ],
    )


def _order_part(content: ReportContent) -> dict[str, Any]:
    order = content.order
    return _part(
        "Prescrizione e prenotazione",
        [
            ("Codice di prenotazione (CUP)", order.booking_code),
            ("Ricetta (NRE)", order.nre),
            ("Medico prescrittore", order.prescriber),
            ("Data della prescrizione", _date(order.prescribed_on)),
            ("Classe di priorità", _PRIORITIES.get(order.priority, order.priority)),
            ("Esenzione", order.exemption),
            ("Tipo di visita", "prima visita" if order.is_first_visit else "visita di controllo"),
            ("Codice nosologico", order.episode_code),
        ],
    )


def _visit_part(content: ReportContent) -> dict[str, Any]:
    session = content.session
    return _part(
        "Svolgimento della televisita",
        [
            ("Modalità di erogazione", _MODE),
            ("Inizio", _moment(session.began_at)),
            ("Fine", _moment(session.ended_at)),
            ("Esito", _OUTCOMES[session.outcome]),
            ("Presenze", "\n".join(presence_sentences(session))),
            ("Collegamento", "\n".join(line_sentences(session))),
        ],
    )


def _section_part(content: ReportContent, section: Section) -> dict[str, Any] | None:
    text = content.sections.get(section, "").replace("\r\n", "\n").strip()
    codes = {
        Section.QUESTION: content.question_codes,
        Section.DIAGNOSIS: content.diagnosis_codes,
        Section.PERFORMED: content.services,
    }.get(section, [])
    if not text and not codes:
        return None
    label = "Prestazione" if section is Section.PERFORMED else "Codice ICD-9-CM"
    return _part(SECTION_TITLES[section], [(label, _coding(code)) for code in codes], text)


def _picture(content: ReportContent) -> dict[str, Any]:
    picture = content.picture
    caption = picture.caption or "senza descrizione"
    if not picture.is_clinical:
        return {
            "title": "Presenze e collegamento",
            "alt": f"Grafico delle presenze e del collegamento: {caption}",
            "caption": picture.caption,
            "share": _CHART_SHARE,
        }
    return {
        "title": "Immagine acquisita durante la visita",
        "alt": f"Immagine clinica: {caption}",
        "caption": picture.caption,
        "share": _STILL_SHARE,
    }


def _signature(content: ReportContent) -> dict[str, Any]:
    who, codice_fiscale = _author(content), content.author.codice_fiscale
    if codice_fiscale:
        who += f" ({codice_fiscale})"
    signed = f"Documento informatico firmato digitalmente da {who}."
    return {"title": "Firma", "paragraphs": [signed, _HOW_TO_VERIFY]}


# ---- values ----------------------------------------------------------------------------


def _filled(texts: Iterable[str]) -> list[str]:
    return [text for text in texts if text]


def _coding(coding: Coding) -> str:
    return f"{coding.code} {coding.display}"


def _address(address: Address) -> str:
    city = " ".join(_filled([address.postal_code, address.city]))
    if address.province:
        city = f"{city} ({address.province})".strip()
    return ", ".join(_filled([address.street, city, address.country]))


def _phone(number: str) -> str:
    return f"Telefono {number}" if number else ""


def _date(day: date | None) -> str:
    return "" if day is None else day.strftime("%d/%m/%Y")


def _day(moment: datetime) -> str:
    return format_date(moment.astimezone(ROME), "d MMMM y", locale="it")


def _moment(moment: datetime) -> str:
    return f"{_day(moment)}, ore {moment.astimezone(ROME):%H:%M}"
