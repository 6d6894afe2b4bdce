"""A new clinician holds a whole practice visit alone and gets the score sheet."""

from __future__ import annotations

import re
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio
from playwright.async_api import expect

from tests.browser.actors import PATIENCE_MS, Chromiums, Demo, Person, running_demo
from tests.browser.stage import Templates

ARRIVES_MS = 3 * PATIENCE_MS
"""The patient's process starts, checks in and waits."""
LATE_SECONDS = 120
"""As her scenario says."""


@pytest_asyncio.fixture(loop_scope="session")
async def demo(tmp_path: Path, templates: Templates) -> AsyncIterator[Demo]:
    await templates.copy(tmp_path / "data")
    async with running_demo(tmp_path / "data") as demo:
        yield demo


@pytest_asyncio.fixture(loop_scope="session")
async def clinician(demo: Demo, chromiums: Chromiums) -> AsyncIterator[Person]:
    yield await chromiums.open_person(colour="blue", tone_hz=1000)
    await chromiums.clear()


async def begin(clinician: Person, code: str, late_seconds: int = 0) -> None:
    """From the agenda to the practice whose patient waits."""
    await clinician("practice-button").click()
    scenario = clinician.page.locator(f'[data-testid="scenario"][data-code="{code}"]')
    await scenario.get_by_test_id("begin-practice").click()
    here = clinician.page.locator('[data-hook="patient-here"]')
    await expect(here).to_be_visible(timeout=ARRIVES_MS + late_seconds * 1000)
    await clinician("open-practice").click()


async def finish(clinician: Person, outcome: str, *present: str) -> None:
    await clinician("finish-visit").click()
    await clinician("outcome").select_option(outcome)
    for person in present:
        await clinician.page.locator(f'input[name="present"][value="{person}"]').check()
    await clinician("outcome-confirm").click()
    await clinician("open-sheet").click(timeout=PATIENCE_MS)


async def read_sheet(clinician: Person) -> dict[str, str]:
    await expect(clinician("score-sheet")).to_be_visible(timeout=PATIENCE_MS)
    lines = await clinician("score-line").evaluate_all(
        "(lines) => lines.map((line) => [line.dataset.criterion, line.dataset.verdict])"
    )
    return dict(lines)


@pytest.mark.timeout(300)
async def test_a_new_clinician_practises_alone_and_gets_the_score_sheet(
    demo: Demo, clinician: Person
) -> None:
    await clinician.log_in(demo, "clinician")
    await begin(clinician, "parla-chi-assiste")
    await expect(clinician("practice-mark")).to_be_visible()
    await clinician("admit").click(timeout=PATIENCE_MS)
    await clinician.sees_moving_picture()

    chat = clinician("chat-log")
    await clinician("chat-input").fill("Chi è con lei? È la figlia?")
    await clinician("chat-input").press("Enter")
    await expect(chat).to_contain_text("sono io, la figlia Carla", timeout=PATIENCE_MS)
    await clinician("chat-input").fill("Mi mostra il documento del papà?")
    await clinician("chat-input").press("Enter")
    await expect(chat).to_contain_text("19 febbraio 1938", timeout=PATIENCE_MS)
    await clinician.page.locator('[data-hook="identity"]').click()
    await expect(clinician.page.locator('[data-hook="identity"]')).to_have_attribute(
        "aria-pressed", "true"
    )
    await finish(clinician, "completed", "patient", "caregiver")

    assert await read_sheet(clinician) == {
        "identity": "met",
        "consents": "met",
        "eligibility": "not_met",
        "companions": "met",
        "suitability": "met",
        "recording": "not_due",
        "outcome": "met",
    }
    await clinician.page.get_by_role("link", name="Torna all'agenda").click()
    await expect(clinician.page).to_have_url(re.compile("/agenda$"))
    await expect(clinician.page.locator(".agenda-list")).not_to_contain_text("Serafini")
    assert clinician.faults == []


@pytest.mark.long
@pytest.mark.timeout(600)
async def test_who_waits_for_a_late_patient_has_a_visit(demo: Demo, clinician: Person) -> None:
    await clinician.log_in(demo, "clinician")
    began = time.monotonic()
    await begin(clinician, "paziente-in-ritardo", LATE_SECONDS)
    assert time.monotonic() - began >= LATE_SECONDS
    await clinician("admit").click(timeout=PATIENCE_MS)
    await clinician.sees_moving_picture()
    await expect(clinician("chat-log")).to_contain_text("scusi il ritardo", timeout=PATIENCE_MS)
    await finish(clinician, "completed", "patient")

    assert (await read_sheet(clinician))["outcome"] == "met"
    assert clinician.faults == []
