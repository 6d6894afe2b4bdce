"""A database of an older version with people's data is brought up and read to the last row."""

from __future__ import annotations

import asyncio
import itertools
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import asyncpg
import pytest
from alembic.script import ScriptDirectory
from sqlalchemy import MetaData, insert, select
from sqlalchemy.ext.asyncio import AsyncConnection

from server.admin import prepare
from server.audit import Act
from server.backup import restore_backup, take_backup
from server.backup.proof import prove
from server.db import EVERY_ORGANISATION, Database
from server.errors import CommandFailed
from server.keyring import Keyring, check_value, load_keyring
from server.migrations import alembic_config, find_revision, is_current, upgrade
from server.models import (
    DataKey,
    InboxMessage,
    LogEntry,
    MessageState,
    OrganisationKey,
    User,
    UserRole,
    Visit,
)
from server.sealed import open_message
from server.settings import Settings, load_settings
from tests.conftest import _PASSWORD_HASH, CARDIOLOGY, PASSWORD
from tests.test_cli import Installation
from tests.visitors import OWN_PAGE, Visitor, open_site

REJECTED = b"TC-9;ausl-toscana;dopodomani;BERTOLUCCI"
NEWEST = ScriptDirectory.from_config(alembic_config()).get_current_head()
NOTE = "Compenso discreto, riduce il diuretico."
NOW = datetime.now(UTC)
IN_OCTOBER = datetime(2026, 10, 20, 9, tzinfo=UTC)
"""The month whose key seals what came in."""
WRITTEN = Path(__file__).parent / "vectors" / "upgrade"
_numbers = itertools.count(1)


@dataclass(frozen=True, slots=True)
class Old:
    """An installation that an older version has left."""

    installation: Installation
    url: str
    keyring: Keyring

    @property
    def data_dir(self) -> Path:
        return self.installation.folder

    @property
    def settings(self) -> Settings:
        url = "" if self.url.startswith("sqlite") else self.url
        return load_settings(self.data_dir, database_url=url)


@pytest.fixture(params=["sqlite", "postgresql"])
def postgres(request: pytest.FixtureRequest) -> str:
    """Where the PostgreSQL is; empty for SQLite."""
    if request.param == "sqlite":
        return ""
    return str(request.getfixturevalue("postgres_address"))


@pytest.fixture
async def empty_url(postgres: str, data_dir: Path) -> AsyncIterator[str]:
    """A database with nothing in it."""
    if not postgres:
        yield f"sqlite+aiosqlite:///{data_dir / 'accanto.db'}"
        return
    name = f"old_{next(_numbers)}"
    connection = await asyncpg.connect("postgresql" + postgres.format("postgres"))
    await connection.execute(f"CREATE DATABASE {name}")
    yield "postgresql+asyncpg" + postgres.format(name)
    await connection.execute(f"DROP DATABASE {name} WITH (FORCE)")
    await connection.close()


@pytest.fixture(params=["0001", "0002"])
async def old(request: pytest.FixtureRequest, empty_url: str, postgres: str, data_dir: Path) -> Old:
    written = json.loads((WRITTEN / f"{request.param}.json").read_text())
    database = Database(empty_url)
    data_dir.chmod(0o700)
    (data_dir / "keys").mkdir(mode=0o700)
    (data_dir / "keys" / "root.key").write_bytes(bytes.fromhex(written["root_key"]))
    (data_dir / "keys" / "root.key").chmod(0o600)
    async with database.engine.begin() as connection:
        await connection.run_sync(upgrade, request.param)
        tables = MetaData()
        await connection.run_sync(tables.reflect)
        writer = _Writer(connection, tables, written)
        await _fill(writer)
        await (_fill_0001 if request.param == "0001" else _fill_0002)(writer)
    await database.close()
    extra = {"ACCANTO_DATABASE_URL": empty_url} if postgres else {}
    return Old(Installation(data_dir, **extra), empty_url, load_keyring(data_dir))


class _Writer:
    """Writes rows as they were in the older schema. Every key and every sealed field is what the
    code of that version wrote (``tests/vectors/upgrade``)."""

    def __init__(
        self, connection: AsyncConnection, tables: MetaData, written: dict[str, Any]
    ) -> None:
        self._connection = connection
        self._tables = tables
        self._written = written

    async def add(self, table: str, **values: object) -> None:
        if "organisation_id" in self._tables.tables[table].columns:
            values.setdefault("organisation_id", "org1")
        await self._connection.execute(insert(self._tables.tables[table]).values(values))

    async def add_keys(self) -> None:
        for row in self._written["organisation_key"]:
            await self.add("organisation_key", **row | {"wrapped": bytes.fromhex(row["wrapped"])})
        for row in self._written["data_key"]:
            row |= {"wrapped": bytes.fromhex(row["wrapped"]), "created_at": NOW}
            await self.add("data_key", **row)

    def sealed(self, place: str) -> bytes:
        """By kind, id and field."""
        return bytes.fromhex(self._written["sealed"][place])


async def _fill(to: _Writer) -> None:
    """A morning of 0.1.0: one visit that took place, one that is to come."""
    await to.add(
        "organisation", id="org1", code="ausl-toscana", name="Azienda USL Toscana Centro",
        desk_phone="055 123 4567", is_totp_required=False, is_relay_only=False,
    )  # fmt: skip
    await to.add_keys()
    await to.add("clinic", id="clinic1", code="CARD-01", name="Cardiologia")
    for role in UserRole:
        await to.add(
            "user", id=role.value, username=role.value, password_hash=_PASSWORD_HASH, title="",
            role=role.value, given_name="Anna", family_name="Bianchi", failed_logins=0,
            code="M1" if role is UserRole.CLINICIAN else None, is_disabled=False,
        )  # fmt: skip
    await to.add("source", id="source1", code="cup")
    await to.add(
        "patient", id="rosa", codice_fiscale_index="a" * 32, identity_version=1,
        sealed_identity=to.sealed("patient.rosa.identity"),
    )  # fmt: skip
    for number, start in ((1, NOW - timedelta(hours=3)), (2, NOW + timedelta(minutes=20))):
        await to.add(
            "appointment", id=f"app{number}", source_id="source1", booking_code=f"TC-000{number}",
            patient_id="rosa", clinic_id="clinic1", clinician_id="clinician", clinician_code="M1",
            status="booked", start=start, end=start + timedelta(minutes=20), priority="B",
            is_first_visit=False, details_version=1, import_digest="", created_at=NOW,
            updated_at=NOW,
            sealed_details=to.sealed(f"appointment.app{number}.details"),
        )  # fmt: skip
    began = NOW - timedelta(hours=3)
    common = {"link_version": 1, "late_minutes": 0, "failed_claims": 0}
    await to.add(
        "visit", id="past", appointment_id="app1", locator="locatorpast00000", state="ended",
        outcome="completed", outcome_reason="", waiting_since=began, admitted_at=began,
        ended_at=NOW - timedelta(hours=2), identity_confirmed_at=began,
        eligibility_confirmed_at=began,
        sealed_eligibility=to.sealed("visit.past.eligibility"), **common,
    )  # fmt: skip
    await to.add(
        "visit", id="next", appointment_id="app2", locator="locatornext00000", state="booked",
        outcome_reason="", **common,
    )  # fmt: skip
    await to.add(
        "check_in", visit_id="past", version=1, updated_at=began, completed_at=began,
        sealed_answers=to.sealed("check_in.past.answers"),
    )  # fmt: skip
    await to.add(
        "consent", id="consent1", visit_id="past", kind="visit", is_given=True, text_version="1",
        text_hash="b" * 64, language="it", answered_at=began,
    )  # fmt: skip
    await to.add(
        "device", id="device1", visit_id="past", token_hash="c" * 64, link_version=1,
        claimed_at=began,
    )  # fmt: skip
    await to.add(
        "note", visit_id="past", version=1, author_id="clinician", saved_at=began,
        sealed_text=to.sealed("note.past.text"),
    )  # fmt: skip
    acts = (Act.BOOKING_IMPORTED, Act.LINK_CLAIMED, Act.LINK_READ, Act.LINK_REVOKED)
    for number, act in enumerate(acts, 1):
        content = {"act": act, "actor": "", "at": began.isoformat(), "facts": {}, "role": "system"}
        entry = json.dumps({**content, "visit": "past"}, separators=(",", ":"))
        await to.add("log_entry", seq=number, visit_id="past", entry=entry)
    await to.add("log_head", size=len(acts))


async def _fill_0001(to: _Writer) -> None:
    for number, reason in enumerate(("not_a_date", "already_cancelled"), 1):
        await to.add(
            "import_issue", id=f"issue{number}", source_id="source1", line=number + 3,
            field="inizio", reason=reason, created_at=NOW - timedelta(days=40),
            sealed_raw=to.sealed(f"import_issue.issue{number}.raw"),
        )  # fmt: skip


async def _fill_0002(to: _Writer) -> None:
    """What the CUP link had written."""
    await to.add(
        "inbox_message", id="issue1", source_id="source1", connector="csv", content_digest="d" * 32,
        booking_code="TC-9", event="", message_order="", state="quarantined", reason="not_a_date",
        field="inizio", warnings="", line=4, visit_id=None, repeats=0,
        received_at=IN_OCTOBER, decided_at=NOW, sealed_raw=to.sealed("inbox_message.issue1.raw"),
    )  # fmt: skip
    await to.add(
        "outbox_event", id="event1", source_id="source1", visit_id="past", kind="ended",
        facts='{"outcome": "completed"}', state="withheld", reason="", attempts=0, created_at=NOW,
    )  # fmt: skip
    await to.add(
        "patient_message", id="letter1", visit_id="next", kind="invitation", occasion="",
        parameters="{}", state="withheld", reason="", attempts=0, created_at=NOW, due_at=NOW,
    )  # fmt: skip
    await to.add(
        "phase_change", id="phase1", phase="collaudo", pilot_clinics=[], changed_at=NOW,
        changed_by="",
    )  # fmt: skip
    await to.add("visit_change", visit_id="next", kind="moved", changed_at=NOW)


# ---- bringing it up ----------------------------------------------------------------------


async def test_old_data_is_served_to_the_last_row(old: Old) -> None:
    await asyncio.to_thread(old.installation.succeed, "migrate")
    await prepare(old.settings)

    database = Database(old.url)
    assert await is_current(database)
    proofs = await prove(database, old.keyring)
    assert proofs[1] == "the session log has all of its 4 lines"
    async with open_site(database, old.url, old.data_dir) as site:
        clinician = await _log_in(site.stranger, "clinician")
        agenda = await clinician.get("/agenda")
        note = await clinician.get("/visits/past/note")
        visit = await clinician.get("/visits/next")
        timeline = await (await _log_in(site.stranger, "manager")).get("/sessions/past")
        board = await (await _log_in(site.stranger, "desk")).get("/desk")
        quarantine = await (await _log_in(site.stranger, "administrator")).get("/admin/quarantine")
    await database.close()

    assert [agenda.status, note.status, visit.status, board.status] == [200] * 4
    assert "Bertolucci" in agenda.text
    assert json.loads(note.text)["content"] == {"sections": {"free": NOTE}}
    assert CARDIOLOGY.question in visit.text
    assert timeline.status == quarantine.status == 200
    assert "issue1" in quarantine.text


async def test_rows_that_could_not_be_read_wait_in_quarantine(old: Old) -> None:
    await prepare(old.settings)

    database = Database(old.url)
    async with database.read(EVERY_ORGANISATION) as session:
        rows = {row.id: row for row in await session.scalars(select(InboxMessage))}
        opened = {id_: await open_message(old.keyring, session, row) for id_, row in rows.items()}
        owners = set(await session.scalars(select(DataKey.owner)))
    await database.close()
    assert opened["issue1"] == REJECTED
    assert rows["issue1"].state is MessageState.QUARANTINED
    assert (rows["issue1"].reason, rows["issue1"].field) == ("not_a_date", "inizio")
    assert {row.reason for id_, row in rows.items() if id_ == "issue2"} <= {"unreadable"}
    assert not any(owner.startswith("import_issue") for owner in owners)
    again = await asyncio.to_thread(old.installation.fail, "cup", "replay", "--all")
    assert "issue1" in again


async def test_without_the_right_keys_nothing_is_dropped(old: Old) -> None:
    database = Database(old.url)
    before = await _find_revision(database)
    root_key = old.data_dir / "keys" / "root.key"
    good = root_key.read_bytes()

    root_key.write_bytes(bytes(32))
    with pytest.raises(CommandFailed, match="does not open this database"):
        await prepare(old.settings)
    assert await _find_revision(database) == before
    root_key.write_bytes(good)
    await prepare(old.settings)

    assert await _find_revision(database) == NEWEST
    async with database.read(EVERY_ORGANISATION) as session:
        kept = await session.get_one(InboxMessage, "issue1")
        assert await open_message(old.keyring, session, kept) == REJECTED
    await database.close()


async def test_keys_of_before_get_their_check_values(old: Old) -> None:
    await prepare(old.settings)

    database = Database(old.url)
    async with database.read(EVERY_ORGANISATION) as session:
        keys = list(await session.scalars(select(OrganisationKey)))
        kek = await old.keyring.load_secret(session, keys[0].organisation_id, "kek")
    await database.close()
    assert {row.root_id for row in keys} == {old.keyring.roots.current.id}
    assert {row.purpose: row.check_value for row in keys}["kek"] == check_value(kek)
    assert len({row.check_value for row in keys}) == 3


async def _find_revision(database: Database) -> str | None:
    async with database.engine.connect() as connection:
        return await connection.run_sync(find_revision)


async def test_backup_of_the_version_before_comes_back_migrated(old: Old, tmp_path: Path) -> None:
    await take_backup(old.settings, tmp_path / "d", tmp_path / "k", NOW)

    done = await restore_backup(tmp_path / "home", tmp_path / "d", tmp_path / "k")

    assert done.manifest.revision in {"0001", "0002"}
    database = Database(load_settings(tmp_path / "home").database)
    assert await is_current(database)
    async with database.read(EVERY_ORGANISATION) as session:
        assert (await session.get_one(Visit, "past")).suitability is None
        kept = await session.get_one(InboxMessage, "issue1")
        keyring = load_keyring(tmp_path / "home")
        assert await open_message(keyring, session, kept) == REJECTED
        assert len(list(await session.scalars(select(LogEntry)))) == 4
        assert len(list(await session.scalars(select(User)))) == len(UserRole)
    await database.close()


async def _log_in(stranger: Visitor, username: str) -> Visitor:
    """By password, as on the morning after the upgrade."""
    form = {"username": username, "password": PASSWORD}
    answer = await stranger.ask("POST", "/login", OWN_PAGE, data=form)
    assert answer.status == 303, answer.text
    token = answer.headers["Set-Cookie"].partition(";")[0].partition("=")[2]
    return Visitor(stranger.session, stranger.origin, {"session": token})
