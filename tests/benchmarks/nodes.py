"""What a call set-up costs when the room log is shared: one worker and two over a Valkey, beside
one process with the log in its own memory.

The same load as in ``session``, pages' batches of candidates aside. The CPU time of Valkey is
counted with the workers'. How much more two workers carry is said by CPU: twice the cost of a call
on one worker over its cost on two, because a machine with a core for each of them is not at hand.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import psutil

from server.models import VisitState
from server.settings import save_settings
from tests.benchmarks.ground import make_ground
from tests.benchmarks.load import Job, Result
from tests.benchmarks.report import Goal, Report, Spread, ratios
from tests.benchmarks.session import SETTLE_SECONDS, Pairs, play, ticket_pairs
from tests.benchmarks.targets import Server, accanto_command, find_free_port, running
from tests.valkeys import ValkeyServer

CALLS: Final = 400
WARM_UP_CALLS: Final = 400
IN_FLIGHT: Final = 20


@dataclass(slots=True)
class Target:
    """One installation and what was measured of it."""

    name: str
    server: Server
    make_pairs: Callable[[int], Pairs]
    in_flight: int
    valkey: psutil.Process | None
    cpu_ms: list[float] = field(default_factory=list)
    valkey_ms: list[float] = field(default_factory=list)
    lost: int = 0

    def valkey_seconds(self) -> float:
        if self.valkey is None:
            return 0.0
        times = self.valkey.cpu_times()
        return float(times.user + times.system)


async def measure(folder: Path, rounds: int) -> Report:
    report = Report(
        "nodes",
        f"nodes: one call set-up, {rounds} rounds of {CALLS}, {IN_FLIGHT} in flight per worker "
        "(median [quartiles])",
        ("installation", "CPU ms / call, all", "of it Valkey", "÷ in process", "lost"),
    )
    calls = 2 * (WARM_UP_CALLS + rounds * CALLS)
    async with AsyncExitStack() as stack:
        targets = [
            await _start(stack, folder / "alone", "in process", 0, calls),
            await _start(stack, folder / "one", "Valkey, 1 worker", 1, calls),
            await _start(stack, folder / "two", "Valkey, 2 workers", 2, calls),
        ]
        for target in targets:
            await _play(target, WARM_UP_CALLS)
        for number in range(rounds):
            turn = number % len(targets)
            for target in targets[turn:] + targets[:turn]:
                await _measure_round(target)
    _fill(report, targets)
    return report


async def _start(
    stack: AsyncExitStack, folder: Path, name: str, workers: int, calls: int
) -> Target:
    folder.mkdir()
    port = find_free_port()
    ground = await make_ground(folder / "data", port, 1, VisitState.WAITING, copies=calls)
    command, valkey = list(accanto_command(ground.data_dir)), None
    if workers:
        store = stack.enter_context(ValkeyServer(folder))
        valkey = psutil.Process(store.pid)
        settings = {"base_url": ground.base_url, "port": str(port), "valkey_url": store.url}
        save_settings(ground.data_dir, settings)
        command += ["--workers", str(workers)]
    server = await stack.enter_async_context(running(command, port, folder / "accanto.log"))
    in_flight = IN_FLIGHT * max(1, workers)
    return Target(name, server, ticket_pairs(ground), in_flight, valkey)


async def _measure_round(target: Target) -> None:
    before, valkey_before = target.server.cpu_seconds(), target.valkey_seconds()
    result = await _play(target, CALLS)
    await asyncio.sleep(SETTLE_SECONDS)
    valkey = target.valkey_seconds() - valkey_before
    target.valkey_ms.append(valkey * 1000 / CALLS)
    target.cpu_ms.append((target.server.cpu_seconds() - before + valkey) * 1000 / CALLS)
    target.lost += result.lost


async def _play(target: Target, calls: int) -> Result:
    pairs = target.make_pairs(calls)
    return await play(Job("accanto", target.server.port, target.in_flight, pairs))


def _fill(report: Report, targets: list[Target]) -> None:
    alone, one, two = targets
    for target in targets:
        by_alone = ratios(target.cpu_ms, alone.cpu_ms)
        if target.lost:
            report.notes.append(f"{target.name}: {target.lost} calls lost, the row is void")
        report.rows.append(
            (
                target.name, Spread(target.cpu_ms).text(3), Spread(target.valkey_ms).text(3),
                by_alone.text(2), str(target.lost),
            )
        )  # fmt: skip
        report.figures[target.name] = {
            "lost": target.lost,
            "cpu_ms_per_call": Spread(target.cpu_ms).content(),
            "valkey_ms_per_call": Spread(target.valkey_ms).content(),
            "cpu_by_in_process": by_alone.content(),
        }
    carried = Spread([2 * cost for cost in ratios(one.cpu_ms, two.cpu_ms).samples])
    report.notes.append(f"two workers carry {carried.text(2)} × the calls of one, by CPU")
    report.figures["carried_by_two"] = carried.content()
    report.goals = [
        Goal("CPU through Valkey ÷ in process", ratios(one.cpu_ms, alone.cpu_ms).median, 1.6),
        Goal("1.7 ÷ what two workers carry", 1.7 / carried.median, 1.0),
        Goal("calls lost", sum(target.lost for target in targets), 0),
    ]
