"""Chromium and a served application over the test's SQLite database."""

from __future__ import annotations

import os
import socket
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from aiohttp import web
from playwright.async_api import Browser, async_playwright

from server.app import create_app
from server.keyring import Keyring
from server.settings import Settings
from tests.browser.actors import require_chromium_path
from tests.browser.chromium import FLAGS
from tests.browser.stage import Templates


@pytest.fixture
def template(sqlite_template: Path) -> Path:
    """Pages look the same on both databases."""
    return sqlite_template


@pytest.fixture
async def chromium() -> AsyncIterator[Browser]:
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(
            executable_path=require_chromium_path(), args=FLAGS
        )
        yield browser
        await browser.close()


@pytest.fixture
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
