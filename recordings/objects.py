"""Where sealed files lie: a port of few words, and the folder that is its default.

An object has a name of letters, digits, ``-`` and ``_``, appears under it only when it is whole,
and is never changed. ``recordings.s3`` is the same in an S3-compatible store. Everything blocks.
"""

from __future__ import annotations

import os
import re
import secrets
import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Final, Protocol

_NAME: Final = re.compile(r"[A-Za-z0-9_-]{1,100}")
_UNFINISHED: Final = ".part"
_BYTES_BEHIND: Final = 32 * 1024 * 1024
"""So much of a large file goes to the disk at once, while the next part is made."""


class ObjectWriter(Protocol):
    """An object being written. Either :meth:`finish` or :meth:`discard` is the last call."""

    def write(self, piece: bytes | memoryview) -> None:
        """The piece may be changed by the caller afterwards."""

    def finish(self) -> None:
        """It is stored for good and has its name; another object of that name is gone."""

    def discard(self) -> None:
        """Nothing of it is left. May be called twice, and does nothing after :meth:`finish`."""


class ObjectReader(Protocol):
    """An object being read; ``size`` in bytes."""

    size: int

    def read_into(self, offset: int, buffer: memoryview) -> int:
        """Fill the buffer from ``offset`` on; less only at the end. Returns how many bytes."""

    def close(self) -> None: ...


class Objects(Protocol):
    """A store of objects.

    :raises OSError: from every call, also of what it gives: no room, or no answer.
    """

    def create(self, name: str) -> ObjectWriter: ...

    def open(self, name: str) -> ObjectReader:
        """:raises FileNotFoundError: there is none."""

    def delete(self, name: str) -> bool:
        """Returns whether there was one."""

    def list(self) -> Iterator[tuple[str, float]]:
        """Names of the whole objects in any order, and when each was written (Unix time)."""

    def sweep(self, older_than_seconds: float) -> int:
        """Delete what killed processes left half written; returns how many."""


def check_name(name: str) -> str:
    """:raises ValueError: it could be something else than one object of the store."""
    if not _NAME.fullmatch(name):
        raise ValueError("not a name of a sealed file")
    return name


class FolderObjects:
    """Files of one folder, synced before they have their name."""

    def __init__(self, path: Path) -> None:
        for folder in (path.parent, path):
            folder.mkdir(mode=0o700, exist_ok=True)
        self._path = path

    def create(self, name: str) -> ObjectWriter:
        return _FileWriter(self._locate(name))

    def open(self, name: str) -> ObjectReader:
        return _FileReader(self._locate(name))

    def delete(self, name: str) -> bool:
        try:
            self._locate(name).unlink()
        except FileNotFoundError:
            return False
        _sync_folder(self._path)
        return True

    def list(self) -> Iterator[tuple[str, float]]:
        for entry in self._path.iterdir():
            if _NAME.fullmatch(entry.name):
                yield entry.name, entry.stat().st_mtime

    def sweep(self, older_than_seconds: float) -> int:
        before = time.time() - older_than_seconds
        left = [
            path for path in self._path.glob(f".*{_UNFINISHED}") if path.stat().st_mtime < before
        ]
        for path in left:
            path.unlink(missing_ok=True)
        return len(left)

    def _locate(self, name: str) -> Path:
        return self._path / check_name(name)


class _FileWriter:
    def __init__(self, path: Path) -> None:
        self._path = path
        self._unfinished = path.with_name(f".{path.name}.{secrets.token_hex(8)}{_UNFINISHED}")
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL
        self._file = os.fdopen(os.open(self._unfinished, flags, 0o600), "wb", buffering=0)
        self._syncer = ThreadPoolExecutor(max_workers=1)
        self._synced: Future[None] | None = None
        self._unsynced_bytes = 0

    def write(self, piece: bytes | memoryview) -> None:
        rest = memoryview(piece)
        while rest:
            written = self._file.write(rest)
            self._unsynced_bytes += written
            rest = rest[written:]
        if self._unsynced_bytes >= _BYTES_BEHIND:
            self._sync_behind()

    def finish(self) -> None:
        with self._file:
            if self._synced is not None:
                self._synced.result()
            os.fsync(self._file.fileno())
        self._unfinished.rename(self._path)
        _sync_folder(self._path.parent)

    def discard(self) -> None:
        self._syncer.shutdown()
        self._file.close()
        self._unfinished.unlink(missing_ok=True)

    def _sync_behind(self) -> None:
        """A failure is raised by the next call: the disk tells it only once."""
        if self._synced is not None:
            if not self._synced.done():
                return
            self._synced.result()
        self._unsynced_bytes = 0
        self._synced = self._syncer.submit(os.fdatasync, self._file.fileno())


class _FileReader:
    def __init__(self, path: Path) -> None:
        self._file = path.open("rb", buffering=0)
        self.size = os.fstat(self._file.fileno()).st_size

    def read_into(self, offset: int, buffer: memoryview) -> int:
        filled = 0
        while filled < len(buffer):
            read = os.preadv(self._file.fileno(), [buffer[filled:]], offset + filled)
            if not read:
                break
            filled += read
        return filled

    def close(self) -> None:
        self._file.close()


def _sync_folder(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
