"""A data folder with as many visits as a benchmark needs, made by the production functions.

Every visit is of one clinician and one patient, checked in and waiting, so that a sample is only
what the benchmark is about. Not here: the link, the claim and the steps of the check-in.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any, Final

from sqlalchemy import insert
from sqlalchemy.ext.asyncio import AsyncSession

from server.admin import add_organisation, add_user
from server.auth import make_device, start_session
from server.db import EVERY_ORGANISATION, Base, Database
from server.joinlink import derive_link
from server.keyring import Keyring, load_keyring
from server.migrations import migrate
from server.models import (
    Appointment,
    AppointmentStatus,
    CheckIn,
    Clinic,
    Consent,
    ConsentKind,
    Organisation,
    Patient,
    Source,
    User,
    UserRole,
    Visit,
    VisitState,
    new_id,
    new_locator,
)
from server.roomseed import seed_of
from server.sealed import (
    Answers,
    Details,
    Identity,
    seal_answers,
    seal_details,
    seal_identity,
)
from server.settings import load_settings, save_settings
from signaling.messages import Role
from signaling.seed import RoomSeed
from signaling.tickets import NONCE_BYTES, issue_ticket

_MINUTES: Final = 30
_STARTS_IN: Final = timedelta(minutes=10)


@dataclass(frozen=True, slots=True)
class GroundVisit:
    """One visit and what opens it. The device token is empty for a visit nobody has claimed."""

    id: str
    locator: str
    fragment: str
    device_token: str


@dataclass(frozen=True, slots=True)
class Ground:
    """A data folder that ``accanto serve`` can serve on ``port``."""

    data_dir: Path
    port: int
    visits: list[GroundVisit]
    clinician_token: str
    ticket_key: bytes
    seed: RoomSeed
    """Of every visit as it was made; a ticket carries it, as the pages' tickets do."""

    @property
    def base_url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def issue_tickets(self, visit: GroundVisit) -> tuple[str, str]:
        """What the two pages of a visit would ask for just before they open their sockets."""
        return (
            self._issue(visit, "patient", Role.PATIENT),
            self._issue(visit, "clinician", Role.CLINICIAN),
        )

    def _issue(self, visit: GroundVisit, participant: str, role: Role) -> str:
        return issue_ticket(
            self.ticket_key,
            room=visit.id,
            participant=participant,
            role=role,
            now=datetime.now(UTC),
            nonce=secrets.token_bytes(NONCE_BYTES),
            seed=self.seed,
        )


async def make_ground(
    data_dir: Path,
    port: int,
    count: int,
    state: VisitState,
    *,
    copies: int = 0,
    database_url: str = "",
) -> Ground:
    """Make the folder; in state ``BOOKED`` the visits are not claimed, else checked in.

    ``copies`` more visits have only what a room asks for: their pages cannot be opened.
    """
    data_dir.mkdir()
    keyring = load_keyring(data_dir, create=True)
    settings = {"base_url": f"http://127.0.0.1:{port}", "port": str(port)}
    save_settings(data_dir, settings | {"database_url": database_url})
    database = Database(load_settings(data_dir).database)
    await migrate(database)
    now = datetime.now(UTC)
    async with database.begin(EVERY_ORGANISATION) as session:
        maker = _VisitMaker(keyring, session, now, state)
        await maker.make_team()
        visits = [await maker.make_visit(number) for number in range(count)]
        visits += await maker.copy_visit(visits[0], copies)
        token = await start_session(session, maker.clinician, now)
        visit = await session.get_one(Visit, visits[0].id)
        seed = seed_of(visit, maker.organisation)
    await database.close()
    return Ground(data_dir, port, visits, token, keyring.derive("socket-tickets"), seed)


class _VisitMaker:
    def __init__(
        self, keyring: Keyring, session: AsyncSession, now: datetime, state: VisitState
    ) -> None:
        self._keyring = keyring
        self._session = session
        self._now = now
        self._state = state

    async def make_team(self) -> None:
        organisation = Organisation(
            code="ausl-prova",
            name="Azienda USL di Prova",
            desk_phone="055 123 4567",
            is_totp_required=False,
        )
        await add_organisation(self._session, self._keyring, organisation)
        self.organisation = organisation
        self._organisation = organisation.id
        self.clinician = User(
            organisation_id=organisation.id,
            username="medico.prova",
            password_hash="!",
            role=UserRole.CLINICIAN,
            title="dott.ssa",
            given_name="Anna",
            family_name="Bianchi",
            code="MED-1",
        )
        await add_user(self._session, self.clinician)
        self._clinic = Clinic(organisation_id=organisation.id, code="CARD-01", name="Cardiologia")
        self._source = Source(organisation_id=organisation.id, code="cup")
        self._patient = Patient(organisation_id=organisation.id, id="paziente00000001")
        self._patient.identity_version = 1
        identity = Identity(
            family_name="Prova", given_name="Rosa", birth_date=date(1948, 3, 12), sex="F"
        )
        await seal_identity(self._keyring, self._session, self._patient, identity)
        self._session.add_all([self._clinic, self._source, self._patient])
        await self._session.flush()
        self._join_key = await self._keyring.load_secret(self._session, organisation.id, "join")

    async def make_visit(self, number: int) -> GroundVisit:
        appointment = await self._make_appointment(number)
        is_claimed = self._state is not VisitState.BOOKED
        visit = Visit(
            organisation_id=self._organisation,
            appointment=appointment,
            state=self._state,
            waiting_since=self._now if is_claimed else None,
        )
        self._session.add(visit)
        await self._session.flush()
        token = await self._check_in(visit) if is_claimed else ""
        link = derive_link(self._join_key, visit.id, visit.link_version)
        return GroundVisit(visit.id, visit.locator, link.fragment, token)

    async def copy_visit(self, original: GroundVisit, copies: int) -> list[GroundVisit]:
        """Rows by Core: thousands are made in a second."""
        visit = await self._session.get_one(Visit, original.id)
        booking = await self._session.get_one(Appointment, visit.appointment_id)
        appointments, visits = [], []
        for number in range(copies):
            appointment = _columns(booking) | {
                "id": new_id(),
                "booking_code": f"COPIA-{number:06}",
            }
            appointments.append(appointment)
            visits.append(
                _columns(visit)
                | {"id": new_id(), "locator": new_locator(), "appointment_id": appointment["id"]}
            )
        if copies:
            await self._session.execute(insert(Appointment.__table__), appointments)
            await self._session.execute(insert(Visit.__table__), visits)
        return [GroundVisit(visit["id"], visit["locator"], "", "") for visit in visits]

    async def _make_appointment(self, number: int) -> Appointment:
        start = self._now + _STARTS_IN
        appointment = Appointment(
            id=f"app{number:013}",
            organisation_id=self._organisation,
            source_id=self._source.id,
            booking_code=f"CUP-{number:06}",
            patient=self._patient,
            clinic=self._clinic,
            clinician=self.clinician,
            clinician_code="MED-1",
            status=AppointmentStatus.BOOKED,
            start=start,
            end=start + timedelta(minutes=_MINUTES),
            priority="B",
            details_version=1,
            created_at=self._now,
            updated_at=self._now,
        )
        details = Details(question="Controllo", service_name="VISITA DI CONTROLLO")
        await seal_details(self._keyring, self._session, appointment, details)
        self._session.add(appointment)
        return appointment

    async def _check_in(self, visit: Visit) -> str:
        check_in = CheckIn(
            organisation_id=self._organisation,
            visit_id=visit.id,
            version=1,
            updated_at=self._now,
            completed_at=self._now,
        )
        await seal_answers(self._keyring, self._session, check_in, Answers(camera="ok"))
        device, token = make_device(visit, self._now)
        self._session.add_all([check_in, device, *self._consents(visit)])
        return token

    def _consents(self, visit: Visit) -> Iterator[Consent]:
        for kind in ConsentKind:
            yield Consent(
                organisation_id=self._organisation,
                visit_id=visit.id,
                kind=kind,
                is_given=True,
                text_version="1",
                text_hash="0" * 64,
                language="it",
                answered_at=self._now,
            )


def _columns(row: Base) -> dict[str, Any]:
    return {column.key: getattr(row, column.key) for column in row.__table__.columns}
