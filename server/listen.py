"""Serving the application: one port, from the first connection to the last.

The front of ``signaling`` takes each connection first and hands over what is not a socket to
aiohttp.
"""

from __future__ import annotations

import asyncio
import gc
import logging
import signal
from collections.abc import Awaitable, Callable
from typing import Final

from aiohttp import web

from server.app import create_app
from server.errors import CommandFailed
from server.services import HUB
from server.settings import Settings
from signaling.front import Front

_HEADER_LINE_BYTES: Final = 4096
_BACKLOG: Final = 128
_ALLOCATIONS_TO_COLLECT: Final = 50_000

logger = logging.getLogger(__name__)


async def serve(
    settings: Settings,
    on_ready: Callable[[int], Awaitable[None]] | None = None,
    make_app: Callable[[Settings], web.Application] = create_app,
) -> None:
    """Serve until SIGINT or SIGTERM. ``on_ready`` gets the port once it accepts connections.

    :raises CommandFailed: the port is taken.
    """
    stopping = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stopping.set)
    app = make_app(settings)
    runner = _make_runner(app)
    await runner.setup()
    assert runner.server is not None  # noqa: S101 - narrows for the type checker
    front = Front(app[HUB], runner.server)
    try:
        server = await _listen(front, settings)
        try:
            port = server.sockets[0].getsockname()[1]
            _spare_the_collector()
            logger.info("serving on port %d", port)
            if on_ready is not None:
                await on_ready(port)
            await stopping.wait()
        finally:
            server.close()
            front.close()
    finally:
        await runner.cleanup()


def _make_runner(app: web.Application) -> web.AppRunner:
    return web.AppRunner(
        app,
        access_log=None,
        handle_signals=False,
        tcp_keepalive=False,
        keepalive_timeout=75,
        lingering_time=5,
        max_line_size=_HEADER_LINE_BYTES,
        shutdown_timeout=5,
    )


def _spare_the_collector() -> None:
    """What was loaded for good is not searched for garbage again and again."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(_ALLOCATIONS_TO_COLLECT)


async def _listen(front: Front, settings: Settings) -> asyncio.Server:
    loop = asyncio.get_running_loop()
    try:
        return await loop.create_server(front, settings.host, settings.port, backlog=_BACKLOG)
    except OSError as error:
        raise CommandFailed(
            f"Cannot listen on {settings.host}:{settings.port}: {error.strerror or error}"
        ) from error
