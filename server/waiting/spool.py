"""The local file that holds the log rows of running calls until the database has them.

A row is written to the file before anybody else hears of it, and forced to the disk in groups: a
process that is killed loses none, a machine without power those of the last few milliseconds. Each
process has a file of its own and holds a lock on it; files without a living owner are read again by
whoever starts next (:meth:`Spool.adopt`). Rows are ids and stable words only, as in the log.
"""

from __future__ import annotations

import fcntl
import logging
import os
import threading
import time
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from queue import SimpleQueue
from typing import Final, NamedTuple

import msgspec

from server.db import OrganisationId
from server.models import new_id

logger = logging.getLogger(__name__)

SPOOL_FOLDER: Final = "spool"
"""In the data folder."""
_SUFFIX: Final = ".rows"
_SUM_DIGITS: Final = 8
_SYNC_SECONDS: Final = 0.01
_LONG_BYTES: Final = 4 * 1024 * 1024
_encode: Final = msgspec.json.Encoder().encode


class Row(NamedTuple):
    """One entry that is not yet in the log: ``entry`` is its canonical text."""

    organisation: OrganisationId
    visit_id: str
    entry: str


_decode: Final = msgspec.json.Decoder(Row).decode


@dataclass(slots=True)
class Remnant:
    """The file of a process that is not there any more; its lock is ours until it is closed."""

    path: Path
    descriptor: int

    def rows(self) -> list[Row]:
        """What is whole in it, in order."""
        return list(parse(self.path.read_bytes()))

    def close(self, *, is_stored: bool) -> None:
        """``is_stored``: the database has its rows, the file is not needed any more."""
        if is_stored:
            self.path.unlink(missing_ok=True)
        os.close(self.descriptor)


class Spool:
    """The file of this process. Nothing is on the disk before the first row."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._path = self._new_path()
        self._descriptor = -1
        self._size = 0
        self._is_dirty = False
        self._wakes: SimpleQueue[bool] = SimpleQueue()
        """True for rows that nobody has begun to force to the disk; False ends ``keep_safe``."""
        self._lock = threading.Lock()
        """Nobody closes the file while it is forced to the disk."""

    def write(self, row: Row) -> bool:
        """Hand a row to the operating system; whether it has taken it whole."""
        try:
            if self._descriptor < 0:
                self._descriptor = self._open()
            record = pack(row)
            is_whole = os.write(self._descriptor, record) == len(record)
        except OSError as error:
            logger.warning("the spool of the session log cannot be written: %s", error.strerror)
            return False
        self._size += len(record)
        if not self._is_dirty:
            self._is_dirty = True
            self._wakes.put(True)
        return is_whole

    @property
    def is_long(self) -> bool:
        """Whether it holds much more than what waits: a busy database never has every row."""
        return self._size > _LONG_BYTES

    def begin_anew(self, rows: Iterable[Row]) -> None:
        """All but these rows are in the database: they go into another file, and this one goes.
        Where there is no room for another, this one stays."""
        before, old, size = self._path, self._descriptor, self._size
        with self._lock:
            self._path, self._descriptor, self._size = self._new_path(), -1, 0
            if all(self.write(row) for row in rows):
                os.fdatasync(self._descriptor)
                before.unlink(missing_ok=True)
                os.close(old)
                return
            if self._descriptor >= 0:
                self._path.unlink(missing_ok=True)
                os.close(self._descriptor)
            self._path, self._descriptor, self._size = before, old, size

    def sync(self) -> None:
        """Force what was written to the disk. May run in a thread."""
        with self._lock:
            is_dirty, self._is_dirty = self._is_dirty, False
            if is_dirty and self._descriptor >= 0:
                os.fdatasync(self._descriptor)

    def keep_safe(self) -> None:
        """Force rows to the disk in groups, until ``leave``. For a thread of its own: the event
        loop turns for none of it."""
        while self._wakes.get():
            try:
                self.sync()
            except OSError as error:
                logger.warning("the spool of the session log is not safe: %s", error.strerror)
            time.sleep(_SYNC_SECONDS)

    def leave(self) -> None:
        """End ``keep_safe``; what it has not forced is forced by ``sync``."""
        self._wakes.put(False)

    def clear(self) -> None:
        """The database has every row."""
        if self._descriptor >= 0:
            os.ftruncate(self._descriptor, 0)
            self._size = 0

    def close(self) -> None:
        """Let go of the file; one without rows is deleted."""
        with self._lock:
            if self._descriptor < 0:
                return
            if os.fstat(self._descriptor).st_size == 0:
                self._path.unlink(missing_ok=True)
            os.close(self._descriptor)
            self._descriptor, self._size = -1, 0

    def set_aside(self) -> None:
        """Begin another file with the next row: the rows of this one are read again from there."""
        self.sync()
        self.close()
        self._path = self._new_path()

    def adopt(self) -> Iterator[Remnant]:
        """The files that no living process holds."""
        for path in sorted(self._folder.glob(f"*{_SUFFIX}")):
            if (descriptor := _lock(path)) is not None:
                yield Remnant(path, descriptor)

    def _new_path(self) -> Path:
        return self._folder / f"{os.getpid()}-{new_id()}{_SUFFIX}"

    def _open(self) -> int:
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND
        unlocked = self._path.with_suffix(".new")
        descriptor = os.open(unlocked, flags, 0o600)
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        unlocked.rename(self._path)
        folder = os.open(self._folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
        return descriptor


def pack(row: Row) -> bytes:
    """A line for itself, even after one that was cut: newline, checksum, JSON."""
    content = _encode(row)
    return b"\n%08x %b" % (zlib.crc32(content), content)


def parse(content: bytes) -> Iterator[Row]:
    """The rows of a file. A line that does not match its checksum was cut when it was written."""
    for line in content.split(b"\n"):
        checksum, _, text = line.partition(b" ")
        if len(checksum) == _SUM_DIGITS and checksum == b"%08x" % zlib.crc32(text):
            yield _decode(text)


def _lock(path: Path) -> int | None:
    """The descriptor that holds the lock; ``None`` when somebody has it or the file is gone."""
    try:
        descriptor = os.open(path, os.O_RDONLY)
    except FileNotFoundError:
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(descriptor)
        return None
    return descriptor
