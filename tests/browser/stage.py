"""The stage of the whole visits: a demo, a patient on a telephone, a clinician at a desk."""

from __future__ import annotations

import shutil
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Final

import pytest
from playwright.async_api import Playwright, async_playwright

from tests.browser.actors import Demo, Person, open_person, running_demo

_FRESH_SECONDS: Final = 240
"""Younger than this the main visit of a demo has not begun."""


class Templates:
    """Folders of a demo that is filled once in a while and copied for each test."""

    def __init__(self, parent: Path) -> None:
        self._folders = (parent / f"demo-{number}" for number in count())
        self._newest: Path | None = None
        self._filled_at = 0.0

    async def copy(self, folder: Path) -> None:
        if self._newest is None or time.monotonic() - self._filled_at > _FRESH_SECONDS:
            self._filled_at = time.monotonic()
            self._newest = next(self._folders)
            self._newest.mkdir()
            async with running_demo(self._newest / "data"):
                pass
        shutil.copytree(self._newest / "data", folder)


@dataclass(frozen=True, slots=True)
class Stage:
    """One demo, a patient on a telephone and a clinician at a desk."""

    playwright: Playwright
    folder: Path
    demo: Demo
    patient: Person
    clinician: Person


@pytest.fixture
async def stage(tmp_path: Path, templates: Templates) -> AsyncIterator[Stage]:
    await templates.copy(tmp_path / "data")
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
