"""Lines of a CSV file with their numbers, however long, read as a stream.

Counts quotes and parses nothing: cells are :mod:`server.cup.csvfile`'s.
"""

from __future__ import annotations

from typing import BinaryIO, Final, NamedTuple

RECORD_BYTES: Final = 4 * 1024 * 1024
"""What is kept of one record; a longer one always has a cell that is too long."""
_CHUNK_BYTES: Final = 65_536


class Line(NamedTuple):
    """A physical line. ``content`` stops at :data:`RECORD_BYTES`, ``quotes`` counts them all."""

    content: bytes
    quotes: int


class LineReader:
    """Lines of a file with their numbers, and a way back to an earlier one."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self.number = 0

    def read_line(self) -> Line | None:
        content = self._file.readline(RECORD_BYTES)
        if not content:
            return None
        self.number += 1
        quotes, last = content.count(b'"'), content
        while not last.endswith(b"\n") and (last := self._file.readline(_CHUNK_BYTES)):
            quotes += last.count(b'"')
        return Line(content, quotes)

    def read_unquoted(self) -> bytes:
        """What comes before the next line with a quote, cut to :data:`RECORD_BYTES`."""
        parts, size = [], 0
        while chunk := self._file.read(_CHUNK_BYTES):
            quote = chunk.find(b'"')
            end = len(chunk) if quote < 0 else chunk.rfind(b"\n", 0, quote) + 1
            self.number += chunk.count(b"\n", 0, end)
            if size < RECORD_BYTES:
                parts.append(chunk[:end])
                size += end
            if quote >= 0:
                self._file.seek(end - len(chunk), 1)
                break
        return b"".join(parts)

    def place(self) -> tuple[int, int]:
        return self._file.tell(), self.number

    def go_back(self, place: tuple[int, int]) -> None:
        self._file.seek(place[0])
        self.number = place[1]
