"""Applying one booking: what it makes, what it changes, and what it must leave alone.

CUP is the master of the booking, people here are the masters of a visit that has begun: it is
neither moved nor closed. Called by :mod:`server.cup.inbox.taking` inside its transaction, for
messages in their order; :class:`Said` of a late message holds only what nothing newer has said.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Final

from server.audit import Act
from server.cup.booking import Booking, BookingEvent, Field, FieldError, Notice, Reason
from server.cup.inbox.fold import USUAL_DURATION, merge_details, merge_times
from server.cup.inbox.lookup import clinic_code_of
from server.cup.inbox.people import People
from server.cup.inbox.work import Work
from server.joinlink import LinkPhase, link_phase
from server.models import (
    Appointment,
    AppointmentStatus,
    MessageKind,
    Outcome,
    Visit,
    VisitChangeKind,
    VisitState,
    new_id,
    new_locator,
)
from server.sealed import Details, open_details, seal_details

NO_SHOW_BY_CUP: Final = "cup"
"""``visit.outcome_reason`` of a no-show that CUP has told, and may take back."""


class Effect(StrEnum):
    """What a message did; the values are the counters of an import's report."""

    IMPORTED = "imported"
    UPDATED = "updated"
    MOVED = "moved"
    CANCELLED = "cancelled"
    ENDED = "ended"
    UNCHANGED = "unchanged"


@dataclass(frozen=True, slots=True)
class Said:
    """A booking and the message that says it. ``is_newest`` is false for a late one."""

    booking: Booking
    order: str
    sent_at: datetime
    digest: str
    is_newest: bool = True


@dataclass(slots=True)
class Applied:
    effect: Effect
    visit: Visit
    notices: list[Notice]


async def create_visit(work: Work, people: People, said: Said) -> Applied:
    """Make patient, appointment and visit of a booking code that is new.

    :raises FieldError: it has no start; a cancellation may come before its booking, and waits.
    """
    booking = said.booking
    if booking.start is None:
        raise FieldError(Field.START, Reason.MISSING)
    appointment = await _make_appointment(work, people, said, booking.start)
    visit = Visit(
        id=new_id(),
        organisation_id=work.organisation,
        appointment=appointment,
        locator=new_locator(),
        state=VisitState.BOOKED,
        link_version=1,
        outcome_reason="",
    )
    work.add_visit(visit)
    work.log(visit, Act.BOOKING_IMPORTED)
    if booking.event is BookingEvent.BOOKED:
        issue_link(work, visit)
    else:
        _close(work, visit, said)
    return Applied(Effect.IMPORTED, visit, [])


async def _make_appointment(work: Work, people: People, said: Said, start: datetime) -> Appointment:
    """The appointment of a new booking, with its patient and its own key."""
    booking = said.booking
    placement = await people.place(None, booking, said.order, is_newest=True)
    appointment = Appointment(
        id=new_id(),
        organisation_id=work.organisation,
        source_id=work.source.id,
        booking_code=booking.booking_code,
        patient=placement.patient,
        clinic_id=await work.clinic_id(booking),
        clinician_id=_find_clinician(work, booking),
        clinician_code=_code_of(booking),
        status=AppointmentStatus.BOOKED,
        start=start,
        end=booking.end or start + USUAL_DURATION,
        priority=booking.priority,
        is_first_visit=bool(booking.is_first_visit),
        details_version=1,
        import_digest=said.digest,
        message_order=said.order,
        created_at=work.now,
        updated_at=work.now,
    )
    owner = f"appointment:{appointment.id}"
    await work.keyring.make_key(work.session, work.organisation, owner)
    await seal_details(work.keyring, work.session, appointment, booking.details)
    return appointment


async def update_visit(work: Work, people: People, visit: Visit, said: Said) -> Applied:
    """Change what the booking says and leave what it does not say."""
    appointment, booking = visit.appointment, said.booking
    notices: list[Notice] = []
    await _place_patient(work, people, visit, said, notices)
    await _write_service(work, appointment, booking)
    effect = Effect.UPDATED
    if is_begun(visit):
        _note_ignored(visit, booking, notices)
    else:
        effect = _move(work, visit, booking)
        if said.is_newest:
            effect = _follow_event(work, visit, said, effect, notices)
    if said.is_newest:
        appointment.import_digest = said.digest
        appointment.message_order = said.order
    appointment.updated_at = work.now
    if effect is Effect.UPDATED:
        work.log(visit, Act.BOOKING_IMPORTED, {"is_update": True})
    return Applied(effect, visit, notices)


def assign_known(work: Work, visit: Visit) -> bool:
    """A repeat changes nothing, except that a clinician may have been added since."""
    appointment = visit.appointment
    clinician_id = work.clinicians.get(appointment.clinician_code)
    if appointment.clinician_id is not None or clinician_id is None:
        return False
    appointment.clinician_id = clinician_id
    appointment.updated_at = work.now
    work.log(visit, Act.BOOKING_ASSIGNED, {"clinician": clinician_id})
    return True


def issue_link(work: Work, visit: Visit, suffix: str = "") -> None:
    """The link is good from now on: the patient is told, unless the visit is past."""
    work.log(visit, Act.LINK_ISSUED)
    if visit.appointment.end > work.now:
        work.tell_patient(visit, MessageKind.INVITATION, f"{visit.link_version}{suffix}")


def is_begun(visit: Visit) -> bool:
    """Whether people here are in the visit or have ended it."""
    if visit.state is VisitState.ENDED:
        return visit.outcome_reason != NO_SHOW_BY_CUP
    return visit.state is VisitState.IN_VISIT


async def _place_patient(
    work: Work, people: People, visit: Visit, said: Said, notices: list[Notice]
) -> None:
    """Another person gets another link; the visit of who is in it stays hers."""
    appointment = visit.appointment
    before = appointment.patient
    placement = await people.place(before, said.booking, said.order, is_newest=said.is_newest)
    if not placement.is_other or appointment.patient is placement.patient:
        return
    if is_begun(visit):
        notices.append(Notice(Field.PATIENT_ID, Reason.VISIT_ALREADY_BEGUN))
        return
    appointment.patient = placement.patient
    visit.link_version += 1
    issue_link(work, visit)


async def _write_service(work: Work, appointment: Appointment, booking: Booking) -> None:
    if clinic_code_of(booking):
        appointment.clinic_id = await work.clinic_id(booking)
    code = _code_of(booking)
    if code and (appointment.clinician_id is None or code != appointment.clinician_code):
        appointment.clinician_id = _find_clinician(work, booking)
        appointment.clinician_code = code
    if booking.priority:
        appointment.priority = booking.priority
    if booking.is_first_visit is not None:
        appointment.is_first_visit = booking.is_first_visit
    if booking.details != Details():
        known = await open_details(work.keyring, work.session, appointment)
        merged = merge_details(known, booking.details)
        if merged != known:
            appointment.details_version += 1
            await seal_details(work.keyring, work.session, appointment, merged)


def _move(work: Work, visit: Visit, booking: Booking) -> Effect:
    appointment = visit.appointment
    start, end = merge_times((appointment.start, appointment.end), booking)
    if start is None or end is None or (start, end) == (appointment.start, appointment.end):
        return Effect.UPDATED
    old_start = appointment.start
    appointment.start, appointment.end = start, end
    _forget_answers(appointment)
    visit.late_minutes = 0
    is_closed = visit.state in {VisitState.CANCELLED, VisitState.ENDED}
    if is_closed or booking.event is not BookingEvent.BOOKED:
        return Effect.UPDATED
    if visit.state is VisitState.WAITING and (
        link_phase(visit, appointment, work.now) is not LinkPhase.ROOM
    ):
        visit.state, visit.waiting_since = VisitState.CHECKED_IN, None
    work.log(visit, Act.BOOKING_MOVED, {"from": old_start.isoformat()})
    work.tell_pages(visit, VisitChangeKind.MOVED)
    if start != old_start and end > work.now:
        work.tell_patient(visit, MessageKind.MOVED, f"{start:%Y-%m-%dT%H:%M}")
    return Effect.MOVED


def _follow_event(
    work: Work, visit: Visit, said: Said, effect: Effect, notices: list[Notice]
) -> Effect:
    """Open or close the visit as the newest message says."""
    match said.booking.event:
        case BookingEvent.BOOKED:
            if visit.state in {VisitState.CANCELLED, VisitState.ENDED}:
                _revive(work, visit)
            return effect
        case BookingEvent.CANCELLED:
            if visit.state is VisitState.CANCELLED:
                return effect
            _close(work, visit, said)
            return Effect.CANCELLED
        case BookingEvent.NO_SHOW:
            if visit.waiting_since is not None:
                notices.append(Notice(Field.STATUS, Reason.PATIENT_WAS_PRESENT))
                return effect
            if visit.state is VisitState.ENDED:
                return effect
            _close(work, visit, said)
            return Effect.ENDED


def _close(work: Work, visit: Visit, said: Said) -> None:
    appointment = visit.appointment
    if said.booking.event is BookingEvent.CANCELLED:
        appointment.status, visit.state = AppointmentStatus.CANCELLED, VisitState.CANCELLED
        _set_outcome(visit, None, "", None)
        work.log(visit, Act.BOOKING_CANCELLED)
        if work.is_new(visit):
            return
        visit.link_version += 1
        work.tell_pages(visit, VisitChangeKind.CANCELLED)
        if appointment.end > work.now:
            work.tell_patient(visit, MessageKind.CANCELLED, str(visit.link_version))
    else:
        appointment.status, visit.state = AppointmentStatus.BOOKED, VisitState.ENDED
        _set_outcome(visit, Outcome.NO_SHOW_PATIENT, NO_SHOW_BY_CUP, said.sent_at)
        work.log(visit, Act.BOOKING_ENDED)
        work.tell_pages(visit, VisitChangeKind.ENDED)


def _revive(work: Work, visit: Visit) -> None:
    """A closed booking is open again; its patient is told and may answer afresh."""
    if visit.state is VisitState.ENDED:
        visit.link_version += 1
    visit.appointment.status, visit.state = AppointmentStatus.BOOKED, VisitState.BOOKED
    visit.waiting_since = None
    _set_outcome(visit, None, "", None)
    _forget_answers(visit.appointment)
    issue_link(work, visit)
    work.tell_pages(visit, VisitChangeKind.MOVED)


def _set_outcome(
    visit: Visit, outcome: Outcome | None, reason: str, ended_at: datetime | None
) -> None:
    visit.outcome, visit.outcome_reason, visit.ended_at = outcome, reason, ended_at


def _forget_answers(appointment: Appointment) -> None:
    """What the patient said of the old time does not hold for the new one."""
    appointment.confirmed_at = appointment.cancel_asked_at = None
    appointment.is_cancel_late = False
    appointment.sealed_justification = None


def _note_ignored(visit: Visit, booking: Booking, notices: list[Notice]) -> None:
    appointment = visit.appointment
    known = (appointment.start, appointment.end)
    if booking.event is BookingEvent.NO_SHOW and visit.waiting_since is not None:
        notices.append(Notice(Field.STATUS, Reason.PATIENT_WAS_PRESENT))
    elif booking.event is not BookingEvent.BOOKED:
        notices.append(Notice(Field.STATUS, Reason.VISIT_ALREADY_BEGUN))
    elif merge_times(known, booking) != known:
        notices.append(Notice(Field.START, Reason.VISIT_ALREADY_BEGUN))


def _code_of(booking: Booking) -> str:
    return next(iter(booking.clinician_codes), "")


def _find_clinician(work: Work, booking: Booking) -> str | None:
    codes = booking.clinician_codes
    return next((work.clinicians[code] for code in codes if code in work.clinicians), None)
