"""A visit between Firefox and Chromium, either way round: both see and hear, and an outage heals
where there is no ``navigator.connection``."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

import pytest
from playwright.async_api import Playwright, async_playwright, expect

from tests.browser.actors import PATIENCE_MS, Demo, Person, open_person, running_demo
from tests.chaos.firefox import FirefoxPerson
from tests.chaos.hosts import Host, Network
from tests.chaos.meter import attach, now_ms
from tests.chaos.outage import BACK, play_outage
from tests.chaos.record import Figure, Record
from tests.chaos.scene import PORT, Scene

_ROUNDS: Final = 2
_LOOK_MS: Final = 3000
_OUTAGES_SECONDS: Final = (8, 20)
_MEET: Final = (
    Figure("frames_per_second", "pictures a second, the slower side", 5, is_least=True),
    Figure("energy", "sound heard, the quieter side", 1e-6, is_least=True),
)


@asynccontextmanager
async def _patient_in_firefox(folder: Path) -> AsyncIterator[Scene]:
    with Network(PORT) as network:
        async with _demo(network, folder) as (demo, playwright):
            clinician = await _open_chromium(playwright, folder, network.clinician)
            patient = await FirefoxPerson.open(network.patient.inside)
            try:
                await patient.check_in(demo)
                await clinician.log_in(demo, "clinician")
                row = clinician.page.locator('[data-testid="agenda-row"][data-state="waiting"]')
                await row.get_by_test_id("open-visit").click(timeout=PATIENCE_MS)
                await expect(clinician("admit")).to_be_enabled(timeout=PATIENCE_MS)
                await clinician("admit").click()
                yield Scene(network, patient, clinician)
            finally:
                await patient.close()
                await clinician.close()


@asynccontextmanager
async def _clinician_in_firefox(folder: Path) -> AsyncIterator[Scene]:
    with Network(PORT) as network:
        async with _demo(network, folder) as (demo, playwright):
            patient = await _open_chromium(playwright, folder, network.patient)
            clinician = await FirefoxPerson.open(network.clinician.inside)
            try:
                await patient.claim_and_check_in(demo)
                await clinician.open_visit_and_admit(demo)
                yield Scene(network, patient, clinician)
            finally:
                await clinician.close()
                await patient.close()


@asynccontextmanager
async def _demo(network: Network, folder: Path) -> AsyncIterator[tuple[Demo, Playwright]]:
    async with (
        async_playwright() as playwright,
        running_demo(folder / "data", port=PORT, inside=network.server.inside) as demo,
    ):
        yield demo, playwright


async def _open_chromium(playwright: Playwright, folder: Path, host: Host) -> Person:
    person = await open_person(playwright, folder, colour="blue", tone_hz=1000, inside=host.inside)
    await attach(person)
    return person


@pytest.mark.timeout(3600)
@pytest.mark.parametrize("role", ["patient", "clinician"])
async def test_firefox(role: str, tmp_path: Path) -> None:
    meet = Record(f"firefox-{role}", _MEET)
    outages = [
        (seconds, Record(f"firefox-{role}-outage-{seconds}", BACK)) for seconds in _OUTAGES_SECONDS
    ]
    if not any(list(one.missing(_ROUNDS)) for one in (meet, *(each for _, each in outages))):
        return
    opened = _patient_in_firefox if role == "patient" else _clinician_in_firefox
    async with opened(tmp_path) as scene:
        for _ in meet.missing(_ROUNDS):
            await _look(scene, meet)
        host = scene.network.patient if role == "patient" else scene.network.clinician
        for seconds, record in outages:
            for _ in record.missing(_ROUNDS):
                await play_outage(scene, host, seconds, record)


async def _look(scene: Scene, record: Record) -> None:
    await scene.settle()
    now = now_ms()
    readings = await scene.readings(now - _LOOK_MS)
    record.add(
        {
            "frames_per_second": min(
                one.frames_per_second(now - _LOOK_MS, now) for one in readings
            ),
            "energy": min(one.between(now - _LOOK_MS, now).energy for one in readings),
        }
    )
