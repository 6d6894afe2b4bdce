"""A node that writes: plays acts against a database through the product's own functions.

One JSON job comes on standard input; the node says that it is ready, begins with the next line, and
answers with one JSON line: ``python -m tests.benchmarks.acts``.
The act is the smallest that a page knows, one column of one visit, so that what its entry adds is
not hidden by anything else.
"""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime

import msgspec
import uvloop
from sqlalchemy import update

from server.audit import Act, ActorRole, Entry, append
from server.db import COMMAND_SECONDS, Database, OrganisationId
from server.models import Visit


class Job(msgspec.Struct):
    """``kind``: ``pairs`` does each act logged and unlogged in turn, ``acts`` logs each in its own
    transaction, ``groups`` only writes entries, ``group`` of them at a time."""

    kind: str
    database_url: str
    organisation: str
    visits: list[str]
    count: int
    in_flight: int = 1
    group: int = 500


class Result(msgspec.Struct):
    """Times in milliseconds, of what the job asks for."""

    logged_ms: list[float] = []
    unlogged_ms: list[float] = []
    cpu_seconds: float = 0.0
    """Of this node, for the job alone."""


class _Node:
    def __init__(self, job: Job) -> None:
        self._job = job
        self._owner = OrganisationId(job.organisation)
        self._database = Database(job.database_url, COMMAND_SECONDS)

    async def play(self) -> Result:
        await self._act(0, is_logged=False)
        sys.stdout.buffer.write(b"ready\n")
        sys.stdout.flush()
        sys.stdin.buffer.readline()
        began = time.process_time()
        result = await {"pairs": self._pairs, "acts": self._acts, "groups": self._groups}[
            self._job.kind
        ]()
        result.cpu_seconds = time.process_time() - began
        await self._database.close()
        return result

    async def _pairs(self) -> Result:
        """Which of the two is first changes, too."""
        result = Result()
        for number in range(self._job.count):
            for is_logged in (True, False) if number % 2 else (False, True):
                took = await self._act(number, is_logged=is_logged)
                (result.logged_ms if is_logged else result.unlogged_ms).append(took)
        return result

    async def _acts(self) -> Result:
        result = Result()

        async def one(number: int) -> None:
            result.logged_ms.append(await self._act(number, is_logged=True))

        await self._spread(self._job.count, one)
        return result

    async def _groups(self) -> Result:
        async def one(number: int) -> None:
            async with self._database.begin(self._owner) as session:
                entries = [self._entry(number + place) for place in range(self._job.group)]
                await append(session, self._owner, *entries)

        await self._spread(self._job.count // self._job.group, one)
        return Result()

    async def _spread(self, count: int, one: Callable[[int], Awaitable[None]]) -> None:
        numbers = iter(range(count))

        async def work() -> None:
            for number in numbers:
                await one(number)

        await asyncio.gather(*(work() for _ in range(self._job.in_flight)))

    async def _act(self, number: int, *, is_logged: bool) -> float:
        began = time.perf_counter()
        async with self._database.begin(self._owner) as session:
            visit = self._job.visits[number % len(self._job.visits)]
            change = update(Visit).where(Visit.id == visit).values(late_minutes=number % 60)
            await session.execute(change.execution_options(synchronize_session=False))
            if is_logged:
                await append(session, self._owner, self._entry(number))
        return (time.perf_counter() - began) * 1000

    def _entry(self, number: int) -> Entry:
        visit = self._job.visits[number % len(self._job.visits)]
        facts = {"minutes": number % 60}
        return Entry(
            datetime.now(UTC), Act.LATE_ANNOUNCED, ActorRole.CLINICIAN, "medico1", visit, {**facts}
        )


async def main() -> None:
    job = msgspec.json.decode(sys.stdin.buffer.readline(), type=Job)
    sys.stdout.buffer.write(msgspec.json.encode(await _Node(job).play()) + b"\n")


if __name__ == "__main__":
    uvloop.run(main())
