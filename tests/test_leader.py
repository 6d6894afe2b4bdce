"""One process of an installation runs the workers, and another soon after it is gone."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from pathlib import Path

import pytest
from aiohttp import web
from sqlalchemy import text

from server import leader
from server.db import Database
from server.leader import Leader, lease_of

HOLDER = """
import asyncio, sys
from pathlib import Path
from server.db import Database
from server.leader import lease_of

async def hold(url, folder):
    assert await lease_of(Database(url), Path(folder)).acquire()
    print("held", flush=True)
    await asyncio.Event().wait()

asyncio.run(hold(*sys.argv[1:]))
"""


@pytest.fixture(autouse=True)
def impatience(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("_TRY_SECONDS", "_LOOK_SECONDS"):
        monkeypatch.setattr(leader, name, 0.05)


class Worker:
    """Counts itself; fails to start as often as it is told."""

    def __init__(self) -> None:
        self.starts = 0
        self.running = 0
        self.most = 0
        self.failures = 0
        self.changed = asyncio.Condition()

    async def lifetime(self, app: web.Application) -> AsyncIterator[None]:
        if self.failures:
            self.failures -= 1
            raise OSError("no port")
        self.starts += 1
        await self._count(1)
        yield
        await self._count(-1)

    async def _count(self, step: int) -> None:
        self.running += step
        self.most = max(self.most, self.running)
        async with self.changed:
            self.changed.notify_all()

    async def wait_for_start(self, number: int) -> None:
        async with asyncio.timeout(10), self.changed:
            await self.changed.wait_for(lambda: self.starts == number)


@asynccontextmanager
async def candidate(database: Database, data_dir: Path, worker: Worker) -> AsyncIterator[Leader]:
    one = Leader(lease_of(database, data_dir), [worker.lifetime])
    async with asynccontextmanager(one.lifetime)(web.Application()):
        yield one


async def test_one_leads_and_the_next_takes_over(database: Database, data_dir: Path) -> None:
    worker = Worker()
    async with AsyncExitStack() as first:
        one = await first.enter_async_context(candidate(database, data_dir, worker))
        async with candidate(database, data_dir, worker) as other:
            assert (one.is_leading, other.is_leading, worker.running) == (True, False, 1)

            await first.aclose()

            assert worker.running == 0
            await worker.wait_for_start(2)
            assert (one.is_leading, other.is_leading) == (False, True)
    assert (worker.running, worker.most) == (0, 1)


async def test_who_is_killed_leads_no_longer(
    database: Database, database_url: str, data_dir: Path
) -> None:
    worker = Worker()
    holder = await asyncio.create_subprocess_exec(
        sys.executable, "-c", HOLDER, database_url, str(data_dir),
        stdout=asyncio.subprocess.PIPE,
    )  # fmt: skip
    assert holder.stdout is not None
    assert await holder.stdout.readline() == b"held\n"
    async with candidate(database, data_dir, worker) as one:
        assert not one.is_leading

        os.kill(holder.pid, signal.SIGKILL)

        await worker.wait_for_start(1)
        assert one.is_leading
    await holder.communicate()


async def test_worker_that_does_not_start_is_tried_again(
    database: Database, data_dir: Path
) -> None:
    worker = Worker()
    worker.failures = 2
    async with candidate(database, data_dir, worker) as one:
        assert not one.is_leading
        await worker.wait_for_start(1)
        assert one.is_leading


@pytest.mark.parametrize("template", ["postgresql"], indirect=True)
async def test_lost_connection_ends_the_lead(database: Database, data_dir: Path) -> None:
    worker = Worker()
    async with candidate(database, data_dir, worker) as one:
        assert one.is_leading
        async with database.engine.begin() as connection:
            await connection.execute(
                text(
                    "SELECT pg_terminate_backend(pid) FROM pg_locks WHERE locktype = 'advisory'"
                    " AND database ="
                    " (SELECT oid FROM pg_database WHERE datname = current_database())"
                )
            )

        await worker.wait_for_start(2)
    assert (worker.running, worker.most) == (0, 1)


class Loop:
    """A worker with a task that takes its time to end, as one with a last write to make."""

    def __init__(self) -> None:
        self.is_ending = asyncio.Event()

    async def lifetime(self, app: web.Application) -> AsyncIterator[None]:
        task = asyncio.create_task(self._run())
        yield
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task

    async def _run(self) -> None:
        try:
            await asyncio.Event().wait()
        finally:
            self.is_ending.set()
            await asyncio.sleep(0.1)


async def test_a_process_that_ends_while_it_steps_down_ends(
    database: Database, data_dir: Path
) -> None:
    worker, lease = Loop(), lease_of(database, data_dir)
    leading = Leader(lease, [worker.lifetime])
    async with AsyncExitStack() as process:
        await process.enter_async_context(asynccontextmanager(leading.lifetime)(web.Application()))
        await lease.release()
        await worker.is_ending.wait()

        done, _ = await asyncio.wait({asyncio.create_task(process.aclose())}, timeout=10)

        assert done
    assert not leading.is_leading
