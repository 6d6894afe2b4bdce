"""The network goes and comes back, or is another one: how long until both see and hear again.

Nobody clicks. The cable falls silent and nothing in the host says so, which is the harder case.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

import pytest

from tests.chaos.meter import now_ms
from tests.chaos.outage import BACK, play_outage
from tests.chaos.record import Figure, Record
from tests.chaos.scene import Scene, open_scene

_ROUNDS: Final = 4
_OUTAGES_SECONDS: Final = (2, 4, 8, 20, 30)
_SWITCHED_MS: Final = 300
"""What was under way before the change has arrived by then."""
_CHANGE: Final = (
    Figure("gap_ms", "longest frame gap of either side, ms", limit=2000),
    Figure("silence_ms", "longest silence of either side, ms"),
)


@pytest.mark.timeout(7200)
async def test_outages(tmp_path: Path) -> None:
    """Every second time it is the clinician's network."""
    plans = [(seconds, Record(f"outage-{seconds}", BACK)) for seconds in _OUTAGES_SECONDS]
    if not any(list(record.missing(_ROUNDS)) for _, record in plans):
        return
    async with open_scene(tmp_path) as scene:
        for seconds, record in plans:
            for number in record.missing(_ROUNDS):
                host = scene.network.clinician if number % 2 else scene.network.patient
                await play_outage(scene, host, seconds, record)


@pytest.mark.timeout(7200)
async def test_address(tmp_path: Path) -> None:
    """The patient's old address is gone with every socket bound to it."""
    record = Record("address", _CHANGE)
    wanted = list(record.missing(_ROUNDS))
    if not wanted:
        return
    async with open_scene(tmp_path) as scene:
        for _ in wanted:
            await _change_address(scene, record)


async def _change_address(scene: Scene, record: Record) -> None:
    await scene.settle()
    changed_ms = now_ms()
    scene.network.patient.change_address()
    await scene.wait_for_return(changed_ms + _SWITCHED_MS)
    end_ms = now_ms()
    readings = await scene.readings(changed_ms)
    gaps_ms = [one.longest_gap_ms(changed_ms, end_ms) for one in readings]
    silences_ms = [one.longest_silence_ms(changed_ms, end_ms) for one in readings]
    record.add(
        {"gap_ms": max(gaps_ms), "silence_ms": max(silences_ms)},
        gaps_ms=gaps_ms,
        silences_ms=silences_ms,
        patient=readings[0].turns_since(changed_ms),
        clinician=readings[1].turns_since(changed_ms),
    )
