"""The month before yesterday: who came, what went wrong, how each visit ended. Pure.

Two clinicians hold visits in turn, every other working day. Most are ordinary; the others are what
a clinic looks for in its session log: lost lines, visits that went on in person, people who were
not there.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta
from enum import StrEnum
from itertools import cycle
from typing import Final

from server.demo import people
from server.demo.day import Slot
from server.demo.people import Person, Service, Staff
from server.i18n import ROME

SPACING: Final = timedelta(minutes=40)
"""Each visit is over before the next patient comes."""
_LAST_DAY: Final = 5
_SESSIONS: Final = 9
_EVENING: Final = time(18, 30)
_FIRST_AT: Final = time(9)
_WAITED_DAYS: Final = {"U": 3, "B": 8, "D": 26, "P": 61}


class Ending(StrEnum):
    """How a visit went and ended."""

    PLAIN = "plain"
    LATE = "late"
    """The clinician ran late and had said so."""
    DROPPED = "dropped"
    """The network changed twice; the visit went on."""
    ASLEEP = "asleep"
    """The telephone went to sleep for a while."""
    VOICE = "voice"
    """Too narrow for a picture: the rest was by voice."""
    WEAK_LINE = "weak_line"
    """Went on in person: the voice had gaps, the line was lost three times."""
    EXAM_NEEDED = "exam_needed"
    PATIENT_CHOICE = "patient_choice"
    PATIENT_DEVICE = "patient_device"
    """Failed: nothing was heard of the patient."""
    LINE_LOST = "line_lost"
    """Failed: the line went away and did not come back."""
    PATIENT_ABSENT = "patient_absent"
    CLINICIAN_ABSENT = "clinician_absent"
    CANCELLED = "cancelled"


@dataclass(frozen=True, slots=True)
class MonthVisit:
    """One booking of the month."""

    slot: Slot
    ending: Ending
    companions: str = ""
    words: str = ""
    """The patient's sentence after the visit; empty: she did not rate it."""
    score: str = ""


@dataclass(frozen=True, slots=True)
class Session:
    """The visits of one clinician on one day."""

    clinician: Staff
    visits: Sequence[MonthVisit]
    imported: Sequence[Slot] = field(default=())
    """Bookings that CUP has made since the session before, of this one and of later ones."""

    @property
    def evening_before(self) -> datetime:
        """When CUP's file comes."""
        return _evening_before(self.visits[0].slot.start)


_P: Final = Ending.PLAIN
_ENDINGS: Final = (
    (_P, _P, Ending.PATIENT_ABSENT, _P),
    (_P, Ending.WEAK_LINE, _P, _P),
    (_P, Ending.LATE, _P, Ending.DROPPED),
    (Ending.EXAM_NEEDED, _P, _P, Ending.CANCELLED),
    (_P, Ending.LINE_LOST, Ending.VOICE, _P),
    (Ending.CLINICIAN_ABSENT, _P, Ending.PATIENT_ABSENT, _P),
    (_P, Ending.ASLEEP, _P, Ending.PATIENT_DEVICE),
    (Ending.PATIENT_ABSENT, _P, Ending.DROPPED, _P),
    (_P, Ending.PATIENT_CHOICE, _P, _P),
)
_COMPANIONS: Final = ("", "", "mio figlio", "", "la badante", "", "")
_RATINGS: Final = (
    ("good", "Comodo: non ho dovuto prendere due autobus."), ("", ""),
    ("good", "Tutto chiaro."), ("fair", "All'inizio non trovavo il link."), ("", ""),
    ("good", "Molta gentilezza."), ("poor", "Preferisco venire in ambulatorio."),
)  # fmt: skip
_TABLE: Final = """\
Bruschi|Teresa|F|1943-03-18|Firenze|Via Aretina 201, 50136 Firenze
Lombardi|Enzo|M|1938-07-02|Prato|Via Roma 88, 59100 Prato
Cappelli|Norma|F|1947-01-25|Empoli|Via Ridolfi 12, 50053 Empoli
Matteini|Sergio|M|1955-10-09|Firenze|Via Baracca 31, 50127 Firenze
Vignoli|Fiorenza|F|1951-05-30|Pistoia|Via Atto Vannucci 6, 51100 Pistoia
Rosselli|Giancarlo|M|1944-08-14|Siena|Via Senese 140, 50124 Firenze
Parenti|Adele|F|1939-12-21|Firenze|Via Ghibellina 77, 50122 Firenze
Mugnai|Piera|F|1960-04-04|Arezzo|Via Petrarca 19, 52100 Arezzo
Sartini|Oriano|M|1949-02-11|Scandicci|Via Pisana 260, 50018 Scandicci
Bellini|Clara|F|1957-09-27|Lucca|Viale Manfredo Fanti 8, 50137 Firenze
Corsini|Livio|M|1946-06-16|Fiesole|Via Faentina 170, 50014 Fiesole
Tanini|Wilma|F|1941-11-05|Prato|Via Pistoiese 95, 59100 Prato
Nardini|Osvaldo|M|1953-03-08|Empoli|Via Carrucci 40, 50053 Empoli
Gellini|Rina|F|1936-10-30|Firenze|Via dell'Agnolo 55, 50122 Firenze
Marini|Tullio|M|1958-01-13|Pisa|Via Maragliano 71, 50144 Firenze
Puccini|Edda|F|1945-07-19|Livorno|Via Allori 10, 50127 Firenze
Bandini|Loris|M|1962-12-02|Pistoia|Corso Amendola 33, 51100 Pistoia
Fantoni|Ornella|F|1950-08-23|Firenze|Via di Novoli 64, 50127 Firenze
"""
PATIENTS: Final = tuple(people.parse_person(line) for line in _TABLE.splitlines())
"""Each comes twice."""


def plan_month(now: datetime) -> list[Session]:
    """The sessions in order of time, the last one five days ago or a little before."""
    days = _session_days(now)
    companions, ratings = cycle(_COMPANIONS), cycle(_RATINGS)
    persons, priorities = cycle(PATIENTS), cycle("DPBDUPP")
    sessions: list[tuple[Staff, list[MonthVisit]]] = []
    for number, (day, endings) in enumerate(zip(days, _ENDINGS, strict=True)):
        is_heart = number % 2 == 0
        clinician = people.CLINICIAN if is_heart else people.COLLEAGUE
        service = people.CARDIOLOGY if is_heart else people.DIABETES
        first = datetime.combine(day, _FIRST_AT, tzinfo=ROME).astimezone(UTC)
        visits = []
        for place, ending in enumerate(endings):
            slot = _slot(
                4 * number + place + 1, clinician, service, next(persons),
                first + place * SPACING, next(priorities),
            )  # fmt: skip
            score, words = next(ratings)
            visits.append(MonthVisit(slot, ending, next(companions), words, score))
        sessions.append((clinician, visits))
    return [
        Session(clinician, visits, _booked_between(sessions, place))
        for place, (clinician, visits) in enumerate(sessions)
    ]


def _session_days(now: datetime) -> list[date]:
    """Every other working day."""
    last = now.astimezone(ROME).date() - timedelta(days=_LAST_DAY)
    back = (last - timedelta(days=number) for number in range(4 * _SESSIONS))
    working = [day for day in back if day.weekday() < 5]
    return sorted(working[: 2 * _SESSIONS : 2])


def _slot(
    number: int, clinician: Staff, service: Service, person: Person, start: datetime, priority: str
) -> Slot:
    return Slot(
        booking_code=f"TA26-5{number:05}",
        clinician_code=clinician.code or "",
        service=service,
        person=person,
        question=service.questions[number % len(service.questions)],
        start=start,
        minutes=20,
        priority=priority,
        booked_at=start - timedelta(days=_WAITED_DAYS[priority] + number % 4, hours=1),
    )


def _booked_between(
    sessions: Sequence[tuple[Staff, Sequence[MonthVisit]]], place: int
) -> list[Slot]:
    evenings = [_evening_before(visits[0].slot.start) for _, visits in sessions]
    since = evenings[place - 1] if place else datetime.min.replace(tzinfo=UTC)
    return [
        visit.slot
        for _, visits in sessions
        for visit in visits
        if visit.slot.booked_at is not None and since < visit.slot.booked_at <= evenings[place]
    ]


def _evening_before(start: datetime) -> datetime:
    day = start.astimezone(ROME).date() - timedelta(days=1)
    return datetime.combine(day, _EVENING, tzinfo=ROME).astimezone(UTC)
