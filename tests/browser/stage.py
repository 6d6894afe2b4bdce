"""The stage of the whole visits: a demo, a patient on a telephone, a clinician at a desk."""

from __future__ import annotations

import asyncio
import fcntl
import shutil
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import pytest_asyncio

from tests.browser.actors import Chromiums, Demo, Person, running_demo

_FRESH_SECONDS: Final = 240
"""Younger than this the main visit of a demo has not begun."""


class Templates:
    """Folders of a demo that is filled once in a while, by one of the processes that test, and
    copied for each test of all of them."""

    def __init__(self, parent: Path) -> None:
        self._parent = parent

    async def copy(self, folder: Path) -> None:
        with (self._parent / "turn").open("w") as turn:
            await asyncio.to_thread(fcntl.flock, turn, fcntl.LOCK_EX)
            newest = self._find_fresh() or await self._fill()
        shutil.copytree(newest / "data", folder)

    def _find_fresh(self) -> Path | None:
        fresh = time.time() - _FRESH_SECONDS
        known = [int(path.name.removeprefix("demo-")) for path in self._parent.glob("demo-*")]
        newest = max(known, default=0)
        return self._parent / f"demo-{newest}" if newest > fresh else None

    async def _fill(self) -> Path:
        """The folder's name says since when its day goes by."""
        began = int(time.time())
        unfinished = self._parent / f"unfinished-{began}"
        unfinished.mkdir()
        async with running_demo(unfinished / "data"):
            pass
        return unfinished.rename(self._parent / f"demo-{began}")


@dataclass(frozen=True, slots=True)
class Stage:
    """One demo, a patient on a telephone and a clinician at a desk."""

    chromiums: Chromiums
    folder: Path
    demo: Demo
    patient: Person
    clinician: Person


@pytest_asyncio.fixture(loop_scope="session")
async def stage(tmp_path: Path, templates: Templates, chromiums: Chromiums) -> AsyncIterator[Stage]:
    await templates.copy(tmp_path / "data")
    async with running_demo(tmp_path / "data", settings={"LOG_LEVEL": "INFO"}) as demo:
        patient = await chromiums.open_person(colour="red", tone_hz=440, width=360, height=740)
        clinician = await chromiums.open_person(colour="blue", tone_hz=1000)
        yield Stage(chromiums, tmp_path, demo, patient, clinician)
        await chromiums.clear()
