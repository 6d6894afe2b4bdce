"""A folder of sealed files: what is written is sealed before it reaches the disk, never after.

A file is the header of a sealed field (``TV1``, suite, key id) and then one message of C2SP
chunked encryption (``FORMAT.md``). It has its name only when it is whole and on the disk. Knows
no database and no patient: who calls gives name, key and context. Everything here blocks: on an
event loop it belongs into a thread.
"""

from __future__ import annotations

import hashlib
import os
import re
import secrets
import time
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from io import FileIO
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from recordings.vault import (
    CHUNK_BYTES,
    HEADER,
    KEY_ID_BYTES,
    PREFIX_BYTES,
    SEALED_CHUNK_BYTES,
    ChunkOpener,
    SealBroken,
    StreamOpener,
    StreamSealer,
    count_plain_bytes,
)

_HEAD_BYTES: Final = len(HEADER) + KEY_ID_BYTES
_NAME: Final = re.compile(r"[A-Za-z0-9_-]{1,100}")
_PIECE_BYTES: Final = 64 * CHUNK_BYTES
_SEALED_PIECE_BYTES: Final = 64 * SEALED_CHUNK_BYTES
_UNFINISHED: Final = ".part"


@dataclass(slots=True)
class _Buffer:
    content: bytearray
    digested: Future[None] | None = None


class SealedWriter:
    """One file being written; a context manager. Left by an error it leaves no file.

    ``sha256`` (hex, of the sealed file) and ``plain_bytes`` are there after the ``with``.
    """

    def __init__(self, path: Path, key_id: str, key: bytes, context: bytes) -> None:
        if len(key_id.encode()) != KEY_ID_BYTES:
            raise ValueError("a key id has 16 characters")
        self._path = path
        self._unfinished = path.with_name(f".{path.name}.{secrets.token_hex(8)}{_UNFINISHED}")
        self._sealer = StreamSealer(key, context)
        room = StreamSealer.room_for(_PIECE_BYTES)
        self._buffers = deque(_Buffer(bytearray(room)) for _ in range(2))
        self._digest = hashlib.sha256()
        self._digester = ThreadPoolExecutor(max_workers=1)
        self._head = HEADER + key_id.encode()
        self.plain_bytes = 0
        self.sha256 = ""

    def __enter__(self) -> Self:
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL
        self._file = os.fdopen(os.open(self._unfinished, flags, 0o600), "wb", buffering=0)
        self._digest.update(self._head)
        self._put(self._head)
        return self

    def write(self, piece: bytes | bytearray | memoryview) -> None:
        """Seal a piece of any size and write what is full of it. While one buffer is written its
        digest is taken on the other core, and the next piece goes into the other buffer."""
        plain = memoryview(piece).cast("B")
        for start in range(0, len(plain), _PIECE_BYTES):
            buffer = self._buffers[0]
            self._buffers.rotate()
            if buffer.digested is not None:
                buffer.digested.result()
            filled = self._sealer.seal_into(plain[start : start + _PIECE_BYTES], buffer.content)
            sealed = memoryview(buffer.content)[:filled]
            buffer.digested = self._digester.submit(self._digest.update, sealed)
            self._put(sealed)
        self.plain_bytes += len(plain)

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._digester.shutdown()
        try:
            with self._file:
                if error is None:
                    last = self._sealer.finish()
                    self._digest.update(last)
                    self._put(last)
                    os.fsync(self._file.fileno())
            if error is None:
                self._unfinished.rename(self._path)
                _sync_folder(self._path.parent)
                self.sha256 = self._digest.hexdigest()
        finally:
            self._unfinished.unlink(missing_ok=True)

    def _put(self, sealed: bytes | memoryview) -> None:
        rest = memoryview(sealed)
        while rest:
            rest = rest[self._file.write(rest) :]


class SealedFolder:
    """The files of one folder, each under a name of letters, digits, ``-`` and ``_``."""

    def __init__(self, path: Path) -> None:
        for folder in (path.parent, path):
            folder.mkdir(mode=0o700, exist_ok=True)
        self._path = path

    def create(self, name: str, key_id: str, key: bytes, context: bytes) -> SealedWriter:
        """A new file, for what comes piece by piece; it replaces a file of this name."""
        return SealedWriter(self._locate(name), key_id, key, context)

    def write(
        self, name: str, key_id: str, key: bytes, context: bytes, pieces: Iterable[bytes]
    ) -> str:
        """Seal all pieces into one file; returns the SHA-256 of the sealed file in hex."""
        with self.create(name, key_id, key, context) as file:
            for piece in pieces:
                file.write(piece)
        return file.sha256

    def read(
        self, name: str, key: bytes, context: bytes, start: int = 0, size: int | None = None
    ) -> Iterator[bytes]:
        """The content, or ``size`` bytes of it from ``start`` (less where it ends before).

        The length is proved before the first piece is given; every piece is authentic.

        :raises FileNotFoundError: there is no such file, at the first piece.
        :raises SealBroken: cut, extended, altered, of another place or key.
        """
        with self._locate(name).open("rb", buffering=0) as file:
            sealed_bytes = os.fstat(file.fileno()).st_size - _HEAD_BYTES
            head = file.read(_HEAD_BYTES + PREFIX_BYTES)
            if head[: len(HEADER)] != HEADER:
                raise SealBroken
            plain_bytes = count_plain_bytes(sealed_bytes)
            opener = ChunkOpener(key, context, head[_HEAD_BYTES:])
            end = plain_bytes if size is None else min(start + size, plain_bytes)
            last = plain_bytes // CHUNK_BYTES
            if (
                len(opener.open(last, _read_chunk(file.fileno(), last)))
                != plain_bytes % CHUNK_BYTES
            ):
                raise SealBroken
            if start == 0 and end == plain_bytes:
                file.seek(_HEAD_BYTES)
                yield from _stream(file, StreamOpener(key, context))
                return
            for number in range(start // CHUNK_BYTES, -(-end // CHUNK_BYTES)):
                plain = opener.open(number, _read_chunk(file.fileno(), number))
                offset = number * CHUNK_BYTES
                yield plain[max(start - offset, 0) : end - offset]

    def read_key_id(self, name: str) -> str:
        """Which data key seals the file.

        :raises SealBroken: not a sealed file.
        """
        with self._locate(name).open("rb") as file:
            head = file.read(_HEAD_BYTES)
        if len(head) != _HEAD_BYTES or not head.startswith(HEADER) or not head.isascii():
            raise SealBroken
        return head[len(HEADER) :].decode()

    def delete(self, name: str) -> bool:
        """Returns whether there was one."""
        try:
            self._locate(name).unlink()
        except FileNotFoundError:
            return False
        _sync_folder(self._path)
        return True

    def names(self) -> list[str]:
        """Of the whole files, sorted."""
        return sorted(entry.name for entry in self._path.iterdir() if _NAME.fullmatch(entry.name))

    def names_older_than(self, seconds: float) -> list[str]:
        """Of the whole files that were written before."""
        before = time.time() - seconds
        return [name for name in self.names() if (self._path / name).stat().st_mtime < before]

    def sweep(self, older_than_seconds: float) -> int:
        """Delete what killed processes left half written; returns how many."""
        before = time.time() - older_than_seconds
        left = [
            path for path in self._path.glob(f".*{_UNFINISHED}") if path.stat().st_mtime < before
        ]
        for path in left:
            path.unlink(missing_ok=True)
        return len(left)

    def _locate(self, name: str) -> Path:
        if not _NAME.fullmatch(name):
            raise ValueError("not a name of a sealed file")
        return self._path / name


def _read_chunk(descriptor: int, number: int) -> bytes:
    offset = _HEAD_BYTES + PREFIX_BYTES + number * SEALED_CHUNK_BYTES
    return os.pread(descriptor, SEALED_CHUNK_BYTES, offset)


def _stream(file: FileIO, opener: StreamOpener) -> Iterator[bytes]:
    """Into one buffer: a new one for each piece costs as much as opening it."""
    buffer = memoryview(bytearray(_SEALED_PIECE_BYTES))
    while filled := file.readinto(buffer):
        if plain := opener.open(buffer[:filled]):
            yield plain
    if plain := opener.finish():
        yield plain


def _sync_folder(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
