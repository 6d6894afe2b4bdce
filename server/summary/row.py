"""The rest of a summary: what booking, visit and measures say, beside the log."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Any, Final

from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import joinedload

from recordings.vault import SealBroken
from server.audit import Act
from server.i18n import ROME
from server.keyring import Keyring
from server.line.history import merge_breaks
from server.line.measured import Cause, Outage, Seat
from server.models import Appointment, CallInterval, CallOutage, Visit
from server.sealed import open_details, open_identity, warm_keys
from server.summary.problems import pack_problems
from server.summary.told import TOLD_COLUMNS, Heard, Told

_MINUTE: Final = timedelta(minutes=1)
_LONGEST_NAME: Final = 64
_OF_BOOKING: Final = frozenset(
    {
        Act.BOOKING_IMPORTED, Act.BOOKING_MOVED, Act.IDENTITY_COMPLETED, Act.PATIENTS_MERGED,
        Act.PATIENT_RECTIFIED,
    }
)  # fmt: skip
"""After these the sealed words of the booking may be others."""
_OF_MEASURES: Final = frozenset({Act.FINISHED, Act.OUTCOME, Act.SUITABILITY_STATED})


@dataclass(frozen=True, slots=True)
class Words:
    """What is sealed in the booking and counts here."""

    municipality: str = ""
    needs_interpreter: bool = False
    prescribed_on: date | None = None
    booked_on: date | None = None
    offered_on: date | None = None


@dataclass(frozen=True, slots=True)
class Facts:
    """What is known of a visit beside its log; ``None`` where the row keeps what it has."""

    visit: Visit
    words: Words | None = None
    path: str | None = None
    broken_seconds: int | None = None


async def load_facts(
    session: AsyncSession, keyring: Keyring, heard: Mapping[str, Sequence[Heard]]
) -> dict[str, Facts]:
    """Of the visits that entries speak of; ids that are no visit are left out."""
    visits = list(
        await session.scalars(
            select(Visit)
            .where(Visit.id.in_(heard))
            .options(joinedload(Visit.appointment).joinedload(Appointment.patient))
        )
    )
    told = {visit_id: {entry.word for entry in entries} for visit_id, entries in heard.items()}
    await warm_keys(keyring, session, (row for row in visits if told[row.id] & _OF_BOOKING))
    ended = [visit.id for visit in visits if told[visit.id] & _OF_MEASURES]
    paths = await _load_paths(session, ended)
    breaks = await _load_broken_seconds(session, ended)
    return {
        visit.id: Facts(
            visit,
            await _load_words(session, keyring, visit.appointment, told[visit.id]),
            paths.get(visit.id),
            breaks.get(visit.id),
        )
        for visit in visits
    }


def make_row(facts: Facts, told: Told, known: Any) -> dict[str, Any]:
    """The columns of one summary. ``known`` is the row as it was, or ``None``."""
    visit, appointment = facts.visit, facts.visit.appointment
    told.notice_wait(appointment.start)
    since, until = told.waiting_at, told.admitted_at or told.closed_at
    row: dict[str, Any] = {name: getattr(told, name) for name in TOLD_COLUMNS} | {
        "visit_id": visit.id,
        "organisation_id": visit.organisation_id,
        "start": appointment.start,
        "scheduled_minutes": round((appointment.end - appointment.start) / _MINUTE),
        "clinic_id": appointment.clinic_id,
        "clinician_id": appointment.clinician_id,
        "state": visit.state,
        "outcome": visit.outcome,
        "outcome_reason": visit.outcome_reason,
        "priority": appointment.priority,
        "is_first_visit": appointment.is_first_visit,
        "waited_seconds": _seconds(since, until),
        "visit_seconds": _seconds(told.admitted_at, told.closed_at),
        "path": _kept(facts.path, known, "path", ""),
        "broken_seconds": _kept(facts.broken_seconds, known, "broken_seconds", 0),
        "problems": pack_problems(told.problems),
        "has_problem": bool(told.problems),
    }
    words = facts.words
    for name in ("municipality", "prescribed_on", "booked_on", "offered_on"):
        row[name] = getattr(words if words is not None else known, name)
    if words is not None:
        row["has_interpreter"] |= words.needs_interpreter
        row["booked_on"] = words.booked_on or appointment.created_at.astimezone(ROME).date()
    return row


def _kept(new: Any, known: Any, name: str, usual: Any) -> Any:
    if new is not None:
        return new
    return usual if known is None else getattr(known, name)


def _seconds(start: datetime | None, end: datetime | None) -> int | None:
    if start is None or end is None:
        return None
    return max(0, round((end - start).total_seconds()))


async def _load_words(
    session: AsyncSession, keyring: Keyring, appointment: Appointment, acts: Collection[str]
) -> Words | None:
    if not _OF_BOOKING.intersection(acts) and not appointment.is_erased:
        return None
    try:
        identity = await open_identity(keyring, session, appointment.patient)
        details = await open_details(keyring, session, appointment)
    except SealBroken:
        return Words()
    city = identity.residence.city if identity.residence else ""
    return Words(
        city.strip()[:_LONGEST_NAME],
        bool(details.interpreter),
        details.prescribed_on,
        details.booked_on,
        details.offered_on,
    )


async def _load_paths(session: AsyncSession, visits: Collection[str]) -> dict[str, str]:
    """How the two reached each other for most of the time."""
    if not visits:
        return {}
    seconds = func.sum(CallInterval.seconds)
    rows = await session.execute(
        select(CallInterval.visit_id, CallInterval.path)
        .where(CallInterval.visit_id.in_(visits), CallInterval.path != "relay")
        .group_by(CallInterval.visit_id, CallInterval.path)
        .order_by(seconds, CallInterval.path)
    )
    return {visit_id: path for visit_id, path in rows}  # noqa: C416 - the longest comes last


async def _load_broken_seconds(session: AsyncSession, visits: Collection[str]) -> dict[str, int]:
    """Seconds without a line; what both pages lived counts once."""
    if not visits:
        return {}
    rows = await session.execute(
        select(
            CallOutage.visit_id, CallOutage.seat, CallOutage.began_at, CallOutage.seconds,
            CallOutage.cause,
        ).where(CallOutage.visit_id.in_(visits))
    )  # fmt: skip
    outages: dict[str, list[Outage]] = {}
    for visit_id, seat, began_at, seconds, cause in rows:
        outages.setdefault(visit_id, []).append(Outage(Seat(seat), began_at, seconds, Cause(cause)))
    return {
        visit_id: round(sum(gap.seconds for gap in merge_breaks(group)))
        for visit_id, group in outages.items()
    }
