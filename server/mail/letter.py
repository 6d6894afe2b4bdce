"""A queued message with all that is needed to say it, and whether it is still true to say it.

Loaded afresh each time something is about to be sent; nothing of it is kept.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import joinedload

from server.i18n import ROME
from server.joinlink import REPORT_TERM, ROOM_CLOSES
from server.keyring import Keyring
from server.models import (
    Appointment,
    AppointmentStatus,
    DispatchState,
    MessageKind,
    Organisation,
    PatientMessage,
    Visit,
    VisitState,
)
from server.sealed import Identity, open_identity

DEVICE_CODE_TERM: Final = timedelta(minutes=10)
"""How long a code is good, of a second device (``security.md`` J8) or for the reports."""
_CODES: Final = frozenset({MessageKind.DEVICE_CODE, MessageKind.REPORT_CODE})
_AFTER_THE_VISIT: Final = _CODES | {MessageKind.REPORT}
"""What is still true when the visit is over, as long as the link opens its reports."""
_TELLS_THE_START: Final = (MessageKind.INVITATION, MessageKind.REMINDER, MessageKind.MOVED)


@dataclass(frozen=True, slots=True)
class Letter:
    """One message, its visit (with appointment and patient), and the key of the link."""

    message: PatientMessage
    visit: Visit
    organisation: Organisation
    identity: Identity
    join_key: bytes
    told_at: datetime | None
    """When this patient was last told the time of this visit; ``None``: never."""

    @property
    def start(self) -> datetime:
        return self.visit.appointment.start

    def moment(self, name: str) -> datetime | None:
        """A parameter that is an ISO time."""
        text = json.loads(self.message.parameters).get(name)
        return datetime.fromisoformat(text) if text else None


async def load_letter(
    session: AsyncSession, keyring: Keyring, message: PatientMessage, *, is_fresh: bool = True
) -> Letter:
    """The letter of a message. ``is_fresh=False`` keeps what the session knows already, for a
    page that shows many."""
    appointment = joinedload(Visit.appointment)
    visit = await session.get_one(
        Visit,
        message.visit_id,
        options=[appointment.joinedload(Appointment.patient)],
        populate_existing=is_fresh,
    )
    organisation = await session.get_one(
        Organisation, visit.organisation_id, populate_existing=is_fresh
    )
    told_at = await session.scalar(
        select(PatientMessage.sent_at)
        .where(PatientMessage.visit_id == visit.id)
        .where(PatientMessage.state == DispatchState.SENT)
        .where(PatientMessage.kind.in_(_TELLS_THE_START))
        .order_by(PatientMessage.sent_at.desc())
        .limit(1)
    )
    return Letter(
        message=message,
        visit=visit,
        organisation=organisation,
        identity=await open_identity(keyring, session, visit.appointment.patient),
        join_key=await keyring.load_secret(session, visit.organisation_id, "join"),
        told_at=told_at,
    )


def why_untrue(letter: Letter, now: datetime) -> str:
    """Why the message must not be sent any more, as a stable word; empty: it is still true."""
    visit, appointment, kind = letter.visit, letter.visit.appointment, letter.message.kind
    is_cancelled = AppointmentStatus.CANCELLED is appointment.status
    if kind is MessageKind.CANCELLED:
        return _why_not_cancelled(letter, now, is_cancelled=is_cancelled)
    if is_cancelled or visit.state is VisitState.CANCELLED:
        return "cancelled"
    if kind in _AFTER_THE_VISIT and visit.state is VisitState.ENDED:
        is_over = now >= appointment.end + REPORT_TERM
    else:
        is_over = visit.state is VisitState.ENDED or now >= appointment.end + ROOM_CLOSES
    if is_over:
        return "over"
    if kind in _CODES:
        return _why_no_code(letter, now)
    if visit.state is VisitState.IN_VISIT:
        return "begun"
    match kind:
        case MessageKind.LATE:
            return "" if visit.late_minutes else "not_late"
        case MessageKind.REMINDER:
            return _why_no_reminder(letter, now)
        case MessageKind.MOVED:
            return _why_not_moved(letter)
        case _:
            return ""


def _why_not_cancelled(letter: Letter, now: datetime, *, is_cancelled: bool) -> str:
    if not is_cancelled:
        return "booked_again"
    if letter.told_at is None:
        return "never_told"
    return "over" if now >= letter.start else ""


def _why_no_code(letter: Letter, now: datetime) -> str:
    issued_at = letter.moment("issued_at")
    if issued_at is None or now >= issued_at + DEVICE_CODE_TERM:
        return "expired"
    if letter.message.kind is MessageKind.REPORT_CODE:
        return ""
    newest = letter.visit.device_code_issued_at
    is_newest = newest is not None and int(newest.timestamp()) == int(issued_at.timestamp())
    return "" if is_newest else "replaced"


def _why_no_reminder(letter: Letter, now: datetime) -> str:
    if letter.moment("start") != letter.start:
        return "moved"
    until = letter.moment("until")
    if until is not None and now >= until:
        return "too_late"
    if letter.visit.appointment.cancel_asked_at is not None:
        return "cancel_asked"
    if letter.told_at is None:
        return "never_told"
    is_same_day = letter.told_at.astimezone(ROME).date() == now.astimezone(ROME).date()
    return "told_today" if is_same_day else ""


def _why_not_moved(letter: Letter) -> str:
    """News only for who knows another time: what was sent since the move says the new one."""
    if letter.told_at is None:
        return "never_told"
    return "told_since" if letter.told_at > letter.message.created_at else ""
