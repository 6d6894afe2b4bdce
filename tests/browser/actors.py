"""People for the browser tests: each is at a Chromium with a camera colour and a tone.

They touch pages by test id only, as the issue of the first visit asks.
"""

from __future__ import annotations

import asyncio
import json
import os
import shlex
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from playwright.async_api import Browser, BrowserContext, Page, Playwright, expect

from tests.browser.chromium import FLAGS
from tests.browser.devices import make_devices

_START_SECONDS: Final = 240
_STOP_SECONDS: Final = 60
PATIENCE_MS: Final = 20_000

_COLOUR_JS: Final = """(video) => {
  const canvas = document.createElement("canvas");
  canvas.width = canvas.height = 8;
  const context = canvas.getContext("2d");
  context.drawImage(video, 0, 0, 8, 8);
  const data = context.getImageData(0, 0, 8, 8).data;
  const sums = [0, 0, 0];
  for (let i = 0; i < data.length; i += 4) for (let c = 0; c < 3; c++) sums[c] += data[i + c];
  return sums.map((sum) => Math.round(sum / 64));
}"""

_TONE_JS: Final = """async (video) => {
  const context = new AudioContext();
  const analyser = context.createAnalyser();
  analyser.fftSize = 8192;
  context.createMediaStreamSource(video.srcObject).connect(analyser);
  const bins = new Float32Array(analyser.frequencyBinCount);
  let best = [0, -Infinity];
  for (let round = 0; round < 20; round++) {
    await new Promise((resolve) => setTimeout(resolve, 50));
    analyser.getFloatFrequencyData(bins);
    bins.forEach((level, bin) => { if (level > best[1]) best = [bin, level]; });
  }
  await context.close();
  return best[1] < -70 ? 0 : Math.round((best[0] * context.sampleRate) / analyser.fftSize);
}"""


@dataclass(frozen=True, slots=True)
class Demo:
    """A running ``accanto demo``."""

    process: asyncio.subprocess.Process
    line: dict[str, str]

    def __getitem__(self, name: str) -> str:
        return self.line[name]


async def start_accanto(
    *arguments: str,
    log: Path,
    inside: Sequence[str] = (),
    settings: Mapping[str, str] | None = None,
) -> tuple[asyncio.subprocess.Process, str]:
    """Start the console script; returns it with its first line of standard output.

    ``inside`` is a command that runs others in a place of their own, a network namespace say.
    """
    command = Path(sys.executable).parent / "accanto"
    environment = {name: value for name, value in os.environ.items() if "ACCANTO" not in name}
    environment |= {f"ACCANTO_{name}": value for name, value in (settings or {}).items()}
    with log.open("ab") as sink:
        process = await asyncio.create_subprocess_exec(
            *inside,
            str(command),
            *arguments,
            stdout=subprocess.PIPE,
            stderr=sink,
            env=environment | {"PYTHONUNBUFFERED": "1"},
        )
    assert process.stdout is not None
    line = await asyncio.wait_for(process.stdout.readline(), _START_SECONDS)
    assert line, log.read_text(errors="replace")
    return process, line.decode()


async def stop(process: asyncio.subprocess.Process) -> int:
    """Ctrl-C; returns the exit status."""
    if process.returncode is None:
        process.send_signal(signal.SIGINT)
    return await asyncio.wait_for(process.wait(), _STOP_SECONDS)


@asynccontextmanager
async def running_demo(
    folder: Path,
    *,
    port: int = 0,
    inside: Sequence[str] = (),
    settings: Mapping[str, str] | None = None,
) -> AsyncIterator[Demo]:
    """A demo in ``folder``, on a free port unless one is given; its log is ``folder``'s
    neighbour ``demo.log``."""
    log = folder.parent / "demo.log"
    arguments = ("demo", "--json", "--port", str(port), "--data", str(folder))
    process, line = await start_accanto(*arguments, log=log, inside=inside, settings=settings)
    try:
        yield Demo(process, json.loads(line))
    finally:
        if process.returncode is None:
            await stop(process)


class Person:
    """A page of a browser that is the person's own, or of a context in one that others share."""

    def __init__(self, own: Browser | BrowserContext, page: Page, faults: list[str]) -> None:
        self.own = own
        self.page = page
        self.faults = faults
        """Console errors and uncaught exceptions of the pages."""

    def __call__(self, test_id: str) -> Any:
        return self.page.get_by_test_id(test_id)

    async def colour(self, test_id: str = "remote-video") -> tuple[int, int, int]:
        """The mean colour of a video as it is painted now."""
        red, green, blue = await self(test_id).evaluate(_COLOUR_JS)
        return red, green, blue

    async def tone(self) -> int:
        """The strongest frequency in the remote sound in Hz; 0 for silence."""
        return int(await self("remote-video").evaluate(_TONE_JS))

    async def frames(self, test_id: str = "remote-video") -> int:
        """How many frames a video has painted."""
        return int(
            await self(test_id).evaluate("(v) => v.getVideoPlaybackQuality().totalVideoFrames")
        )

    async def sees_moving_picture(self) -> None:
        """Wait until at least ten more frames are painted.

        The counter starts again with each new stream, so only growth is looked at.
        """
        await self.page.wait_for_function(
            """() => {
              const video = document.querySelector('[data-testid="remote-video"]');
              const frames = video?.getVideoPlaybackQuality().totalVideoFrames ?? 0;
              const seen = (window.__frames ??= { start: frames });
              if (frames < seen.start) seen.start = frames;
              if (frames - seen.start < 10) return false;
              delete window.__frames;
              return true;
            }""",
            timeout=PATIENCE_MS,
        )

    async def claim_and_check_in(self, demo: Demo) -> None:
        """From the link to the waiting room, by test ids only."""
        await self.page.goto(demo["patient_url"])
        await self("claim-birth-date").fill(demo["patient_birth_date"])
        await self("claim-submit").click()
        enter = self("enter-waiting-room")
        next_step = self("checkin-next")
        for _ in range(8):
            await expect(enter.or_(next_step).first).to_be_visible(timeout=PATIENCE_MS)
            if await enter.is_visible():
                break
            for consent in ("consent-visit", "consent-tool"):
                if await self(consent).count():
                    await self(consent).check()
            await _and_navigate(self.page, next_step.click())
        await enter.click()
        await expect(self("waiting-status")).to_be_visible(timeout=PATIENCE_MS)

    async def log_in(self, demo: Demo, who: str) -> None:
        """Log in as ``clinician``, ``other_clinician``, ``desk`` or ``manager``."""
        await self.page.goto(demo["base_url"] + "/login")
        await self("login-username").fill(demo[f"{who}_username"])
        await self("login-password").fill(demo[f"{who}_password"])
        await _and_navigate(self.page, self("login-submit").click())

    async def close(self) -> None:
        await self.own.close()


async def open_waiting_visit(demo: Demo, patient: Person, clinician: Person) -> None:
    """The patient waits, the clinician has opened the visit."""
    await patient.claim_and_check_in(demo)
    await clinician.log_in(demo, "clinician")
    row = clinician.page.locator('[data-testid="agenda-row"][data-state="waiting"]')
    await row.get_by_test_id("open-visit").click(timeout=PATIENCE_MS)
    await expect(clinician("admit")).to_be_enabled(timeout=PATIENCE_MS)


async def open_call(demo: Demo, patient: Person, clinician: Person) -> None:
    """Check in, open the visit, admit, and see each other."""
    await open_waiting_visit(demo, patient, clinician)
    await clinician("admit").click()
    for person in (patient, clinician):
        await person.sees_moving_picture()


async def _and_navigate(page: Page, act: Any) -> None:
    async with page.expect_navigation(wait_until="load"):
        await act


class Chromiums:
    """The Chromiums that the tests of one process share, one for each set of flags."""

    def __init__(self, playwright: Playwright, folder: Path) -> None:
        """``folder`` keeps what cameras and microphones give."""
        self._playwright = playwright
        self._folder = folder
        self._running: dict[tuple[str, ...], Browser] = {}

    async def find(self, *flags: str) -> Browser:
        """The running Chromium with these flags beside the usual ones."""
        browser = self._running.get(flags)
        if browser is None or not browser.is_connected():
            browser = self._running[flags] = await self._playwright.chromium.launch(
                executable_path=require_chromium_path(), args=[*FLAGS, *flags]
            )
        return browser

    async def open_person(
        self, *, colour: str, tone_hz: int, width: int = 1440, height: int = 900
    ) -> Person:
        """Somebody with a context of their own; the rest as in :func:`open_person`."""
        browser = await self.find(*make_devices(self._folder, colour, tone_hz))
        page, faults = await _open_page(browser, width, height)
        return Person(page.context, page, faults)

    async def clear(self) -> None:
        """Close what a test has left open."""
        for browser in self._running.values():
            for context in browser.contexts:
                await context.close()

    async def close(self) -> None:
        for browser in self._running.values():
            await browser.close()


async def open_person(
    playwright: Playwright,
    folder: Path,
    *,
    colour: str,
    tone_hz: int,
    width: int = 1440,
    height: int = 900,
    inside: Sequence[str] = (),
) -> Person:
    """Start a Chromium whose camera shows ``colour`` (red, green or blue) and whose microphone
    hears a tone; ``inside`` as in :func:`start_accanto`."""
    browser = await playwright.chromium.launch(
        executable_path=_wrap_chromium(folder / f"chromium-{colour}", inside),
        args=[*FLAGS, *make_devices(folder, colour, tone_hz)],
    )
    return Person(browser, *await _open_page(browser, width, height))


async def _open_page(browser: Browser, width: int, height: int) -> tuple[Page, list[str]]:
    """A page in a new context, and the list that its faults go to."""
    context = await browser.new_context(
        viewport={"width": width, "height": height},
        locale="it-IT",
        permissions=["camera", "microphone"],
    )
    page = await context.new_page()
    faults: list[str] = []
    page.on("pageerror", lambda error: faults.append(str(error)))
    page.on("console", lambda line: faults.append(line.text) if line.type == "error" else None)
    return page, faults


def _wrap_chromium(wrapper: Path, inside: Sequence[str]) -> str:
    if not inside:
        return require_chromium_path()
    wrapper.write_text(f'#!/bin/sh\nexec {shlex.join(inside)} {require_chromium_path()} "$@"\n')
    wrapper.chmod(0o755)
    return str(wrapper)


def require_chromium_path() -> str:
    """The path of Chromium, found once (the search starts a playwright of its own)."""
    global _chromium_path
    if _chromium_path is None:
        _chromium_path = subprocess.run(
            [
                sys.executable,
                "-c",
                "from tests.browser.chromium import *; print(require_chromium())",
            ],
            check=True,
            capture_output=True,
            text=True,
        ).stdout.strip()
    return _chromium_path


_chromium_path: str | None = None
