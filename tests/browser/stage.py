"""The stage of the whole visits: a demo, a patient on a telephone, a clinician at a desk."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from playwright.async_api import Playwright, async_playwright

from tests.browser.actors import Demo, Person, open_person, running_demo


@dataclass(frozen=True, slots=True)
class Stage:
    """One demo, a patient on a telephone and a clinician at a desk."""

    playwright: Playwright
    folder: Path
    demo: Demo
    patient: Person
    clinician: Person


@pytest.fixture
async def stage(tmp_path: Path) -> AsyncIterator[Stage]:
    async with async_playwright() as playwright, running_demo(tmp_path / "data") as demo:
        patient = await open_person(
            playwright, tmp_path, colour="red", tone_hz=440, width=360, height=740
        )
        clinician = await open_person(playwright, tmp_path, colour="blue", tone_hz=1000)
        try:
            yield Stage(playwright, tmp_path, demo, patient, clinician)
        finally:
            await patient.close()
            await clinician.close()
