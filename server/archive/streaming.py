"""What a thread gives piece by piece, as an answer: nothing long is ever in memory."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterator
from typing import Final

from aiohttp import web

from server.models import new_id

logger = logging.getLogger(__name__)

_FIRST_BYTES: Final = 16 * 1024
_MOST_BYTES: Final = 1024 * 1024


async def stream(
    request: web.Request, response: web.StreamResponse, pieces: Iterator[bytes]
) -> web.StreamResponse:
    """Send them. What goes wrong before the first byte is an error page; after it the connection
    ends in the middle, so that nobody takes a part for the whole."""
    limit = _FIRST_BYTES
    content = await asyncio.to_thread(_take, pieces, limit)
    await response.prepare(request)
    try:
        while content:
            await response.write(content)
            limit = min(2 * limit, _MOST_BYTES)
            content = await asyncio.to_thread(_take, pieces, limit)
    except ConnectionError:
        return response  # who seeks goes away in the middle
    except Exception:
        logger.exception("recording broken off fault=%s", new_id())
        if request.transport is not None:
            request.transport.abort()
        return response
    await response.write_eof()
    return response


def _take(pieces: Iterator[bytes], limit: int) -> bytes:
    """At least one piece and at most a little over the limit; empty at the end."""
    taken, size = [], 0
    for piece in pieces:
        taken.append(piece)
        size += len(piece)
        if size >= limit:
            break
    return b"".join(taken)
