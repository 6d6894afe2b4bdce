"""The one thing that the agenda says of a visit: its chip. Pure."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Final

from server.joinlink import ROOM_CLOSES
from server.models import AppointmentStatus, Visit, VisitState
from server.sealed import Answers

LIVE: Final = (VisitState.WAITING, VisitState.IN_VISIT)


class Chip(StrEnum):
    """What the row says; each has its word, its icon and its colour."""

    TO_DO = "to_do"
    LINK_OPEN = "link_open"
    TEST_OK = "test_ok"
    TEST_FAILED = "test_failed"
    WAITING = "waiting"
    AWAY = "away"
    CONFIRMED = "confirmed"
    CANCEL_ASKED = "cancel_asked"
    IN_VISIT = "in_visit"
    TO_CLOSE = "to_close"
    ENDED = "ended"
    CANCELLED = "cancelled"


@dataclass(frozen=True, slots=True)
class Signs:
    """What else is known of a visit, beside its row."""

    answers: Answers = field(default_factory=Answers)
    is_link_open: bool = False
    is_patient_out: bool = False
    """The patient was in the room and is not there now."""


def chip_of(visit: Visit, signs: Signs, now: datetime) -> Chip:
    """The one thing to say about a visit now."""
    appointment, state = visit.appointment, visit.state
    if VisitState.CANCELLED is state or appointment.status is AppointmentStatus.CANCELLED:
        return Chip.CANCELLED
    if state is VisitState.ENDED:
        return Chip.ENDED
    if state is not VisitState.IN_VISIT and now >= appointment.end + ROOM_CLOSES:
        return Chip.TO_CLOSE
    if state in LIVE and signs.is_patient_out:
        return Chip.AWAY
    if state in LIVE:
        return Chip(state.value)
    if appointment.cancel_asked_at is not None:
        return Chip.CANCEL_ASKED
    devices = {signs.answers.camera, signs.answers.microphone, signs.answers.loudspeaker}
    if "failed" in devices:
        return Chip.TEST_FAILED
    if "ok" in devices:
        return Chip.TEST_OK
    if appointment.confirmed_at is not None:
        return Chip.CONFIRMED
    return Chip.LINK_OPEN if signs.is_link_open else Chip.TO_DO


def waiting_minutes(visit: Visit, now: datetime) -> int:
    """How long the patient has waited; nought for who does not wait."""
    since = visit.waiting_since if visit.state is VisitState.WAITING else None
    return max(0, int((now - since).total_seconds()) // 60) if since else 0
