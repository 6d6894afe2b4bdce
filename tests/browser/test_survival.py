"""Bad days: a killed server and a closed laptop lid. The visit is resumed with no click."""

from __future__ import annotations

import asyncio
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from playwright.async_api import expect

from tests.browser.actors import PATIENCE_MS, Person, open_call, start_accanto, stop
from tests.browser.stage import Stage, stage

__all__ = ["stage"]

NOTE = "Prima riga. Seconda riga, scritta mentre il server non c'era."
LID_SECONDS = 12


@pytest.mark.timeout(240)
async def test_a_killed_server_costs_a_reconnect_and_nothing_saved(stage: Stage) -> None:
    patient, clinician = stage.patient, stage.clinician
    await open_call(stage.demo, patient, clinician)
    await clinician("note-editor").fill(NOTE[:11])
    await expect(clinician("note-status")).to_contain_text("Salvato", timeout=PATIENCE_MS)

    stage.demo.process.kill()
    await stage.demo.process.wait()
    await clinician("note-editor").fill(NOTE)
    await expect_calls_go_on(patient, clinician)
    server = await restart(stage)

    try:
        await expect(clinician("note-status")).to_contain_text("Salvato", timeout=PATIENCE_MS)
        await clinician.page.reload()
        await expect(clinician("note-editor")).to_have_value(NOTE, timeout=PATIENCE_MS)
        await expect_calls_go_on(patient, clinician)
    finally:
        assert await stop(server) == 0


async def restart(stage: Stage) -> asyncio.subprocess.Process:
    """Serve the same folder again, on the same port."""
    data = Path(stage.demo["data_dir"])
    port = str(urlsplit(stage.demo["base_url"]).port)
    process, _ = await start_accanto(
        "demo", "--json", "--data", str(data), "--port", port, log=stage.folder / "demo.log"
    )
    return process


async def expect_calls_go_on(*people: Person) -> None:
    for person in people:
        await person.sees_moving_picture()


@pytest.mark.long
@pytest.mark.timeout(240)
async def test_a_closed_lid_is_resumed_when_it_opens(stage: Stage) -> None:
    patient, clinician = stage.patient, stage.clinician
    await open_call(stage.demo, patient, clinician)

    lid = await patient.page.context.new_cdp_session(patient.page)
    await lid.send("Page.setWebLifecycleState", {"state": "frozen"})
    await asyncio.sleep(LID_SECONDS)
    await lid.send("Page.setWebLifecycleState", {"state": "active"})

    await expect_calls_go_on(patient, clinician)
