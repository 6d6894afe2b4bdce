"""``accanto log`` as people run it, over a log that somebody has tampered with."""

from __future__ import annotations

import asyncio
import json
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from server.admin import load_organisation
from server.db import EVERY_ORGANISATION, Database
from server.logsigner.client import SignerProcess
from server.settings import load_settings
from tests.commands import run_accanto
from tests.test_cli import Installation, first_installation, installation
from tests.test_logexport import Log

__all__ = ["first_installation", "installation"]


async def write_log(installation: Installation, count: int) -> None:
    settings = load_settings(installation.folder)
    database = Database(settings.database)
    async with database.read(EVERY_ORGANISATION) as session:
        organisation = (await load_organisation(session, "ausl-toscana")).id
    log = Log(database, organisation, installation.folder)
    log.signer = SignerProcess(settings.signer_folder)
    await log.write(count)
    assert await log.settle() == []
    await log.signer.stop()
    await database.close()


@pytest.fixture
def rows(installation: Installation) -> Iterator[sqlite3.Connection]:
    """The database of a log with twenty signed entries, for somebody with all rights on it."""
    asyncio.run(write_log(installation, 20))
    with closing(sqlite3.connect(installation.folder / "accanto.db")) as connection:
        yield connection


def export(installation: Installation, path: Path) -> str:
    done = installation("log", "export", "--organisation", "ausl-toscana", "--to", path)
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr
    return done.stderr


def verify(installation: Installation, *arguments: str | Path) -> tuple[int, str]:
    """Status and line; the command takes no data folder."""
    done = run_accanto(["log", "verify", *arguments], installation.environment)
    return done.returncode, done.stdout.removesuffix("\n")


def test_log_is_exported_verified_and_the_export_is_in_it(
    installation: Installation, rows: sqlite3.Connection, tmp_path: Path
) -> None:
    path, head = tmp_path / "log.zip", tmp_path / "head.txt"
    head.write_text(installation.succeed("log", "checkpoint", "--organisation", "ausl-toscana"))

    assert export(installation, path) == ""

    (last,) = rows.execute("SELECT entry FROM log_entry ORDER BY seq DESC LIMIT 1").fetchone()
    assert json.loads(last)["action"] == "log.exported"
    good = "OK: 22 entries of visite.example.org/log/ausl-toscana, signed; "
    status, line = verify(installation, path, "--checkpoint", head)
    assert (status, line.startswith(good)) == (0, True), line
    assert verify(installation, path, "--key", "other+00000000+AAAA") == (1, "bundle: other key")
    assert path.stat().st_mode & 0o077 == 0
    assert "There is no organisation nobody" in installation.fail(
        "log", "export", "--organisation", "nobody", "--to", path
    )


def test_tampered_log_is_exported_all_the_same(
    installation: Installation, rows: sqlite3.Connection, tmp_path: Path
) -> None:
    path = tmp_path / "log.zip"
    rows.execute("UPDATE log_entry SET entry = replace(entry, 'device1', 'device2') WHERE seq = 7")
    rows.commit()
    assert export(installation, path) == ""
    assert verify(installation, path) == (1, "entry 7: edited")

    rows.executescript(
        "CREATE TABLE forged AS SELECT organisation, seq, entry FROM log_entry WHERE seq != 5;"
        "DROP TABLE log_entry; ALTER TABLE forged RENAME TO log_entry;"
    )
    said = export(installation, path)
    assert "The log takes no entry of this export" in said
    assert "The newest entries have no number" in said
    assert verify(installation, path) == (1, "entry 5: missing")
