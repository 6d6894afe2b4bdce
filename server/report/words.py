"""What every form of a report says of the visit in words: mode, times, presence, line. Pure.

A report is an Italian document whatever the language of the screen, so its words are here and not
in the catalogues. TV-12: who was present, the quality of the line and that it was suitable, and
that the service was given as a *televisita*.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import timedelta
from typing import Final

from server.models import Outcome, ReportKind, Suitability
from server.report.content import (
    Attendance,
    Document,
    Presence,
    ReportContent,
    Session,
)
from server.report.texts import clean_line, clock, day_and_time
from server.sealed import Section

MODE: Final = "Prestazione erogata in modalità di televisita."
TITLE: Final = "Referto di Televisita"
_ANNOTATION: Final = "Annotazione digitale di Televisita"
PEOPLE: Final[Mapping[Presence, str]] = {
    Presence.PATIENT: "Paziente",
    Presence.CLINICIAN: "Medico",
    Presence.CAREGIVER: "Caregiver",
    Presence.INTERPRETER: "Interprete",
    Presence.PROFESSIONAL: "Altro professionista sanitario",
}
SECTION_TITLES: Final[Mapping[Section, str]] = {
    Section.QUESTION: "Quesito diagnostico",
    Section.HISTORY: "Storia clinica",
    Section.ALLERGIES: "Allergie",
    Section.CURRENT_THERAPY: "Terapia farmacologica in atto",
    Section.EARLIER_TESTS: "Precedenti esami eseguiti",
    Section.EXAMINATION: "Esame obiettivo",
    Section.PERFORMED: "Prestazioni",
    Section.COMPARISON: "Confronto con precedenti esami eseguiti",
    Section.FINDINGS: "Referto",
    Section.DIAGNOSIS: "Diagnosi",
    Section.CONCLUSIONS: "Conclusioni",
    Section.ADVICE: "Suggerimenti per il medico prescrittore",
    Section.FURTHER_TESTS: "Accertamenti e controlli consigliati",
    Section.THERAPY: "Terapia farmacologica consigliata",
}
_STATED: Final[Mapping[Suitability, str]] = {
    Suitability.SUITABLE: "Il medico dichiara che il collegamento è stato idoneo alla prestazione.",
    Suitability.VOICE_ONLY: "Il medico dichiara che il collegamento è stato idoneo alla"
    " prestazione per la sola voce.",
    Suitability.NOT_SUITABLE: "Il medico dichiara che il collegamento non è stato idoneo alla"
    " prestazione.",
}
_MEASURED: Final[Mapping[Suitability, str]] = {
    Suitability.SUITABLE: "voce e immagine buone",
    Suitability.VOICE_ONLY: "voce buona, immagine insufficiente",
    Suitability.NOT_SUITABLE: "voce insufficiente",
}
_OUTCOMES: Final[Mapping[Outcome, str]] = {
    Outcome.CONVERTED_TO_IN_PERSON: "La visita prosegue in presenza.",
    Outcome.TECHNICAL_FAILURE: "La visita si è interrotta per un problema tecnico.",
}
_EXTRAS: Final = (Presence.CAREGIVER, Presence.INTERPRETER, Presence.PROFESSIONAL)
_LISTED_BREAKS: Final = 20
"""More are counted, not listed."""


def title_of(document: Document) -> str:
    title = _ANNOTATION if document.is_annotation else TITLE
    return f"Addendum: {title}" if document.kind is ReportKind.ADDENDUM else title


def session_sentences(content: ReportContent) -> list[str]:
    """Everything TV-12 asks for, a sentence or a line each."""
    session = content.session
    return [
        MODE,
        f"Inizio: {day_and_time(session.began_at)}. Fine: {day_and_time(session.ended_at)}.",
        *([_OUTCOMES[session.outcome]] if session.outcome in _OUTCOMES else []),
        *presence_sentences(session),
        *line_sentences(session),
    ]


def presence_sentences(session: Session) -> list[str]:
    """Who took part, with the times of those whose times are measured; and who did not."""
    present = {attendance.who for attendance in session.attendance}
    absent = [PEOPLE[who].lower() for who in _EXTRAS if who not in present]
    lines = [_attendance(attendance) for attendance in session.attendance]
    if absent:
        lines.append(f"Non presenti: {', '.join(absent)}.")
    return lines


def line_sentences(session: Session) -> list[str]:
    """The quality as measured, the breaks, and what the clinician states of it."""
    return [*_measured(session), *_breaks(session), *_stated(session)]


def _attendance(attendance: Attendance) -> str:
    words = clean_line(attendance.words)
    who = PEOPLE[attendance.who] + (f" ({words})" if words else "")
    if not attendance.intervals:
        return f"Presente: {who}."
    times = ", ".join(f"{clock(start)}–{clock(end)}" for start, end in attendance.intervals)
    return f"Presente: {who}, collegato {times}."


def _measured(session: Session) -> Iterator[str]:
    if session.proposed is None:
        yield "Qualità del collegamento: non misurata."
    else:
        yield f"Qualità del collegamento misurata: {_MEASURED[session.proposed]}."


def _breaks(session: Session) -> Iterator[str]:
    count = len(session.breaks)
    if not count:
        return
    seconds = round(sum(seconds for _, seconds in session.breaks))
    head = "Una interruzione" if count == 1 else f"{count} interruzioni"
    text = f"{head} del collegamento, in tutto {_duration(seconds)}"
    if count <= _LISTED_BREAKS:
        text += f": {', '.join(clock(moment) for moment, _ in session.breaks)}"
    yield text + "."


def _duration(seconds: int) -> str:
    minutes, rest = divmod(int(timedelta(seconds=seconds).total_seconds()), 60)
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"


def _stated(session: Session) -> Iterator[str]:
    if session.suitability is not None:
        yield _STATED[session.suitability]
    else:
        yield "Idoneità del collegamento: secondo quanto misurato."
