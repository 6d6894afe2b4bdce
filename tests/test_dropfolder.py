"""Drop folders: a file is taken when it is complete, applied once, and put away."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest
from sqlalchemy import func, select

from server.cup.dropfolder import DropFolders
from server.db import EVERY_ORGANISATION, Database
from server.keyring import Keyring
from server.models import InboxMessage, Source, Visit
from server.sources import SourceSettings, write_settings
from tests.conftest import Cast

NOW = datetime(2026, 11, 22, 9, 0, tzinfo=UTC)
DAY = (Path(__file__).parent / "vectors" / "cup" / "righe-sbagliate.csv").read_bytes()


@pytest.fixture
async def folder(database: Database, cast: Cast, tmp_path: Path) -> Path:
    folder = tmp_path / "drop"
    folder.mkdir()
    async with database.begin(EVERY_ORGANISATION) as session:
        source = Source(organisation_id=cast.toscana.organisation.id, code="cartella")
        write_settings(source, SourceSettings(drop_folder=str(folder)))
        session.add(source)
    return folder


async def test_complete_file_is_applied_and_put_away(
    database: Database, keyring: Keyring, folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folders = DropFolders(database, keyring)
    (folder / "ROSSI MARIO.csv").write_bytes(DAY[:-40])
    assert await folders.run_once(NOW) == []
    (folder / "ROSSI MARIO.csv").write_bytes(DAY)
    assert await folders.run_once(NOW) == []

    (report,) = await folders.run_once(NOW)

    assert (report.imported, len(report.errors)) == (2, 6)
    assert [path.name for path in folder.iterdir()] == ["done"]
    (done,) = (folder / "done").iterdir()
    assert done.read_bytes() == DAY
    assert "ROSSI" not in caplog.text
    async with database.read(EVERY_ORGANISATION) as session:
        assert await session.scalar(select(func.count()).select_from(Visit)) == 2
        codes = await session.scalars(
            select(Source.code).join(InboxMessage, InboxMessage.source_id == Source.id)
        )
        assert set(codes) == {"cartella"}


async def test_file_that_cannot_be_read_is_put_aside_and_others_go_on(
    database: Database, keyring: Keyring, folder: Path
) -> None:
    folders = DropFolders(database, keyring)
    (folder / "a.csv").write_bytes(b"nome;cognome\nRosa;Rossi\n")
    (folder / "b.json").write_bytes(b"{")
    (folder / "c.CSV").write_bytes(DAY)
    (folder / "readme.txt").write_bytes(b"")
    await folders.run_once(NOW)

    assert len(await folders.run_once(NOW)) == 1

    assert {path.name for path in folder.iterdir()} == {"done", "failed", "readme.txt"}
    assert sorted(path.suffix for path in (folder / "failed").iterdir()) == [".csv", ".json"]


async def test_paused_source_and_missing_folder_are_left_alone(
    database: Database, keyring: Keyring, folder: Path, cast: Cast
) -> None:
    (folder / "a.csv").write_bytes(DAY)
    async with database.begin(EVERY_ORGANISATION) as session:
        (source,) = await session.scalars(select(Source).where(Source.code == "cartella"))
        source.is_paused = True
        gone = Source(organisation_id=cast.emilia.organisation.id, code="niente")
        write_settings(gone, SourceSettings(drop_folder=str(folder / "niente")))
        session.add(gone)
    folders = DropFolders(database, keyring)

    assert [await folders.run_once(NOW) for _ in range(3)] == [[], [], []]

    assert (folder / "a.csv").exists()
