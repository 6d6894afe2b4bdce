"""The rows of the list, with what a role sees of them."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Final

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from server.auth import Actor
from server.db import Base
from server.keyring import Keyring
from server.models import Appointment, Clinic, Outcome, User, UserRole, Visit, VisitState
from server.models import VisitSummary as Summary
from server.sessionlog.sight import Sight
from server.summary import Problem, unpack_problems

_PSEUDONYM_LENGTH: Final = 6
_VISITS: Final = Base.metadata.tables[Visit.__tablename__]
_APPOINTMENTS: Final = Base.metadata.tables[Appointment.__tablename__]


@dataclass(frozen=True, slots=True)
class Row:
    """One visit of the list; texts are empty for who may not see them."""

    summary: Summary
    booking_code: str
    pseudonym: str
    problems: Sequence[Problem]

    @property
    def result(self) -> Outcome | VisitState:
        """The outcome, or the state of a visit without one."""
        return self.summary.outcome or self.summary.state

    @property
    def minutes(self) -> int | None:
        """From the first admission to the end."""
        seconds = self.summary.visit_seconds
        return None if seconds is None else round(seconds / 60)


@dataclass(frozen=True, slots=True)
class Choices:
    """What filters offer, and names by id."""

    clinics: Sequence[Clinic]
    clinicians: Sequence[User]

    def clinic(self, clinic_id: str | None) -> str:
        return next((one.name for one in self.clinics if one.id == clinic_id), "")

    def clinician(self, user_id: str | None) -> str:
        found = (one.display_name or one.username for one in self.clinicians if one.id == user_id)
        return next(found, "")


async def load_rows(
    session: AsyncSession,
    keyring: Keyring,
    actor: Actor,
    sight: Sight,
    summaries: Sequence[Summary],
) -> list[Row]:
    """In the order of the summaries. Bookings are asked of the tables themselves: with the
    organisation beside the visits SQLite would look through all of them."""
    bookings = {
        visit_id: (code, patient_id)
        for visit_id, code, patient_id in await session.execute(
            select(_VISITS.c.id, _APPOINTMENTS.c.booking_code, _APPOINTMENTS.c.patient_id)
            .join(_APPOINTMENTS, _APPOINTMENTS.c.id == _VISITS.c.appointment_id)
            .where(_VISITS.c.id.in_([each.visit_id for each in summaries]))
        )
    }
    rows: list[Row] = []
    for summary in summaries:
        code, patient_id = bookings[summary.visit_id]
        rows.append(
            Row(
                summary,
                code if sight.has_bookings else "",
                await name_patient(session, keyring, actor, sight, patient_id),
                unpack_problems(summary.problems) if sight.has_line else (),
            )
        )
    return rows


async def name_patient(
    session: AsyncSession, keyring: Keyring, actor: Actor, sight: Sight, patient_id: str
) -> str:
    """A code that is always the same for the same person in one organisation."""
    if not sight.has_pseudonyms:
        return ""
    index = await keyring.blind_index(session, actor.organisation, "pseudonym", patient_id)
    return index[:_PSEUDONYM_LENGTH].upper()


async def load_choices(session: AsyncSession) -> Choices:
    """Clinics and clinicians of the organisation."""
    clinics = await session.scalars(select(Clinic).order_by(Clinic.name))
    clinicians = await session.scalars(
        select(User).where(User.role == UserRole.CLINICIAN).order_by(User.family_name)
    )
    return Choices(list(clinics), list(clinicians))


async def load_staff_names(session: AsyncSession, ids: Collection[str]) -> dict[str, str]:
    """Names of staff by id; patients and the platform are not among them."""
    users = await session.scalars(select(User).where(User.id.in_(ids)))
    return {user.id: user.display_name or user.username for user in users}
