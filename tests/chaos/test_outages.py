"""The network goes and comes back, or is another one: how long until both see and hear again.

Nobody clicks. The cable falls silent and nothing in the host says so, which is the harder case.
"""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Final

import pytest

from tests.chaos.hosts import Host
from tests.chaos.meter import Reading, now_ms
from tests.chaos.record import Figure, Record
from tests.chaos.scene import LONGEST_RETURN_SECONDS, Scene, open_scene

_ROUNDS: Final = 4
_LOST_MS: Final = LONGEST_RETURN_SECONDS * 1000
_BACK: Final = (
    Figure("back_ms", "picture back on both sides, ms after the network", limit=1000),
    Figure("voice_ms", "sound back on both sides, ms after the network", limit=1000),
)
_CHANGE: Final = (
    Figure("gap_ms", "longest frame gap of either side, ms", limit=2000),
    Figure("silence_ms", "longest silence of either side, ms"),
)


def _back_ms(reading: Reading, since_ms: float) -> tuple[float, float]:
    """How long after a moment picture and sound came."""
    picture, sound = reading.find_flow(since_ms), reading.find_voice(since_ms)
    return (
        picture - since_ms if picture else _LOST_MS,
        sound - since_ms if sound else _LOST_MS,
    )


async def _play_outage(scene: Scene, host: Host, seconds: float, record: Record) -> None:
    await scene.settle()
    cut_ms = now_ms()
    host.cut()
    await asyncio.sleep(seconds)
    host.mend()
    mended_ms = now_ms()
    await scene.wait_for_return(mended_ms)
    patient, clinician = await scene.readings(cut_ms)
    patient_back, clinician_back = _back_ms(patient, mended_ms), _back_ms(clinician, mended_ms)
    record.add(
        {
            "back_ms": max(patient_back[0], clinician_back[0]),
            "voice_ms": max(patient_back[1], clinician_back[1]),
        },
        side=host.namespace,
        patient_back_ms=patient_back,
        clinician_back_ms=clinician_back,
        patient=patient.turns_since(mended_ms - seconds * 1000),
        clinician=clinician.turns_since(mended_ms - seconds * 1000),
    )


@pytest.mark.timeout(7200)
async def test_outages(tmp_path: Path) -> None:
    """Every second time it is the clinician's network."""
    plans = [(seconds, Record(f"outage-{seconds}", _BACK)) for seconds in (2, 4, 8, 20, 30)]
    if not any(list(record.missing(_ROUNDS)) for _, record in plans):
        return
    async with open_scene(tmp_path) as scene:
        for seconds, record in plans:
            for number in record.missing(_ROUNDS):
                host = scene.network.clinician if number % 2 else scene.network.patient
                await _play_outage(scene, host, seconds, record)


@pytest.mark.timeout(7200)
async def test_address(tmp_path: Path) -> None:
    """The patient's old address is gone with every socket bound to it."""
    record = Record("address", _CHANGE)
    if not list(record.missing(_ROUNDS)):
        return
    async with open_scene(tmp_path) as scene:
        for _ in record.missing(_ROUNDS):
            await scene.settle()
            changed_ms = now_ms()
            scene.network.patient.change_address()
            await scene.wait_for_return(changed_ms + 300)
            end_ms = now_ms()
            readings = await scene.readings(changed_ms)
            record.add(
                {
                    "gap_ms": max(one.longest_gap_ms(changed_ms, end_ms) for one in readings),
                    "silence_ms": max(
                        one.longest_silence_ms(changed_ms, end_ms) for one in readings
                    ),
                },
                gaps_ms=[one.longest_gap_ms(changed_ms, end_ms) for one in readings],
                patient=readings[0].turns_since(changed_ms),
                clinician=readings[1].turns_since(changed_ms),
            )
