"""What an idle joined socket costs in memory: two thousand of them, two in each room.

Each round starts fresh servers, plays some whole calls so that everything is imported and
compiled, and reads the resident memory before and after the sockets have joined.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import msgspec

from server.models import VisitState
from tests.benchmarks.ground import make_ground
from tests.benchmarks.load import Job, Result
from tests.benchmarks.report import ROOT, Goal, Report, Spread, ratios
from tests.benchmarks.session import Pairs, name_pairs, play, ticket_pairs
from tests.benchmarks.targets import (
    Server,
    accanto_command,
    find_free_port,
    peerjs_command,
    running,
)

ROOMS: Final = 1000
WARM_UP_CALLS: Final = 60
IN_FLIGHT: Final = 20
SETTLE_SECONDS: Final = 2.0


@dataclass(slots=True)
class Target:
    name: str
    dialect: str
    port: int
    command: Sequence[str]
    make_pairs: Callable[[int], Pairs]
    kilobytes: list[float] = field(default_factory=list)
    """Of 1,000 bytes, for each socket."""
    lost: int = 0


async def measure(folder: Path, rounds: int) -> Report:
    targets = await _make_targets(folder, rounds)
    report = Report(
        "idle",
        f"idle: resident memory of a joined socket, {2 * ROOMS} sockets, {rounds} rounds "
        "(median [quartiles])",
        ("server", "kB / socket", "÷ PeerJS", "not joined"),
    )
    for number in range(rounds):
        turn = number % len(targets)
        for target in targets[turn:] + targets[:turn]:
            await _measure_round(target, folder)
    accanto, peerjs = targets
    for target in targets:
        size, by_peer = Spread(target.kilobytes), ratios(target.kilobytes, peerjs.kilobytes)
        cells = (size.text(1), by_peer.text()) if not target.lost else ("void", "void")
        report.rows.append((target.name, *cells, str(target.lost)))
        report.figures[target.dialect] = {
            "lost": target.lost,
            "kilobytes_per_socket": size.content(),
            "by_peerjs": by_peer.content(),
        }
    report.goals = [
        Goal("kB of an idle socket", Spread(accanto.kilobytes).median, 22),
        Goal("sockets not joined", accanto.lost, 0),
    ]
    return report


async def _make_targets(folder: Path, rounds: int) -> list[Target]:
    calls = rounds * (WARM_UP_CALLS + ROOMS)
    port, peer_port = find_free_port(), find_free_port()
    ground = await make_ground(folder / "data", port, 1, VisitState.WAITING, copies=calls)
    command = accanto_command(ground.data_dir)
    return [
        Target("Accanto, everything on", "accanto", port, command, ticket_pairs(ground)),
        Target("PeerJS server", "peerjs", peer_port, peerjs_command(peer_port), name_pairs()),
    ]


async def _measure_round(target: Target, folder: Path) -> None:
    log = folder / f"{target.dialect}.log"
    async with running(target.command, target.port, log) as server:
        warm_up = target.make_pairs(WARM_UP_CALLS)
        await play(Job(target.dialect, target.port, IN_FLIGHT, warm_up))
        await asyncio.sleep(SETTLE_SECONDS)
        before = server.rss_bytes()
        after = await _hold(target, server)
    target.kilobytes.append((after - before) / (2 * ROOMS) / 1000)


async def _hold(target: Target, server: Server) -> int:
    """Resident memory while all sockets are joined."""
    pairs = target.make_pairs(ROOMS)
    job = Job(target.dialect, target.port, IN_FLIGHT, pairs, is_held=True)
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tests.benchmarks.load", cwd=ROOT,
        stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE,
    )  # fmt: skip
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write(msgspec.json.encode(job) + b"\n")
    target.lost += 2 * msgspec.json.decode(await process.stdout.readline(), type=Result).lost
    await asyncio.sleep(SETTLE_SECONDS)
    rss = server.rss_bytes()
    process.stdin.close()
    await process.wait()
    return rss
