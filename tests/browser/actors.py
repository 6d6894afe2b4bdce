"""People for the browser tests: each is one Chromium process with a camera colour and a tone.

They touch pages by test id only, as the issue of the first visit asks.
"""

from __future__ import annotations

import asyncio
import json
import math
import os
import shlex
import signal
import struct
import subprocess
import sys
import wave
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from playwright.async_api import Browser, Page, Playwright, expect

from tests.browser.chromium import FLAGS

_WIDTH, _HEIGHT, _FRAMES = 320, 240, 10
_SAMPLE_RATE: Final = 48_000
_START_SECONDS: Final = 120
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
    return await asyncio.wait_for(process.wait(), 20)


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
    """One browser process with its page."""

    def __init__(self, browser: Browser, page: Page, faults: list[str]) -> None:
        self.browser = browser
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
        await self.browser.close()


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
    video, sound = folder / f"{colour}.y4m", folder / f"{tone_hz}.wav"
    _write_video(video, colour)
    _write_tone(sound, tone_hz)
    browser = await playwright.chromium.launch(
        executable_path=_wrap_chromium(folder / f"chromium-{colour}", inside),
        args=[
            *FLAGS,
            f"--use-file-for-fake-video-capture={video}",
            f"--use-file-for-fake-audio-capture={sound}",
        ],
    )
    context = await browser.new_context(
        viewport={"width": width, "height": height},
        locale="it-IT",
        permissions=["camera", "microphone"],
    )
    page = await context.new_page()
    faults: list[str] = []
    page.on("pageerror", lambda error: faults.append(str(error)))
    page.on("console", lambda line: faults.append(line.text) if line.type == "error" else None)
    return Person(browser, page, faults)


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

_YUV: Final = {"red": (81, 90, 240), "green": (145, 54, 34), "blue": (41, 240, 110)}


def _write_video(path: Path, colour: str) -> None:
    y, u, v = _YUV[colour]
    header = f"YUV4MPEG2 W{_WIDTH} H{_HEIGHT} F20:1 Ip A1:1 C420jpeg\n".encode()
    quarter = _WIDTH * _HEIGHT // 4
    frame = b"FRAME\n" + bytes([y]) * (4 * quarter) + bytes([u]) * quarter + bytes([v]) * quarter
    path.write_bytes(header + frame * _FRAMES)


def _write_tone(path: Path, hertz: int) -> None:
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(_SAMPLE_RATE)
        file.writeframes(
            b"".join(
                struct.pack("<h", int(12_000 * math.sin(2 * math.pi * hertz * n / _SAMPLE_RATE)))
                for n in range(_SAMPLE_RATE)
            )
        )
