"""Invented visits of the last two years and what the session log says of each. Pure.

The acts, their order and their facts are those of the real pages; a number decides everything of a
visit, so that two runs differ in ids only.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from hashlib import sha256
from typing import Final
from zlib import crc32

from server.audit import Act, ActorRole, Entry, Fact
from server.i18n import ROME
from server.models import Outcome, Suitability, VisitState
from server.roomseed import CLINICIAN_SEAT, PATIENT_SEAT

CLINICS: Final = (
    "Cardiologia", "Diabetologia", "Pneumologia", "Neurologia", "Geriatria", "Reumatologia",
    "Nefrologia", "Oncologia", "Dermatologia", "Psichiatria",
)  # fmt: skip
TOWNS: Final = (
    "Firenze", "Prato", "Empoli", "Pistoia", "Siena", "Arezzo", "Lucca", "Pisa", "Livorno",
    "Grosseto", "Fiesole", "Scandicci", "Vinci", "Montespertoli",
)  # fmt: skip
VISITS_OF_A_PATIENT: Final = 10
_DAYS: Final = 730
_VISITS_OF_A_CLINICIAN: Final = 12
"""In one day, the first at eight."""
_SLOT: Final = timedelta(minutes=30)
_FIRST_AT: Final = time(8)
_WAITING_DAYS: Final = {"U": (1, 3), "B": (3, 10), "D": (10, 45), "P": (20, 120)}
_ENDINGS: Final[tuple[tuple[int, Outcome | None, str], ...]] = (
    (860, Outcome.COMPLETED, ""),
    (40, Outcome.NO_SHOW_PATIENT, ""),
    (20, Outcome.CONVERTED_TO_IN_PERSON, "weak_line"),
    (15, Outcome.CONVERTED_TO_IN_PERSON, "exam_needed"),
    (10, Outcome.CONVERTED_TO_IN_PERSON, "patient_choice"),
    (15, Outcome.TECHNICAL_FAILURE, "patient_device"),
    (10, Outcome.TECHNICAL_FAILURE, "weak_line"),
    (10, Outcome.NO_SHOW_CLINICIAN, ""),
    (20, None, ""),
)
"""In a thousand; the last are cancelled."""
_MEASURED: Final = 500
_DIGEST: Final = sha256(b"invented").hexdigest()


@dataclass(frozen=True, slots=True)
class SeedVisit:
    """One visit; ``outcome`` is empty for a cancelled one. ``clinician`` counts from 0."""

    number: int
    start: datetime
    booked_at: datetime
    clinician: int
    priority: str
    outcome: Outcome | None
    reason: str
    drops: int

    @property
    def clinic(self) -> int:
        return self.clinician % len(CLINICS)

    @property
    def patient(self) -> int:
        return self.number // VISITS_OF_A_PATIENT

    @property
    def state(self) -> VisitState:
        return VisitState.CANCELLED if self.outcome is None else VisitState.ENDED

    @property
    def is_admitted(self) -> bool:
        return self.outcome not in {None, Outcome.NO_SHOW_PATIENT, Outcome.NO_SHOW_CLINICIAN}

    @property
    def is_measured(self) -> bool:
        """Whether what the two pages would have measured is stored, too: of one in five hundred."""
        return self.is_admitted and self.number % _MEASURED == 0

    @property
    def suitability(self) -> Suitability | None:
        if not self.is_admitted:
            return None
        if self.outcome is not Outcome.COMPLETED:
            return Suitability.NOT_SUITABLE
        return Suitability.VOICE_ONLY if self.drops > 1 else Suitability.SUITABLE

    def after(self, minutes: float) -> datetime:
        return self.start + timedelta(minutes=minutes)

    @property
    def waiting_since(self) -> datetime | None:
        is_there = self.is_admitted or self.outcome is Outcome.NO_SHOW_CLINICIAN
        return self.after(-3 - _dice(self.number, "early", 12)) if is_there else None

    @property
    def admitted_at(self) -> datetime | None:
        return self.after(_dice(self.number, "late", 12) - 1) if self.is_admitted else None

    @property
    def ended_at(self) -> datetime:
        return self.after(17 + _dice(self.number, "long", 10))


def plan_visits(count: int, now: datetime) -> list[SeedVisit]:
    """As many visits, on the working days of the last two years, in the order of their start."""
    days = _working_days(now)[-count:]
    clinicians = count_clinicians(count)
    visits: list[SeedVisit] = []
    for place, day in enumerate(days):
        numbers = range(count * place // len(days), count * (place + 1) // len(days))
        visits += [
            _plan_visit(number, day, slot // clinicians, slot % clinicians)
            for slot, number in enumerate(numbers)
        ]
    return visits


def count_clinicians(count: int) -> int:
    """How many clinicians hold so many visits."""
    return max(len(CLINICS), -(-count // (_DAYS * _VISITS_OF_A_CLINICIAN // 2)))


def _working_days(now: datetime) -> list[date]:
    today = now.astimezone(ROME).date()
    days = (today - timedelta(days=back) for back in range(_DAYS, 0, -1))
    return [day for day in days if day.weekday() < 5]


def _plan_visit(number: int, day: date, slot: int, clinician: int) -> SeedVisit:
    start = datetime.combine(day, _FIRST_AT, tzinfo=ROME).astimezone(UTC) + slot * _SLOT
    priority = "UBBDDDPPPP"[_dice(number, "priority", 10)]
    least, most = _WAITING_DAYS[priority]
    waited = timedelta(days=least + _dice(number, "wait", most - least), hours=1)
    outcome, reason = _ending(_dice(number, "ending", 1000))
    bad = outcome in {Outcome.CONVERTED_TO_IN_PERSON, Outcome.TECHNICAL_FAILURE}
    drops = _dice(number, "drops", 4) if bad else max(0, _dice(number, "drops", 20) - 16)
    return SeedVisit(number, start, start - waited, clinician, priority, outcome, reason, drops)


def _ending(place: int) -> tuple[Outcome | None, str]:
    for share, outcome, reason in _ENDINGS:
        if place < share:
            return outcome, reason
        place -= share
    return None, ""


def _dice(number: int, what: str, sides: int) -> int:
    return crc32(f"{number}|{what}".encode()) % sides


def tell_booking(visit: SeedVisit, visit_id: str) -> list[Entry]:
    """What is written when the booking comes in."""
    at, system = visit.booked_at, ActorRole.SYSTEM
    sent: dict[str, Fact] = {"kind": "invitation", "channel": "email"}
    return [
        Entry(at, Act.BOOKING_IMPORTED, system, visit=visit_id),
        Entry(at, Act.LINK_ISSUED, system, visit=visit_id),
        Entry(at + timedelta(minutes=4), Act.MESSAGE_SENT, system, visit=visit_id, facts=sent),
    ]


def tell_visit(visit: SeedVisit, visit_id: str, device: str, clinician: str) -> list[Entry]:
    """What is written on the day of the visit, in order of time."""
    writer = _Writer(visit, visit_id, device, clinician)
    if visit.outcome is None:
        writer.system(-60, Act.BOOKING_CANCELLED)
        return writer.entries
    if visit.outcome is not Outcome.NO_SHOW_PATIENT:
        _tell_arrival(writer)
    if visit.is_admitted:
        _tell_call(writer)
    _tell_end(writer)
    return sorted(writer.entries, key=lambda entry: entry.at)


class _Writer:
    """Entries of one visit, by who does it."""

    def __init__(self, visit: SeedVisit, visit_id: str, device: str, clinician: str) -> None:
        self.visit = visit
        self.entries: list[Entry] = []
        self._id = visit_id
        self._device = device
        self._clinician = clinician

    def system(self, minutes: float, act: Act, **facts: Fact) -> None:
        self._write(minutes, act, ActorRole.SYSTEM, "", facts)

    def patient(self, minutes: float, act: Act, **facts: Fact) -> None:
        self._write(minutes, act, ActorRole.PATIENT, self._device, facts)

    def doctor(self, minutes: float, act: Act, **facts: Fact) -> None:
        self._write(minutes, act, ActorRole.CLINICIAN, self._clinician, facts)

    def room(self, minutes: float, act: Act, seats: Sequence[str], **facts: Fact) -> None:
        for seat in seats:
            self._write(minutes, act, ActorRole(seat), "", facts)

    def _write(
        self, minutes: float, act: Act, role: ActorRole, actor: str, facts: dict[str, Fact]
    ) -> None:
        self.entries.append(Entry(self.visit.after(minutes), act, role, actor, self._id, facts))


_BOTH: Final = (PATIENT_SEAT, CLINICIAN_SEAT)
_PATIENT: Final = (PATIENT_SEAT,)


def _minutes(visit: SeedVisit, moment: datetime | None) -> float:
    return (moment - visit.start) / timedelta(minutes=1) if moment else 0.0


def _tell_arrival(tell: _Writer) -> None:
    """Reminder, link, check-in, waiting room."""
    waiting = _minutes(tell.visit, tell.visit.waiting_since)
    tell.system(-120, Act.MESSAGE_SENT, kind="reminder", channel="email")
    tell.patient(waiting - 9, Act.LINK_CLAIMED, way="link")
    tell.patient(waiting - 8, Act.CHECK_IN_SAVED, step="who")
    for kind in ("visit", "tool"):
        text: dict[str, Fact] = {"kind": kind, "language": "it", "text_version": "2"}
        tell.patient(waiting - 6, Act.CONSENT_GIVEN, text_hash=_DIGEST, **text)
    tell.patient(waiting - 4, Act.CHECK_IN_SAVED, step="devices", camera="ok", microphone="ok")
    tell.patient(waiting - 2, Act.CHECK_IN_SAVED, step="place", has_companions=False)
    tell.patient(waiting - 2, Act.CHECK_IN_COMPLETED)
    tell.patient(waiting, Act.WAITING)
    tell.room(waiting, Act.ROOM_JOINED, _PATIENT)


def _tell_call(tell: _Writer) -> None:
    """Admission, proof of the media, drops, notes, and the two who leave."""
    visit = tell.visit
    begin, end = _minutes(visit, visit.admitted_at), _minutes(visit, visit.ended_at)
    tell.doctor(begin - 1, Act.CARD_OPENED)
    tell.doctor(begin - 1, Act.NOTE_OPENED)
    tell.room(begin - 0.9, Act.ROOM_JOINED, (CLINICIAN_SEAT,))
    tell.doctor(begin, Act.ADMITTED, participant=PATIENT_SEAT)
    for seat, other in (_BOTH, _BOTH[::-1]):
        tell.room(begin + 0.1, Act.MEDIA_PROVEN, (seat,), of=other, audio=True, video=True)
        tell.room(begin, Act.MEDIA_CHANGED, (seat,), microphone=True, camera=True, screen=False)
    tell.doctor(begin + 0.5, Act.SAS_CONFIRMED)
    tell.doctor(begin + 0.6, Act.IDENTITY_CONFIRMED, confirmed=True)
    tell.doctor(begin + 0.8, Act.ELIGIBILITY_CONFIRMED, confirmed=True)
    for number in range(visit.drops):
        at = begin + 2 + number * 2
        tell.room(at, Act.ROOM_DROPPED, _PATIENT)
        tell.room(at + 0.4, Act.ROOM_REJOINED, _PATIENT)
    saves = 12 + _dice(visit.number, "saves", 12)
    for number in range(saves):
        at = begin + 1 + (end - begin - 2) * number / saves
        tell.doctor(at, Act.NOTE_SAVED, version=number + 1, sha256=_DIGEST)
    tell.room(end - 0.4, Act.ROOM_LEFT, _BOTH)


def _tell_end(tell: _Writer) -> None:
    """Outcome and, of a visit that was held, report and delivery."""
    visit, end = tell.visit, _minutes(tell.visit, tell.visit.ended_at)
    state = VisitState.IN_VISIT if visit.is_admitted else VisitState.BOOKED
    outcome = visit.outcome.value if visit.outcome else ""
    present = "patient" if visit.is_admitted else ""
    tell.doctor(end, Act.FINISHED, state=state.value)
    tell.doctor(end, Act.OUTCOME, outcome=outcome, reason=visit.reason, present=present)
    if visit.suitability:
        stated = visit.suitability.value
        tell.doctor(end, Act.SUITABILITY_STATED, stated=stated, proposed=stated)
    if visit.outcome is not Outcome.COMPLETED:
        return
    report: dict[str, Fact] = {"report": f"r{visit.number:015}", "version": 1}
    for number, act in enumerate(_REPORT):
        tell.doctor(end + 1 + number / 2, act, is_addendum=False, **report)
    tell.system(end + 5, Act.MESSAGE_SENT, kind="report", channel="email")
    tell.patient(end + 30, Act.REPORT_CODE_SENT)
    tell.patient(end + 31, Act.REPORT_DOWNLOADED, **report)


_REPORT: Final = (Act.REPORT_DRAFTED, Act.REPORT_OPENED, Act.REPORT_SIGNED, Act.REPORT_DELIVERED)
