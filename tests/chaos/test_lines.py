"""A bad line that stays: loss, a narrow uplink, a long way. The voice must hold; the picture may
yield. The patient's cable is the bad one; what is told is the worse of the two sides."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import pytest

from tests.chaos.meter import Reading, now_ms
from tests.chaos.record import Figure, Record
from tests.chaos.scene import Scene, open_scene
from tests.chaos.switch import Line

_ROUNDS: Final = 3
_ADAPT_SECONDS: Final = 10.0
"""How long the senders may take to find what the line bears; told apart."""
_LOOK_SECONDS: Final = 25.0
_CONCEALMENT: Final = Figure("concealment", "share of the sound concealed", limit=0.1)
_FIGURES: Final = (
    _CONCEALMENT,
    Figure("silence_ms", "longest time without a packet of sound, ms", 1000, is_worst_meant=True),
    Figure("adapting_concealment", f"the same in the first {_ADAPT_SECONDS:.0f} s"),
    Figure("frames_per_second", "pictures a second, the slower side", is_least=True),
    Figure("drops", "connections lost", limit=0, is_worst_meant=True),
)
_YIELD: Final = Figure("picture_kbps", "picture through the narrow way, kbit/s", limit=150)


@dataclass(frozen=True, slots=True)
class _Plan:
    name: str
    up: Line
    down: Line
    has_yield: bool = False


_PLANS: Final = (
    _Plan("loss-10", Line(loss=0.1), Line(loss=0.1)),
    _Plan("rtt-300", Line(delay_ms=150), Line(delay_ms=150)),
    _Plan(
        "rtt-300-jitter-40",
        Line(delay_ms=150, jitter_ms=40),
        Line(delay_ms=150, jitter_ms=40),
    ),
    _Plan("uplink-150", Line(kilobits_per_second=150), Line(), has_yield=True),
)


@pytest.mark.timeout(7200)
async def test_lines(tmp_path: Path) -> None:
    records = [
        (plan, Record(plan.name, [*_FIGURES, *([_YIELD] if plan.has_yield else [])]))
        for plan in _PLANS
    ]
    if not any(list(record.missing(_ROUNDS)) for _, record in records):
        return
    async with open_scene(tmp_path, is_busy=True) as scene:
        for plan, record in records:
            for _ in record.missing(_ROUNDS):
                await _play(scene, plan, record)


async def _play(scene: Scene, plan: _Plan, record: Record) -> None:
    await scene.settle()
    start_ms = now_ms()
    scene.network.patient.shape(up=plan.up, down=plan.down)
    await asyncio.sleep(_ADAPT_SECONDS)
    adapted_ms = now_ms()
    await asyncio.sleep(_LOOK_SECONDS)
    end_ms = now_ms()
    scene.network.patient.shape()
    patient, clinician = await scene.readings(start_ms)
    both = (patient, clinician)
    figures = {
        "concealment": max(one.concealment(adapted_ms, end_ms) for one in both),
        "silence_ms": max(one.longest_silence_ms(start_ms, end_ms) for one in both),
        "adapting_concealment": max(one.concealment(start_ms, adapted_ms) for one in both),
        "frames_per_second": min(one.frames_per_second(adapted_ms, end_ms) for one in both),
        "drops": sum(_drops(one, start_ms) for one in both),
    }
    if plan.has_yield:
        figures["picture_kbps"] = _picture_kbps(clinician, adapted_ms, end_ms)
    record.add(
        figures,
        patient_hears=patient.concealment(adapted_ms, end_ms),
        clinician_hears=clinician.concealment(adapted_ms, end_ms),
        picture_kbps=[_picture_kbps(one, adapted_ms, end_ms) for one in both],
        patient=patient.turns_since(start_ms),
        clinician=clinician.turns_since(start_ms),
    )


def _drops(reading: Reading, start_ms: float) -> int:
    return sum("disconnected" in turn or "failed" in turn for turn in reading.turns_since(start_ms))


def _picture_kbps(reading: Reading, start_ms: float, end_ms: float) -> float:
    return reading.between(start_ms, end_ms).picture_bytes * 8 / (end_ms - start_ms)
