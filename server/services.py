"""What every handler finds in the application: the keys of ``app[...]``, typed. Wired in
``server.app`` only."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Final

from aiohttp import web

from recordings.store import SealedFolder, SealedStore
from server.db import Database
from server.keyring import Keyring
from server.pages import Pages
from server.settings import Settings
from signaling.hub import Hub

SETTINGS: Final = web.AppKey("settings", Settings)
DATABASE: Final = web.AppKey("database", Database)
KEYRING: Final = web.AppKey("keyring", Keyring)
PAGES: Final = web.AppKey("pages", Pages)
HUB: Final = web.AppKey("hub", Hub)
FILES: Final = web.AppKey("files", SealedFolder)
"""The content of the files of visits, sealed; ``server.sealed.files`` reads and writes it."""
RECORDINGS: Final = web.AppKey("recordings", SealedStore)
"""The content of tracks, sealed; ``server.sealed.tracks`` reads it."""
ORIGINS: Final[web.AppKey[frozenset[str]]] = web.AppKey("origins")
"""Where our own pages come from: ``base_url``, and a node's own address where it has one."""
CLOCK: Final[web.AppKey[Callable[[], datetime]]] = web.AppKey("clock")
"""Gives the time of an act; rules take it as an argument."""


def now_of(request: web.Request) -> datetime:
    """The time of this request, in UTC."""
    return request.app[CLOCK]()
