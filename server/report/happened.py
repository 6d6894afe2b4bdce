"""What the log and the measurements say of one visit: times, presence, line. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from server.audit import Act, ActorRole
from server.errors import InvalidInput
from server.line.drawing import LineDrawing, draw_line
from server.line.history import merge_breaks
from server.line.measured import Measured
from server.line.presence import BarKind, Line, bars_of
from server.line.verdict import Limits
from server.models import Outcome, Suitability, Visit
from server.report.content import Attendance, LineBand, LineStretch, Presence, Session
from server.report.texts import clean_line

_TOOK_PLACE: Final = (
    Outcome.COMPLETED,
    Outcome.CONVERTED_TO_IN_PERSON,
    Outcome.TECHNICAL_FAILURE,
)
_STATED: Final = (Presence.CAREGIVER, Presence.INTERPRETER, Presence.PROFESSIONAL)
_MEASURED: Final = (
    (Presence.PATIENT, ActorRole.PATIENT),
    (Presence.CLINICIAN, ActorRole.CLINICIAN),
)


@dataclass(frozen=True, slots=True)
class Record:
    """What is kept of a visit. ``companions``: who is with the patient, in her own words."""

    visit: Visit
    log: Sequence[Line]
    measured: Measured
    companions: str = ""


def session_of(record: Record, limits: Limits, now: datetime) -> Session:
    """What happened; a visit that still goes on ends ``now``. Where the measurements are gone, what
    they proposed is in the log of the visit's end.

    :raises InvalidInput: nothing took place, or nobody knows what the line was good for (TV-12).
    """
    visit = record.visit
    if visit.outcome is None:
        raise InvalidInput("visit.outcome", "missing")
    if visit.admitted_at is None or visit.outcome not in _TOOK_PLACE:
        raise InvalidInput("visit.outcome", "nothing_took_place")
    began_at, ended_at = visit.admitted_at, max(visit.ended_at or now, visit.admitted_at)
    drawing = draw_line(record.measured, limits)
    proposed = drawing.verdict.suitability if drawing else _proposed_in(record.log)
    if visit.suitability is None and proposed is None:
        raise InvalidInput("visit.suitability", "missing")
    breaks = merge_breaks(record.measured.outages)
    return Session(
        began_at=began_at,
        ended_at=ended_at,
        outcome=visit.outcome,
        attendance=_attendance_of(record, began_at, ended_at),
        suitability=visit.suitability,
        proposed=proposed,
        breaks=[
            (each.start, round(each.seconds, 1))
            for each in breaks
            if began_at <= each.start < ended_at
        ],
        line=_stretches_of(drawing) if drawing else [],
    )


def _facts_of(log: Sequence[Line], act: Act) -> Mapping[str, object]:
    """The facts of the last entry of an act; none where there is none."""
    return next((line.facts for line in reversed(log) if line.act is act), {})


def _proposed_in(log: Sequence[Line]) -> Suitability | None:
    proposed = _facts_of(log, Act.SUITABILITY_STATED).get("proposed")
    return Suitability(str(proposed)) if proposed else None


def _attendance_of(record: Record, began_at: datetime, ended_at: datetime) -> list[Attendance]:
    """Times as the log holds them for patient and clinician; the others by the clinician's word."""
    present = str(_facts_of(record.log, Act.OUTCOME).get("present", "")).split(",")
    found = []
    for who, role in _MEASURED:
        intervals = [
            (max(bar.start, began_at), min(bar.end, ended_at))
            for bar in bars_of(record.log, role, ended_at)
            if bar.kind is BarKind.IN_VISIT and bar.start < ended_at and bar.end > began_at
        ]
        if intervals or who is Presence.CLINICIAN or who.value in present:
            found.append(Attendance(who=who, intervals=intervals))
    for who in _STATED:
        if who.value in present:
            is_companion = who is Presence.CAREGIVER
            words = clean_line(record.companions) if is_companion else ""
            found.append(Attendance(who=who, words=words))
    return found


def _stretches_of(drawing: LineDrawing) -> list[LineStretch]:
    return [
        LineStretch(
            sender=Presence(seat.value),
            began_at=stretch.start,
            ended_at=stretch.end,
            band=LineBand(stretch.band.value),
        )
        for seat, stretches in drawing.flows.items()
        for stretch in stretches
    ]
