"""Which visits a manager asks for: parsed from the address, turned into a statement."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from typing import Final

from sqlalchemy import Select, select
from sqlalchemy.orm import contains_eager, joinedload

from server.errors import InvalidInput
from server.i18n import ROME
from server.models import Appointment, Outcome, Visit, VisitState

LONGEST_LIST: Final = 1000
_USUAL_DAYS: Final = 7
RESULTS: Final = (*(word.value for word in Outcome), *(word.value for word in VisitState))
"""What the filter of results offers: an outcome, or the state of a visit without one."""


@dataclass(frozen=True, slots=True)
class Wish:
    """One filter: whole days in Europe/Rome; empty words ask for everything."""

    first_day: date
    last_day: date
    clinic_id: str = ""
    clinician_id: str = ""
    result: str = ""
    is_problems_only: bool = False

    def statement(self) -> Select[Visit]:
        """The visits, the newest first, with appointment, clinic and clinician."""
        wanted = (
            select(Visit)
            .join(Visit.appointment)
            .where(Appointment.start >= _midnight(self.first_day))
            .where(Appointment.start < _midnight(self.last_day + timedelta(days=1)))
            .options(
                contains_eager(Visit.appointment).options(
                    joinedload(Appointment.clinic), joinedload(Appointment.clinician)
                )
            )
            .order_by(Appointment.start.desc(), Visit.id)
            .limit(LONGEST_LIST)
        )
        if self.clinic_id:
            wanted = wanted.where(Appointment.clinic_id == self.clinic_id)
        if self.clinician_id:
            wanted = wanted.where(Appointment.clinician_id == self.clinician_id)
        if self.result in list(Outcome):
            wanted = wanted.where(Visit.outcome == Outcome(self.result))
        elif self.result:
            wanted = wanted.where(Visit.state == VisitState(self.result))
        return wanted


def parse_wish(query: Mapping[str, str], now: datetime) -> Wish:
    """The filter of an address; without days, the last week up to today.

    :raises InvalidInput: a day or a result is not one.
    """
    today = now.astimezone(ROME).date()
    last_day = _parse_day(query, "to", today)
    result = query.get("result", "")
    if result and result not in RESULTS:
        raise InvalidInput("result", "unknown")
    return Wish(
        first_day=_parse_day(query, "from", last_day - timedelta(days=_USUAL_DAYS)),
        last_day=last_day,
        clinic_id=query.get("clinic", ""),
        clinician_id=query.get("clinician", ""),
        result=result,
        is_problems_only=query.get("problems") == "yes",
    )


def _parse_day(query: Mapping[str, str], name: str, usual: date) -> date:
    text = query.get(name, "")
    if not text:
        return usual
    try:
        day = date.fromisoformat(text)
    except ValueError as error:
        raise InvalidInput(name, "bad_date") from error
    if not date(2000, 1, 1) <= day <= date(2200, 1, 1):
        raise InvalidInput(name, "bad_date")
    return day


def _midnight(day: date) -> datetime:
    return datetime.combine(day, time(), ROME).astimezone(UTC)
