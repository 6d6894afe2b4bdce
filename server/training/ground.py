"""The training organisation, and a practice visit in it.

There is one in an installation, made when the first practice begins. A clinician works there as a
*twin*: a user without a login, whom ``server.auth`` takes her for in her own practice visits and
nowhere else. Nothing leaves it (``server.phases``), and the daily job empties it.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from server.admin import add_organisation
from server.audit import Act, ActorRole, Entry, Fact, append
from server.auth import Actor
from server.db import EVERY_ORGANISATION, Database, take_turn
from server.joinlink import derive_link
from server.keyring import Keyring
from server.models import (
    Appointment,
    AppointmentStatus,
    Clinic,
    Organisation,
    Patient,
    Phase,
    Practice,
    RecordingPurpose,
    Source,
    User,
    UserRole,
    Visit,
    VisitState,
    new_id,
    new_locator,
)
from server.sealed import Details, Identity, seal_details, seal_identity
from server.training.scenario import Person, Scenario, encode_scenario

CODE: Final = "FORMAZIONE"
_NAME: Final = "Formazione"
_PHONE: Final = "000 000 000"
_SERVICE: Final = "VISITA DI CONTROLLO"
_MINUTES: Final = timedelta(minutes=20)
_NO_LOGIN: Final = "!"
"""No hash of any password."""


@dataclass(frozen=True, slots=True)
class Begun:
    """A practice visit that waits for its patient; ``link_path`` with its secret fragment."""

    practice_id: str
    visit_id: str
    link_path: str


async def begin_practice(
    database: Database, keyring: Keyring, actor: Actor, scenario: Scenario, now: datetime
) -> Begun:
    """Book a visit of this clinician's twin with the scenario's patient, for now.

    Works over all organisations: the practice is the clinician's own, its visit is of another.
    """
    async with database.begin(EVERY_ORGANISATION) as session:
        ground = await _make_ground(session, keyring)
        user = await session.get_one(User, actor.id)
        twin = await _load_twin(session, ground, user)
        visit = await _book(session, keyring, ground, twin, scenario, now)
        practice = Practice(
            id=new_id(),
            organisation_id=actor.organisation,
            user_id=actor.id,
            twin_id=twin.id,
            visit_id=visit.id,
            scenario=encode_scenario(scenario),
            began_at=now,
        )
        session.add(practice)
        facts: dict[str, Fact] = {"practice": practice.id, "scenario": scenario.code}
        await append(
            session,
            ground.id,
            Entry(now, Act.BOOKING_IMPORTED, ActorRole.SYSTEM, visit=visit.id),
            Entry(now, Act.PRACTICE_BEGAN, ActorRole.CLINICIAN, twin.id, visit.id, facts),
        )
        join_key = await keyring.load_secret(session, ground.id, "join")
    link = derive_link(join_key, visit.id, visit.link_version)
    return Begun(practice.id, visit.id, f"/v/{visit.locator}#{link.fragment}")


async def _make_ground(session: AsyncSession, keyring: Keyring) -> Organisation:
    """The training organisation; two who begin at once meet the same one."""
    await take_turn(session, "training organisation")
    ground = await session.scalar(select(Organisation).where(Organisation.is_training))
    if ground is not None:
        return ground
    ground = Organisation(
        code=CODE,
        name=_NAME,
        desk_phone=_PHONE,
        phase=Phase.COLLAUDO,
        is_training=True,
        is_recording_allowed=True,
        recording_purposes=[RecordingPurpose.TEACHING.value],
    )
    await add_organisation(session, keyring, ground)
    session.add_all(
        [
            Source(organisation_id=ground.id, code=CODE.lower(), name=_NAME),
            Clinic(organisation_id=ground.id, code=CODE, name=_NAME),
        ]
    )
    return ground


async def _load_twin(session: AsyncSession, ground: Organisation, user: User) -> User:
    """The same person there, by the names of today."""
    await take_turn(session, f"twin {user.id}")
    twin = await session.scalar(select(User).where(User.twin_of == user.id))
    if twin is None:
        twin = User(
            id=new_id(),
            organisation_id=ground.id,
            username=f"{CODE.lower()}.{user.id}",
            password_hash=_NO_LOGIN,
            role=UserRole.CLINICIAN,
            is_disabled=True,
            twin_of=user.id,
        )
        session.add(twin)
    twin.title, twin.given_name, twin.family_name = user.title, user.given_name, user.family_name
    twin.code, twin.profession = user.code, user.profession
    await session.flush()
    return twin


async def _book(
    session: AsyncSession,
    keyring: Keyring,
    ground: Organisation,
    twin: User,
    scenario: Scenario,
    now: datetime,
) -> Visit:
    """What an import from CUP would have made: patient, appointment and visit."""
    patient = Patient(id=new_id(), organisation_id=ground.id, identity_version=1)
    await keyring.make_key(session, ground.id, f"patient:{patient.id}")
    await seal_identity(keyring, session, patient, _identity(scenario.patient))
    appointment = await _make_appointment(session, ground, twin, now)
    appointment.patient_id = patient.id
    await keyring.make_key(session, ground.id, f"appointment:{appointment.id}")
    details = Details(question=scenario.patient.question, service_name=_SERVICE)
    await seal_details(keyring, session, appointment, details)
    visit = Visit(
        id=new_id(),
        organisation_id=ground.id,
        appointment_id=appointment.id,
        locator=new_locator(),
        state=VisitState.BOOKED,
        link_version=1,
    )
    for row in (patient, appointment, visit):
        session.add(row)
        await session.flush()
    return visit


async def _make_appointment(
    session: AsyncSession, ground: Organisation, twin: User, now: datetime
) -> Appointment:
    """For this minute, in the one clinic there, from a source that nothing is sent to."""
    sources = await session.scalars(select(Source.id).where(Source.organisation_id == ground.id))
    clinics = await session.scalars(select(Clinic.id).where(Clinic.organisation_id == ground.id))
    start = now.replace(second=0, microsecond=0)
    return Appointment(
        id=new_id(),
        organisation_id=ground.id,
        source_id=sources.one(),
        booking_code=f"{CODE[:4]}-{new_id()}",
        clinic_id=clinics.one(),
        clinician_id=twin.id,
        clinician_code=twin.code or "",
        status=AppointmentStatus.BOOKED,
        start=start,
        end=start + _MINUTES,
        created_at=now,
        updated_at=now,
        details_version=1,
    )


def _identity(person: Person) -> Identity:
    return Identity(
        family_name=person.family_name,
        given_name=person.given_name,
        sex=person.sex,
        birth_date=person.birth_date,
        address=person.address,
    )
