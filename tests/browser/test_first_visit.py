"""The first real visit, whole: a demo process and browsers, driven by test ids only."""

from __future__ import annotations

import asyncio
import re
from pathlib import Path

import pytest
from playwright.async_api import expect

from tests.browser.actors import PATIENCE_MS, Person, open_call
from tests.browser.stage import Stage, stage
from tests.sweep import find_canaries

__all__ = ["stage"]

NOTE = "Segreto clinico quarantadue: pressione buona, si continua la terapia."
CHAT = "Buongiorno dottoressa, mi sente?"


async def finish(clinician: Person, outcome: str = "completed") -> None:
    await clinician("finish-visit").click()
    await clinician("outcome").select_option(outcome)
    await clinician("outcome-confirm").click()


@pytest.mark.timeout(240)
async def test_a_booking_becomes_a_finished_logged_visit(stage: Stage) -> None:
    patient, clinician = stage.patient, stage.clinician
    await open_call(stage.demo, patient, clinician)

    assert_colour(await patient.colour(), "blue")
    assert_colour(await clinician.colour(), "red")
    assert abs(await patient.tone() - 1000) < 30
    assert abs(await clinician.tone() - 440) < 30

    await patient("chat-input").fill(CHAT)
    await patient("chat-input").press("Enter")
    await expect(clinician("chat-log")).to_contain_text(CHAT, timeout=PATIENCE_MS)

    await clinician("note-editor").fill(NOTE)
    await expect(clinician("note-status")).to_contain_text("Salvato", timeout=PATIENCE_MS)

    for person in (patient, clinician):
        await person.page.reload()
        for one in (patient, clinician):
            await one.sees_moving_picture()
    await expect(clinician("note-editor")).to_have_value(NOTE, timeout=PATIENCE_MS)

    await finish(clinician)
    await expect(patient.page).to_have_url(re.compile("/end$"), timeout=PATIENCE_MS)
    await check_timeline(stage)
    assert find_faults(patient, clinician) == []
    check_privacy(stage)


async def check_timeline(stage: Stage) -> None:
    manager = await stage.chromiums.open_person(colour="green", tone_hz=600)
    await manager.log_in(stage.demo, "manager")
    ended = manager.page.locator('[data-testid="sessions-row"]', has_text="Conclusa")
    await ended.first.locator("a").first.click()
    timeline = manager("session-timeline")
    await expect(timeline).to_be_visible(timeout=PATIENCE_MS)
    acts = await timeline.locator("[data-act]").evaluate_all(
        "(marks) => marks.map((mark) => mark.dataset.act)"
    )
    expected = {
        "booking.imported",
        "link.issued",
        "link.claimed",
        "consent.given",
        "visit.waiting",
        "room.joined",
        "visit.admitted",
        "media.proven",
        "room.rejoined",
        "note.saved",
        "visit.finished",
        "visit.outcome",
    }
    assert expected <= set(acts)
    await manager.close()


def check_privacy(stage: Stage) -> None:
    """Nothing secret in the data folder, the log or the output of the process."""
    secret = stage.demo["patient_url"].partition("#")[2]
    canaries = {"note": NOTE, "chat": CHAT, "secret": secret, "name": "Gherardesca"}
    folders = [Path(stage.demo["data_dir"]), stage.folder / "demo.log"]
    assert find_canaries(canaries, folders) == []


def assert_colour(colour: tuple[int, int, int], expected: str) -> None:
    strongest = ("red", "green", "blue")[colour.index(max(colour))]
    assert strongest == expected, colour
    assert max(colour) > 100, colour


def find_faults(*people: Person) -> list[str]:
    return [fault for person in people for fault in person.faults]


@pytest.mark.timeout(300)
async def test_mute_and_camera_off_are_seen_on_the_other_side(stage: Stage) -> None:
    patient, clinician = stage.patient, stage.clinician
    await open_call(stage.demo, patient, clinician)
    state = clinician.page.locator('[data-hook="peer-state"]')

    await patient("toggle-camera").click()
    await expect(state).to_contain_text("telecamera", timeout=PATIENCE_MS)
    await patient("toggle-mic").click()
    await expect(state).to_contain_text("microfono", timeout=PATIENCE_MS)
    async with asyncio.timeout(PATIENCE_MS / 1000):
        while await clinician.tone() != 0:
            pass  # what was under way is still heard for a moment

    await patient("toggle-camera").click()
    await patient("toggle-mic").click()
    await expect(state).to_be_empty(timeout=PATIENCE_MS)
    assert abs(await clinician.tone() - 440) < 30


@pytest.mark.timeout(300)
async def test_leaving_is_not_finishing(stage: Stage) -> None:
    patient, clinician = stage.patient, stage.clinician
    await open_call(stage.demo, patient, clinician)

    await patient("leave").click()
    await patient.page.locator('[data-hook="left"] [data-hook="rejoin"]').click()
    for person in (patient, clinician):
        await person.sees_moving_picture()

    await clinician("leave").click()
    await clinician.page.locator('[data-hook="left"] [data-hook="rejoin"]').click()
    for person in (patient, clinician):
        await person.sees_moving_picture()


@pytest.mark.timeout(300)
async def test_a_clinician_of_another_organisation_finds_nothing(stage: Stage) -> None:
    stranger = await stage.chromiums.open_person(colour="green", tone_hz=600)
    await stage.clinician.log_in(stage.demo, "clinician")
    open_visit = stage.clinician.page.get_by_test_id("open-visit").first
    address = await open_visit.get_attribute("href")
    assert address is not None
    await stranger.log_in(stage.demo, "other_clinician")

    for path in (address, f"{address}/note"):
        answer = await stranger.page.request.get(stage.demo["base_url"] + path)
        assert answer.status == 404, path
    await stranger.close()
