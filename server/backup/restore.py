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
from typing import Final

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
from server.backup.rows import half_of, import_table, load_tables
from server.backup.signer import is_signers, put_signer_back
from server.carryover import bring_up_to_date
from server.db import EVERY_ORGANISATION, Database
from server.errors import CommandFailed
from server.keyring import (
    FORMER_ROOT_FILE,
    INSTALLATION_FILE,
    ROOT_KEY_FILE,
    Keyring,
    load_keyring,
)
from server.keys.shredding import shred_again
from server.migrations import is_known, upgrade
from server.settings import SETTINGS_FILE, load_settings

_BEFORE_CUP: Final = "0001"
"""What waits in such data is opened before its table goes, by the keys of its own moment."""


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

    @property
    def has_root(self) -> bool:
        """The root key is among the keys."""
        name = f"files/{ROOT_KEY_FILE}"
        return any(entry.path == name for entry in self.manifests[Half.KEYS].files)

    @property
    def is_of_one_moment(self) -> bool:
        return self.manifests[Half.DATA].id == self.manifests[Half.KEYS].id


async def restore_backup(data_dir: Path, data_from: Path, keys_from: Path) -> Restored:
    """Bring a backup back into ``data_dir``. Each place is a backup, or a folder of backups of
    which the newest is taken.

    :raises CommandFailed: names what is damaged, missing, not empty or does not open.
    """
    backup = _check_backup(data_dir, data_from, keys_from)
    with _new_folder(data_dir, with_root=not backup.has_root):
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
        async with database.begin(EVERY_ORGANISATION) as session:
            shredded = await shred_again(backup.keyring, session)
        proofs = await prove(database, backup.keyring)
    finally:
        await database.close()
    keys = [entry.path for entry in backup.manifests[Half.KEYS].files]
    files += put_signer_back(backup.folders[Half.KEYS], keys, settings.signer_folder)
    if shredded:
        proofs.append(f"{shredded} keys that the session log calls shredded are shredded again")
    if backup.has_root:
        _put_root_key(backup.folders[Half.KEYS], data_dir)
    name = database.engine.dialect.name
    return Restored(backup.manifests[Half.DATA], rows, files + backup.has_root, name, proofs)


def _check_backup(data_dir: Path, data_from: Path, keys_from: Path) -> _Backup:
    """Every byte of both halves; the manifests first, for they say what the rest should be."""
    data = _choose(data_from, Half.DATA)
    keys = keys_from
    if not (keys / MANIFEST_FILE).is_file():
        keys = keys_from / data.name.replace(f"-{Half.DATA}-", f"-{Half.KEYS}-")
        keys = keys if keys.exists() else _choose(keys_from, Half.KEYS)
    folders = {Half.DATA: data, Half.KEYS: keys}
    manifests = {half: load_manifest(folder) for half, folder in folders.items()}
    for half, manifest in manifests.items():
        if manifest.half is not half:
            raise CommandFailed(f"{folders[half]} is not the {half} half of a backup")
    keyring = _load_keyring(data_dir, keys, manifests[Half.KEYS])
    for half, manifest in manifests.items():
        _check_manifest(folders[half], manifest, keyring)
    if not _go_together(manifests):
        raise CommandFailed(f"The keys in {keys} belong to another backup than {data}")
    for half, folder in folders.items():
        check_files(folder, manifests[half])
    return _Backup(folders, manifests, keyring)


def _load_keyring(data_dir: Path, keys: Path, manifest: Manifest) -> Keyring:
    """By the root key in the half; else by the one that was brought into the data folder, or by
    the transit service that its settings or those of the half name."""
    inside, paths = keys / "files", {entry.path for entry in manifest.files}
    for name in (ROOT_KEY_FILE, FORMER_ROOT_FILE, INSTALLATION_FILE, SETTINGS_FILE):
        check_files(keys, manifest, only=f"files/{name}")
    if f"files/{ROOT_KEY_FILE}" in paths:
        return load_keyring(inside)
    is_here = (data_dir / ROOT_KEY_FILE).exists() or (data_dir / SETTINGS_FILE).exists()
    return load_keyring(data_dir if is_here else inside, installation_from=inside)


def _go_together(manifests: dict[Half, Manifest]) -> bool:
    """The two halves of one backup, or older data with newer keys of the same installation: what
    was shredded in between stays shredded. Keys that are older than the data are not enough."""
    data, keys = manifests[Half.DATA], manifests[Half.KEYS]
    if data.id == keys.id:
        return True
    return keys.made_at > data.made_at and data.revision != _BEFORE_CUP


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
def _new_folder(data_dir: Path, *, with_root: bool) -> Iterator[None]:
    """An empty data folder, as before when the restoring fails. Settings may be in it, for a
    database elsewhere, and the root key where the backup is without."""
    found = list(data_dir.rglob("*"))
    allowed = {Path(SETTINGS_FILE)}
    if with_root:
        allowed |= {ROOT_KEY_FILE.parent, ROOT_KEY_FILE, INSTALLATION_FILE}
    if any(path.relative_to(data_dir) not in allowed for path in found):
        raise CommandFailed(f"The folder {data_dir} is not empty: a backup needs a new one")
    data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    try:
        yield
    except BaseException:
        for path in (path for path in sorted(data_dir.rglob("*")) if path not in found):
            if path.is_dir():
                shutil.rmtree(path)
            else:
                path.unlink(missing_ok=True)
        raise


def _copy_files(backup: _Backup, data_dir: Path) -> int:
    """Everything but the root key and what is the signer's; settings that are there already
    stay."""
    count = 0
    for half, folder in backup.folders.items():
        for entry in backup.manifests[half].files:
            name = Path(entry.path)
            is_later = name == Path("files", ROOT_KEY_FILE) or is_signers(entry.path)
            if name.parts[0] != "files" or is_later:
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
    """The schema as it was, then every row: those of the data, then the keys.

    :raises CommandFailed: the database is not empty, or a table does not hold what it should.
    """
    if inspect(connection).get_table_names():
        raise CommandFailed("The database is not empty: a backup needs a new one")
    total = 0
    for half in (Half.DATA, Half.KEYS):
        upgrade(connection, backup.manifests[half].revision)
        total += _import_half(connection, backup, half)
    return total


def _import_half(connection: Connection, backup: _Backup, half: Half) -> int:
    sources = {entry.name: entry for entry in backup.manifests[half].tables}
    total = 0
    for table in load_tables(connection):
        if half_of(table) is not half:
            continue
        if table.name not in sources:
            raise CommandFailed(f"The backup has no rows of {table.name}")
        entry = sources.pop(table.name)
        count = import_table(connection, table, entry, backup.folders[half])
        if count != entry.rows and backup.is_of_one_moment:
            raise CommandFailed(f"{table.name} has {count} rows and should have {entry.rows}")
        total += count
    if sources:
        raise CommandFailed(f"The backup has tables that are not known: {', '.join(sources)}")
    return total
