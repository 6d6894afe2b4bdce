"""Taking a backup of a served installation: one reading transaction, two folders, no stop.

Each half is written under a name that nobody takes for a backup, put on the disk, and only then
renamed: the keys first, so that data without its keys is never there.
"""

from __future__ import annotations

import fcntl
import os
import shutil
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import datetime
from importlib.metadata import version
from pathlib import Path
from typing import Final

import msgspec
from sqlalchemy import Connection
from sqlalchemy.ext.asyncio import AsyncConnection

from server.backup.manifest import (
    FORMAT,
    PARTIAL,
    Half,
    Manifest,
    TableEntry,
    create_file,
    find_backups,
    list_files,
    load_manifest,
    sync_file,
    sync_folder,
    write_manifest,
)
from server.backup.rows import export_table, half_of, load_tables
from server.backup.signer import copy_signer
from server.db import Database
from server.errors import CommandFailed
from server.keyring import FORMER_ROOT_FILE, ROOT_KEY_FILE, Keyring, load_keyring
from server.migrations import find_revision
from server.models import new_id
from server.settings import SETTINGS_FILE, Settings

_LOCK_FILE: Final = ".accanto-backup.lock"
_ROOT_KEYS: Final = frozenset({ROOT_KEY_FILE, FORMER_ROOT_FILE})
_KEY_SUFFIXES: Final = frozenset({".key", ".pem", ".p12", ".pfx"})


@dataclass(frozen=True, slots=True)
class Taken:
    """What was written, for the one who asked."""

    data: Path
    keys: Path
    rows: int
    size_bytes: int
    removed: int
    """Older backups that went because of the limit."""


async def take_backup(
    settings: Settings,
    to: Path,
    keys_to: Path,
    now: datetime,
    keep: int | None = None,
    *,
    with_root: bool = True,
) -> Taken:
    """Write both halves; with ``keep`` only that many of the newest stay in each folder. The keys
    are useless without the root key: leave it out where its shares or a transit service hold it.

    :raises CommandFailed: the two places are not apart, another backup runs, the disk is full.
    """
    places = _resolve(settings, to, keys_to)
    try:
        with ExitStack() as locks:
            for place in places.values():
                locks.enter_context(_locked(place))
            return await _take(settings, places, now, keep, with_root=with_root)
    except OSError as error:
        raise CommandFailed(f"The backup could not be written: {error.strerror}") from error


def _resolve(settings: Settings, to: Path, keys_to: Path) -> dict[Half, Path]:
    """The two places, if they are apart."""
    data, keys = to.resolve(), keys_to.resolve()
    if data.is_relative_to(keys) or keys.is_relative_to(data):
        raise CommandFailed("Data and keys must go to two folders, neither inside the other")
    served = settings.data_dir.resolve()
    if any(place.is_relative_to(served) for place in (data, keys)):
        raise CommandFailed(f"A backup inside the data folder {served} would be lost with it")
    return {Half.DATA: data, Half.KEYS: keys}


@contextmanager
def _locked(place: Path) -> Iterator[None]:
    """One backup at a time; what a killed one has left is swept away."""
    place.mkdir(mode=0o700, parents=True, exist_ok=True)
    descriptor = os.open(place / _LOCK_FILE, os.O_WRONLY | os.O_CREAT, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        for left in place.glob(f"{PARTIAL}*"):
            shutil.rmtree(left)
        yield
    except BlockingIOError as error:
        raise CommandFailed(f"Another backup is being written into {place}") from error
    finally:
        os.close(descriptor)


async def _take(
    settings: Settings,
    places: dict[Half, Path],
    now: datetime,
    keep: int | None,
    *,
    with_root: bool,
) -> Taken:
    made, keyring = new_id(), load_keyring(settings.data_dir)
    folders = {half: place / f"{PARTIAL}{made}" for half, place in places.items()}
    try:
        for folder in folders.values():
            folder.mkdir(mode=0o700)
        copy_signer(settings.signer_folder, folders[Half.KEYS])
        revision, tables = await _export(settings, folders)
        _copy_files(settings, folders, with_root=with_root)
        manifests = {
            half: _describe(half, made, now, revision, folder, tables[half]).signed(keyring)
            for half, folder in folders.items()
        }
        for half in (Half.KEYS, Half.DATA):
            folders[half] = _give_name(folders[half], manifests[half])
    except BaseException:
        for folder in folders.values():
            shutil.rmtree(folder, ignore_errors=True)
        raise
    removed = _prune(places, keyring, keep) if keep else 0
    return Taken(
        data=folders[Half.DATA],
        keys=folders[Half.KEYS],
        rows=sum(entry.rows for half in Half for entry in tables[half]),
        size_bytes=sum(entry.size_bytes for half in Half for entry in manifests[half].files),
        removed=removed,
    )


def _describe(
    half: Half, made: str, now: datetime, revision: str, folder: Path, tables: list[TableEntry]
) -> Manifest:
    return Manifest(
        format=FORMAT,
        half=half,
        id=made,
        made_at=now,
        version=version("accanto"),
        revision=revision,
        files=list_files(folder),
        tables=tables,
    )


async def _export(
    settings: Settings, folders: dict[Half, Path]
) -> tuple[str, dict[Half, list[TableEntry]]]:
    """Every table as it is at one moment, while others go on writing."""
    is_there = settings.database_url or settings.sqlite_file.exists()
    database = Database(settings.database)
    try:
        async with database.engine.connect() as connection:
            revision = await _freeze(connection) if is_there else None
            if revision is None:
                raise CommandFailed("There is no database yet to take a backup of")
            return revision, await connection.run_sync(_export_all, folders)
    finally:
        await database.close()


async def _freeze(connection: AsyncConnection) -> str | None:
    """Begin a transaction that sees one moment; the first read fixes which."""
    if connection.dialect.name == "postgresql":
        await connection.execution_options(
            isolation_level="REPEATABLE READ", postgresql_readonly=True
        )
    return await connection.run_sync(find_revision)


def _export_all(connection: Connection, folders: dict[Half, Path]) -> dict[Half, list[TableEntry]]:
    tables: dict[Half, list[TableEntry]] = {half: [] for half in Half}
    for table in load_tables(connection):
        half = half_of(table)
        tables[half].append(export_table(connection, table, folders[half]))
    return tables


def _copy_files(settings: Settings, folders: dict[Half, Path], *, with_root: bool) -> None:
    """What else is in the data folder. A file that goes meanwhile was fetched by its owner."""
    database, signer = settings.sqlite_file.name, settings.signer_folder.resolve()
    for path in sorted(settings.data_dir.rglob("*")):
        name = path.relative_to(settings.data_dir)
        is_database = len(name.parts) == 1 and path.name.startswith(database)
        is_signers = path.resolve().is_relative_to(signer)
        is_left_out = is_database or is_signers or (name in _ROOT_KEYS and not with_root)
        if is_left_out or path.is_symlink() or not path.is_file():
            continue
        try:
            content = path.open("rb")
        except FileNotFoundError:
            continue
        with content, create_file(folders[_half_of_file(name)] / "files" / name) as copy:
            shutil.copyfileobj(content, copy)
            sync_file(copy)


def _half_of_file(name: Path) -> Half:
    is_secret = (
        name.parts[0] == ROOT_KEY_FILE.parts[0]
        or name.name == SETTINGS_FILE
        or name.suffix in _KEY_SUFFIXES
    )
    return Half.KEYS if is_secret else Half.DATA


def _give_name(folder: Path, manifest: Manifest) -> Path:
    """From now on it is a backup."""
    write_manifest(folder, manifest)
    for inside in (folder, *(path for path in folder.rglob("*") if path.is_dir())):
        sync_folder(inside)
    named = folder.with_name(manifest.folder_name)
    folder.rename(named)
    sync_folder(named.parent)
    return named


def _prune(places: dict[Half, Path], keyring: Keyring, keep: int) -> int:
    """Remove our own oldest, each with its other half; a half-removed one has no name of a backup
    any more. What another installation has put there stays."""
    manifests = [load_manifest(path) for path in find_backups(places[Half.DATA], Half.DATA)]
    old = [manifest for manifest in manifests if manifest.is_signed_by(keyring)][:-keep]
    for manifest in old:
        for half, place in places.items():
            path = place / msgspec.structs.replace(manifest, half=half).folder_name
            if path.exists():
                shutil.rmtree(path.rename(place / f"{PARTIAL}{path.name}"))
    return len(old)
