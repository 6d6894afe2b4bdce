"""What ``accanto check`` sees of this machine: the keys, the disk, the log level, the backups."""

from __future__ import annotations

import os
import shutil
import stat
from datetime import datetime, timedelta
from pathlib import Path
from typing import Final

from server.backup import Half, find_backups, load_manifest
from server.errors import CommandFailed
from server.findings import Finding, Level
from server.keyring import FORMER_ROOT_FILE, INSTALLATION_FILE, ROOT_KEY_FILE, load_keyring
from server.settings import SETTINGS_FILE, Settings

_MIB: Final = 1 << 20
_LEAST_FREE_BYTES: Final = 200 * _MIB
_LITTLE_FREE_BYTES: Final = 2048 * _MIB
_LONG_WAL_BYTES: Final = 256 * _MIB
_BACKUP_IS_OLD_AFTER: Final = timedelta(hours=26)
_BACKUP_IS_LOST_AFTER: Final = timedelta(days=3)


def check_machine(settings: Settings, now: datetime) -> list[Finding]:
    """Everything that needs no network."""
    return [
        *_check_keys(settings),
        *_check_disk(settings),
        _check_log_level(settings),
        *_check_backups(settings, now),
    ]


# ---- keys --------------------------------------------------------------------------------


def _check_keys(settings: Settings) -> list[Finding]:
    try:
        keyring = load_keyring(settings.data_dir)
    except CommandFailed as error:
        return [Finding(Level.BAD, str(error))]
    owners = _check_owners(settings.data_dir)
    if keyring.roots.former:
        text = "A rotation of the root key is not finished: run 'accanto keys rewrap'"
        return [owners, Finding(Level.WARNING, text)]
    if keyring.roots.current.is_remote:
        text = f"The root key is in {keyring.roots.current.place}: a stolen disk is covered"
        return [owners, Finding(Level.GOOD, text)]
    text = (
        f"The root key ({ROOT_KEY_FILE}) is in the data folder, beside what it seals: "
        "a stolen disk is not covered"
    )
    return [owners, Finding(Level.WARNING, text)]


def _check_owners(data_dir: Path) -> Finding:
    """Nobody else may read the folder, the keys or the settings, or put others in their place."""
    owner = os.geteuid()
    secret = (ROOT_KEY_FILE, FORMER_ROOT_FILE, INSTALLATION_FILE, Path(SETTINGS_FILE))
    names = (Path(), ROOT_KEY_FILE.parent, *secret)
    for path in (data_dir / name for name in names):
        if not path.exists():
            continue
        found = path.stat()
        if found.st_uid != owner:
            return Finding(Level.BAD, f"{path} belongs to somebody else: run chown on it")
        if stat.S_IMODE(found.st_mode) & 0o077:
            right = "700" if path.is_dir() else "600"
            return Finding(Level.BAD, f"{path} is open to others: run chmod {right} on it")
    return Finding(Level.GOOD, "The keys are readable by their owner only")


# ---- disk and log ------------------------------------------------------------------------


def _check_disk(settings: Settings) -> list[Finding]:
    if not settings.data_dir.exists():
        return []
    free = shutil.disk_usage(settings.data_dir).free
    text = f"{free // _MIB} MiB are free on the disk of the data folder"
    level = Level.GOOD if free >= _LITTLE_FREE_BYTES else Level.WARNING
    findings = [Finding(Level.BAD if free < _LEAST_FREE_BYTES else level, text)]
    wal = settings.sqlite_file.with_name(f"{settings.sqlite_file.name}-wal")
    if not settings.database_url and wal.exists() and wal.stat().st_size > _LONG_WAL_BYTES:
        size = wal.stat().st_size // _MIB
        text = f"The journal of the database has {size} MiB: something reads for very long"
        findings.append(Finding(Level.WARNING, text))
    return findings


def _check_log_level(settings: Settings) -> Finding:
    level = settings.log_level.upper()
    if level == "DEBUG" and settings.is_https:
        return Finding(Level.BAD, "The log level is DEBUG: set log_level=INFO where patients come")
    return Finding(Level.GOOD, f"The log level is {level}")


# ---- backups -----------------------------------------------------------------------------


def _check_backups(settings: Settings, now: datetime) -> list[Finding]:
    if not settings.backup_dir or not settings.backup_keys_dir:
        text = "No backups: set backup_dir and backup_keys_dir, and run 'accanto backup' daily"
        return [Finding(Level.WARNING, text)]
    data, keys = Path(settings.backup_dir), Path(settings.backup_keys_dir)
    return [_check_age(data, keys, now), *_check_apart(settings, data, keys)]


def _check_age(data: Path, keys: Path, now: datetime) -> Finding:
    found = find_backups(data, Half.DATA)
    if not found:
        return Finding(Level.BAD, f"There is no backup in {data}")
    try:
        made_at = load_manifest(found[-1]).made_at
    except CommandFailed as error:
        return Finding(Level.BAD, str(error))
    half = keys / found[-1].name.replace(f"-{Half.DATA}-", f"-{Half.KEYS}-")
    if half not in find_backups(keys, Half.KEYS):
        return Finding(Level.BAD, f"The newest backup has no keys in {keys}: it opens nothing")
    age = now - made_at
    text = f"The newest backup is {age.total_seconds() / 3600:.0f} hours old"
    if age > _BACKUP_IS_OLD_AFTER:
        return Finding(Level.BAD if age > _BACKUP_IS_LOST_AFTER else Level.WARNING, text)
    return Finding(Level.GOOD, text)


def _check_apart(settings: Settings, data: Path, keys: Path) -> list[Finding]:
    """The halves, and the disk that both are there to outlive."""
    places = {"backup_dir": data, "backup_keys_dir": keys, "data_dir": settings.data_dir}
    disks = {name: path.stat().st_dev for name, path in places.items() if path.exists()}
    findings = []
    if any(data.rglob(ROOT_KEY_FILE.name)):
        text = f"A root key lies among the backups of the data in {data}: take it away"
        findings.append(Finding(Level.BAD, text))
    if disks.get("backup_dir") == disks.get("data_dir"):
        text = "The backups are on the disk of the data folder: it takes them with it"
        findings.append(Finding(Level.WARNING, text))
    if disks.get("backup_dir") == disks.get("backup_keys_dir"):
        text = "Data and keys are backed up to one disk: who has it opens everything"
        findings.append(Finding(Level.WARNING, text))
    return findings
