"""The records of an answer. Conditional updates make each answer one, whatever is pressed twice."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import Update, select, update
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import joinedload

from server.audit import Act, ActorRole, Entry, Fact, append
from server.auth import Actor
from server.db import count_changed
from server.errors import NotFound
from server.joinlink import is_answer_open
from server.keyring import Keyring
from server.mail.calendar import cancel_deadline, rules_of
from server.models import Appointment, AppointmentStatus, EventKind, Organisation, Visit
from server.outbox import tell_cup
from server.sealed import seal_justification


@dataclass(frozen=True, slots=True)
class Standing:
    """Where the booking of one patient stands at one moment."""

    organisation: Organisation
    visit: Visit
    last_free_day: datetime
    """A moment of the last day on which a cancellation is in time (domain §8, WL-02)."""
    is_open: bool
    """Whether anything can still be answered."""
    is_late: bool

    @property
    def appointment(self) -> Appointment:
        return self.visit.appointment

    @property
    def can_confirm(self) -> bool:
        is_answered = self.appointment.confirmed_at or self.appointment.cancel_asked_at
        return self.is_open and not is_answered

    @property
    def can_cancel(self) -> bool:
        return self.is_open and self.appointment.cancel_asked_at is None

    def is_seen(self, start: str) -> bool:
        """Whether a form was made for the hour of now: nobody confirms an hour she has not read."""
        return start == self.appointment.start.isoformat()


async def load_standing(session: AsyncSession, actor: Actor, now: datetime) -> Standing:
    """The booking of this patient's visit."""
    visit = await session.scalar(
        select(Visit)
        .where(Visit.id == actor.visit_id)
        .options(
            joinedload(Visit.appointment).options(
                joinedload(Appointment.clinician), joinedload(Appointment.clinic)
            )
        )
    )
    if visit is None:
        raise NotFound
    organisation = await session.get_one(Organisation, actor.organisation)
    deadline = cancel_deadline(visit.appointment.start, rules_of(organisation))
    return Standing(
        organisation=organisation,
        visit=visit,
        last_free_day=deadline - timedelta(seconds=1),
        is_open=is_answer_open(visit, visit.appointment, now),
        is_late=now >= deadline,
    )


async def save_confirmation(
    session: AsyncSession, actor: Actor, standing: Standing, now: datetime
) -> None:
    """The patient comes; a second press changes nothing."""
    change = _open_appointment(standing).where(Appointment.confirmed_at.is_(None))
    if await count_changed(session, change.values(confirmed_at=now)):
        await tell_cup(session, standing.visit, EventKind.CONFIRMED, now)
        await _log(session, actor, now, Act.BOOKING_CONFIRMED, {})


async def save_cancel_request(
    session: AsyncSession,
    keyring: Keyring,
    actor: Actor,
    standing: Standing,
    reason: str,
    now: datetime,
) -> None:
    """The patient asks to cancel; a second press changes nothing. ``reason`` is kept sealed, and
    only of a late request."""
    is_late = standing.is_late
    change = _open_appointment(standing).values(cancel_asked_at=now, is_cancel_late=is_late)
    if not await count_changed(session, change):
        return
    if is_late:
        await seal_justification(keyring, session, standing.visit, reason)
    await tell_cup(session, standing.visit, EventKind.CANCEL_ASKED, now, {"late": is_late})
    await _log(session, actor, now, Act.BOOKING_CANCEL_ASKED, {"is_late": is_late})


def _open_appointment(standing: Standing) -> Update:
    """Only as it was shown: not cancelled, not moved, no request to cancel."""
    return (
        update(Appointment)
        .where(Appointment.id == standing.appointment.id)
        .where(Appointment.status == AppointmentStatus.BOOKED)
        .where(Appointment.start == standing.appointment.start)
        .where(Appointment.cancel_asked_at.is_(None))
    )


async def _log(
    session: AsyncSession, actor: Actor, now: datetime, act: Act, facts: dict[str, Fact]
) -> None:
    entry = Entry(now, act, ActorRole.PATIENT, actor.id, actor.visit_id, facts)
    await append(session, actor.organisation, entry)
