"""Nodes that are killed, and a deploy: media does not notice, signaling goes on elsewhere."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import asdict
from http import HTTPStatus
from pathlib import Path
from typing import Final

import aiohttp
import pytest

from tests.chaos.meter import now_ms
from tests.chaos.nodescene import NodeScene, open_node_scene
from tests.chaos.record import Figure, Record

_KILL_ROUNDS: Final = 4
_KILLS_A_ROUND: Final = 5
_CALLS_AT_KILLS: Final = 4
_KILL_LOOK_SECONDS: Final = 4.0
_RESTART_ROUNDS: Final = 2
_CALLS_AT_RESTART: Final = 50
_ASK_EVERY_SECONDS: Final = 0.2

_GAP: Final = Figure("gap_ms", "longest frame gap of either side, ms", 200, is_worst_meant=True)
_USUAL_GAP: Final = Figure("usual_gap_ms", "the same with nothing going on, for comparison")
_SIGNALS: Final = (
    Figure("lost", "signals lost", 0, is_worst_meant=True),
    Figure("doubled", "signals doubled", 0, is_worst_meant=True),
    Figure("reordered", "signals out of order", 0, is_worst_meant=True),
    Figure("rejoined", "participants that joined afresh", 0, is_worst_meant=True),
)
_KILL: Final = (
    Figure("resumed_ms", "signaling resumed on another node, the last seat, ms", 3000, percent=95),
    _GAP,
    _USUAL_GAP,
    *_SIGNALS,
)
_RESTART: Final = (
    Figure("page_notices", "notices in the two pages", 0, is_worst_meant=True),
    Figure("notices", "call notices in the 50 calls", 0, is_worst_meant=True),
    Figure("http_errors", "failed page requests", 0, is_worst_meant=True),
    Figure("slowest_move_ms", "slowest move to another node, ms"),
    _GAP,
    _USUAL_GAP,
    *_SIGNALS,
)


@pytest.mark.timeout(7200)
async def test_kills(tmp_path: Path) -> None:
    """Whoever was on the killed node goes on at the other one."""
    record = Record("kill", _KILL)
    wanted = list(record.missing(_KILL_ROUNDS, times=_KILLS_A_ROUND))
    if not wanted:
        return
    async with open_node_scene(
        tmp_path, nodes=2, calls=_CALLS_AT_KILLS, signal_every_seconds=0.1
    ) as scene:
        for _ in wanted:
            await _play_kill(scene, record)


async def _play_kill(scene: NodeScene, record: Record) -> None:
    quiet_ms = now_ms()
    await scene.settle()
    await scene.crowd.audit()
    killed_at, killed_ms = time.monotonic(), now_ms()
    scene.nodes.kill(0)
    await asyncio.sleep(_KILL_LOOK_SECONDS)
    looked_ms = now_ms()
    await scene.crowd.settle()
    readings = await scene.readings(quiet_ms)
    resumed_ms = [
        (min(at for at, _ in seat.welcomes if at > killed_at) - killed_at) * 1000
        for seat in scene.crowd.seats
        if any(at >= killed_at for at in seat.losses)
    ]
    counted = await scene.crowd.audit()
    record.add(
        {
            **({"resumed_ms": max(resumed_ms)} if resumed_ms else {}),
            "gap_ms": max(one.longest_gap_ms(killed_ms, looked_ms) for one in readings),
            "usual_gap_ms": max(one.longest_gap_ms(quiet_ms, killed_ms) for one in readings),
            **asdict(counted),
        },
        all_resumed_ms=resumed_ms,
        patient=readings[0].turns_since(killed_ms),
        clinician=readings[1].turns_since(killed_ms),
    )
    await scene.nodes.add()


@pytest.mark.timeout(7200)
async def test_rolling_restart(tmp_path: Path) -> None:
    """Each of three nodes is replaced: the new one serves before the old one drains."""
    record = Record("rolling-restart", _RESTART)
    wanted = list(record.missing(_RESTART_ROUNDS))
    if not wanted:
        return
    async with open_node_scene(
        tmp_path, nodes=3, calls=_CALLS_AT_RESTART, signal_every_seconds=1.0
    ) as scene:
        for _ in wanted:
            await _play_restart(scene, record)


async def _play_restart(scene: NodeScene, record: Record) -> None:
    quiet_ms = now_ms()
    await scene.settle()
    await scene.crowd.audit()
    began_at, began_ms = time.monotonic(), now_ms()
    async with asking_for_pages(scene.nodes.demo["base_url"]) as failures:
        for _ in range(3):
            await scene.nodes.add()
            await scene.nodes.drain_oldest()
    await scene.crowd.settle()
    ended_ms = now_ms()
    readings = await scene.readings(quiet_ms)
    moves_ms = [
        (min((back for back, _ in seat.welcomes if back > at), default=at) - at) * 1000
        for seat in scene.crowd.seats
        for at in seat.losses
        if at > began_at
    ]
    counted = await scene.crowd.audit()
    record.add(
        {
            "page_notices": sum(
                "notice shown" in turn for one in readings for turn in one.turns_since(began_ms)
            ),
            "http_errors": len(failures),
            "slowest_move_ms": max(moves_ms, default=0.0),
            "gap_ms": max(one.longest_gap_ms(began_ms, ended_ms) for one in readings),
            "usual_gap_ms": max(one.longest_gap_ms(quiet_ms, began_ms) for one in readings),
            **asdict(counted),
        },
        seconds=(ended_ms - began_ms) / 1000,
        failures=failures,
        patient=readings[0].turns_since(began_ms),
        clinician=readings[1].turns_since(began_ms),
    )


@asynccontextmanager
async def asking_for_pages(base_url: str) -> AsyncIterator[list[str]]:
    """Ask for a page on a new connection again and again; gives what went wrong."""
    failures: list[str] = []

    async def ask() -> None:
        connector = aiohttp.TCPConnector(force_close=True)
        async with aiohttp.ClientSession(connector=connector) as session:
            while True:
                try:
                    async with session.get(f"{base_url}/login") as response:
                        if response.status != HTTPStatus.OK:
                            failures.append(str(response.status))
                except aiohttp.ClientError as problem:
                    failures.append(type(problem).__name__)
                await asyncio.sleep(_ASK_EVERY_SECONDS)

    asking = asyncio.create_task(ask())
    try:
        yield failures
    finally:
        asking.cancel()
        with suppress(asyncio.CancelledError):
            await asking
