"""What the session log adds to an act, and how many acts and entries two nodes bring into it.

The nodes are processes of their own and use the product's functions; beside them ``accanto serve``
leads, so that everything is numbered, put into the tree and summed up while it is measured. The act
is one small update in a transaction of its own, with its entry and without, in turns. PostgreSQL
and SQLite write to the disk as they do in use.
"""

from __future__ import annotations

import asyncio
import sys
import time
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import msgspec
import psutil
from sqlalchemy import select

from server.db import EVERY_ORGANISATION, Database
from server.models import LogHead, VisitState
from tests.benchmarks.acts import Job, Result
from tests.benchmarks.ground import make_ground
from tests.benchmarks.mllp import postgres_of
from tests.benchmarks.report import ROOT, Goal, Report, Spread, percentile, ratios
from tests.benchmarks.targets import Server, accanto_command, find_free_port, running

PAIRS: Final = 200
"""In one round: the hundredth slowest is the second slowest of them."""
WARM_UP_PAIRS: Final = 100
NODES: Final = 2
ACTS: Final = 400
"""Of each node, in one round."""
IN_FLIGHT: Final = 8
ENTRIES: Final = 10_000
"""Of each node, in one round."""
VISITS: Final = 50
_LOOK_SECONDS: Final = 0.02
_NUMBERED_WITHIN_SECONDS: Final = 120.0


@dataclass(slots=True)
class Target:
    """One database with its leader, and what was measured of it."""

    name: str
    database: Database
    job: Job
    leader: Server
    postgres: psutil.Process | None
    logged: list[float] = field(default_factory=list)
    unlogged: list[float] = field(default_factory=list)
    medians: list[float] = field(default_factory=list)
    acts_per_second: list[float] = field(default_factory=list)
    entries_per_second: list[float] = field(default_factory=list)
    cpu_ms: list[float] = field(default_factory=list)

    async def warm_up(self) -> None:
        await self._play("pairs", WARM_UP_PAIRS, 1)

    async def measure_pairs(self, count: int) -> None:
        """p99 of the logged and of the unlogged act, and the ratio of their medians."""
        [result] = await self._play("pairs", count, 1)
        self.logged.append(percentile(result.logged_ms, 99))
        self.unlogged.append(percentile(result.unlogged_ms, 99))
        self.medians.append(percentile(result.logged_ms, 50) / percentile(result.unlogged_ms, 50))

    async def measure_acts(self) -> None:
        """Logged acts of all nodes at once, from their start to the last commit; and what each
        costs in all processes together, with its number and its place in the summary."""
        before = self._others_cpu()
        results = await self._play("acts", ACTS, NODES)
        await self.settle()
        spent = self._others_cpu() - before + sum(result.cpu_seconds for result in results)
        self.cpu_ms.append(spent * 1000 / (NODES * ACTS))
        busy = max(sum(result.logged_ms) / IN_FLIGHT for result in results) / 1000
        self.acts_per_second.append(sum(len(each.logged_ms) for each in results) / busy)

    async def measure_entries(self) -> None:
        """Entries of all nodes at once, until the last of them has its number."""
        wanted = await self._numbered() + NODES * ENTRIES
        async with self._nodes("groups", ENTRIES, NODES) as go:
            began = time.perf_counter()
            playing = asyncio.create_task(go())
            async with asyncio.timeout(_NUMBERED_WITHIN_SECONDS):
                while await self._numbered() < wanted:
                    await asyncio.sleep(_LOOK_SECONDS)
            self.entries_per_second.append(NODES * ENTRIES / (time.perf_counter() - began))
            await playing

    async def settle(self) -> None:
        """Wait until nothing is left to be numbered."""
        before = -1
        while before != (before := await self._numbered()):
            await asyncio.sleep(1)

    def _others_cpu(self) -> float:
        """Seconds of the leader and of PostgreSQL so far, of its ended backends too."""
        spent = self.leader.cpu_seconds()
        if self.postgres is not None:
            spent += Server(0, self.postgres).cpu_seconds()
        return spent

    async def _numbered(self) -> int:
        async with self.database.read(EVERY_ORGANISATION) as session:
            return (await session.scalars(select(LogHead.size))).one()

    async def _play(self, kind: str, count: int, nodes: int) -> list[Result]:
        async with self._nodes(kind, count, nodes) as go:
            return await go()

    @asynccontextmanager
    async def _nodes(
        self, kind: str, count: int, nodes: int
    ) -> AsyncIterator[Callable[[], Awaitable[list[Result]]]]:
        """Nodes that are ready; what is given lets them go and returns what they found."""
        in_flight = IN_FLIGHT if kind == "acts" else 1
        job = msgspec.structs.replace(self.job, kind=kind, count=count, in_flight=in_flight)
        started = await asyncio.gather(*(_start_node(job) for _ in range(nodes)))

        async def go() -> list[Result]:
            answers = await asyncio.gather(*(node.communicate(b"go\n") for node in started))
            return [msgspec.json.decode(output, type=Result) for output, _ in answers]

        yield go


async def _start_node(job: Job) -> Process:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tests.benchmarks.acts", cwd=ROOT, stdin=PIPE, stdout=PIPE
    )
    if process.stdin is None or process.stdout is None:
        raise OSError("a node has no pipes")
    process.stdin.write(msgspec.json.encode(job) + b"\n")
    await process.stdin.drain()
    if await process.stdout.readline() != b"ready\n":
        raise OSError("a node does not start")
    return process


async def measure(folder: Path, rounds: int) -> Report:
    report = Report(
        "audit",
        f"audit: one small act, {rounds} rounds of {PAIRS} pairs (median [quartiles])",
        ("database", "logged p99 ms", "unlogged p99 ms", "÷ p99", "÷ p50", "acts / s",
         "entries / s"),
    )  # fmt: skip
    async with AsyncExitStack() as stack:
        address = await stack.enter_async_context(postgres_of(folder / "postgres"))
        postmaster = int((folder / "postgres/postmaster.pid").read_text().split()[0])
        postgres = psutil.Process(postmaster)
        targets = [
            await _start(stack, "SQLite", folder / "sqlite", "", None),
            await _start(stack, "PostgreSQL", folder / "postgresql", address, postgres),
        ]
        for target in targets:
            await target.warm_up()
        for number in range(rounds):
            for target in targets if number % 2 else targets[::-1]:
                await target.measure_pairs(PAIRS)
        for _ in range(rounds):
            await targets[1].settle()
            await targets[1].measure_acts()
            await targets[1].settle()
            await targets[1].measure_entries()
        for target in targets:
            await target.database.close()
    _fill(report, targets)
    return report


async def _start(
    stack: AsyncExitStack, name: str, data_dir: Path, url: str, postgres: psutil.Process | None
) -> Target:
    port = find_free_port()
    ground = await make_ground(
        data_dir, port, 1, VisitState.WAITING, copies=VISITS, database_url=url
    )
    leader = await stack.enter_async_context(
        running(accanto_command(data_dir), port, data_dir.with_suffix(".log"))
    )
    address = url or f"sqlite+aiosqlite:///{data_dir / 'accanto.db'}"
    visits = [visit.id for visit in ground.visits]
    job = Job("", address, str(ground.seed.owner), visits, 0)
    return Target(name, Database(address), job, leader, postgres)


def _fill(report: Report, targets: list[Target]) -> None:
    for target in targets:
        added = ratios(target.logged, target.unlogged)
        spreads = {
            "logged_p99_ms": Spread(target.logged),
            "unlogged_p99_ms": Spread(target.unlogged),
            "p99": added,
            "p50": Spread(target.medians),
        }
        if target.acts_per_second:
            spreads["acts_per_second"] = Spread(target.acts_per_second)
            spreads["entries_per_second"] = Spread(target.entries_per_second)
        cells = [spread.text(0 if "second" in word else 2) for word, spread in spreads.items()]
        report.rows.append((target.name, *cells, *["–"] * (6 - len(cells))))
        report.figures[target.name] = {word: each.content() for word, each in spreads.items()}
        report.goals.append(Goal(f"{target.name}: p99 logged ÷ unlogged", added.median, 1.5))
    acts, entries = (
        Spread(targets[1].acts_per_second).median,
        Spread(targets[1].entries_per_second).median,
    )
    cpu = Spread(targets[1].cpu_ms)
    report.figures["cpu_ms_per_act"] = cpu.content()
    report.notes.append(
        f"PostgreSQL: {cpu.text()} ms of CPU for a logged act, of nodes, database and leader "
        f"together: two cores without other work carry {2000 / cpu.median:.0f} acts a second"
    )
    report.goals += [
        Goal("300 ÷ logged acts a second, PostgreSQL, two nodes", 300 / acts, 1.0),
        Goal("3,000 ÷ entries numbered a second, PostgreSQL, two nodes", 3000 / entries, 1.0),
    ]
