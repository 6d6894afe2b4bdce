"""A file of any length as an answer: written as it is made, and broken off where it cannot be."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator

from aiohttp import web

from server.models import new_id

logger = logging.getLogger(__name__)


async def send_file(
    request: web.Request, name: str, media_type: str, chunks: AsyncIterator[bytes]
) -> web.StreamResponse:
    """A download that nobody keeps. What goes wrong before the first chunk is an error page; after
    it the connection ends in the middle, so that nobody takes half a file for a whole one."""
    chunk = await anext(chunks, b"")
    response = web.StreamResponse(headers=file_headers(name, media_type))
    await response.prepare(request)
    try:
        while chunk:
            await response.write(chunk)
            chunk = await anext(chunks, b"")
    except ConnectionError:
        raise
    except Exception:
        logger.exception("export broken off fault=%s", new_id())
        if request.transport is not None:
            request.transport.abort()
        return response
    await response.write_eof()
    return response


def file_headers(name: str, media_type: str) -> dict[str, str]:
    """``name`` says nothing of a person."""
    return {
        "Content-Type": media_type,
        "Cache-Control": "no-store",
        "Content-Disposition": f'attachment; filename="{name}"',
    }
