"""Two thousand pages come back at once, a thousand do not read, ten thousand rooms are open."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

import msgspec

from server.models import VisitState
from tests.benchmarks import load
from tests.benchmarks.crowd import Job, Result
from tests.benchmarks.ground import make_ground
from tests.benchmarks.report import ROOT, Goal, Report, Spread, percentile
from tests.benchmarks.session import Pairs, play, ticket_pairs
from tests.benchmarks.targets import Server, accanto_command, find_free_port, running

ROOMS: Final = 1_000
SLEEPERS: Final = 1_000
OTHERS: Final = 20
JITTER_SECONDS: Final = 10.0
FEW_ROOMS: Final = 2_000
MANY_ROOMS: Final = 10_000
CHUNK_ROOMS: Final = 500
"""Tickets live for 30 seconds."""
CALLS: Final = 200

MakePairs = Callable[[int], Pairs]


@asynccontextmanager
async def _served(folder: Path, calls: int) -> AsyncIterator[tuple[Server, MakePairs]]:
    port = find_free_port()
    ground = await make_ground(folder / "data", port, 1, VisitState.WAITING, copies=calls)
    command = accanto_command(ground.data_dir)
    async with running(command, port, folder / "accanto.log") as server:
        yield server, ticket_pairs(ground)


@asynccontextmanager
async def _crowd(job: Job) -> AsyncIterator[Result]:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tests.benchmarks.crowd", cwd=ROOT,
        stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, limit=1 << 24,
    )  # fmt: skip
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write(msgspec.json.encode(job) + b"\n")
    yield msgspec.json.decode(await process.stdout.readline(), type=Result)
    process.stdin.close()
    await process.wait()


async def measure_storm(folder: Path, rounds: int) -> Report:
    report = Report(
        "storm",
        f"storm: {2 * ROOMS} pages lose their sockets at once and resume, {rounds} rounds",
        ("pages wait", "median s", "p99 s", "last s", "not back", "RSS MB"),
    )
    lasts: list[float] = []
    lost = 0
    async with _served(folder, rounds * 2 * ROOMS + 1) as (server, make_pairs):
        for jitter in (JITTER_SECONDS, 0.0):
            found: list[Result] = []
            for _ in range(rounds):
                job = Job("storm", server.port, make_pairs(ROOMS), jitter_seconds=jitter)
                async with _crowd(job) as result:
                    found.append(result)
            lost += sum(result.lost for result in found)
            last = Spread([max(result.seconds) for result in found])
            lasts.append(last.median)
            middle = Spread([percentile(result.seconds, 50) for result in found])
            late = Spread([percentile(result.seconds, 99) for result in found])
            gone = str(sum(result.lost for result in found))
            words = f"0-{jitter:g} s" if jitter else "not at all"
            rss = f"{server.rss_bytes() / 1e6:.0f}"
            report.rows.append((words, middle.text(), late.text(), last.text(), gone, rss))
            report.figures[words] = {"median": middle.content(), "last": last.content()}
    report.goals = [
        Goal("seconds until all are back, with jitter", lasts[0], 20),
        Goal("pages not back, jitter or not", lost, 0),
    ]
    return report


async def measure_slow(folder: Path, rounds: int) -> Report:
    report = Report(
        "slow",
        f"slow: {SLEEPERS} pages that do not read, {OTHERS} others ask, {rounds} rounds",
        ("round", "cut", "not cut", "others p50 ms", "others p99 ms", "RSS + MB"),
    )
    late: list[float] = []
    spared = 0
    async with _served(folder, rounds * (SLEEPERS + OTHERS) + 1) as (server, make_pairs):
        for number in range(rounds):
            before = server.rss_bytes()
            job = Job("slow", server.port, make_pairs(SLEEPERS + OTHERS), sleepers=SLEEPERS)
            async with _crowd(job) as result:
                more = (server.rss_bytes() - before) / 1e6
            waits = [1000 * seconds for seconds in result.seconds]
            late.append(percentile(waits, 99))
            spared += result.lost
            middle = f"{percentile(waits, 50):.1f}"
            report.rows.append(
                (str(number + 1), str(result.cut), str(result.lost), middle, f"{late[-1]:.1f}",
                 f"{more:.0f}")
            )  # fmt: skip
    report.figures["others_p99_ms"] = Spread(late).content()
    report.goals = [
        Goal("others' p99 in ms", Spread(late).median, 100),
        Goal("pages not cut", spared, 0),
    ]
    return report


async def measure_rooms(folder: Path, rounds: int) -> Report:
    report = Report(
        "rooms",
        f"rooms: one call set-up while many rooms are open, {rounds} rounds of {CALLS}",
        ("open rooms", "CPU ms / call"),
    )
    costs: dict[int, Spread] = {}
    calls = MANY_ROOMS + 2 * (rounds + 1) * CALLS + 1
    async with _served(folder, calls) as (server, make_pairs), _Held(server, make_pairs) as held:
        for rooms in (FEW_ROOMS, MANY_ROOMS):
            await held.grow(rooms)
            costs[rooms] = await _cost(server, make_pairs, rounds)
            report.rows.append((f"{rooms:,}", costs[rooms].text(3)))
            report.figures[str(rooms)] = costs[rooms].content()
    ratio = costs[MANY_ROOMS].median / costs[FEW_ROOMS].median
    report.goals = [Goal("CPU per call at 10,000 rooms ÷ at 2,000", ratio, 1.3)]
    return report


class _Held:
    """Rooms kept open by patients who wait."""

    def __init__(self, server: Server, make_pairs: MakePairs) -> None:
        self._server = server
        self._make_pairs = make_pairs
        self._crowds: list[asyncio.subprocess.Process] = []
        self._count = 0

    async def __aenter__(self) -> _Held:
        return self

    async def __aexit__(self, *_: object) -> None:
        for process in self._crowds:
            assert process.stdin is not None
            process.stdin.close()
            await process.wait()

    async def grow(self, rooms: int) -> None:
        while self._count < rooms:
            process = await asyncio.create_subprocess_exec(
                sys.executable, "-m", "tests.benchmarks.crowd", cwd=ROOT,
                stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE,
            )  # fmt: skip
            assert process.stdin is not None
            assert process.stdout is not None
            job = Job("hold", self._server.port, self._make_pairs(CHUNK_ROOMS))
            process.stdin.write(msgspec.json.encode(job) + b"\n")
            await process.stdout.readline()
            self._crowds.append(process)
            self._count += CHUNK_ROOMS


async def _cost(server: Server, make_pairs: MakePairs, rounds: int) -> Spread:
    """The first round only warms up."""
    costs: list[float] = []
    for _ in range(rounds + 1):
        before = server.cpu_seconds()
        await play(load.Job("accanto", server.port, 20, make_pairs(CALLS)))
        costs.append((server.cpu_seconds() - before) * 1000 / CALLS)
    return Spread(costs[1:])
