"""Tapes: what a recorder keeps while it records, sealed second by second (``FORMAT.md``).

A tape only grows. Each record is a whole sealed message with its index in its context, on the
disk before the next one: what ends without a word loses the record that it was writing. Everything
here blocks: on an event loop it belongs into a thread. Knows no media.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from io import BufferedReader
from pathlib import Path
from typing import Final

from recordings.recorderwords import TAPE_SUFFIX
from recordings.vault import (
    HEADER,
    KEY_ID_BYTES,
    SealBroken,
    bind,
    seal,
    unseal,
)

OBJECT_TYPE: Final = "recording_track"
FIELD: Final = "cluster"
_LENGTH_BYTES: Final = 4
_HEAD_BYTES: Final = len(HEADER) + KEY_ID_BYTES
_LONGEST_RECORD: Final = 64 * 2**20


@dataclass(frozen=True, slots=True)
class TapeKey:
    """The data key of a recording, and whose it is."""

    key: bytes
    key_id: str
    organisation: str
    visit: str

    def context(self, track: str, index: int) -> bytes:
        return bind(self.organisation, OBJECT_TYPE, track, FIELD, self.visit, index, self.key_id)


def tape_path(folder: Path, track: str) -> Path:
    return folder / f"{track}{TAPE_SUFFIX}"


def tracks_on_tape(folder: Path) -> list[str]:
    """Of all tapes of the folder, sorted."""
    return sorted(path.name.removesuffix(TAPE_SUFFIX) for path in folder.glob(f"*{TAPE_SUFFIX}"))


def key_of_tape(folder: Path, track: str) -> str:
    """The id of the key that sealed it; empty where nothing is written yet.

    :raises FileNotFoundError: there is no such tape.
    """
    with tape_path(folder, track).open("rb") as file:
        front = file.read(_LENGTH_BYTES + _HEAD_BYTES)
    return front[_LENGTH_BYTES + len(HEADER) :].decode("ascii", "replace")


class TapeWriter:
    """A new tape. Each record is whole on the disk when :meth:`append` returns, or not there."""

    def __init__(self, folder: Path, track: str, key: TapeKey) -> None:
        self._track = track
        self._key = key
        self._path = tape_path(folder, track)
        self._file: int | None = None
        self._index = 0
        self.size = 0
        """Bytes that are on the disk."""

    def append(self, plain: bytes) -> None:
        """:raises OSError: there is no room, or no disk; the tape is as it was before."""
        context = self._key.context(self._track, self._index)
        sealed = HEADER + self._key.key_id.encode() + seal(self._key.key, context, plain)
        record = memoryview(len(sealed).to_bytes(_LENGTH_BYTES, "big") + sealed)
        file = self._open()
        try:
            written = 0
            while written < len(record):
                written += os.pwrite(file, record[written:], self.size + written)
            os.fdatasync(file)
        except OSError:
            os.ftruncate(file, self.size)
            raise
        self.size += len(record)
        self._index += 1

    def close(self) -> None:
        if self._file is not None:
            os.close(self._file)
            self._file = None

    def _open(self) -> int:
        if self._file is None:
            self._file = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
            folder = os.open(self._path.parent, os.O_RDONLY | os.O_DIRECTORY)
            try:
                os.fsync(folder)
            finally:
                os.close(folder)
        return self._file


def read_tape(folder: Path, track: str, key: TapeKey) -> Iterator[bytes]:
    """Record by record, up to the end or to where the last writing was cut off.

    :raises FileNotFoundError: there is no such tape.
    :raises SealBroken: a record is not what was written there, and it is not the last.
    """
    with tape_path(folder, track).open("rb") as file:
        index = 0
        while record := _read_record(file):
            try:
                plain = unseal(key.key, key.context(track, index), record)
            except SealBroken:
                if file.read(1):
                    raise
                return
            yield plain
            index += 1


def _read_record(file: BufferedReader) -> bytes:
    """Salt, commitment and chunks; empty at the end and at a record that was not finished.

    A power cut may leave the length of what was not written yet: zeros.

    :raises SealBroken: not a record.
    """
    prefix = file.read(_LENGTH_BYTES)
    length = int.from_bytes(prefix, "big")
    if len(prefix) < _LENGTH_BYTES or (length == 0 and not file.read(_LONGEST_RECORD).strip(b"\0")):
        return b""
    if not _HEAD_BYTES < length <= _LONGEST_RECORD:
        raise SealBroken
    sealed = file.read(length)
    if len(sealed) < length:
        return b""
    if sealed[: len(HEADER)] != HEADER:
        raise SealBroken
    return sealed[_HEAD_BYTES:]
