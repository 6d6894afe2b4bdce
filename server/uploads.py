"""A file that a person uploads: streamed to a file of its own, gone when it has been read.

The temporary file lies outside the data folder, in a folder that only this process's user opens;
it is never in memory as a whole. Not for small forms.
"""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from aiohttp import BodyPartReader, web

from server.errors import InvalidInput

LONGEST_UPLOAD_BYTES: Final = 50 * 1024 * 1024
_CHUNK_BYTES: Final = 65_536
_MOST_FIELDS: Final = 10


@dataclass(frozen=True, slots=True)
class Upload:
    """``fields`` are the other fields of the form."""

    path: Path
    fields: Mapping[str, str]
    sha256: str


@asynccontextmanager
async def receive_upload(request: web.Request) -> AsyncIterator[Upload]:
    """Take in the field ``file`` of a multipart form.

    :raises InvalidInput: no file, too large a file, or not a form.
    """
    if request.content_type != "multipart/form-data":
        raise InvalidInput("file", "malformed")
    with tempfile.TemporaryDirectory(prefix="accanto-upload-") as folder:
        path = Path(folder) / "file"
        path.touch(mode=0o600)
        try:
            fields, sha256 = await _receive(request, path)
        except ValueError as error:
            raise InvalidInput("file", "malformed") from error
        yield Upload(path, fields, sha256)


async def _receive(request: web.Request, path: Path) -> tuple[dict[str, str], str]:
    fields: dict[str, str] = {}
    sha256 = ""
    async for part in await request.multipart():
        if not isinstance(part, BodyPartReader) or len(fields) >= _MOST_FIELDS:
            raise InvalidInput("file", "malformed")
        if part.name == "file":
            sha256 = await _stream(part, path)
        else:
            fields[part.name or ""] = await part.text()
    if not sha256:
        raise InvalidInput("file", "missing")
    return fields, sha256


async def _stream(part: BodyPartReader, path: Path) -> str:
    """The file's SHA-256, empty for an empty file."""
    digest, size = hashlib.sha256(), 0
    with path.open("wb") as file:
        while chunk := await part.read_chunk(_CHUNK_BYTES):
            size += len(chunk)
            if size > LONGEST_UPLOAD_BYTES:
                raise InvalidInput("file", "too_large")
            digest.update(chunk)
            file.write(chunk)
    return digest.hexdigest() if size else ""
