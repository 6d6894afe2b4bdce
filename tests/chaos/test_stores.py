"""Valkey and PostgreSQL pause or lose everything: the calls do not notice for long."""

from __future__ import annotations

import asyncio
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Final

import psutil
import pytest
from playwright.async_api import expect

from server.demo.backing import RECORDS, VALKEY_PID
from tests.chaos.meter import now_ms
from tests.chaos.nodescene import NodeScene, open_node_scene
from tests.chaos.record import Figure, Record

_ROUNDS: Final = 2
_CALLS: Final = 4
_VALKEY_PAUSE_SECONDS: Final = 10.0
_POSTGRES_PAUSE_SECONDS: Final = 60.0
_LONGEST_RETURN_SECONDS: Final = 30.0
_NOTE: Final = "Scritto mentre l'archivio non c'era, volta {number}."

_GAP: Final = Figure("gap_ms", "longest frame gap of either side, ms")
_USUAL_GAP: Final = Figure("usual_gap_ms", "the same with nothing going on, for comparison")
_FLOW: Final = Figure("flow_ms", "signals flow in every call, ms after the return", 2000)
_SIGNALS: Final = (
    Figure("lost", "signals lost", 0, is_worst_meant=True),
    Figure("doubled", "signals doubled", 0, is_worst_meant=True),
    Figure("reordered", "signals out of order", 0, is_worst_meant=True),
)
_PAUSE: Final = (_FLOW, _GAP, _USUAL_GAP, *_SIGNALS)
_EMPTY: Final = (_FLOW, _GAP, _USUAL_GAP, Figure("rejoined", "participants that joined afresh"))
_RECORDS: Final = (
    Figure("saved_ms", "draft saved, ms after the return", 5000),
    Figure("signal_gap_ms", "longest time without a signal in any call, ms", 2000),
    _GAP,
    _USUAL_GAP,
    *_SIGNALS,
)


class Watch:
    """What happened to the media before, and since the trouble began."""

    def __init__(self, scene: NodeScene) -> None:
        self._scene = scene
        self._quiet_ms = now_ms()

    async def settle(self) -> None:
        await self._scene.settle()
        await self._scene.crowd.audit()
        self.began_at, self._began_ms = time.monotonic(), now_ms()

    async def gaps(self) -> dict[str, float]:
        readings = await self._scene.readings(self._quiet_ms)
        began_ms, ended_ms = self._began_ms, now_ms()
        return {
            "gap_ms": max(one.longest_gap_ms(began_ms, ended_ms) for one in readings),
            "usual_gap_ms": max(one.longest_gap_ms(self._quiet_ms, began_ms) for one in readings),
        }


@pytest.mark.timeout(7200)
async def test_stores(tmp_path: Path) -> None:
    """Media and screens go on; what was signalled meanwhile arrives."""
    paused, emptied = Record("valkey-paused", _PAUSE), Record("valkey-emptied", _EMPTY)
    records = Record("postgres-paused", _RECORDS)
    if not any(list(one.missing(_ROUNDS)) for one in (paused, emptied, records)):
        return
    async with open_node_scene(tmp_path, nodes=2, calls=_CALLS, signal_every_seconds=0.25) as scene:
        for _ in paused.missing(_ROUNDS):
            await _pause_valkey(scene, paused)
        for number in records.missing(_ROUNDS):
            await _pause_postgres(scene, records, number)
        for _ in emptied.missing(_ROUNDS):
            await _empty_valkey(scene, emptied)


async def _pause_valkey(scene: NodeScene, record: Record) -> None:
    watch = Watch(scene)
    await watch.settle()
    with _stopped([_valkey(scene)]):
        await asyncio.sleep(_VALKEY_PAUSE_SECONDS)
    flow_ms = await _wait_for_flow(scene)
    await scene.settle()
    gaps = await watch.gaps()
    record.add({"flow_ms": flow_ms, **gaps, **asdict(await scene.crowd.audit())})


async def _empty_valkey(scene: NodeScene, record: Record) -> None:
    """Killed, and started again with nothing in it."""
    watch = Watch(scene)
    await watch.settle()
    valkey, settings = _valkey(scene), scene.nodes.settings
    program, door = valkey.exe(), settings.valkey_url.removeprefix("unix://")
    valkey.kill()
    fresh = await asyncio.create_subprocess_exec(
        program, "--port", "0", "--unixsocket", door, "--unixsocketperm", "700", "--save", "",
        "--pidfile", str(settings.data_dir / VALKEY_PID), stdout=asyncio.subprocess.DEVNULL,
    )  # fmt: skip
    try:
        flow_ms = await _wait_for_flow(scene)
        await scene.settle()
        gaps = await watch.gaps()
        record.add({"flow_ms": flow_ms, **gaps, **asdict(await scene.crowd.audit())})
    finally:
        scene.nodes.keep(fresh)


async def _pause_postgres(scene: NodeScene, record: Record, number: int) -> None:
    text = _NOTE.format(number=number)
    watch = Watch(scene)
    await watch.settle()
    with _stopped(_postgres(scene)):
        await scene.clinician("note-editor").fill(text)
        await asyncio.sleep(_POSTGRES_PAUSE_SECONDS)
        signal_gap_ms = scene.crowd.longest_silence_ms(watch.began_at)
    returned_at = time.monotonic()
    await expect(scene.clinician("note-status")).to_contain_text(
        "Salvato", timeout=_LONGEST_RETURN_SECONDS * 1000
    )
    saved_ms = (time.monotonic() - returned_at) * 1000
    await scene.settle()
    gaps = await watch.gaps()
    counted = asdict(await scene.crowd.audit())
    record.add({"saved_ms": saved_ms, "signal_gap_ms": signal_gap_ms, **gaps, **counted})


async def _wait_for_flow(scene: NodeScene) -> float:
    """How long until everybody has heard something new; :data:`_LONGEST_RETURN_SECONDS` at most."""
    began_at = time.monotonic()
    while time.monotonic() < began_at + _LONGEST_RETURN_SECONDS:
        if all(any(at > began_at for at, _ in seat.heard) for seat in scene.crowd.seats):
            break
        await asyncio.sleep(0.02)
    return (time.monotonic() - began_at) * 1000


def _valkey(scene: NodeScene) -> psutil.Process:
    return psutil.Process(int((scene.nodes.settings.data_dir / VALKEY_PID).read_text()))


def _postgres(scene: NodeScene) -> list[psutil.Process]:
    """The one that starts the others, and those."""
    lines = (scene.nodes.settings.data_dir / RECORDS / "postmaster.pid").read_text().splitlines()
    first = psutil.Process(int(lines[0]))
    return [first, *first.children(recursive=True)]


@contextmanager
def _stopped(processes: list[psutil.Process]) -> Iterator[None]:
    """They neither answer nor end for as long as the block lasts."""
    for process in processes:
        process.send_signal(signal.SIGSTOP)
    try:
        yield
    finally:
        for process in processes:
            process.send_signal(signal.SIGCONT)
