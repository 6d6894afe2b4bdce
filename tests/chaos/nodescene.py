"""A call of two Chromium pages and a crowd of synthetic ones, over several nodes on this host."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from playwright.async_api import async_playwright

from tests.browser.actors import Person, open_call, open_person
from tests.chaos.meter import Reading, attach, now_ms, read, wait_for_flow
from tests.chaos.nodes import Crowd, Nodes, running_crowd, running_nodes

_SETTLE_SECONDS: Final = 5.0


@dataclass(frozen=True, slots=True)
class NodeScene:
    """Everybody is in a room."""

    nodes: Nodes
    crowd: Crowd
    patient: Person
    clinician: Person

    @property
    def people(self) -> tuple[Person, Person]:
        return self.patient, self.clinician

    async def settle(self) -> None:
        """Wait until both see and hear each other and the crowd is together.

        :raises RuntimeError: the call is broken.
        """
        for person in self.people:
            if not await wait_for_flow(person.page, now_ms(), within_seconds=60):
                raise RuntimeError("the call did not come back at all")
        await self.crowd.settle()
        await asyncio.sleep(_SETTLE_SECONDS)

    async def readings(self, since_ms: float) -> tuple[Reading, Reading]:
        """Of the patient's and of the clinician's page."""
        return await read(self.patient.page, since_ms), await read(self.clinician.page, since_ms)


@asynccontextmanager
async def open_node_scene(
    folder: Path, *, nodes: int, calls: int, signal_every_seconds: float
) -> AsyncIterator[NodeScene]:
    """That many nodes and synthetic calls, and one call between two Chromium pages."""
    async with running_nodes(folder, nodes) as running, async_playwright() as playwright:
        patient = await open_person(playwright, folder, colour="red", tone_hz=440)
        clinician = await open_person(playwright, folder, colour="blue", tone_hz=1000)
        for person in (patient, clinician):
            await attach(person)
        try:
            await open_call(running.demo, patient, clinician)
            async with running_crowd(running, calls, signal_every_seconds) as crowd:
                scene = NodeScene(running, crowd, patient, clinician)
                await scene.settle()
                yield scene
        finally:
            for person in (patient, clinician):
                await person.close()
