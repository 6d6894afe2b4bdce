"""What one complete call set-up costs the server, beside a peer and a floor.

Two sockets, the ticket, an offer and an answer of 2.5 kB, ten candidates each way in a frame of
their own, goodbye and close; twenty calls at a time. Tickets are issued outside the clock and
verified inside it. A second row of the product sends the candidates as its page does, in batches.
The three servers stay up for the whole run and are loaded in turns.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import msgspec

from server.models import VisitState
from tests.benchmarks.ground import Ground, make_ground
from tests.benchmarks.load import Job, Result
from tests.benchmarks.report import ROOT, Goal, Report, Spread, percentile, ratios
from tests.benchmarks.targets import (
    Server,
    accanto_command,
    find_free_port,
    peerjs_command,
    relay_command,
    running,
)

CALLS: Final = 400
"""In one round, at a millisecond each: the clock of the processes ticks every ten."""
WARM_UP_CALLS: Final = 600
IN_FLIGHT: Final = 20
SETTLE_SECONDS: Final = 0.5
"""Log rows are written in groups a little later; they belong to the round."""

Pairs = list[tuple[str, str]]


@dataclass(slots=True)
class Target:
    """A server, how its pairs of keys are made, and what was measured of it."""

    name: str
    dialect: str
    server: Server
    make_pairs: Callable[[int], Pairs]
    cpu_ms: list[float] = field(default_factory=list)
    p50_ms: list[float] = field(default_factory=list)
    p99_ms: list[float] = field(default_factory=list)
    lost: int = 0


async def measure(folder: Path, rounds: int) -> Report:
    report = Report(
        "session",
        f"session: one call set-up, {rounds} rounds of {CALLS}, {IN_FLIGHT} in flight "
        "(median [quartiles])",
        ("server", "CPU ms / call", "÷ PeerJS", "÷ bare relay", "p50 ms", "p99 ms", "p99 ÷ PeerJS",
         "lost"),
    )  # fmt: skip
    async with AsyncExitStack() as stack:
        targets = await _start_targets(stack, folder, 2 * (WARM_UP_CALLS + rounds * CALLS))
        for target in targets:
            await _load(target, WARM_UP_CALLS)
        for number in range(rounds):
            turn = number % len(targets)
            for target in targets[turn:] + targets[:turn]:
                await _measure_round(target)
    _fill(report, targets)
    return report


async def _start_targets(stack: AsyncExitStack, folder: Path, calls: int) -> list[Target]:
    port = find_free_port()
    ground = await make_ground(folder / "data", port, 1, VisitState.WAITING, copies=calls)
    accanto = await stack.enter_async_context(
        running(accanto_command(ground.data_dir), port, folder / "accanto.log")
    )
    port = find_free_port()
    peerjs = await stack.enter_async_context(
        running(peerjs_command(port), port, folder / "peerjs.log")
    )
    port = find_free_port()
    relay = await stack.enter_async_context(
        running(relay_command(port), port, folder / "relay.log")
    )
    tickets = ticket_pairs(ground)
    return [
        Target("Accanto, everything on", "accanto", accanto, tickets),
        Target("the same, candidates 2 × 5", "accanto-page", accanto, tickets),
        Target("PeerJS server", "peerjs", peerjs, name_pairs()),
        Target("bare aiohttp relay", "relay", relay, room_pairs()),
    ]


def ticket_pairs(ground: Ground) -> Callable[[int], Pairs]:
    """Each call is another visit: a room is opened from the records each time."""
    visits = iter(ground.visits[1:])
    return lambda count: [ground.issue_tickets(next(visits)) for _ in range(count)]


def name_pairs() -> Callable[[int], Pairs]:
    names = iter(range(10**9))
    return lambda count: [(f"p{next(names)}", f"c{next(names)}") for _ in range(count)]


def room_pairs() -> Callable[[int], Pairs]:
    rooms = iter(range(10**9))
    return lambda count: [(room, room) for room in (f"r{next(rooms)}" for _ in range(count))]


async def _measure_round(target: Target) -> None:
    before = target.server.cpu_seconds()
    result = await _load(target, CALLS)
    await asyncio.sleep(SETTLE_SECONDS)
    target.cpu_ms.append((target.server.cpu_seconds() - before) * 1000 / CALLS)
    target.p50_ms.append(percentile(result.latency_ms, 50))
    target.p99_ms.append(percentile(result.latency_ms, 99))
    target.lost += result.lost


async def _load(target: Target, calls: int) -> Result:
    return await play(Job(target.dialect, target.server.port, IN_FLIGHT, target.make_pairs(calls)))


async def play(job: Job) -> Result:
    """Run the load in its own process until all calls of the job are over."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tests.benchmarks.load", cwd=ROOT,
        stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE,
    )  # fmt: skip
    output, _ = await process.communicate(msgspec.json.encode(job) + b"\n")
    return msgspec.json.decode(output, type=Result)


def _fill(report: Report, targets: list[Target]) -> None:
    accanto, _, peerjs, relay = targets
    for target in targets:
        by_peer = ratios(target.cpu_ms, peerjs.cpu_ms)
        by_relay = ratios(target.cpu_ms, relay.cpu_ms)
        figures = {
            "cpu_ms_per_call": Spread(target.cpu_ms),
            "cpu_by_peerjs": by_peer,
            "cpu_by_relay": by_relay,
            "p50_ms": Spread(target.p50_ms),
            "p99_ms": Spread(target.p99_ms),
            "p99_by_peerjs": ratios(target.p99_ms, peerjs.p99_ms),
        }
        if target.lost:
            report.notes.append(f"{target.name}: {target.lost} calls lost, the row is void")
        cells = [spread.text(1 if "_ms" in name else 2) if not target.lost else "void"
                 for name, spread in figures.items() if name != "cpu_ms_per_call"]  # fmt: skip
        cpu = Spread(target.cpu_ms).text(3) if not target.lost else "void"
        report.rows.append((target.name, cpu, *cells, str(target.lost)))
        report.figures[target.dialect] = {
            "lost": target.lost,
            **{name: spread.content() for name, spread in figures.items()},
        }
    report.goals = [
        Goal("CPU per call ÷ PeerJS", ratios(accanto.cpu_ms, peerjs.cpu_ms).median, 0.7),
        Goal("CPU per call ÷ bare relay", ratios(accanto.cpu_ms, relay.cpu_ms).median, 1.5),
        Goal("calls lost", accanto.lost, 0),
    ]
