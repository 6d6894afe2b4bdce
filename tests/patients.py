"""Patients for the tests of the pages: a served application with a clock that the test moves, and
telephones with a cookie jar each."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from aiohttp import ClientSession, CookieJar
from aiohttp.test_utils import TestServer
from sqlalchemy import select

from server.app import create_app
from server.db import Database
from server.joinlink import JoinLink, derive_device_code, derive_link
from server.keyring import Keyring
from server.models import LogEntry, MessageKind, PatientMessage, Visit
from server.services import CLOCK
from server.settings import Settings

BIRTH_DATE = "12/03/1948"
"""Of Rosa."""


@dataclass(frozen=True, slots=True)
class Reply:
    """What came back, read to the end."""

    status: int
    text: str
    location: str
    headers: dict[str, str]

    @property
    def json(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.text)
        return found


class Telephone:
    """One browser: it follows no redirects and sends what browsers send."""

    def __init__(self, session: ClientSession) -> None:
        self.session = session

    async def send(self, method: str, path: str, **arguments: Any) -> Reply:
        async with self.session.request(
            method, path, allow_redirects=False, **arguments
        ) as response:
            return Reply(
                response.status,
                await response.text(),
                response.headers.get("Location", ""),
                dict(response.headers),
            )

    async def get(self, path: str) -> Reply:
        return await self.send("GET", path)

    async def post(self, path: str, **fields: str) -> Reply:
        return await self.send("POST", path, data=fields)

    async def claim(
        self, locator: str, *, secret: str = "", code: str = "", birth_date: str = BIRTH_DATE
    ) -> Reply:
        body = {"locator": locator, "secret": secret, "code": code, "birth_date": birth_date}
        return await self._post_json("/api/join", body)

    async def ask_code(
        self, locator: str, *, secret: str = "", code: str = "", birth_date: str = BIRTH_DATE
    ) -> Reply:
        body = {"locator": locator, "secret": secret, "code": code, "birth_date": birth_date}
        return await self._post_json("/api/join/code", body)

    async def _post_json(self, path: str, body: dict[str, str]) -> Reply:
        return await self.send("POST", path, json=body, headers={"Accept": "application/json"})


@dataclass(slots=True)
class Clock:
    now: datetime = field(default_factory=lambda: datetime.now(UTC))

    def __call__(self) -> datetime:
        """No two acts happen at the same moment."""
        self.now += timedelta(milliseconds=1)
        return self.now

    def move(self, **by: float) -> None:
        self.now += timedelta(**by)


class Practice:
    """The application, its clock and its telephones."""

    def __init__(self, server: TestServer, clock: Clock, base_url: str) -> None:
        self._server = server
        self._base_url = base_url
        self._sessions: list[ClientSession] = []
        self.clock = clock

    def telephone(self, **headers: str) -> Telephone:
        session = ClientSession(
            self._server.make_url("/"),
            cookie_jar=CookieJar(unsafe=True),
            headers={"Origin": self._base_url, "Sec-Fetch-Site": "same-origin"} | headers,
        )
        self._sessions.append(session)
        return Telephone(session)

    async def close(self) -> None:
        for session in self._sessions:
            await session.close()


@asynccontextmanager
async def open_practice(
    database_url: str, data_dir: Path, base_url: str = "http://127.0.0.1:8080"
) -> AsyncIterator[Practice]:
    app = create_app(Settings(data_dir=data_dir, database_url=database_url, base_url=base_url))
    clock = Clock()
    app[CLOCK] = clock
    server = TestServer(app)
    await server.start_server(access_log=None)
    practice = Practice(server, clock, base_url)
    yield practice
    await practice.close()
    await server.close()


async def link_of(
    database: Database, keyring: Keyring, visit: Visit, version: int | None = None
) -> JoinLink:
    """The join link of a visit, as the desk would send it."""
    async with database.read(visit.organisation_id) as session:
        key = await keyring.load_secret(session, visit.organisation_id, "join")
    return derive_link(key, visit.id, version or visit.link_version)


async def sent_code_of(database: Database, keyring: Keyring, visit: Visit) -> str:
    """The code of the last message for a second device."""
    issued_at = (await load_visit(database, visit)).device_code_issued_at
    assert issued_at is not None
    async with database.read(visit.organisation_id) as session:
        key = await keyring.load_secret(session, visit.organisation_id, "join")
    return derive_device_code(key, visit.id, issued_at)


async def messages_of(database: Database, visit: Visit, kind: MessageKind) -> list[PatientMessage]:
    """The messages of one kind that were queued for the patient of a visit, in order."""
    async with database.read(visit.organisation_id) as session:
        rows = await session.scalars(
            select(PatientMessage)
            .where(PatientMessage.visit_id == visit.id)
            .where(PatientMessage.kind == kind)
            .order_by(PatientMessage.created_at)
        )
        return list(rows)


async def load_visit(database: Database, visit: Visit) -> Visit:
    async with database.read(visit.organisation_id) as session:
        return await session.get_one(Visit, visit.id)


async def acts_of(database: Database, visit: Visit) -> list[str]:
    """What the patient's side did in the session log of a visit, in order."""
    async with database.read(visit.organisation_id) as session:
        rows = await session.scalars(
            select(LogEntry.entry).where(LogEntry.visit_id == visit.id).order_by(LogEntry.id)
        )
        entries = [json.loads(row) for row in rows]
    return [entry["action"] for entry in entries if entry["role"] == "patient"]
