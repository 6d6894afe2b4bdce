"""The served application, and visitors of it: staff with a session, patients with a claimed link.

Visitors speak as a browser of our own pages does. Import the fixture ``site`` where it is used.
"""

from __future__ import annotations

import logging
import socket
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import web

from server.app import create_app
from server.audit import coverage
from server.auth import make_device, start_session
from server.db import Database
from server.keyring import Keyring
from server.models import User, Visit
from server.services import LISTENING
from server.settings import Settings

OWN_PAGE = {"Sec-Fetch-Site": "same-origin"}


@dataclass(frozen=True, slots=True)
class Answer:
    """One whole answer."""

    status: int
    headers: Mapping[str, str]
    text: str

    @property
    def location(self) -> str:
        return self.headers.get("Location", "")


@dataclass(frozen=True, slots=True)
class Visitor:
    """Somebody with cookies."""

    session: aiohttp.ClientSession
    origin: str
    cookies: dict[str, str] = field(default_factory=dict)

    async def get(self, path: str, **headers: str) -> Answer:
        return await self.ask("GET", path, headers)

    async def post(self, path: str, /, **fields: str) -> Answer:
        return await self.ask("POST", path, OWN_PAGE, data=fields)

    async def send(self, method: str, path: str, content: object, **headers: str) -> Answer:
        """A JSON body, as the ES modules send it."""
        json_headers = {**OWN_PAGE, "Accept": "application/json", **headers}
        return await self.ask(method, path, json_headers, json=content)

    async def ask(self, method: str, path: str, headers: Mapping[str, str], **body: Any) -> Answer:
        cookies = "; ".join(f"{name}={value}" for name, value in self.cookies.items())
        given = {**headers, **({"Cookie": cookies} if cookies else {})}
        async with self.session.request(
            method, self.origin + path, headers=given, allow_redirects=False, **body
        ) as response:
            text = (await response.read()).decode("utf-8", "replace")
            return Answer(response.status, response.headers.copy(), text)


@dataclass(frozen=True, slots=True)
class Site:
    """The running application over the test's database."""

    app: web.Application
    database: Database
    origin: str
    session: aiohttp.ClientSession

    @property
    def stranger(self) -> Visitor:
        """Somebody without a session."""
        return Visitor(self.session, self.origin)

    async def staff(self, user: User) -> Visitor:
        async with self.database.begin(user.organisation_id) as session:
            token = await start_session(session, user, datetime.now(UTC))
        return Visitor(self.session, self.origin, {"session": token})

    async def patient(self, visit: Visit) -> Visitor:
        device, token = make_device(visit, datetime.now(UTC))
        async with self.database.begin(visit.organisation_id) as session:
            session.add(device)
        return Visitor(self.session, self.origin, {f"visit-{visit.locator}": token})


@asynccontextmanager
async def open_site(
    database: Database,
    database_url: str,
    data_dir: Path,
    *,
    has_workers: bool = True,
    **settings: Any,
) -> AsyncIterator[Site]:
    """The application with these settings on top of what every test has."""
    listener = socket.create_server(("127.0.0.1", 0))
    origin = f"http://127.0.0.1:{listener.getsockname()[1]}"
    app = create_app(
        Settings(data_dir=data_dir, database_url=database_url, base_url=origin, **settings),
        has_workers=has_workers,
    )
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=1)
    await runner.setup()
    await web.SockSite(runner, listener).start()
    app[LISTENING].begin(listener.getsockname()[1])
    with collect_surprises() as surprises:
        async with aiohttp.ClientSession(cookie_jar=aiohttp.DummyCookieJar()) as session:
            yield Site(app, database, origin, session)
        await runner.cleanup()
    assert surprises == []


@contextmanager
def collect_surprises() -> Iterator[list[str]]:
    """What routes and commands do to the session log, or without it, that they do not declare."""
    found: list[str] = []

    class Keeper(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            found.append(record.getMessage())

    logger, keeper = logging.getLogger(coverage.__name__), Keeper()
    logger.addHandler(keeper)
    try:
        yield found
    finally:
        logger.removeHandler(keeper)


@pytest.fixture
async def site(
    database: Database, database_url: str, data_dir: Path, keyring: Keyring
) -> AsyncIterator[Site]:
    async with open_site(database, database_url, data_dir) as site:
        yield site
