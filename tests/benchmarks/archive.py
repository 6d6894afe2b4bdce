"""How long a seek in a recording of one hour takes until both people's pictures are there.

The player of the product, over sealed files, against a page with the two plain files from a bare
file server, in the same Chromium. The clock starts when the time line is moved and stops when the
browser has painted a frame of the new place in both pictures (``requestVideoFrameCallback``).
"""

from __future__ import annotations

import io
import os
import random
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import av
from playwright.async_api import Page, async_playwright
from sqlalchemy import select
from sqlalchemy.orm import joinedload

from server.db import EVERY_ORGANISATION, Database
from server.keyring import load_keyring
from server.models import Visit, VisitState
from server.sealed import open_recordings
from server.settings import load_settings
from tests.benchmarks.ground import Ground, make_ground
from tests.benchmarks.report import Goal, Report, Spread, percentile, ratios
from tests.benchmarks.targets import accanto_command, find_free_port, running
from tests.browser.actors import require_chromium_path
from tests.browser.chromium import FLAGS
from tests.tracks import SEATS, add_recording, make_film

_HOUR_SECONDS: Final = 3600
_LOOP_SECONDS: Final = 20
_BITS_PER_SECOND: Final = 500_000
_LIMIT_MS: Final = 1000
_READY_JS: Final = """() => {
  const videos = [...document.querySelectorAll("video")];
  return videos.length === 2 && videos.every((video) => video.readyState >= 1);
}"""
_SEEK_JS: Final = """async (second) => {
  const videos = [...document.querySelectorAll("video")];
  const offsets = (window.offsets ??= videos.map(() => 0));
  const painted = videos.map((video, place) => new Promise((done) => {
    const look = (_, { mediaTime }) => {
      if (Math.abs(mediaTime - second + offsets[place]) < 1) done();
      else video.requestVideoFrameCallback(look);
    };
    video.requestVideoFrameCallback(look);
  }));
  const began = performance.now();
  const line = document.querySelector("[data-hook=line]");
  line.value = second;
  line.dispatchEvent(new Event("input"));
  await Promise.all(painted);
  return performance.now() - began;
}"""
_FLOOR_PAGE: Final = """<!doctype html><input type="range" max="3600" data-hook="line">
<video src="/film.webm"></video><video src="/film.webm"></video><script>
document.querySelector("input").addEventListener("input", ({ target }) => {
  for (const video of document.querySelectorAll("video")) video.currentTime = target.value;
});</script>"""


async def measure(folder: Path, rounds: int) -> Report:
    port, floor_port = find_free_port(), find_free_port()
    plain = folder / "plain"
    plain.mkdir()
    (plain / "index.html").write_text(_FLOOR_PAGE)
    film = plain / "film.webm"
    make_hour(film)
    ground = await make_ground(folder / "data", port, 1, VisitState.WAITING)
    recording_id = await _record(ground, film)
    os.sync()  # else the first login that is kept waits for all that was just written
    serve_files = (sys.executable, "-m", "tests.benchmarks.floor.files", str(floor_port))
    times: dict[str, list[float]] = {"product": [], "floor": []}
    async with (
        running(accanto_command(ground.data_dir), port, folder / "accanto.log"),
        running((*serve_files, str(plain)), floor_port, folder / "floor.log"),
        _pages(ground, recording_id, floor_port) as pages,
    ):
        chance = random.Random(1)
        for number in range(rounds + 1):
            second = chance.randrange(10, _HOUR_SECONDS - 10)
            for name in pages if number % 2 else reversed(pages):
                await pages[name].bring_to_front()
                took = await pages[name].evaluate(_SEEK_JS, second)
                if number:
                    times[name].append(took)
    return _report(times, film.stat().st_size)


def make_hour(path: Path) -> None:
    """A short film over and over, with the times of one hour and the index before the frames, as
    in the files of the recorder."""
    loop = make_film(_LOOP_SECONDS, size=(640, 480), bit_rate=_BITS_PER_SECOND)
    with (
        av.open(io.BytesIO(loop)) as short,
        av.open(str(path), "w", format="webm", options={"cues_to_front": "1"}) as long,
    ):
        streams = {
            stream.index: long.add_stream_from_template(stream)
            for stream in (*short.streams.video, *short.streams.audio)
        }
        packets = [packet for packet in short.demux() if _is_inside(packet)]
        packets.sort(key=lambda packet: packet.dts * packet.time_base)
        for turn in range(_HOUR_SECONDS // _LOOP_SECONDS):
            for packet in packets:
                copy = av.Packet(bytes(packet))
                moment = packet.pts + int(turn * _LOOP_SECONDS / packet.time_base)
                copy.pts = copy.dts = moment
                copy.time_base, copy.is_keyframe = packet.time_base, packet.is_keyframe
                copy.stream = streams[packet.stream.index]
                long.mux(copy)


def _is_inside(packet: av.Packet) -> bool:
    """What begins before the film or ends with it would meet its neighbour."""
    if packet.pts is None:
        return False
    return bool(0 <= packet.pts * packet.time_base < _LOOP_SECONDS - 0.03)


async def _record(ground: Ground, film: Path) -> str:
    settings = load_settings(ground.data_dir)
    database, keyring = Database(settings.database), load_keyring(ground.data_dir)
    async with database.read(EVERY_ORGANISATION) as session:
        visit = await session.scalar(select(Visit).options(joinedload(Visit.appointment)))
    if visit is None:
        raise RuntimeError("the ground has no visit")
    contents = dict.fromkeys(SEATS, film.read_bytes())
    recording = await add_recording(
        database, keyring, open_recordings(settings), visit, contents,
        at=datetime.now(UTC), duration_ms=_HOUR_SECONDS * 1000,
    )  # fmt: skip
    await database.close()
    return recording.id


@asynccontextmanager
async def _pages(
    ground: Ground, recording_id: str, floor_port: int
) -> AsyncIterator[dict[str, Page]]:
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(
            executable_path=require_chromium_path(), args=list(FLAGS)
        )
        product = await browser.new_page()
        session = {"name": "session", "value": ground.clinician_token, "url": ground.base_url}
        await product.context.add_cookies([session])
        await product.goto(f"{ground.base_url}/recordings/{recording_id}")
        await product.locator("label[for=view-care]").click()
        await product.get_by_test_id("begin-view").click()
        await product.wait_for_function(_READY_JS)
        await product.evaluate(
            "() => { window.offsets = [...document.querySelectorAll('[data-pane]')]"
            ".map((pane) => pane.dataset.pane === 'clinician' ? 2 : 0); }"
        )
        floor = await browser.new_page()
        await floor.goto(f"http://127.0.0.1:{floor_port}/index.html")
        await floor.wait_for_function(_READY_JS)
        yield {"product": product, "floor": floor}
        await browser.close()


def _report(times: dict[str, list[float]], size: int) -> Report:
    product, floor = times["product"], times["floor"]
    ratio = ratios(product, floor).median
    report = Report(
        "archive",
        "archive: a seek in an hour of two people, until both pictures are there (ms)",
        ("who", "median [quartiles]", "95 %", "longest", "against plain files"),
    )
    for name, samples in times.items():
        told = f"ratio {ratio if name == 'product' else 1:.2f}x"
        spread = Spread(samples)
        longest = f"{max(samples):.0f}"
        report.rows.append((name, spread.text(0), f"{percentile(samples, 95):.0f}", longest, told))
        report.figures[name] = spread.content()
    report.goals = [Goal("the longest seek, ms", max(product), _LIMIT_MS)]
    report.notes = [f"each of the two sealed files has {size / 2**20:.0f} MiB"]
    return report
