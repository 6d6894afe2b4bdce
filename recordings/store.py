"""Sealed files: what is written is sealed before it reaches the disk, never after.

A file is the header of a sealed field (``TV1``, suite, key id) and then one message of C2SP
chunked encryption (``FORMAT.md``). It has its name only when it is whole and stored. Where it lies
is behind :mod:`recordings.objects`. Knows no database and no patient: who calls gives name, key and
context. Everything here blocks: on an event loop it belongs into a thread.
"""

from __future__ import annotations

import hashlib
import time
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from recordings.objects import FolderObjects, ObjectReader, Objects, ObjectWriter, check_name
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
_CHUNKS_AT_ONCE: Final = 64
_PIECE_BYTES: Final = _CHUNKS_AT_ONCE * CHUNK_BYTES
_BUFFERS: Final = 8
_SEALED_PIECE_BYTES: Final = _CHUNKS_AT_ONCE * SEALED_CHUNK_BYTES


class SealedWriter:
    """One file being written; a context manager. Left by an error it leaves no file.

    ``sha256`` and ``sealed_bytes`` (of the sealed file, in hex) and ``plain_bytes`` are there after
    the ``with``.
    """

    def __init__(
        self, objects: Objects, name: str, key_id: str, key: bytes, context: bytes
    ) -> None:
        if len(key_id.encode()) != KEY_ID_BYTES:
            raise ValueError("a key id has 16 characters")
        self._objects = objects
        self._name = check_name(name)
        self._sealer = StreamSealer(key, context)
        self._buffers: deque[tuple[bytearray, Future[None]]] = deque()
        self._digest = hashlib.sha256()
        self._digester = ThreadPoolExecutor(max_workers=1)
        self._head = HEADER + key_id.encode()
        self.plain_bytes = 0
        self.sealed_bytes = 0
        self.sha256 = ""

    def __enter__(self) -> Self:
        self._object: ObjectWriter = self._objects.create(self._name)
        self._digest.update(self._head)
        self._put(self._head)
        return self

    def write(self, piece: bytes | bytearray | memoryview) -> None:
        """Seal a piece of any size and write what is full of it. The digest is taken on the other
        core and may stay some buffers behind."""
        plain = memoryview(piece).cast("B")
        for start in range(0, len(plain), _PIECE_BYTES):
            buffer = self._take_buffer()
            filled = self._sealer.seal_into(plain[start : start + _PIECE_BYTES], buffer)
            sealed = memoryview(buffer)[:filled]
            self._buffers.append((buffer, self._digester.submit(self._digest.update, sealed)))
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
            if error is None:
                last = self._sealer.finish()
                self._digest.update(last)
                self._put(last)
                self._object.finish()
                self.sha256 = self._digest.hexdigest()
        finally:
            self._object.discard()

    def _take_buffer(self) -> bytearray:
        """A new one as long as they are few and the oldest is still being read."""
        is_oldest_free = bool(self._buffers) and self._buffers[0][1].done()
        if len(self._buffers) < _BUFFERS and not is_oldest_free:
            return bytearray(StreamSealer.room_for(_PIECE_BYTES))
        buffer, digested = self._buffers.popleft()
        digested.result()
        return buffer

    def _put(self, sealed: bytes | memoryview) -> None:
        self._object.write(sealed)
        self.sealed_bytes += len(sealed)


class SealedStore:
    """Sealed files over a store of objects, each under a name of letters, digits, ``-``, ``_``."""

    def __init__(self, objects: Objects) -> None:
        self._objects = objects

    def create(self, name: str, key_id: str, key: bytes, context: bytes) -> SealedWriter:
        """A new file, for what comes piece by piece; it replaces a file of this name."""
        return SealedWriter(self._objects, name, key_id, key, context)

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
        with closing(self._objects.open(name)) as file:
            head = _read(file, 0, _HEAD_BYTES + PREFIX_BYTES)
            if head[: len(HEADER)] != HEADER:
                raise SealBroken
            plain_bytes = count_plain_bytes(file.size - _HEAD_BYTES)
            opener = ChunkOpener(key, context, head[_HEAD_BYTES:])
            end = plain_bytes if size is None else min(start + size, plain_bytes)
            last = plain_bytes // CHUNK_BYTES
            if len(opener.open(last, _read_chunks(file, last, 1))) != plain_bytes % CHUNK_BYTES:
                raise SealBroken
            if start == 0 and end == plain_bytes:
                yield from _stream(file, StreamOpener(key, context))
            else:
                yield from _open_range(file, opener, start, end)

    def count_plain_bytes(self, name: str) -> int:
        """How long the content is, by the length of the file: reading proves it.

        :raises FileNotFoundError: there is no such file.
        :raises SealBroken: no sealed file has this length.
        """
        with closing(self._objects.open(name)) as file:
            return count_plain_bytes(file.size - _HEAD_BYTES)

    def read_key_id(self, name: str) -> str:
        """Which data key seals the file.

        :raises SealBroken: not a sealed file.
        """
        with closing(self._objects.open(name)) as file:
            head = _read(file, 0, _HEAD_BYTES)
        if len(head) != _HEAD_BYTES or not head.startswith(HEADER) or not head.isascii():
            raise SealBroken
        return head[len(HEADER) :].decode()

    def delete(self, name: str) -> bool:
        """Returns whether there was one."""
        return self._objects.delete(name)

    def names(self) -> list[str]:
        """Of the whole files, sorted."""
        return sorted(name for name, _ in self._objects.list())

    def names_older_than(self, seconds: float) -> list[str]:
        """Of the whole files that were written before."""
        before = time.time() - seconds
        return sorted(name for name, written in self._objects.list() if written < before)

    def sweep(self, older_than_seconds: float) -> int:
        """Delete what killed processes left half written; returns how many."""
        return self._objects.sweep(older_than_seconds)


class SealedFolder(SealedStore):
    """Sealed files in a folder of this machine."""

    def __init__(self, path: Path) -> None:
        super().__init__(FolderObjects(path))
        self._path = path


def _read(file: ObjectReader, offset: int, size: int) -> bytes:
    buffer = bytearray(size)
    return bytes(buffer[: file.read_into(offset, memoryview(buffer))])


def _read_chunks(file: ObjectReader, first: int, count: int) -> bytes:
    offset = _HEAD_BYTES + PREFIX_BYTES + first * SEALED_CHUNK_BYTES
    return _read(file, offset, count * SEALED_CHUNK_BYTES)


def _open_range(file: ObjectReader, opener: ChunkOpener, start: int, end: int) -> Iterator[bytes]:
    """The first piece is one chunk, so that who seeks waits for little; then more at once."""
    number, after, at_once = start // CHUNK_BYTES, -(-end // CHUNK_BYTES), 1
    while number < after:
        sealed = memoryview(_read_chunks(file, number, min(at_once, after - number)))
        for place in range(0, max(len(sealed), 1), SEALED_CHUNK_BYTES):
            plain = opener.open(number, bytes(sealed[place : place + SEALED_CHUNK_BYTES]))
            offset = number * CHUNK_BYTES
            yield plain[max(start - offset, 0) : end - offset]
            number += 1
        at_once = min(4 * at_once, _CHUNKS_AT_ONCE)


def _stream(file: ObjectReader, opener: StreamOpener) -> Iterator[bytes]:
    """Into one buffer: a new one for each piece costs as much as opening it."""
    buffer = memoryview(bytearray(_SEALED_PIECE_BYTES))
    offset = _HEAD_BYTES
    while filled := file.read_into(offset, buffer):
        offset += filled
        if plain := opener.open(buffer[:filled]):
            yield plain
    if plain := opener.finish():
        yield plain
