"""Restoring into an empty installation, and proving that what came back is whole.

Everything is checked before the first byte is written. The rows come in one transaction; the root
key comes last, so that an installation which was not restored to the end does not start.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import Connection, inspect

from server.backup.manifest import (
    MANIFEST_FILE,
    Half,
    Manifest,
    check_files,
    create_file,
    find_backups,
    load_manifest,
    sync_file,
    sync_folder,
)
from server.backup.proof import prove
from server.backup.rows import import_table, load_tables
from server.carryover import bring_up_to_date
from server.db import Database
from server.errors import CommandFailed
from server.keyring import ROOT_KEY_FILE, Keyring, load_keyring
from server.migrations import is_known, upgrade
from server.settings import SETTINGS_FILE, load_settings


@dataclass(frozen=True, slots=True)
class Restored:
    """What came back. ``proofs`` are sentences."""

    manifest: Manifest
    rows: int
    files: int
    database: str
    proofs: list[str]


@dataclass(frozen=True, slots=True)
class _Backup:
    """Both halves, checked."""

    folders: dict[Half, Path]
    manifests: dict[Half, Manifest]
    keyring: Keyring


async def restore_backup(data_dir: Path, data_from: Path, keys_from: Path) -> Restored:
    """Bring a backup back into ``data_dir``. Each place is a backup, or a folder of backups of
    which the newest is taken.

    :raises CommandFailed: names what is damaged, missing, not empty or does not open.
    """
    backup = _check_backup(data_from, keys_from)
    with _new_folder(data_dir):
        return await _restore(backup, data_dir)


async def _restore(backup: _Backup, data_dir: Path) -> Restored:
    files = _copy_files(backup, data_dir)
    settings = load_settings(data_dir)
    if not settings.database_url:
        create_file(settings.sqlite_file).close()
    database = Database(settings.database)
    try:
        async with database.engine.begin() as connection:
            rows = await connection.run_sync(_import_all, backup)
        await bring_up_to_date(database, backup.keyring)
        proofs = await prove(database, backup.keyring)
    finally:
        await database.close()
    _put_root_key(backup.folders[Half.KEYS], data_dir)
    name = database.engine.dialect.name
    return Restored(backup.manifests[Half.DATA], rows, files + 1, name, proofs)


def _check_backup(data_from: Path, keys_from: Path) -> _Backup:
    """Every byte of both halves; the manifests first, for they say what the rest should be."""
    data = _choose(data_from, Half.DATA)
    keys = keys_from
    if not (keys / MANIFEST_FILE).is_file():
        keys = keys_from / data.name.replace(f"-{Half.DATA}-", f"-{Half.KEYS}-")
    folders = {Half.DATA: data, Half.KEYS: keys}
    manifests = {half: load_manifest(folder) for half, folder in folders.items()}
    for half, manifest in manifests.items():
        if manifest.half is not half:
            raise CommandFailed(f"{folders[half]} is not the {half} half of a backup")
    check_files(keys, manifests[Half.KEYS], only=f"files/{ROOT_KEY_FILE}")
    keyring = load_keyring(keys / "files")
    for half, manifest in manifests.items():
        _check_manifest(folders[half], manifest, keyring)
    if manifests[Half.KEYS].id != manifests[Half.DATA].id:
        raise CommandFailed(f"The keys in {keys} belong to another backup than {data}")
    for half, folder in folders.items():
        check_files(folder, manifests[half])
    return _Backup(folders, manifests, keyring)


def _check_manifest(folder: Path, manifest: Manifest, keyring: Keyring) -> None:
    if not manifest.is_signed_by(keyring):
        text = "was changed after it was written, or is not of these keys"
        raise CommandFailed(f"{folder / MANIFEST_FILE} {text}")
    if not is_known(manifest.revision):
        raise CommandFailed(f"The backup is of Accanto {manifest.version}, newer than this one")


def _choose(place: Path, half: Half) -> Path:
    if (place / MANIFEST_FILE).is_file():
        return place
    backups = find_backups(place, half)
    if not backups:
        raise CommandFailed(f"There is no whole backup of the {half} in {place}")
    return backups[-1]


@contextmanager
def _new_folder(data_dir: Path) -> Iterator[None]:
    """An empty data folder, empty again when the restoring fails. Settings may be in it before,
    for a database elsewhere."""
    found = list(data_dir.glob("*"))
    if any(path.name != SETTINGS_FILE for path in found):
        raise CommandFailed(f"The folder {data_dir} is not empty: a backup needs a new one")
    data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    try:
        yield
    except BaseException:
        for path in data_dir.iterdir():
            if path.is_dir():
                shutil.rmtree(path)
            elif path not in found:
                path.unlink()
        raise


def _copy_files(backup: _Backup, data_dir: Path) -> int:
    """Everything but the root key; settings that are there already stay."""
    count = 0
    for half, folder in backup.folders.items():
        for entry in backup.manifests[half].files:
            name = Path(entry.path)
            if name.parts[0] != "files" or name == Path("files", ROOT_KEY_FILE):
                continue
            target = data_dir / name.relative_to("files")
            if not target.exists():
                _copy(folder / name, target)
                count += 1
    return count


def _copy(source: Path, target: Path) -> None:
    with source.open("rb") as content, create_file(target) as copy:
        shutil.copyfileobj(content, copy)
        sync_file(copy)


def _put_root_key(keys: Path, data_dir: Path) -> None:
    target = data_dir / ROOT_KEY_FILE
    unfinished = target.with_name(f"{target.name}.new")
    _copy(keys / "files" / ROOT_KEY_FILE, unfinished)
    os.rename(unfinished, target)
    for folder in (target.parent, data_dir):
        sync_folder(folder)


def _import_all(connection: Connection, backup: _Backup) -> int:
    """The schema as it was, then every row.

    :raises CommandFailed: the database is not empty, or a table does not hold what it should.
    """
    if inspect(connection).get_table_names():
        raise CommandFailed("The database is not empty: a backup needs a new one")
    upgrade(connection, backup.manifests[Half.DATA].revision)
    sources = {
        entry.name: (entry, backup.folders[half])
        for half, manifest in backup.manifests.items()
        for entry in manifest.tables
    }
    total = 0
    for table in load_tables(connection):
        if table.name not in sources:
            raise CommandFailed(f"The backup has no rows of {table.name}")
        entry, folder = sources.pop(table.name)
        count = import_table(connection, table, entry, folder)
        if count != entry.rows:
            raise CommandFailed(f"{table.name} has {count} rows and should have {entry.rows}")
        total += count
    if sources:
        raise CommandFailed(f"The backup has tables that are not known: {', '.join(sources)}")
    return total
