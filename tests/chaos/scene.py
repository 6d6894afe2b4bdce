"""A running call between two pages on the impaired network, and what is done to it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Protocol

from playwright.async_api import async_playwright

from tests.browser.actors import open_call, open_person, running_demo
from tests.chaos.hosts import Network
from tests.chaos.meter import Page, Reading, attach, now_ms, read, wait_for_flow
from tests.chaos.picture import write_busy_video

PORT: Final = 8480
_SETTLE_SECONDS: Final = 5.0
_AFTER_SECONDS: Final = 2.0
LONGEST_RETURN_SECONDS: Final = 40.0
"""A call that is not back by then is written down as so long."""


class Someone(Protocol):
    """A person in any browser."""

    @property
    def page(self) -> Page: ...

    async def close(self) -> None: ...


@dataclass(frozen=True, slots=True)
class Scene:
    """Two people in a call, each on a host of their own."""

    network: Network
    patient: Someone
    clinician: Someone

    @property
    def people(self) -> tuple[Someone, Someone]:
        return self.patient, self.clinician

    async def settle(self) -> None:
        """Wait until both see and hear each other and have done so for a while.

        :raises RuntimeError: the call is broken.
        """
        for person in self.people:
            if not await wait_for_flow(person.page, now_ms(), within_seconds=60):
                raise RuntimeError("the call did not come back at all")
        await asyncio.sleep(_SETTLE_SECONDS)

    async def readings(self, since_ms: float) -> tuple[Reading, Reading]:
        """Of the patient's and of the clinician's page."""
        return await read(self.patient.page, since_ms), await read(self.clinician.page, since_ms)

    async def wait_for_return(self, since_ms: float) -> None:
        """Wait until picture and sound flow on both sides, and a little longer."""
        await asyncio.gather(
            *(
                wait_for_flow(person.page, since_ms, within_seconds=LONGEST_RETURN_SECONDS)
                for person in self.people
            )
        )
        await asyncio.sleep(_AFTER_SECONDS)


@asynccontextmanager
async def open_scene(folder: Path, *, is_busy: bool = False) -> AsyncIterator[Scene]:
    """A demo, a patient and a clinician in three network namespaces, and the call between them.

    Cameras show a plain colour, which costs next to nothing to send, unless they are busy.
    """
    with Network(PORT) as network:
        async with (
            async_playwright() as playwright,
            running_demo(folder / "data", port=PORT, inside=network.server.inside) as demo,
        ):
            patient = await open_person(
                playwright, folder, colour="red", tone_hz=440, inside=network.patient.inside
            )
            clinician = await open_person(
                playwright, folder, colour="blue", tone_hz=1000, inside=network.clinician.inside
            )
            for person, colour in ((patient, "red"), (clinician, "blue")):
                await attach(person)
                if is_busy:
                    write_busy_video(folder / f"{colour}.y4m")
            try:
                await open_call(demo, patient, clinician)
                scene = Scene(network, patient, clinician)
                await scene.settle()
                yield scene
            finally:
                for person in (patient, clinician):
                    await person.close()
