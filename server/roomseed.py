"""A visit as the seed of its room: what the records tell a room that opens."""

from __future__ import annotations

from typing import Final

from server.models import Organisation, Visit, VisitState
from signaling.seed import RoomSeed

PATIENT_SEAT: Final = "patient"
CLINICIAN_SEAT: Final = "clinician"
RECORDER_SEAT: Final = "recorder"


def seed_of(visit: Visit, organisation: Organisation) -> RoomSeed:
    """The room of a visit. Its owner is the organisation."""
    outcome = visit.outcome.value if visit.outcome else None
    return RoomSeed(
        admitted=frozenset({PATIENT_SEAT} if visit.state is VisitState.IN_VISIT else ()),
        late_minutes=visit.late_minutes,
        outcome="cancelled" if visit.state is VisitState.CANCELLED else outcome,
        relay_until_admitted=True,
        relay_always=organisation.is_relay_only,
        owner=organisation.id,
    )
