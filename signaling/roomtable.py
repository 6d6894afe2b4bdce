"""Which worker of a machine has which room, in memory that all of them share.

A slot for each room, by its hash, holds the mark of the worker that took it. Nothing is locked:
when two take a slot at once, or two rooms share one, a room may be with two workers, which costs
a little time and changes nothing else.
"""

from __future__ import annotations

import mmap
import os
import zlib
from pathlib import Path
from typing import Final

SLOTS: Final = 1 << 18
FREE: Final = 0
_SLOT_BYTES: Final = 4


class RoomTable:
    """The slots. The file outlives the workers: a mark that nobody has is as good as none."""

    def __init__(self, path: Path) -> None:
        handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            os.ftruncate(handle, SLOTS * _SLOT_BYTES)
            self._slots = memoryview(mmap.mmap(handle, SLOTS * _SLOT_BYTES)).cast("I")
        finally:
            os.close(handle)

    def __getitem__(self, room_id: str) -> int:
        return self._slots[_slot_of(room_id)]

    def __setitem__(self, room_id: str, mark: int) -> None:
        self._slots[_slot_of(room_id)] = mark


def mark_of(name: str) -> int:
    """Of a worker; never ``FREE``."""
    return zlib.crc32(name.encode()) or 1


def _slot_of(room_id: str) -> int:
    return zlib.crc32(room_id.encode()) % SLOTS
