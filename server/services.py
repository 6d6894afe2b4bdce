"""What every handler finds in the application: the keys of ``app[...]``, typed. Wired in
``server.app`` only."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

from aiohttp import web

from recordings.store import SealedFolder, SealedStore
from server.db import Database
from server.keyring import Keyring
from server.pages import Pages
from server.settings import Settings
from signaling.hub import Hub

_ANY_ADDRESS: Final = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 - compared, not bound


@dataclass(slots=True)
class Listening:
    """Where this process is reached from this machine, once it listens."""

    host: str
    port: int = 0
    _is_open: asyncio.Event = field(default_factory=asyncio.Event)

    def begin(self, port: int) -> None:
        """Somebody can connect from here on."""
        self.port = port
        self._is_open.set()

    async def wait(self) -> None:
        """Until it listens."""
        await self._is_open.wait()

    @property
    def authority(self) -> str:
        """Host and port, without the proxy that may stand before us."""
        host = _ANY_ADDRESS.get(self.host, self.host)
        return f"{f'[{host}]' if ':' in host else host}:{self.port}"

    @property
    def socket_url(self) -> str:
        """Of the rooms."""
        return f"ws://{self.authority}/ws"


SETTINGS: Final = web.AppKey("settings", Settings)
DATABASE: Final = web.AppKey("database", Database)
KEYRING: Final = web.AppKey("keyring", Keyring)
PAGES: Final = web.AppKey("pages", Pages)
HUB: Final = web.AppKey("hub", Hub)
FILES: Final = web.AppKey("files", SealedFolder)
"""The content of the files of visits, sealed; ``server.sealed.files`` reads and writes it."""
RECORDINGS: Final = web.AppKey("recordings", SealedStore)
"""The content of tracks, sealed; ``server.sealed.tracks`` reads it."""
LISTENING: Final = web.AppKey("listening", Listening)
ORIGINS: Final[web.AppKey[frozenset[str]]] = web.AppKey("origins")
"""Where our own pages come from: ``base_url``, and a node's own address where it has one."""
CLOCK: Final[web.AppKey[Callable[[], datetime]]] = web.AppKey("clock")
"""Gives the time of an act; rules take it as an argument."""


def now_of(request: web.Request) -> datetime:
    """The time of this request, in UTC."""
    return request.app[CLOCK]()
