"""A full disk: clear words, nothing half written, and it goes on by itself when there is room.

The data folder is on a small file system of its own. Needs root.
"""

from __future__ import annotations

import asyncio
import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import aiohttp
import pytest
from sqlalchemy import func, select, text

from server.backup import take_backup
from server.backup.proof import prove
from server.db import EVERY_ORGANISATION, Database
from server.errors import CommandFailed
from server.keyring import load_keyring
from server.models import LogEntry, Note, Visit
from server.settings import load_settings
from tests.browser.actors import Demo, running_demo
from tests.visitors import OWN_PAGE, Answer, Visitor

BACK_WITHIN_SECONDS = 30
NOTE = "Riga da non perdere. " * 400


@contextmanager
def small_disk(folder: Path, mebibytes: int) -> Iterator[None]:
    folder.mkdir()
    options = f"size={mebibytes}m,mode=0700"
    subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", folder], check=True)
    try:
        yield
    finally:
        subprocess.run(["umount", "--lazy", folder], check=True)


def fill(folder: Path) -> Path:
    """Take every byte that is left."""
    ballast = folder / "ballast"
    with ballast.open("wb", buffering=0) as file:
        for size in (65_536, 4096, 1):
            try:
                while True:
                    file.write(os.urandom(size))
            except OSError:
                continue
    return ballast


class Clinician:
    """Saves the note of one visit; knows what was acknowledged."""

    def __init__(self, visitor: Visitor, visit_id: str) -> None:
        self._visitor = visitor
        self._path = f"/visits/{visit_id}/note"
        self.version = 0

    async def save(self) -> Answer:
        answer = await self._visitor.send(
            "PUT",
            self._path,
            {"sections": {"findings": f"{NOTE}{self.version}"}},
            **{"If-Match": f'"{self.version}"'},
        )
        if answer.status == 200:
            self.version += 1
        return answer


async def log_in(session: aiohttp.ClientSession, demo: Demo) -> Visitor:
    origin = demo["base_url"]
    form = {
        "username": demo["clinician_username"],
        "password": demo["clinician_password"],
    }
    answer = await Visitor(session, origin).ask("POST", "/login", OWN_PAGE, data=form)
    token = answer.headers["Set-Cookie"].partition(";")[0].partition("=")[2]
    return Visitor(session, origin, {"session": token})


async def save_until(clinician: Clinician, *, is_refused: bool) -> Answer:
    """Save until the server refuses, or until it takes again."""
    while True:
        answer = await clinician.save()
        if (answer.status != 200) is is_refused:
            return answer
        await asyncio.sleep(0.05)


async def find_own_visit(data_dir: Path, username: str) -> str:
    database = Database(load_settings(data_dir).database)
    async with database.read(EVERY_ORGANISATION) as session:
        found = await session.scalar(
            text(
                "SELECT visit.id FROM visit JOIN appointment ON appointment.id = appointment_id "
                'JOIN "user" ON "user".id = clinician_id WHERE username = :name ORDER BY start'
            ),
            {"name": username},
        )
    await database.close()
    return str(found)


@pytest.mark.timeout(300)
async def test_full_disk_is_said_and_passes(tmp_path: Path) -> None:
    data, log = tmp_path / "data", tmp_path / "demo.log"
    with small_disk(data, 24):
        async with running_demo(data) as demo, aiohttp.ClientSession() as session:
            visitor = await log_in(session, demo)
            visit_id = await find_own_visit(data, demo["clinician_username"])
            clinician = Clinician(visitor, visit_id)
            assert (await clinician.save()).status == 200

            ballast = fill(data)
            refused = await save_until(clinician, is_refused=True)
            page = await visitor.get("/agenda")
            alive = await visitor.get("/healthz")
            ballast.unlink()
            async with asyncio.timeout(BACK_WITHIN_SECONDS):
                await save_until(clinician, is_refused=False)
        said = log.read_text()
        await check_what_is_kept(data, visit_id, clinician.version)

    assert (refused.status, '"unavailable"' in refused.text) == (503, True)
    assert refused.headers["Retry-After"]
    assert (page.status, alive.status) in {(200, 200), (503, 200)}
    assert "cause=SQLITE_FULL" in said or "cause=SQLITE_IOERR" in said
    assert NOTE[:20] not in said


async def check_what_is_kept(data: Path, visit_id: str, acknowledged: int) -> None:
    """Every acknowledged save is there, nothing else is, and the log counts on without a gap."""
    database = Database(load_settings(data).database)
    await prove(database, load_keyring(data))
    async with database.read(EVERY_ORGANISATION) as session:
        assert await session.scalar(text("PRAGMA integrity_check")) == "ok"
        assert await session.get(Visit, visit_id) is not None
        notes = select(func.count()).select_from(Note).where(Note.visit_id == visit_id)
        assert await session.scalar(notes) == acknowledged
        saved = select(func.count()).where(LogEntry.entry.contains('"action":"note.saved"'))
        assert await session.scalar(saved.where(LogEntry.visit_id == visit_id)) == acknowledged
    await database.close()


async def test_backup_that_finds_no_room_leaves_nothing(tmp_path: Path) -> None:
    full = tmp_path / "full"
    async with running_demo(tmp_path / "data") as demo:
        settings = load_settings(Path(demo["data_dir"]))
        with small_disk(full, 1):
            ballast = fill(full)
            with pytest.raises(CommandFailed, match="No space left"):
                await take_backup(settings, full / "data", tmp_path / "keys", datetime.now(UTC))
            left = [
                *full.glob("data/[!.]*"),
                *full.glob("data/.partial*"),
                *tmp_path.glob("keys/[!.]*"),
            ]

            ballast.unlink()
            taken = await take_backup(settings, full / "data", tmp_path / "keys", datetime.now(UTC))
            assert (taken.data / "manifest.json").is_file()
    assert left == []
