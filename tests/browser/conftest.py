"""Chromium and a served application over the test's SQLite database."""

from __future__ import annotations

import os
import shutil
import socket
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio
from aiohttp import web
from playwright.async_api import Browser, async_playwright, expect
from pytest_asyncio import is_async_test

from server.app import create_app
from server.db import Database
from server.keyring import Keyring
from server.settings import Settings
from tests.browser.actors import PATIENCE_MS, Chromiums
from tests.browser.stage import Templates
from tests.conftest import Cast, FirstCast

expect.set_options(timeout=PATIENCE_MS)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The tests here share a loop, and with it playwright and Chromium. Those with a demo come
    first, while the demo that they copy is fresh."""
    here = Path(__file__).parent
    items.sort(key=lambda item: "templates" not in getattr(item, "fixturenames", ()))
    for item in items:
        if here in item.path.parents and is_async_test(item):
            item.add_marker(pytest.mark.asyncio(loop_scope="session"), append=False)


@pytest.fixture
def database_url(sqlite_template: Path, data_dir: Path) -> str:
    """Pages look the same on both databases."""
    path = data_dir / "accanto.db"
    shutil.copy(sqlite_template, path)
    return f"sqlite+aiosqlite:///{path}"


@pytest_asyncio.fixture(loop_scope="session")
async def database(database_url: str) -> AsyncIterator[Database]:
    database = Database(database_url)
    yield database
    await database.close()


@pytest_asyncio.fixture(loop_scope="session")
async def cast(database: Database, keyring: Keyring, first_cast: FirstCast) -> Cast:
    return await first_cast.make(database, keyring)


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def chromiums(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Chromiums]:
    async with async_playwright() as playwright:
        chromiums = Chromiums(playwright, tmp_path_factory.mktemp("devices"))
        yield chromiums
        await chromiums.close()


@pytest_asyncio.fixture(loop_scope="session")
async def chromium(chromiums: Chromiums) -> AsyncIterator[Browser]:
    """Without any context but those of the test."""
    yield await chromiums.find()
    await chromiums.clear()


@pytest_asyncio.fixture(loop_scope="session")
async def live_server(database_url: str, data_dir: Path, keyring: Keyring) -> AsyncIterator[str]:
    """The origin of the running application."""
    listener = socket.create_server(("127.0.0.1", 0))
    origin = f"http://127.0.0.1:{listener.getsockname()[1]}"
    settings = Settings(data_dir=data_dir, database_url=database_url, base_url=origin)
    runner = web.AppRunner(create_app(settings), access_log=None, shutdown_timeout=1)
    await runner.setup()
    await web.SockSite(runner, listener).start()
    yield origin
    await runner.cleanup()


@pytest.fixture(scope="session")
def templates(tmp_path_factory: pytest.TempPathFactory) -> Templates:
    """In the folder that the processes of one run share."""
    own = tmp_path_factory.getbasetemp()
    shared = (own.parent if "PYTEST_XDIST_WORKER" in os.environ else own) / "demos"
    shared.mkdir(exist_ok=True)
    return Templates(shared)
