"""CUP's own list of bookings, to be compared with ours: out of a file, or asked of its server."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from datetime import datetime
from itertools import islice
from pathlib import Path
from typing import BinaryIO, Final

from server.cup.booking import FileRejected, Message
from server.cup.csvfile import parse_csv
from server.cup.fhir import FILE_BYTES, parse_fhir
from server.sources import SourceSettings

_ROWS_AT_ONCE: Final = 200
_JSON_STARTS: Final = (b"{", b"[")


async def read_file(path: Path, settings: SourceSettings, now: datetime) -> AsyncIterator[Message]:
    """The bookings of a FHIR or CSV file, told apart by content.

    :raises FileRejected: the file as a whole cannot be read.
    """
    try:
        file = path.open("rb")
    except OSError as error:
        raise FileRejected(f"Cannot read {path}: {error.strerror}") from error
    with file:
        messages = _parse(file, settings, now)
        while batch := await asyncio.to_thread(_take, messages):
            for message in batch:
                yield message


def _parse(file: BinaryIO, settings: SourceSettings, now: datetime) -> Iterator[Message]:
    start = file.read(64).removeprefix(b"\xef\xbb\xbf").lstrip()
    file.seek(0)
    if not start.startswith(_JSON_STARTS):
        return parse_csv(file, settings, now)
    return iter(parse_fhir(file.read(FILE_BYTES + 1), settings, now))


def _take(messages: Iterator[Message]) -> list[Message]:
    return list(islice(messages, _ROWS_AT_ONCE))
