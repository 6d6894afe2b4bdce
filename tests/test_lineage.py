"""A database that holds less than was signed is noticed, and goes on when two people say so."""

from __future__ import annotations

import asyncio
import json
import shutil
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path
from zipfile import ZipFile

import pytest
from sqlalchemy import text

from server.admin import add_user, load_organisation
from server.backup import restore_backup, take_backup
from server.db import EVERY_ORGANISATION, Database
from server.lineage import Breach, find_torn
from server.logsigner.client import SignerProcess
from server.logsigner.memory import CHECKPOINTS_FILE
from server.models import User, UserRole
from server.passwords import hash_password
from server.settings import load_settings
from server.tlog.verify import verify
from tests.conftest import Cast
from tests.test_cli import PASSWORD, Installation, first_installation, installation
from tests.test_logexport import Log

__all__ = ["first_installation", "installation"]

ADMINISTRATORS = ("ada", "ugo")


@pytest.fixture
async def log(database: Database, cast: Cast, tmp_path: Path) -> AsyncIterator[Log]:
    made = Log(database, cast.toscana.organisation.id, tmp_path)
    await made.write(300)
    await made.settle()
    yield made
    await made.signer.stop()


async def find(log: Log) -> list[tuple[Breach, int, int]]:
    torn = await find_torn(log.database, log.folder / "signer")
    return [(one.breach, one.size, one.signed) for one in torn]


async def test_log_that_only_grew_is_whole(log: Log) -> None:
    assert await find(log) == []
    await log.write(7)
    assert await find(log) == []


@pytest.mark.parametrize(
    ("change", "found"),
    [
        ("UPDATE log_head SET size = 256, frontier = (SELECT hashes FROM log_tile LIMIT 1)",
         (Breach.BEHIND, 256, 300)),
        ("UPDATE log_entry SET leaf = (SELECT leaf FROM log_entry WHERE seq = 1) WHERE seq = 299",
         (Breach.FORKED, 300, 300)),
        ("DELETE FROM log_entry WHERE seq = 299", (Breach.FORKED, 300, 300)),
    ],
)  # fmt: skip
async def test_log_that_was_changed_is_not(
    log: Log, change: str, found: tuple[Breach, int, int]
) -> None:
    async with log.database.begin(log.organisation) as session:
        await session.execute(text(change))

    assert await find(log) == [found]


async def test_log_whose_signer_is_elsewhere_gets_no_other_key(log: Log) -> None:
    elsewhere = log.memory.folder.rename(log.folder / "elsewhere")
    assert await find(log) == [(Breach.LOST, 300, 0)]

    await log.write(1)
    (complaint,) = await log.settle()
    assert "lost" in complaint
    shutil.rmtree(log.memory.folder)
    elsewhere.rename(log.memory.folder)
    assert await find(log) == []
    assert await log.settle() == []


async def test_memory_that_is_damaged_is_said(log: Log) -> None:
    notes = log.memory.folder / CHECKPOINTS_FILE
    notes.write_text(notes.read_text().replace("\\n300\\n", "\\n301\\n"))

    assert await find(log) == [(Breach.BROKEN, 0, 0)]


async def restore_old_data(installation: Installation, folder: Path) -> None:
    """Two administrators, four signed entries, and a restored backup from when there were three;
    the keys are newer than it."""
    settings = load_settings(installation.folder)
    database = Database(settings.database)
    async with database.begin(EVERY_ORGANISATION) as session:
        organisation = await load_organisation(session, "ausl-toscana")
        for name in ADMINISTRATORS:
            user = User(
                organisation_id=organisation.id, username=name, role=UserRole.ADMINISTRATOR,
                password_hash=hash_password(f"{PASSWORD}-{name}"),
            )  # fmt: skip
            await add_user(session, user)
    log = Log(database, organisation.id, folder)
    log.signer = SignerProcess(settings.signer_folder)
    for name, count in (("old", 3), ("new", 1)):
        await log.write(count, name)
        assert await log.settle() == []
        await take_backup(settings, folder / name, folder / f"{name}-keys", datetime.now(UTC))
    await log.signer.stop()
    await database.close()
    await restore_backup(folder / "restored", folder / "old", folder / "new-keys")


def accept(restored: Installation, *passwords: str) -> str:
    names = [part for name in ADMINISTRATORS for part in ("--username", name)]
    done = restored(
        "log", "accept", "--organisation", "ausl-toscana", "--passwords-stdin", *names,
        stdin="".join(f"{password}\n" for password in passwords),
    )  # fmt: skip
    return done.stdout if done.returncode == 0 else done.stderr


def test_old_backup_is_noticed_and_two_administrators_accept_it(
    installation: Installation, tmp_path: Path
) -> None:
    asyncio.run(restore_old_data(installation, tmp_path))
    restored = Installation(tmp_path / "restored")
    sentence = "The session log of ausl-toscana is 1 entries behind what was signed (4 of 5)"

    assert not list((tmp_path / "new").rglob("log-signer"))
    assert len(list((tmp_path / "new-keys").glob("*/files/log-signer/*/seed"))) == 1
    assert sentence in restored.fail("serve")
    assert sentence in restored.fail("check")
    assert "no administrator here" in accept(restored, f"{PASSWORD}-ada", "wrong")
    said = accept(restored, *(f"{PASSWORD}-{name}" for name in ADMINISTRATORS))
    assert "Accepted. The log goes on as 127.0.0.1/log/ausl-toscana/2" in said

    path = tmp_path / "restored.zip"
    restored.succeed("log", "export", "--organisation", "ausl-toscana", "--to", path)
    assert verify(str(path)).startswith("OK: 7 entries of 127.0.0.1/log/ausl-toscana/2")
    with ZipFile(path) as file:
        lines = file.read("entries.jsonl").decode().split("\n")[:-1]
    entries = [json.loads(line.split(" ", 1)[1]) for line in lines]
    failed, accepted = entries[4:6]
    assert (failed["action"], accepted["action"]) == ("login.failed", "log.accepted")
    assert (accepted["facts"]["entries"], accepted["facts"]["size"]) == (4, 5)
    assert accepted["actor"] != accepted["facts"]["user"]
