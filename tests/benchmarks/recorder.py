"""What it costs to keep a person's sound and picture, beside receiving and dropping them and beside
aiortc's own recorder; and how many recordings go onto one core.

Every receiver is a process of its own with one connection, sent to from another process that
encodes nothing. CPU is that of the receiving process alone.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import psutil

from tests.benchmarks import janus
from tests.benchmarks.recordpeers import FRAMES_A_SECOND
from tests.benchmarks.report import ROOT, Goal, Report, Spread, ratios

_ROUNDS: Final = 5
_SECONDS: Final = 15.0
_WARM_SECONDS: Final = 3.0
_SETTLE_SECONDS: Final = 1.5
_RECORDINGS_A_CORE: Final = 8
_LEGS: Final = 2
_PATIENCE: Final = 120.0
_LONGEST_LINE: Final = 2**20
_MOST_RSS_MIB: Final = 120
_TITLES: Final = {
    "floor": "receive and drop",
    "recorder": "Accanto",
    "mediarecorder": "MediaRecorder",
    "janus": "Janus",
}


@dataclass(frozen=True, slots=True)
class Cost:
    """Of one connection in one run."""

    cpu_a_minute: float
    sent: int
    kept: int
    rss_mib: float
    cpu: float

    @property
    def cpu_per_thousand(self) -> float:
        """For 1,000 frames that were kept, by the rate at which they came."""
        return self.cpu / max(1, self.kept) * 1000


class End:
    """A process of :mod:`tests.benchmarks.recordpeers`."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process
        self.measured = psutil.Process(process.pid)

    async def hear(self) -> dict[str, Any]:
        async with asyncio.timeout(_PATIENCE):
            line = await self._process.stdout.readline()  # type: ignore[union-attr]
        found: dict[str, Any] = json.loads(line)
        return found

    def say(self, words: dict[str, Any] | None) -> None:
        line = json.dumps(words) if words is not None else ""
        self._process.stdin.write(f"{line}\n".encode())  # type: ignore[union-attr]

    def cpu(self) -> float:
        times = self.measured.cpu_times()
        return times.user + times.system


@asynccontextmanager
async def start(role: str, *arguments: str, core: int | None = None) -> AsyncIterator[End]:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tests.benchmarks.recordpeers", role, *arguments,
        cwd=ROOT, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE,
        limit=_LONGEST_LINE,
    )  # fmt: skip
    if core is not None:
        os.sched_setaffinity(process.pid, {core})
    try:
        yield End(process)
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


def start_sink(role: str, folder: Path) -> AbstractAsyncContextManager[End | janus.Janus]:
    if role == "janus" and janus.PROGRAM:
        return janus.start_janus(janus.PROGRAM, folder)
    return start(role, str(folder))


async def run(role: str, folder: Path, seconds: float) -> Cost:
    """One connection with one receiver."""
    folder.mkdir(parents=True)
    address = janus.own_address() if role == "janus" else "127.0.0.1"
    async with start("source", "1", address) as source, start_sink(role, folder) as sink:
        sink.say(await source.hear())
        source.say(await sink.hear())
        await asyncio.sleep(_WARM_SECONDS)
        before = sink.cpu()
        await asyncio.sleep(seconds)
        cpu = sink.cpu() - before
        rss = sink.measured.memory_info().rss / 2**20
        source.say(None)
        await asyncio.sleep(_SETTLE_SECONDS)
        sink.say(None)
        kept = (await sink.hear())["kept"]
        source.say(None)
        sent = (await source.hear())["sent"]
    share = seconds / (seconds + _WARM_SECONDS)
    return Cost(cpu * 60 / seconds, sent, kept, rss, cpu / share)


async def fill_a_core(folder: Path, seconds: float) -> tuple[int, int, float]:
    """Eight recordings of two connections on one core: sent, kept, and its share in use."""
    cores = sorted(os.sched_getaffinity(0))
    own, other = cores[0], cores[-1]
    async with AsyncExitStack() as stack:
        count = _RECORDINGS_A_CORE * _LEGS
        source = await stack.enter_async_context(start("source", str(count), core=other))
        sinks = []
        for number in range(_RECORDINGS_A_CORE):
            place = folder / f"core{number}"
            place.mkdir(parents=True)
            sinks.append(await stack.enter_async_context(start("recorder", str(place), core=own)))
        offers = [await source.hear() for _ in range(count)]
        for number, offer in enumerate(offers):
            sink = sinks[number // _LEGS]
            sink.say(offer)
            source.say(await sink.hear())
        await asyncio.sleep(_WARM_SECONDS)
        before = sum(sink.cpu() for sink in sinks)
        await asyncio.sleep(seconds)
        used = (sum(sink.cpu() for sink in sinks) - before) / seconds
        source.say(None)
        await asyncio.sleep(_SETTLE_SECONDS)
        for sink in sinks:
            sink.say(None)
        kept = sum([(await sink.hear())["kept"] for sink in sinks])
        source.say(None)
        return (await source.hear())["sent"], kept, used


async def measure(folder: Path, rounds: int) -> Report:
    report = Report(
        "recorder",
        "recorder: one person's sound and 640x480 at 30 a second, 850 kbit/s (median [quartiles])",
        (
            "who",
            "CPU s / minute",
            "CPU s / 1,000 frames kept",
            "frames kept / sent",
            "RSS MiB",
            "Accanto beside it",
        ),
    )
    found: dict[str, list[Cost]] = {name: [] for name in _TITLES if name != "janus"}
    if janus.PROGRAM:
        found["janus"] = []
    for number in range(min(rounds, _ROUNDS)):
        names = list(found) if number % 2 else list(reversed(found))
        for name in names:
            found[name].append(await run(name, folder / f"{name}{number}", _SECONDS))
    for name, costs in found.items():
        report.rows.append(_row(name, costs, found["recorder"]))
        report.figures[name] = Spread(_minutes(costs)).content()
    beside_floor = ratios(_minutes(found["recorder"]), _minutes(found["floor"]))
    beside_aiortc = ratios(_thousands(found["recorder"]), _thousands(found["mediarecorder"]))
    recorded = found["recorder"]
    lost = sum(one.sent - one.kept for one in recorded)
    sent, kept, used = await fill_a_core(folder, _SECONDS)
    pace = sent / (_RECORDINGS_A_CORE * _LEGS * FRAMES_A_SECOND * (_WARM_SECONDS + _SECONDS))
    core = {"sent": sent, "kept": kept, "share": used, "pace": pace}
    report.figures |= {"core": core, "lost": lost}
    report.goals = [
        Goal("CPU beside receive and drop", beside_floor.median, 1.5),
        Goal("CPU per 1,000 frames kept beside MediaRecorder", beside_aiortc.median, 0.1),
        Goal("frames lost, one connection", lost, 0),
        Goal("frames lost, 8 recordings of 2 connections on one core", sent - kept, 0),
        Goal("RSS, MiB", max(one.rss_mib for one in recorded), _MOST_RSS_MIB),
    ]
    report.notes = [
        f"8 recordings of 2 connections on one core kept {kept} of {sent} frames with {used:.0%} "
        f"of it; the source, on the other one, kept {pace:.0%} of its pace",
        "the ratio is that of CPU for 1,000 frames kept; beside receive and drop for a minute",
    ]
    if not janus.PROGRAM:
        report.notes.append("janus is not installed")
    return report


def _row(name: str, costs: list[Cost], recorded: list[Cost]) -> tuple[str, ...]:
    kept, sent = sum(one.kept for one in costs), sum(one.sent for one in costs)
    figures = _minutes if name == "floor" else _thousands
    return (
        _TITLES[name],
        Spread(_minutes(costs)).text(),
        Spread(_thousands(costs)).text(3),
        f"{kept}/{sent}",
        Spread([one.rss_mib for one in costs]).text(0),
        f"ratio {ratios(figures(recorded), figures(costs)).median:.2f}x",
    )


def _minutes(costs: list[Cost]) -> list[float]:
    return [one.cpu_a_minute for one in costs]


def _thousands(costs: list[Cost]) -> list[float]:
    return [one.cpu_per_thousand for one in costs]
