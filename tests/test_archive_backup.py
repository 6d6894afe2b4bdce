"""Recordings in a backup: sealed among the data, open after a restore, gone when shredded."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest
from sqlalchemy import select

from recordings.tapes import tape_path, tracks_on_tape
from server.backup.manifest import load_manifest
from server.backup.restore import restore_backup
from server.backup.take import take_backup
from server.db import EVERY_ORGANISATION, Database
from server.keyring import Keyring, Shredded, load_keyring
from server.models import Recording, RecordingTrack
from server.retention.erasure import erase_recording
from server.sealed import RECORDINGS_FOLDER, TAPE_FOLDER, open_recordings, open_track
from server.settings import load_settings
from tests.conftest import Cast, MakeVisit
from tests.sweep import find_canaries
from tests.tracks import add_recording

CONTENT = b"la voce di Rosa Segreta " * 5_000


@pytest.fixture
def template(sqlite_template: Path) -> Path:
    """Files are the same on both databases."""
    return sqlite_template


async def read_all(data_dir: Path, recording_id: str) -> bytes:
    """The patient's track of a recording, as the archive of this folder plays it."""
    settings = load_settings(data_dir)
    database, keyring = Database(settings.database), load_keyring(data_dir)
    try:
        async with database.read((await find(database, recording_id)).organisation_id) as session:
            recording = await session.get_one(Recording, recording_id)
            rows = select(RecordingTrack).where(RecordingTrack.recording_id == recording_id)
            track = (await session.scalars(rows)).one()
            opened = await open_track(keyring, session, open_recordings(settings), recording, track)
        return b"".join(opened.read(0, opened.size))
    finally:
        await database.close()


async def find(database: Database, recording_id: str) -> Recording:
    async with database.read(EVERY_ORGANISATION) as session:
        return await session.get_one(Recording, recording_id)


async def test_recordings_and_tapes_come_back_sealed_and_open(
    tmp_path: Path, data_dir: Path, database: Database, keyring: Keyring, cast: Cast,
    make_visit: MakeVisit,
) -> None:  # fmt: skip
    visit, now = await make_visit(cast.toscana), datetime.now(UTC)
    settings = load_settings(data_dir)
    store = open_recordings(settings)
    recording = await add_recording(database, keyring, store, visit, {"patient": CONTENT}, at=now)
    tapes = data_dir / TAPE_FOLDER
    tapes.mkdir()
    tape_path(tapes, "0123456789abcdef").write_bytes(b"sealed second by second")
    places = tmp_path / "data-backups", tmp_path / "keys-backups"

    taken = await take_backup(settings, *places, now)
    await restore_backup(tmp_path / "restored", *places)

    stored = {entry.path for entry in load_manifest(taken.data).files}
    assert f"files/{(RECORDINGS_FOLDER / store.names()[0]).as_posix()}" in stored
    assert find_canaries({"voice": "voce di Rosa Segreta"}, places) == []
    assert tracks_on_tape(tmp_path / "restored" / TAPE_FOLDER) == ["0123456789abcdef"]
    assert await read_all(tmp_path / "restored", recording.id) == CONTENT


async def test_a_recording_that_ended_stays_ended_when_older_data_come_back(
    tmp_path: Path, data_dir: Path, database: Database, keyring: Keyring, cast: Cast,
    make_visit: MakeVisit,
) -> None:  # fmt: skip
    visit, now = await make_visit(cast.toscana), datetime.now(UTC)
    settings = load_settings(data_dir)
    recording = await add_recording(
        database, keyring, open_recordings(settings), visit, {"patient": CONTENT}, at=now
    )
    places = tmp_path / "data-backups", tmp_path / "keys-backups"
    older = await take_backup(settings, *places, now)
    async with database.begin(visit.organisation_id) as session:
        await erase_recording(keyring, session, recording.id, now)
    newer = await take_backup(settings, *places, datetime.now(UTC))

    await restore_backup(tmp_path / "restored", older.data, newer.keys)

    with pytest.raises(Shredded):
        await read_all(tmp_path / "restored", recording.id)
