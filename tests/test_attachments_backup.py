"""The sealed files of visits are part of a backup's data half, and come back with it."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest

from recordings.store import SealedFolder
from server.backup import Half, load_manifest, restore_backup, take_backup
from server.db import Database
from server.keyring import Keyring, load_keyring
from server.sealed import ATTACHMENTS_FOLDER, open_attachment_words, read_attachment
from server.settings import load_settings
from tests.conftest import Cast, MakeVisit
from tests.files import add_attachment, make_photo
from tests.sweep import find_canaries
from tests.test_attachments import load_rows


@pytest.fixture
def template(sqlite_template: Path) -> Path:
    """Rows in both databases are the concern of ``test_backup``."""
    return sqlite_template


async def test_files_are_in_the_data_half_and_open_after_a_restore(
    tmp_path: Path,
    data_dir: Path,
    database: Database,
    keyring: Keyring,
    cast: Cast,
    make_visit: MakeVisit,
) -> None:
    visit = await make_visit(cast.toscana)
    photo = make_photo(maker="Fotocamera Segreta", orientation=1)
    folder = SealedFolder(data_dir / ATTACHMENTS_FOLDER)
    file = await add_attachment(database, keyring, folder, visit, photo, name="ginocchio.jpg")
    places = tmp_path / "data-backups", tmp_path / "keys-backups"

    taken = await take_backup(load_settings(data_dir), *places, datetime.now(UTC))
    restored = tmp_path / "restored"
    await restore_backup(restored, *places)

    stored = [entry.path for entry in load_manifest(taken.data).files if "store" in entry.path]
    assert stored == [f"files/{(ATTACHMENTS_FOLDER / file.id).as_posix()}"]
    assert not list((taken.keys / "files").glob("store*")), Half.KEYS
    assert find_canaries({"maker": "Fotocamera Segreta", "name": "ginocchio.jpg"}, places) == []
    again = Database(load_settings(restored).database)
    [row] = await load_rows(again, visit)
    keys = load_keyring(restored)
    async with again.read(visit.organisation_id) as session:
        content = await read_attachment(
            keys, session, SealedFolder(restored / ATTACHMENTS_FOLDER), row
        )
        words = await open_attachment_words(keys, session, row)
    await again.close()
    assert (content, words.file_name) == (photo, "ginocchio.jpg")
