"""``accanto log seed``: as many invented visits as a benchmark needs, with their session log.

They are of an organisation of their own whose name says what it is. Entries pass through
:func:`server.audit.append`, identities and bookings are sealed, and the sequencer numbers what was
written, as for every other visit; what is not made are reports, notes and messages themselves.
"""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Final

import msgspec
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from server.admin import add_organisation, add_user, open_database, prepare
from server.audit import Entry, append
from server.db import EVERY_ORGANISATION, Database, OrganisationId
from server.demo import MARK
from server.demo.lines import Quality, measure_line
from server.demo.seedplan import (
    CLINICS,
    TOWNS,
    SeedVisit,
    count_clinicians,
    plan_visits,
    tell_booking,
    tell_visit,
)
from server.errors import CommandFailed
from server.keyring import Keyring, load_keyring
from server.line.measured import Seat
from server.models import (
    Appointment,
    AppointmentStatus,
    Clinic,
    Organisation,
    Patient,
    Phase,
    Source,
    Suitability,
    User,
    UserRole,
    Visit,
    new_id,
)
from server.quality.batch import Batch
from server.quality.store import save_batch
from server.sealed import AddressParts, Details, Identity, seal_details, seal_identity
from server.sequencing import number_log
from server.settings import Settings
from server.summary import Summaries

CODE: Final = "dati-inventati"
MANAGER: Final = "seed.manager"
_NAME: Final = "Dati inventati (accanto log seed)"
_NOBODY_KNOWS_IT: Final = "!"
_MINUTES: Final = timedelta(minutes=20)
_NUMBERED_AFTER: Final = 20_000


@dataclass(frozen=True, slots=True)
class Seeded:
    """What was made, and how long it took."""

    visits: int
    entries: int
    seconds: float


async def seed_log(settings: Settings, count: int, now: datetime) -> Seeded:
    """Make the visits in a new data folder or in that of a demonstration.

    :raises CommandFailed: the folder holds an installation of somebody, or was seeded before.
    """
    began = time.monotonic()
    await prepare(settings)
    keyring = load_keyring(settings.data_dir)
    async with open_database(settings) as database:
        await _refuse_others(database, is_demo=(settings.data_dir / MARK).exists())
        ground = _Ground(database, keyring, now)
        await ground.make_team(count_clinicians(count))
        entries = await ground.fill(plan_visits(count, now))
        await Summaries(database, keyring).follow_all()
    return Seeded(count, entries, time.monotonic() - began)


async def _refuse_others(database: Database, *, is_demo: bool) -> None:
    async with database.read(EVERY_ORGANISATION) as session:
        codes = set(await session.scalars(select(Organisation.code)))
    if CODE in codes:
        raise CommandFailed(f"There are invented visits already, in the organisation {CODE}")
    if codes and not is_demo:
        raise CommandFailed("This is an installation with organisations: nothing is invented in it")


class _Ground:
    """The organisation of the invented visits, and what its rows refer to."""

    def __init__(self, database: Database, keyring: Keyring, now: datetime) -> None:
        self._database = database
        self._keyring = keyring
        self._now = now
        self._clinics: list[Clinic] = []
        self._clinicians: list[User] = []
        self._patients: dict[int, str] = {}
        self._visits: dict[int, str] = {}

    async def make_team(self, clinicians: int) -> None:
        """Organisation, clinics, staff; nobody of them can log in before a password is set."""
        body = Organisation(
            code=CODE,
            name=_NAME,
            desk_phone="+39 000 000",
            is_totp_required=False,
            phase=Phase.COLLAUDO,
        )
        async with self._database.begin(EVERY_ORGANISATION) as session:
            await add_organisation(session, self._keyring, body)
            self._owner: OrganisationId = body.id
            self._clinics = [
                Clinic(organisation_id=body.id, code=f"SEED-{number}", name=name)
                for number, name in enumerate(CLINICS)
            ]
            source = Source(organisation_id=body.id, code="seed")
            session.add_all([*self._clinics, source])
            await add_user(session, self._user(MANAGER, UserRole.MANAGER, "Inventato"))
            for number in range(clinicians):
                user = self._user(f"seed.medico{number:02}", UserRole.CLINICIAN, f"N. {number:02}")
                user.code = f"SEED-{number:02}"
                await add_user(session, user)
                self._clinicians.append(user)
            self._source = source.id

    def _user(self, username: str, role: UserRole, family_name: str) -> User:
        return User(
            organisation_id=self._owner,
            username=username,
            password_hash=_NOBODY_KNOWS_IT,
            role=role,
            given_name="Medico" if role is UserRole.CLINICIAN else "Responsabile",
            family_name=family_name,
        )

    async def fill(self, visits: list[SeedVisit]) -> int:
        """Write day after day, and have the log numbered; returns how many entries there are."""
        booked, held = defaultdict(list), defaultdict(list)
        for visit in visits:
            booked[visit.booked_at.date()].append(visit)
            held[visit.start.date()].append(visit)
        entries, waiting = 0, 0
        for day in sorted({*booked, *held}):
            written = await self._write_day(booked[day], held[day])
            entries, waiting = entries + written, waiting + written
            if waiting >= _NUMBERED_AFTER:
                waiting = 0
                await number_log(self._database, self._owner)
        await number_log(self._database, self._owner)
        return entries

    async def _write_day(self, booked: Iterable[SeedVisit], held: Iterable[SeedVisit]) -> int:
        """One transaction; the entries stand in it as the day would have brought them."""
        entries: list[Entry] = []
        async with self._database.begin(self._owner) as session:
            session.autoflush = False
            for visit in booked:
                await self._add_visit(session, visit)
                entries += tell_booking(visit, self._visits[visit.number])
            await session.flush()
            for visit in held:
                visit_id = self._visits.pop(visit.number)
                clinician = self._clinicians[visit.clinician].id
                entries += tell_visit(visit, visit_id, new_id(), clinician)
                if visit.is_measured:
                    await self._measure(session, visit, visit_id)
            entries.sort(key=lambda entry: entry.at)
            await append(session, self._owner, *entries)
        return len(entries)

    async def _add_visit(self, session: AsyncSession, visit: SeedVisit) -> None:
        appointment = Appointment(
            id=new_id(),
            organisation_id=self._owner,
            source_id=self._source,
            booking_code=f"SEED-{visit.number:07}",
            patient_id=await self._patient(session, visit.patient),
            clinic_id=self._clinics[visit.clinic].id,
            clinician_id=self._clinicians[visit.clinician].id,
            clinician_code=self._clinicians[visit.clinician].code or "",
            status=AppointmentStatus.BOOKED if visit.outcome else AppointmentStatus.CANCELLED,
            start=visit.start,
            end=visit.start + _MINUTES,
            priority=visit.priority,
            created_at=visit.booked_at,
            updated_at=visit.booked_at,
            details_version=1,
        )
        await self._keyring.make_key(session, self._owner, f"appointment:{appointment.id}")
        details = Details(
            service_name="VISITA DI CONTROLLO", booked_on=visit.booked_at.date(),
            interpreter="" if visit.number % 50 else "en",
        )  # fmt: skip
        await seal_details(self._keyring, session, appointment, details)
        row = Visit(
            id=new_id(),
            organisation_id=self._owner,
            appointment_id=appointment.id,
            state=visit.state,
            outcome=visit.outcome,
            outcome_reason=visit.reason,
            waiting_since=visit.waiting_since,
            admitted_at=visit.admitted_at,
            ended_at=visit.ended_at if visit.outcome else None,
            suitability=visit.suitability,
        )
        session.add_all([appointment, row])
        self._visits[visit.number] = row.id

    async def _patient(self, session: AsyncSession, number: int) -> str:
        if number not in self._patients:
            patient = Patient(id=new_id(), organisation_id=self._owner, identity_version=1)
            await self._keyring.make_key(session, self._owner, f"patient:{patient.id}")
            city = TOWNS[number % len(TOWNS)]
            identity = Identity(
                family_name="Inventata", given_name=f"Persona {number}", sex="F",
                birth_date=date(1940 + number % 60, 1 + number % 12, 1 + number % 28),
                address=f"Via di Prova {number}, {city}",
                residence=AddressParts(text=f"Via di Prova {number}, {city}", city=city),
            )  # fmt: skip
            await seal_identity(self._keyring, session, patient, identity)
            session.add(patient)
            self._patients[number] = patient.id
        return self._patients[number]

    async def _measure(self, session: AsyncSession, visit: SeedVisit, visit_id: str) -> None:
        """What the two pages would have brought of their line."""
        quality = Quality.GOOD if visit.suitability is Suitability.SUITABLE else Quality.BAD
        rows = measure_line(quality, visit.admitted_at or visit.start, visit.ended_at)
        batch = msgspec.convert(rows, Batch)
        for seat in Seat:
            await save_batch(session, self._owner, visit_id, seat, batch)
