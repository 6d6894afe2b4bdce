"""Several nodes of one demonstration, on one port and each also on its own.

A node that is killed stays dead: who kills one wants to see how the others go on. What they share
is in :mod:`server.demo.backing`; a node itself is :mod:`server.demo.node`.
"""

from __future__ import annotations

import asyncio
import json
import signal
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial

from aiohttp import web

from server.app import create_app
from server.auth import register
from server.demo import outboxpage
from server.demo.link import HOST, claim_port
from server.errors import CommandFailed
from server.mail.delivery import keep_everything
from server.settings import Settings
from server.supervisor import Child, stop_all

SHARED_SETTINGS = ("host", "port", "base_url", "database_url", "valkey_url")


@dataclass(frozen=True, slots=True)
class Nodes:
    """Nodes that serve; the two lists have the same order."""

    node_urls: list[str]
    node_pids: list[int]


def make_app(settings: Settings, own_url: str | None = None) -> web.Application:
    """The application, with a page in place of a mail server and an SMS gateway."""
    app = create_app(settings, mail=keep_everything(), own_url=own_url)
    register(app, outboxpage.ROUTES)
    return app


def node_url(port: int) -> str:
    return f"http://{HOST}:{port}"


@asynccontextmanager
async def run_nodes(settings: Settings, count: int) -> AsyncIterator[Nodes]:
    """Start the nodes; the block may print, then they serve until SIGINT or SIGTERM.

    :raises CommandFailed: one does not start.
    """
    end: asyncio.Future[signal.Signals] = asyncio.get_running_loop().create_future()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, partial(_note, end, number))
    shared = json.dumps({name: getattr(settings, name) for name in SHARED_SETTINGS})
    ports = [claim_port(0) for _ in range(count)]
    nodes: list[Child] = []
    try:
        for port in ports:
            nodes.append(await Child.start(_command(settings, shared, port)))
        if not all(await asyncio.gather(*(node.is_ready() for node in nodes))):
            raise CommandFailed("A node does not start: what it said is above")
        yield Nodes([node_url(port) for port in ports], [node.pid for node in nodes])
        await end
    finally:
        await stop_all(nodes, end.result() if end.done() else signal.SIGINT)


def _command(settings: Settings, shared: str, port: int) -> Sequence[str]:
    module = [sys.executable, "-m", "server.demo.node"]
    return [*module, "--data", str(settings.data_dir), "--shared", shared, "--port", str(port)]


def _note(end: asyncio.Future[signal.Signals], number: signal.Signals) -> None:
    if not end.done():
        end.set_result(number)
