"""Taking in the form of one file: in memory and bounded, for nothing is on the disk in clear."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from aiohttp import BodyPartReader, web

from recordings.picturehost import PictureHost
from server.attachments.contents import FileRefused, Problem
from server.errors import InvalidInput

PICTURES: Final = web.AppKey("pictures", PictureHost)
PLACES: Final = web.AppKey("upload_places", asyncio.Semaphore)
MOST_AT_ONCE: Final = 8
"""Files in memory at the same time, of one process; others wait on their line."""
LONGEST_SECONDS: Final = 300
_CHUNK_BYTES: Final = 65_536
_MOST_FIELDS: Final = 10
_LONGEST_FIELD_BYTES: Final = 2000


@dataclass(frozen=True, slots=True)
class Received:
    """``fields`` are the other fields of the form; ``name`` is what the browser says."""

    content: bytes
    name: str
    fields: Mapping[str, str]


async def receive_file(request: web.Request, most_bytes: int) -> Received:
    """Read a multipart form with one field ``file``.

    :raises FileRefused: none, too large, or too slow.
    :raises InvalidInput: not such a form.
    """
    if request.content_type != "multipart/form-data":
        raise InvalidInput("file", "malformed")
    if (request.content_length or 0) > most_bytes + _MOST_FIELDS * _LONGEST_FIELD_BYTES:
        raise FileRefused(Problem.TOO_LARGE)
    try:
        async with asyncio.timeout(LONGEST_SECONDS):
            return await _receive(request, most_bytes)
    except TimeoutError as error:
        raise FileRefused(Problem.TOO_SLOW) from error
    except ValueError as error:
        raise InvalidInput("file", "malformed") from error


async def _receive(request: web.Request, most_bytes: int) -> Received:
    fields: dict[str, str] = {}
    content, name = b"", ""
    async for part in await request.multipart():
        if not isinstance(part, BodyPartReader) or len(fields) >= _MOST_FIELDS:
            raise InvalidInput("file", "malformed")
        if part.name == "file" and not content:
            name = part.filename or ""
            content = await _read(part, most_bytes)
            if not content:
                raise FileRefused(Problem.MISSING)
        else:
            fields[part.name or ""] = (await _read(part, _LONGEST_FIELD_BYTES)).decode()
    if not content:
        raise FileRefused(Problem.MISSING)
    return Received(content, name, fields)


async def _read(part: BodyPartReader, most_bytes: int) -> bytes:
    content = bytearray()
    while chunk := await part.read_chunk(_CHUNK_BYTES):
        content += chunk
        if len(content) > most_bytes:
            raise FileRefused(Problem.TOO_LARGE)
    return bytes(content)
