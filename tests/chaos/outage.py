"""An outage: the cable of one host falls silent for a while, and how long until all is back."""

from __future__ import annotations

import asyncio
from typing import Final

from tests.chaos.hosts import Host
from tests.chaos.meter import FULL, Reading, now_ms
from tests.chaos.record import Figure, Record
from tests.chaos.scene import LONGEST_RETURN_SECONDS, Scene

_LOST_MS: Final = LONGEST_RETURN_SECONDS * 1000
BACK: Final = (
    Figure("back_ms", "picture back on both sides, ms after the network", limit=1000),
    Figure("voice_ms", "sound back on both sides, ms after the network", limit=1000),
    Figure("full_ms", "picture in full motion on both sides, ms after the network"),
)


async def play_outage(scene: Scene, host: Host, seconds: float, record: Record) -> None:
    """Once; what came of it is written down."""
    await scene.settle()
    cut_ms = now_ms()
    host.cut()
    await asyncio.sleep(seconds)
    host.mend()
    mended_ms = now_ms()
    await scene.wait_for_return(mended_ms)
    patient, clinician = await scene.readings(cut_ms)
    patient_back, clinician_back = _back_ms(patient, mended_ms), _back_ms(clinician, mended_ms)
    worse = [max(both) for both in zip(patient_back, clinician_back, strict=True)]
    record.add(
        dict(zip(("back_ms", "voice_ms", "full_ms"), worse, strict=True)),
        side=host.namespace,
        patient_back_ms=patient_back,
        clinician_back_ms=clinician_back,
        patient=patient.turns_since(cut_ms),
        clinician=clinician.turns_since(cut_ms),
    )


def _back_ms(reading: Reading, since_ms: float) -> list[float]:
    """How long after a moment picture, sound and full motion came."""
    found = (
        reading.find_picture(since_ms),
        reading.find_voice(since_ms),
        reading.find_picture(since_ms, FULL),
    )
    return [at - since_ms if at else _LOST_MS for at in found]
