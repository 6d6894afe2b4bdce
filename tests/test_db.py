"""Organisations are kept apart, times stay in UTC, and a failed act leaves nothing."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from sqlalchemy import select
from sqlalchemy.exc import IntegrityError, StatementError
from sqlalchemy.orm import joinedload

from server.audit import Act, ActorRole, Entry, append
from server.db import EVERY_ORGANISATION, Database
from server.keyring import Keyring
from server.models import Appointment, Clinic, LogEntry, User, Visit
from server.sealed import open_details, open_identity
from tests.conftest import Cast, MakeVisit

ROME = ZoneInfo("Europe/Rome")


async def test_session_of_one_organisation_sees_no_row_of_another(
    database: Database, cast: Cast, make_visit: MakeVisit
) -> None:
    visit = await make_visit(cast.toscana)

    async with database.read(cast.emilia.organisation.id) as session:
        assert await session.get(Visit, visit.id) is None
        assert list(await session.scalars(select(Appointment))) == []
        usernames = set(await session.scalars(select(User.username)))
    async with database.read(EVERY_ORGANISATION) as session:
        everybody = set(await session.scalars(select(User.username)))

    assert usernames == {name for name in everybody if name.endswith("ausl-emilia")}


async def test_joined_rows_of_another_organisation_stay_hidden(
    database: Database, cast: Cast, make_visit: MakeVisit
) -> None:
    visit = await make_visit(cast.toscana)
    async with database.begin(EVERY_ORGANISATION) as session:
        appointment = await session.get_one(Appointment, visit.appointment_id)
        appointment.clinic_id = cast.emilia.clinic.id

    async with database.read(cast.toscana.organisation.id) as session:
        statement = select(Appointment).options(joinedload(Appointment.clinic))
        found = (await session.scalars(statement)).one()

    assert found.clinic is None


async def test_times_come_back_in_utc(
    database: Database, cast: Cast, make_visit: MakeVisit
) -> None:
    start = datetime(2026, 7, 1, 9, 30, tzinfo=ROME)
    visit = await make_visit(cast.toscana, start=start)

    async with database.read(cast.toscana.organisation.id) as session:
        appointment = await session.get_one(Appointment, visit.appointment_id)

    assert appointment.start == start
    assert appointment.start.utcoffset() == timedelta(0)


async def test_naive_time_is_refused(database: Database) -> None:
    async with database.read(EVERY_ORGANISATION) as session:
        with pytest.raises(StatementError, match="naive"):
            await session.scalars(
                select(Appointment).where(Appointment.start > datetime(2026, 1, 1))  # noqa: DTZ001
            )


async def test_failed_transaction_leaves_neither_act_nor_entry(
    database: Database, cast: Cast
) -> None:
    organisation = cast.toscana.organisation.id
    entry = Entry(at=datetime.now(UTC), act=Act.LOG_READ, role=ActorRole.MANAGER)

    async def act_that_fails() -> None:
        async with database.begin(organisation) as session:
            await append(session, organisation, entry)
            session.add(Clinic(organisation_id=organisation, code="CARD-01", name="doppio"))

    with pytest.raises(IntegrityError):
        await act_that_fails()

    async with database.read(organisation) as session:
        assert list(await session.scalars(select(LogEntry))) == []


async def test_sealed_fields_open_where_they_were_sealed(
    database: Database, keyring: Keyring, cast: Cast, make_visit: MakeVisit
) -> None:
    visit = await make_visit(cast.toscana)

    async with database.read(cast.toscana.organisation.id) as session:
        appointment = await session.get_one(
            Appointment, visit.appointment_id, options=[joinedload(Appointment.patient)]
        )
        identity = await open_identity(keyring, session, appointment.patient)
        details = await open_details(keyring, session, appointment)

    assert identity.full_name == "Rosa Bertolucci"
    assert details.service_code == "89.01.3"
