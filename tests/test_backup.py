"""A backup is two halves that open nothing alone; it is whole or none, and comes back anywhere."""

from __future__ import annotations

import asyncio
import itertools
import shutil
import stat
import subprocess
import time
import zlib
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import asyncpg
import msgspec
import pytest
from sqlalchemy import Connection, LargeBinary, func, select, update
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import joinedload

from server.audit import Act, ActorRole, Entry, append
from server.auth import start_session
from server.backup import Half, find_backups, load_manifest, restore_backup, take_backup
from server.backup.manifest import list_files, write_manifest
from server.backup.proof import OPENERS
from server.db import EVERY_ORGANISATION, Base, Database
from server.errors import CommandFailed
from server.keyring import Keyring, load_keyring
from server.models import (
    Attachment,
    AttachmentKind,
    CheckIn,
    DataKey,
    EventState,
    FhirResource,
    LogEntry,
    LogHead,
    Note,
    OrganisationKey,
    OutboxEvent,
    Rating,
    Report,
    Signer,
    SignerKind,
    Source,
    Submission,
    User,
    UserSession,
    Visit,
    new_id,
)
from server.sealed import (
    Answers,
    AttachmentWords,
    Eligibility,
    NoteContent,
    Section,
    keep_value,
    open_note,
    seal_answers,
    seal_attachment_words,
    seal_codice_fiscale,
    seal_eligibility,
    seal_justification,
    seal_note,
    seal_outgoing_token,
    seal_rating_words,
    seal_report_content,
    seal_report_forms,
    seal_resource,
    seal_signer,
    seal_submission_detail,
)
from server.sequencing import find_unnumbered, number_entries
from server.settings import SETTINGS_FILE, Settings, load_settings, save_settings
from server.totp import new_second_factor, seal_second_factor
from tests.commands import ACCANTO, clean_environment
from tests.conftest import Cast, MakeVisit
from tests.test_admin_pages import add_event
from tests.test_cli import Installation

NOW = datetime(2026, 11, 22, 8, 0, tzinfo=UTC)
_numbers = itertools.count(1)


@pytest.fixture
async def settings(
    database_url: str,
    database: Database,
    keyring: Keyring,
    data_dir: Path,
    cast: Cast,
    make_visit: MakeVisit,
) -> Settings:
    """An installation with a row in every sealed column, secrets and a file of its own."""
    visit = await make_visit(cast.toscana)
    await make_visit(cast.emilia)
    now = datetime.now(UTC)
    async with database.begin(EVERY_ORGANISATION) as session:
        visit = await session.merge(visit)
        check_in = CheckIn(
            organisation_id=visit.organisation_id, visit_id=visit.id, version=1, updated_at=now
        )
        await seal_answers(keyring, session, check_in, Answers(address="Via dei Serragli 12"))
        note = Note(
            organisation_id=visit.organisation_id,
            visit_id=visit.id,
            version=1,
            author_id=cast.toscana.clinician.id,
            saved_at=now,
        )
        await seal_note(
            keyring, session, note, NoteContent(sections={Section.FREE: "Compenso discreto."})
        )
        await seal_eligibility(keyring, session, visit, Eligibility(ground="follow_up"))
        await seal_justification(keyring, session, visit, "Sono in ospedale.")
        source = (await session.scalars(select(Source))).first()
        assert source is not None
        await seal_outgoing_token(keyring, session, source, "gettone-di-cup")
        resource = FhirResource(
            organisation_id=source.organisation_id,
            source_id=source.id,
            resource_index="a" * 32,
            kind="Patient",
            version=1,
            logical_id="",
            updated_at=now,
        )
        await seal_resource(keyring, session, resource, b"{}")
        clinician = await session.merge(cast.toscana.clinician)
        await seal_second_factor(keyring, session, clinician, new_second_factor())
        await seal_codice_fiscale(keyring, session, clinician, "BNCNNA75A41D612K")
        await _add_report(keyring, session, visit, clinician, now)
        await start_session(session, clinician, now, is_second_factor_done=True)
        rating = Rating(
            organisation_id=visit.organisation_id,
            visit_id=visit.id,
            seat="patient",
            words_version=1,
            rated_at=now,
        )
        await seal_rating_words(keyring, session, rating, "Tutto bene.")
        await keep_value(session, keyring, cast.toscana.organisation.id, "PRN-1", visit.id)
        session.add_all([check_in, note, resource, rating])
    await add_event(database, visit, EventState.QUEUED)
    is_sqlite = database_url.startswith("sqlite")
    values = {"smtp_password": "parola-della-posta"}
    save_settings(data_dir, values | ({} if is_sqlite else {"database_url": database_url}))
    (data_dir / "out").mkdir()
    (data_dir / "out" / "esito.csv").write_text("da prendere")
    return load_settings(data_dir)


async def _add_report(
    keyring: Keyring, session: AsyncSession, visit: Visit, clinician: User, now: datetime
) -> None:
    """A signed report on its way to the national record, a signer and a file."""
    organisation = visit.organisation_id
    report = Report(
        id=new_id(),
        organisation_id=organisation,
        visit_id=visit.id,
        set_id=new_id(),
        content_version=1,
        author_id=clinician.id,
        created_at=now,
        signed_at=now,
    )
    await seal_report_content(keyring, session, report, b"{}")
    await seal_report_forms(keyring, session, report, pdf=b"%PDF", cda=b"<ClinicalDocument/>")
    session.add(report)
    await session.flush()
    submission = Submission(
        id=new_id(),
        organisation_id=organisation,
        report_id=report.id,
        next_try_at=now,
        created_at=now,
        changed_at=now,
        detail_version=1,
    )
    await seal_submission_detail(keyring, session, submission, b"{}")
    signer = Signer(
        organisation_id=organisation,
        user_id=clinician.id,
        kind=SignerKind.PKCS12,
        version=1,
        certificate_sha256="a" * 64,
        valid_until=now,
        added_at=now,
    )
    await seal_signer(keyring, session, signer, b"p12")
    attachment = Attachment(
        id=new_id(),
        organisation_id=organisation,
        visit_id=visit.id,
        kind=AttachmentKind.PATIENT_FILE,
        media_type="application/pdf",
        size_bytes=4,
        sealed_sha256="a" * 64,
        received_at=now,
    )
    await seal_attachment_words(keyring, session, attachment, AttachmentWords(file_name="a.pdf"))
    session.add_all([submission, signer, attachment])


@pytest.fixture
async def empty_postgres(postgres_address: str) -> AsyncIterator[str]:
    """The URL of a database with nothing in it."""
    name = f"empty_{next(_numbers)}"
    connection = await asyncpg.connect("postgresql" + postgres_address.format("postgres"))
    await connection.execute(f"CREATE DATABASE {name}")
    yield "postgresql+asyncpg" + postgres_address.format(name)
    await connection.execute(f"DROP DATABASE {name} WITH (FORCE)")
    await connection.close()


def new_home(folder: Path, database_url: str = "") -> Path:
    """A data folder with nothing but the settings of another database."""
    folder.mkdir()
    save_settings(folder, {"database_url": database_url})
    return folder


async def load_everything(url: str) -> dict[str, list[tuple[object, ...]]]:
    """Every row of every table, in an order of its own."""

    def read(connection: Connection) -> dict[str, list[tuple[object, ...]]]:
        return {
            table.name: sorted((tuple(row) for row in connection.execute(select(table))), key=repr)
            for table in Base.metadata.sorted_tables
        }

    database = Database(url)
    try:
        async with database.engine.connect() as connection:
            return await connection.run_sync(read)
    finally:
        await database.close()


def test_every_sealed_column_is_opened_by_the_proof() -> None:
    sealed = {
        f"{table.name}.{column.name}"
        for table in Base.metadata.sorted_tables
        for column in table.columns
        if column.name.startswith("sealed_") and isinstance(column.type, LargeBinary)
        if table.name != UserSession.__tablename__
    }

    assert {f"{column.class_.__tablename__}.{column.key}" for column in OPENERS} == sealed


@pytest.mark.parametrize("target", ["sqlite", "postgresql"])
async def test_everything_comes_back_on_either_database(
    settings: Settings, empty_postgres: str, tmp_path: Path, target: str
) -> None:
    taken = await take_backup(settings, tmp_path / "data-half", tmp_path / "keys-half", NOW)
    home = new_home(tmp_path / "home", empty_postgres if target == "postgresql" else "")

    done = await restore_backup(home, tmp_path / "data-half", tmp_path / "keys-half")

    assert done.rows == taken.rows > 30
    assert done.database == target
    assert done.proofs[0] == f"the keys open {len(OPENERS)} of {len(OPENERS)} sealed columns" + (
        ", the others are empty"
    )
    before = await load_everything(settings.database)
    after = await load_everything(load_settings(home).database)
    assert len(before.pop("user_session")) == 1
    assert after.pop("user_session") == []
    assert after == before
    assert (home / "out" / "esito.csv").read_text() == "da prendere"
    modes = {path.name: path.stat().st_mode for path in home.rglob("*")}
    assert all(stat.S_IMODE(mode) & 0o077 == 0 for mode in modes.values()), modes


async def test_what_was_restored_goes_on_counting(
    settings: Settings, empty_postgres: str, tmp_path: Path
) -> None:
    await take_backup(settings, tmp_path / "d", tmp_path / "k", NOW)
    home = new_home(tmp_path / "home", empty_postgres)
    await restore_backup(home, tmp_path / "d", tmp_path / "k")

    database = Database(empty_postgres)
    async with database.begin(EVERY_ORGANISATION) as session:
        of_it = select(Visit).options(joinedload(Visit.appointment))
        visit = (await session.scalars(of_it)).first()
        newest = await session.scalar(select(func.max(OutboxEvent.number)))
    assert visit is not None
    await add_event(database, visit, EventState.QUEUED)
    async with database.read(EVERY_ORGANISATION) as session:
        assert await session.scalar(select(func.max(OutboxEvent.number))) == (newest or 0) + 1
    await database.close()


async def test_settings_come_back_unless_they_lead_into_a_full_database(
    settings: Settings, tmp_path: Path
) -> None:
    home = tmp_path / "home"
    await take_backup(settings, tmp_path / "d", tmp_path / "k", NOW)

    if settings.database_url:
        with pytest.raises(CommandFailed, match="not empty"):
            await restore_backup(home, tmp_path / "d", tmp_path / "k")
        assert list(home.iterdir()) == []
    else:
        await restore_backup(home, tmp_path / "d", tmp_path / "k")
        assert load_settings(home).smtp_password == "parola-della-posta"


async def test_data_half_alone_opens_nothing(
    settings: Settings, database: Database, data_dir: Path, tmp_path: Path
) -> None:
    await take_backup(settings, tmp_path / "d", tmp_path / "k", NOW)

    async with database.read(EVERY_ORGANISATION) as session:
        wrapped = [
            *await session.scalars(select(DataKey.wrapped)),
            *await session.scalars(select(OrganisationKey.wrapped)),
        ]
    root_key = (data_dir / "keys" / "root.key").read_bytes()
    secrets = [root_key, b"parola-della-posta", *wrapped]
    plain = b"".join(_open_packets(path) for path in (tmp_path / "d").rglob("*") if path.is_file())
    assert b"CUP-" in plain, "the search would find what is there"
    assert len(wrapped) > 6
    assert not any(secret in plain for secret in secrets)
    sealed = b"".join(_open_packets(path) for path in (tmp_path / "k").rglob("*") if path.is_file())
    assert all(secret in sealed for secret in secrets)
    assert b"CUP-" not in sealed


def _open_packets(path: Path) -> bytes:
    content = path.read_bytes()
    if path.suffix != ".rows":
        return content
    found, at = b"", 0
    while at < len(content):
        length = int.from_bytes(content[at : at + 4], "big")
        found += zlib.decompress(content[at + 4 : at + 4 + length])
        at += 4 + length
    return found


async def test_backup_is_of_one_moment_while_others_write(
    settings: Settings, database: Database, cast: Cast, tmp_path: Path
) -> None:
    organisation = cast.toscana.organisation.id
    is_over = asyncio.Event()

    async def write() -> int:
        written = 0
        while not is_over.is_set():
            async with database.begin(organisation) as session:
                entry = Entry(NOW, Act.LINK_READ, ActorRole.SYSTEM)
                await append(session, organisation, entry)
            written += 1
            await asyncio.sleep(0)
        return written

    writer = asyncio.create_task(write())
    taken = [await take_backup(settings, tmp_path / "d", tmp_path / "k", NOW) for _ in range(3)]
    is_over.set()
    written = await writer

    assert written > 3, "nobody wrote meanwhile: this proves nothing"
    sizes = []
    for number, each in enumerate(taken):
        await restore_backup(new_home(tmp_path / f"home-{number}"), each.data, each.keys)
        restored = Database(load_settings(tmp_path / f"home-{number}").database)
        async with restored.read(EVERY_ORGANISATION) as session:
            head = await session.get_one(LogHead, organisation)
            of_it = select(func.count()).where(LogEntry.organisation_id == organisation)
            assert head.size == 0
            sizes.append(await session.scalar(of_it))
        await restored.close()
    assert sizes == sorted(set(sizes))


async def test_every_flipped_byte_is_named_and_nothing_is_written(
    settings: Settings, tmp_path: Path
) -> None:
    taken = await take_backup(settings, tmp_path / "d", tmp_path / "k", NOW)
    files = [path for half in (taken.data, taken.keys) for path in half.rglob("*")]
    files = [path for path in files if path.is_file() and path.stat().st_size]
    assert len(files) > 12

    for path in files:
        good = path.read_bytes()
        at = len(good) // 2
        path.write_bytes(good[:at] + bytes([good[at] ^ 1]) + good[at + 1 :])
        with pytest.raises(CommandFailed) as refused:
            await restore_backup(tmp_path / "home", taken.data, taken.keys)
        path.write_bytes(good)
        named = {path.name} | ({"root.key"} if path == taken.keys / "manifest.json" else set())
        assert any(name in str(refused.value) for name in named), refused.value
        assert not (tmp_path / "home").exists()


async def test_missing_file_is_named(settings: Settings, tmp_path: Path) -> None:
    taken = await take_backup(settings, tmp_path / "d", tmp_path / "k", NOW)
    (taken.data / "tables" / "visit.rows").unlink()

    with pytest.raises(CommandFailed, match=r"visit\.rows is missing"):
        await restore_backup(tmp_path / "home", taken.data, taken.keys)


async def test_halves_must_belong_together(settings: Settings, tmp_path: Path) -> None:
    first = await take_backup(settings, tmp_path / "d", tmp_path / "k", NOW)
    second = await take_backup(settings, tmp_path / "d", tmp_path / "k", NOW + timedelta(hours=1))

    with pytest.raises(CommandFailed, match="belong to another backup"):
        await restore_backup(tmp_path / "home", second.data, first.keys)
    with pytest.raises(CommandFailed, match="not the keys half"):
        await restore_backup(tmp_path / "home", first.data, first.data)
    shutil.rmtree(second.keys)
    with pytest.raises(CommandFailed, match="belong to another backup"):
        await restore_backup(tmp_path / "home", tmp_path / "d", tmp_path / "k")
    shutil.rmtree(first.keys)
    with pytest.raises(CommandFailed, match="no whole backup of the keys"):
        await restore_backup(tmp_path / "home", tmp_path / "d", tmp_path / "k")


async def test_changed_backup_is_recognised_even_with_new_hashes(
    settings: Settings, tmp_path: Path
) -> None:
    """Who may write where backups lie cannot give the clinic another past."""
    taken = await take_backup(settings, tmp_path / "d", tmp_path / "k", NOW)
    manifest = load_manifest(taken.data)
    (taken.data / "tables" / "log_entry.rows").write_bytes(b"")
    (taken.data / "manifest.json").unlink()
    write_manifest(taken.data, msgspec.structs.replace(manifest, files=list_files(taken.data)))

    with pytest.raises(CommandFailed, match="was changed after it was written"):
        await restore_backup(tmp_path / "home", taken.data, taken.keys)


async def test_data_and_keys_never_go_to_one_place(settings: Settings, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(tmp_path / "d")
    places = [("d", "d"), ("d", "d/k"), ("k/d", "k"), ("d", "link"), ("data/b", "k")]
    for data, keys in places:
        with pytest.raises(CommandFailed, match=r"neither inside the other|inside the data folder"):
            await take_backup(settings, tmp_path / data, tmp_path / keys, NOW)
    assert not (tmp_path / "d").exists()


async def test_only_so_many_are_kept_and_nobody_elses_goes(
    settings: Settings, tmp_path: Path
) -> None:
    theirs = tmp_path / "d" / "accanto-data-20200101T000000Z-somebody"
    theirs.mkdir(parents=True)
    for hour in range(4):
        taken = await take_backup(
            settings, tmp_path / "d", tmp_path / "k", NOW + timedelta(hours=hour), keep=2
        )

    assert taken.removed == 1
    data, keys = (find_backups(tmp_path / half[0], half) for half in Half)
    assert [path.name.split("-")[2] for path in data] == ["20261122T100000Z", "20261122T110000Z"]
    assert [path.name.split("-", 2)[2] for path in keys] == [
        path.name.split("-", 2)[2] for path in data
    ]
    assert theirs.exists()


async def test_used_folder_is_refused(settings: Settings, tmp_path: Path) -> None:
    taken = await take_backup(settings, tmp_path / "d", tmp_path / "k", NOW)
    with pytest.raises(CommandFailed, match="not empty"):
        await restore_backup(settings.data_dir, taken.data, taken.keys)
    assert load_keyring(settings.data_dir)


async def test_killed_backup_is_never_taken_for_whole(settings: Settings, tmp_path: Path) -> None:
    cut = 0
    for files in (1, 8, 24):
        await asyncio.to_thread(_kill_backup, settings.data_dir, tmp_path, files)
        whole = find_backups(tmp_path / "d", Half.DATA)
        cut += not whole
        for path in whole:
            home = new_home(tmp_path / f"home-{files}")
            await restore_backup(home, path, tmp_path / "k")
            shutil.rmtree(path)
    assert cut >= 2

    taken = await take_backup(settings, tmp_path / "d", tmp_path / "k", NOW)
    assert not list(tmp_path.glob("?/.partial-*"))
    await restore_backup(new_home(tmp_path / "home"), taken.data, taken.keys)


def _kill_backup(data_dir: Path, places: Path, files: int) -> None:
    """Kill the command once so many files are there."""
    process = subprocess.Popen(
        [ACCANTO, "backup", "--to", places / "d", "--keys-to", places / "k", "--data", data_dir],
        env=clean_environment(),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    while process.poll() is None:
        if len(list(places.glob("?/.partial-*/*/*"))) >= files:
            process.kill()
            break
        time.sleep(0.001)
    process.wait()


async def test_two_at_once_are_refused(settings: Settings, tmp_path: Path) -> None:
    results = await asyncio.gather(
        *(take_backup(settings, tmp_path / "d", tmp_path / "k", NOW) for _ in range(2)),
        return_exceptions=True,
    )

    refused = [result for result in results if isinstance(result, CommandFailed)]
    assert ["Another backup" in str(error) for error in refused] == [True]


async def test_keys_of_other_data_are_recognised(
    settings: Settings, database: Database, tmp_path: Path
) -> None:
    """A database whose rows were mixed up is not called restored."""
    async with database.begin(EVERY_ORGANISATION) as session:
        await session.execute(update(Note).values(version=7))
    taken = await take_backup(settings, tmp_path / "d", tmp_path / "k", NOW)

    with pytest.raises(CommandFailed, match=r"do not open note\.sealed_text"):
        await restore_backup(new_home(tmp_path / "home"), taken.data, taken.keys)
    assert [path.name for path in (tmp_path / "home").iterdir()] == [SETTINGS_FILE]


async def test_missing_line_of_the_log_is_recognised(
    settings: Settings, database: Database, tmp_path: Path
) -> None:
    async with database.begin(EVERY_ORGANISATION) as session:
        for organisation in await find_unnumbered(session):
            await number_entries(session, organisation)
        line = (await session.scalars(select(LogEntry))).first()
        await session.delete(line)
    taken = await take_backup(settings, tmp_path / "d", tmp_path / "k", NOW)

    with pytest.raises(CommandFailed, match="lines are missing"):
        await restore_backup(new_home(tmp_path / "home"), taken.data, taken.keys)


async def test_commands_say_what_they_did(
    settings: Settings, keyring: Keyring, tmp_path: Path
) -> None:
    old = Installation(settings.data_dir)
    new = Installation(new_home(tmp_path / "home"))
    places = ("--to", tmp_path / "d", "--keys-to", tmp_path / "k")

    assert "ACCANTO_BACKUP_DIR" in await asyncio.to_thread(old.fail, "backup")
    taken = await asyncio.to_thread(old.succeed, "backup", *places, "--keep", "3")
    done = await asyncio.to_thread(
        new.succeed, "restore", "--from", tmp_path / "d", "--keys-from", tmp_path / "k"
    )

    assert "0 older removed" in taken
    assert "is whole" in done
    assert "Proved: the session log has all of its" in done
    database = Database(load_settings(new.folder).database)
    async with database.read(EVERY_ORGANISATION) as session:
        note = (await session.scalars(select(Note))).one()
        content = await open_note(keyring, session, note)
        assert content.text_of(Section.FREE) == "Compenso discreto."
    await database.close()
