"""Serving the application: one port, from the first connection to the last.

The front of ``signaling`` takes each connection first and hands over what is not a socket to
aiohttp. SIGTERM ends gently: ``/readyz`` says so at once, pages go on for a while, sockets are sent
away one after the other, and only then the process ends. SIGINT skips the gentleness.
"""

from __future__ import annotations

import asyncio
import gc
import logging
import os
import secrets
import signal
import socket
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Final

from aiohttp import hdrs, web

from server.app import create_app
from server.errors import CommandFailed
from server.ready import READINESS
from server.services import HUB, LISTENING
from server.settings import Settings
from server.supervisor import EXIT_SECONDS, Line
from signaling.front import Front
from signaling.siblings import Siblings

NOTICE_SECONDS: Final = 3.0
"""How long a load balancer has to see ``/readyz`` before anybody is sent away."""
_HEADER_LINE_BYTES: Final = 4096
_BACKLOG: Final = 1024
_ALLOCATIONS_TO_COLLECT: Final = 50_000

logger = logging.getLogger(__name__)

OnReady = Callable[[int], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Place:
    """A process among others."""

    is_shared: bool = False
    """Others listen on the same port and go on when this one ends."""
    own_port: int | None = None
    """A further port, of this process alone."""
    line: Line | None = None
    """To the process that started this one."""
    notice_seconds: float = NOTICE_SECONDS


ALONE: Final = Place()


async def serve(
    settings: Settings,
    on_ready: OnReady | None = None,
    make_app: Callable[[Settings], web.Application] = create_app,
    place: Place = ALONE,
) -> None:
    """Serve until SIGINT or SIGTERM. ``on_ready`` gets the port once it accepts connections.

    :raises CommandFailed: the port is taken.
    """
    stop = _Stop(place.line)
    app = make_app(settings)
    app.on_response_prepare.append(_part_while_draining)
    runner = _make_runner(app)
    await runner.setup()
    try:
        assert runner.server is not None  # noqa: S101 - narrows for the type checker
        front = Front(app[HUB], runner.server)
        servers = await _listen(front, settings, place)
        app[LISTENING].begin(_port_of(servers[-1]))
        if place.line is not None:
            name = f"{os.getpid()}-{secrets.token_hex(4)}"  # containers have the same numbers
            app[HUB].join_siblings(Siblings(settings.data_dir / "workers", name))
        try:
            await _say_ready(servers[0], place, on_ready)
            await stop.until(_drain(app, servers[0] if place.is_shared else None, place))
        finally:
            for server in servers:
                server.close()
            front.close()
    finally:
        await _clean_up(runner, stop)


def check_port(settings: Settings) -> None:
    """Look whether several processes may share the port: nobody else has it.

    :raises CommandFailed: somebody has, or the setting leaves the choice to the system.
    """
    if settings.port == 0:
        raise CommandFailed("Several workers share one port: set ACCANTO_PORT")
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    with socket.socket(family) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((settings.host, settings.port))
        except OSError as error:
            raise _refusal(settings.host, settings.port, error) from error


class _Stop:
    """SIGTERM, or the end of the process that started this one: gently. SIGINT: now."""

    def __init__(self, line: Line | None) -> None:
        self._begun = asyncio.Event()
        self._hurried = asyncio.Event()
        self._begun_at = 0.0
        loop = asyncio.get_running_loop()
        loop.add_signal_handler(signal.SIGTERM, self._begin)
        loop.add_signal_handler(signal.SIGINT, self._hurry)
        if line is not None:
            line.watch(self._begin)

    @property
    def seconds_left(self) -> float:
        used = asyncio.get_running_loop().time() - self._begun_at if self._begun_at else 0.0
        return max(0.0, EXIT_SECONDS - used)

    def _begin(self) -> None:
        self._begun_at = self._begun_at or asyncio.get_running_loop().time()
        self._begun.set()

    def _hurry(self) -> None:
        self._begin()
        self._hurried.set()

    async def until(self, drain: Awaitable[None]) -> None:
        """Wait for the signal, then for the drain, unless it is hurried."""
        await self._begun.wait()
        draining = asyncio.ensure_future(drain)
        hurried = asyncio.ensure_future(self._hurried.wait())
        await asyncio.wait({draining, hurried}, return_when=asyncio.FIRST_COMPLETED)
        for task in (draining, hurried):
            task.cancel()
        with suppress(asyncio.CancelledError):
            await draining


async def _drain(app: web.Application, shared: asyncio.Server | None, place: Place) -> None:
    """Leave without anybody noticing: who asks anew comes to others."""
    logger.info("draining")
    app[READINESS].is_draining = True
    await asyncio.sleep(place.notice_seconds)
    if shared is not None:
        shared.close()
    await app[HUB].drain()


async def _part_while_draining(request: web.Request, response: web.StreamResponse) -> None:
    """Signal handler of ``on_response_prepare``: the next request finds another process."""
    if request.app[READINESS].is_draining:
        response.headers[hdrs.CONNECTION] = "close"
        response.force_close()


def _port_of(server: asyncio.Server) -> int:
    return int(server.sockets[0].getsockname()[1])


async def _say_ready(server: asyncio.Server, place: Place, on_ready: OnReady | None) -> None:
    port = _port_of(server)
    _spare_the_collector()
    logger.info("serving on port %d", port)
    if place.line is not None:
        place.line.say_ready()
    if on_ready is not None:
        await on_ready(port)


async def _clean_up(runner: web.AppRunner, stop: _Stop) -> None:
    try:
        async with asyncio.timeout(stop.seconds_left):
            await runner.cleanup()
    except TimeoutError:
        logger.error("the end took too long: what was still going on is cut off")


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


async def _listen(front: Front, settings: Settings, place: Place) -> list[asyncio.Server]:
    """The servers of the common port and, where there is one, of the own port."""
    servers: list[asyncio.Server] = []
    doors = [(settings.port, place.is_shared)]
    if place.own_port is not None:
        doors.append((place.own_port, False))
    loop = asyncio.get_running_loop()
    for port, is_shared in doors:
        try:
            servers.append(
                await loop.create_server(
                    front, settings.host, port, backlog=_BACKLOG, reuse_port=is_shared
                )
            )
        except OSError as error:
            for server in servers:
                server.close()
            raise _refusal(settings.host, port, error) from error
    return servers


def _refusal(host: str, port: int, error: OSError) -> CommandFailed:
    return CommandFailed(f"Cannot listen on {host}:{port}: {error.strerror or error}")
