"""Killed networks: the visit is resumed with no click, nothing saved is lost. Rooted and long."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

import pytest
from playwright.async_api import async_playwright, expect

from tests.browser.actors import PATIENCE_MS, Person, open_call, open_person, running_demo
from tests.chaos.hosts import Host, Network

PORT = 8480
OUTAGE_SECONDS = 30
LONGEST_RETURN_SECONDS = 20


async def survive_outage(host: Host, people: tuple[Person, Person]) -> float:
    """Cut one host's network for a while; returns the seconds until both see each other again."""
    host.cut()
    await asyncio.sleep(OUTAGE_SECONDS)
    host.mend()
    start = time.monotonic()
    async with asyncio.timeout(LONGEST_RETURN_SECONDS):
        for person in people:
            await person.sees_moving_picture()
    return time.monotonic() - start


@pytest.mark.timeout(400)
async def test_thirty_seconds_of_killed_network(tmp_path: Path) -> None:
    note = "Riga salvata durante l'assenza di rete."
    with Network(PORT) as network:
        inside = network.server.inside
        async with (
            async_playwright() as playwright,
            running_demo(tmp_path / "data", port=PORT, inside=inside) as demo,
        ):
            patient = await open_person(
                playwright, tmp_path, colour="red", tone_hz=440, inside=network.patient.inside
            )
            clinician = await open_person(
                playwright, tmp_path, colour="blue", tone_hz=1000, inside=network.clinician.inside
            )
            await open_call(demo, patient, clinician)
            seconds = await survive_outage(network.patient, (patient, clinician))
            print(f"patient's network back after 30 s: picture on both sides in {seconds:.1f} s")

            network.clinician.cut()
            await clinician("note-editor").fill(note)
            network.clinician.mend()
            seconds = await survive_outage(network.clinician, (patient, clinician))
            print(f"clinician's network back after 30 s: picture on both sides in {seconds:.1f} s")
            await expect(clinician("note-status")).to_contain_text("Salvato", timeout=PATIENCE_MS)
            await clinician.page.reload()
            await expect(clinician("note-editor")).to_have_value(note, timeout=PATIENCE_MS)
            for person in (patient, clinician):
                await person.close()
