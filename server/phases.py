"""Phases: whether anything may leave an organisation, to a patient or to CUP (design §5).

Nothing ever leaves the training organisation, whatever its phase.

Asked twice, when something is queued and again when it is sent: going back to *collaudo* stops
what is still on its way.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import datetime

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from server.audit import Act, ActorRole, Entry, append
from server.db import OrganisationId
from server.models import Appointment, Clinic, Organisation, Phase, PhaseChange


def may_leave(organisation: Organisation, clinic_code: str) -> bool:
    """Whether messages about a visit of this clinic may leave; ``clinic_code`` may be empty."""
    return is_let_out(
        organisation.phase,
        organisation.pilot_clinics,
        clinic_code,
        is_training=organisation.is_training,
    )


def is_let_out(
    phase: Phase, pilot_clinics: Collection[str], clinic_code: str, *, is_training: bool
) -> bool:
    """The same for an organisation of this phase and with these pilot clinics."""
    if is_training:
        return False
    match phase:
        case Phase.COLLAUDO:
            return False
        case Phase.SPERIMENTALE:
            return clinic_code in pilot_clinics
        case Phase.ATTIVO:
            return True


async def load_may_leave(session: AsyncSession, appointment: Appointment) -> bool:
    """The same for an appointment, as the organisation is at this moment."""
    found = await session.execute(
        select(
            Organisation.phase,
            Organisation.pilot_clinics,
            Organisation.is_training,
            Clinic.code,
        )
        .outerjoin(Clinic, Clinic.id == appointment.clinic_id)
        .where(Organisation.id == appointment.organisation_id)
    )
    row = found.one_or_none()
    return row is not None and is_let_out(row[0], row[1], row[3] or "", is_training=row[2])


async def change_phase(
    session: AsyncSession,
    organisation: Organisation,
    phase: Phase,
    pilot_clinics: Sequence[str],
    *,
    by: str,
    now: datetime,
) -> None:
    """Set the phase, with a line of its history and one of the session log. ``by`` is a user's
    id, empty for the command line."""
    organisation.phase = phase
    organisation.pilot_clinics = sorted(set(pilot_clinics))
    session.add(
        PhaseChange(
            organisation_id=organisation.id,
            phase=phase,
            pilot_clinics=organisation.pilot_clinics,
            changed_at=now,
            changed_by=by,
        )
    )
    await session.flush()
    role = ActorRole.ADMINISTRATOR if by else ActorRole.SYSTEM
    facts = {"phase": phase.value, "clinics": ",".join(organisation.pilot_clinics)}
    await append(
        session, organisation.id, Entry(now, Act.PHASE_CHANGED, role, by, facts=dict(facts))
    )


async def load_history(session: AsyncSession, organisation: OrganisationId) -> list[PhaseChange]:
    """Every change of an organisation's phase, the newest first."""
    found = await session.scalars(
        select(PhaseChange)
        .where(PhaseChange.organisation_id == organisation)
        .order_by(PhaseChange.changed_at.desc(), PhaseChange.id)
    )
    return list(found)
