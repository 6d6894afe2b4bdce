"""Drop folders: CSV and FHIR files that CUP's systems leave for us, taken when they are complete.

A file is complete when its size and time stay the same between two looks. It is applied as by
``accanto cup import`` and goes to ``done`` or ``failed`` beside it; its name stays out of the logs.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import Final

from aiohttp import web
from sqlalchemy import select

from server.cup.booking import FileRejected
from server.cup.inbox.intake import ImportReport, import_file
from server.db import EVERY_ORGANISATION, Database
from server.keyring import Keyring
from server.models import Source, new_id
from server.services import CLOCK, DATABASE, KEYRING
from server.sources import settings_of

logger = logging.getLogger(__name__)

_EVERY_SECONDS: Final = 5.0
_SUFFIXES: Final = frozenset({".csv", ".json"})
_TAKEN: Final = ".taken"
_LONGEST_TAKING_SECONDS: Final = 3600
"""Who took a file so long ago has died over it; a second import changes nothing."""

Look = tuple[int, int]
"""Size and time of a file."""


class DropFolders:
    """Looks after the drop folders of all sources."""

    def __init__(self, database: Database, keyring: Keyring) -> None:
        self._database = database
        self._keyring = keyring
        self._looks: dict[Path, Look] = {}

    async def run_once(self, now: datetime) -> list[ImportReport]:
        """Take every file that has not changed since the last look; the oldest name first."""
        reports = []
        looks: dict[Path, Look] = {}
        for source, folder in await self._load_folders():
            for path, look in await asyncio.to_thread(_list_files, folder):
                if self._looks.get(path) != look:
                    looks[path] = look
                elif (report := await self._take(source, path, now)) is not None:
                    reports.append(report)
        self._looks = looks
        return reports

    async def _load_folders(self) -> list[tuple[Source, Path]]:
        async with self._database.read(EVERY_ORGANISATION) as session:
            sources = await session.scalars(select(Source).where(Source.is_paused.is_(False)))
            folders = [(source, settings_of(source).drop_folder) for source in sources]
        return [(source, Path(folder)) for source, folder in folders if folder]

    async def _take(self, source: Source, path: Path, now: datetime) -> ImportReport | None:
        """Claim a file by renaming it, so that of two servers one takes it; apply it."""
        file_id = new_id()
        claimed = path.with_name(f"{path.stem}.{file_id}{path.suffix}{_TAKEN}")
        if not await asyncio.to_thread(_rename, path, claimed):
            return None
        place, report = "failed", None
        try:
            report = await import_file(
                self._database,
                self._keyring,
                claimed,
                organisation_code=None,
                now=now,
                source=source,
            )
            place = "done"
            logger.info("source %s: file %s, %d wrong", source.id, file_id, len(report.errors))
        except FileRejected:
            logger.warning("source %s: file %s cannot be read", source.id, file_id)
        except Exception:
            await asyncio.to_thread(_rename, claimed, path)
            raise
        folder = path.parent / place
        await asyncio.to_thread(folder.mkdir, exist_ok=True)
        await asyncio.to_thread(_rename, claimed, folder / claimed.with_suffix("").name)
        return report


async def lifetime(app: web.Application) -> AsyncIterator[None]:
    """Look into the folders while the application runs."""
    watcher = asyncio.create_task(_watch(DropFolders(app[DATABASE], app[KEYRING]), app))
    yield
    watcher.cancel()
    with suppress(asyncio.CancelledError):
        await watcher


async def _watch(folders: DropFolders, app: web.Application) -> None:
    while True:
        try:
            await folders.run_once(app[CLOCK]())
        except Exception as error:  # noqa: BLE001 its text may hold the name of a file
            logger.error("drop folders are not read: %s", type(error).__name__)
        await asyncio.sleep(_EVERY_SECONDS)


def _list_files(folder: Path) -> list[tuple[Path, Look]]:
    """Files of a folder that is there, links left out."""
    found = []
    if not folder.is_dir():
        return []
    for path in sorted(folder.iterdir()):
        if path.is_symlink() or not path.is_file():
            continue
        state = path.stat()
        if path.suffix.lower() in _SUFFIXES:
            found.append((path, (state.st_size, state.st_mtime_ns)))
        elif path.suffix == _TAKEN and state.st_ctime < time.time() - _LONGEST_TAKING_SECONDS:
            _rename(path, path.with_suffix(""))
    return found


def _rename(old: Path, new: Path) -> bool:
    """False: somebody else was first."""
    try:
        old.rename(new)
    except FileNotFoundError:
        return False
    return True
