"""Reading the JSON body of a request as a type. Not for forms."""

from __future__ import annotations

from typing import TypeVar

import msgspec
from aiohttp import web

from server.errors import InvalidInput

T = TypeVar("T")


async def read_body(request: web.Request, type_: type[T]) -> T:
    """The body as ``type_``.

    :raises InvalidInput: not JSON, or not of this type.
    """
    try:
        return msgspec.json.decode(await request.read(), type=type_)
    except msgspec.MsgspecError as error:
        raise InvalidInput("body", "malformed") from error
