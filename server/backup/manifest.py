"""What one half of a backup says of itself: every file with its size and hash, every table with
its rows. The manifest carries a MAC of the root key, so that a changed one is recognised, too."""

from __future__ import annotations

import hashlib
import hmac
import os
from datetime import datetime
from enum import StrEnum
from pathlib import Path, PurePosixPath
from typing import BinaryIO, Final

import msgspec

from server.errors import CommandFailed
from server.keyring import Keyring

FORMAT: Final = 1
MANIFEST_FILE: Final = "manifest.json"
PARTIAL: Final = ".partial-"


class Half(StrEnum):
    """The two that are never in one place."""

    DATA = "data"
    KEYS = "keys"


class FileEntry(msgspec.Struct, frozen=True, kw_only=True):
    """One file of the half, by its path inside."""

    path: str
    size_bytes: int
    sha256: str


class TableEntry(msgspec.Struct, frozen=True, kw_only=True):
    """One table of the half; its rows are in ``tables/<name>.rows``."""

    name: str
    columns: list[str]
    rows: int

    @property
    def path(self) -> str:
        return f"tables/{self.name}.rows"


class Manifest(msgspec.Struct, frozen=True, kw_only=True):
    """``id`` is the same in both halves; ``revision`` is the schema's when it was taken."""

    format: int
    half: Half
    id: str
    made_at: datetime
    version: str
    revision: str
    files: list[FileEntry]
    tables: list[TableEntry]
    mac: str = ""

    @property
    def folder_name(self) -> str:
        return f"accanto-{self.half}-{self.made_at:%Y%m%dT%H%M%SZ}-{self.id[:8]}"

    def signed(self, keyring: Keyring) -> Manifest:
        return msgspec.structs.replace(self, mac=self._mac(keyring))

    def is_signed_by(self, keyring: Keyring) -> bool:
        return hmac.compare_digest(self.mac, self._mac(keyring))

    def _mac(self, keyring: Keyring) -> str:
        plain = msgspec.json.encode(msgspec.structs.replace(self, mac=""), order="sorted")
        return hmac.digest(keyring.derive("backup-manifest"), plain, hashlib.sha256).hex()


def create_file(path: Path) -> BinaryIO:
    """A new file that only its owner reads."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    return os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb")


def sync_file(file: BinaryIO) -> None:
    file.flush()
    os.fsync(file.fileno())


def sync_folder(folder: Path) -> None:
    """Put the names in a folder on the disk."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def list_files(folder: Path) -> list[FileEntry]:
    """Every file of a finished half but the manifest."""
    return [
        FileEntry(
            path=path.relative_to(folder).as_posix(),
            size_bytes=path.stat().st_size,
            sha256=_hash_file(path),
        )
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name != MANIFEST_FILE
    ]


def write_manifest(folder: Path, manifest: Manifest) -> None:
    with create_file(folder / MANIFEST_FILE) as file:
        file.write(msgspec.json.format(msgspec.json.encode(manifest), indent=1))
        sync_file(file)


def load_manifest(folder: Path) -> Manifest:
    """Read what a backup says of itself; its files are not looked at yet.

    :raises CommandFailed: there is none, or it cannot be read by this version.
    """
    path = folder / MANIFEST_FILE
    try:
        manifest = msgspec.json.decode(path.read_bytes(), type=Manifest)
    except OSError as error:
        raise CommandFailed(f"{folder} is no backup: {path.name}: {error.strerror}") from error
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise CommandFailed(f"{path} is damaged: it cannot be read") from error
    if manifest.format != FORMAT:
        raise CommandFailed(f"{path} was written by another version of Accanto")
    return manifest


def check_files(folder: Path, manifest: Manifest, only: str = "") -> None:
    """Compare every byte, or those of one file, with the manifest.

    :raises CommandFailed: names the file that is missing or damaged.
    """
    for entry in manifest.files:
        if only and entry.path != only:
            continue
        name = PurePosixPath(entry.path)
        path = folder / name
        if name.is_absolute() or ".." in name.parts:
            raise CommandFailed(f"{folder / MANIFEST_FILE} is damaged: it names {name}")
        if not path.is_file():
            raise CommandFailed(f"The backup is not whole: {path} is missing")
        if path.stat().st_size != entry.size_bytes or _hash_file(path) != entry.sha256:
            raise CommandFailed(f"The backup is damaged: {path} is not what was written")


def find_backups(folder: Path, half: Half) -> list[Path]:
    """The whole backups of a folder, the oldest first; none of a folder that is not there."""
    return sorted(
        path.parent for path in folder.glob(f"accanto-{half}-*/{MANIFEST_FILE}") if path.is_file()
    )


def _hash_file(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, hashlib.sha256).hexdigest()
