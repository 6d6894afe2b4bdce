"""Two people of a recording side by side in Chromium: one time line, gaps in words, no barriers."""

from __future__ import annotations

import asyncio
import re
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import pytest_asyncio
from axe_playwright_python.async_playwright import Axe
from playwright.async_api import Browser, Page, expect
from sqlalchemy import update

from server.db import Database
from server.keyring import Keyring
from server.models import RecordingTrack
from server.sealed import open_recordings
from server.settings import Settings
from tests.conftest import PASSWORD, Cast, MakeVisit
from tests.tracks import add_recording, make_film

VIEWS = [((360, 740), "it-IT"), ((1440, 900), "en-GB")]
SECONDS = 12.0
TOLERANCE_SECONDS = 0.45
"""From which on the player itself jumps."""
STATE = """() => Object.fromEntries([...document.querySelectorAll("[data-pane]")].map((pane) => {
  const video = pane.querySelector("video");
  return [pane.dataset.pane, {
    at: video.currentTime, isHidden: video.hidden, isPaused: video.paused, isSeeking: video.seeking,
    ready: video.readyState,
  }];
}))"""


async def inspect(page: Page) -> None:
    """No barrier that axe finds, and nothing wider than the screen."""
    results = await Axe().run(page)
    assert results.violations_count == 0, results.generate_snapshot()
    assert await page.evaluate("document.documentElement.scrollWidth <= innerWidth")


async def wait_until(page: Page, script: str) -> None:
    await page.wait_for_function(f"(state) => ({script})(({STATE})())", timeout=30_000)


async def line_to(page: Page, second: int) -> None:
    await page.get_by_test_id("line").evaluate(
        "(line, at) => { line.value = at; line.dispatchEvent(new Event('input')); }", second
    )


@pytest_asyncio.fixture(loop_scope="session")
async def recorded(
    database: Database, data_dir: Path, keyring: Keyring, cast: Cast, make_visit: MakeVisit
) -> str:
    """A recording of both: the clinician joins two seconds late, the patient has a gap."""
    visit = await make_visit(cast.toscana, start=datetime.now(UTC) - timedelta(hours=2))
    store = open_recordings(Settings(data_dir=data_dir))
    films = {
        "patient": await asyncio.to_thread(make_film, SECONDS, colour="#a33"),
        "clinician": await asyncio.to_thread(make_film, SECONDS - 2),
    }
    recording = await add_recording(
        database, keyring, store, visit, films, at=visit.appointment.start, duration_ms=10_000
    )
    async with database.begin(visit.organisation_id) as session:
        await session.execute(
            update(RecordingTrack)
            .where(RecordingTrack.recording_id == recording.id)
            .where(RecordingTrack.participant == "patient")
            .values(duration_ms=12_000, gaps=[[5_000, 7_000, "paused"]])
        )
    return recording.id


@pytest.mark.parametrize(("size", "language"), VIEWS)
async def test_a_clinician_watches_both_people_on_one_time_line(
    chromium: Browser, live_server: str, cast: Cast, recorded: str, tmp_path: Path,
    size: tuple[int, int], language: str,
) -> None:  # fmt: skip
    context = await chromium.new_context(
        viewport={"width": size[0], "height": size[1]}, locale=language
    )
    page = await context.new_page()
    page.set_default_timeout(30_000)
    await page.goto(f"{live_server}/login")
    await page.get_by_test_id("login-username").fill(cast.toscana.clinician.username)
    await page.get_by_test_id("login-password").fill(PASSWORD)
    await page.get_by_test_id("login-submit").click()
    await page.wait_for_url(re.compile("/agenda$"))

    await page.goto(f"{live_server}/recordings")
    await inspect(page)
    await page.screenshot(path=tmp_path / "list.png", full_page=True)
    await page.get_by_test_id("recording").get_by_role("link").click()
    await inspect(page)
    await page.screenshot(path=tmp_path / "purpose.png", full_page=True)
    await page.locator("label[for=view-care]").click()
    await page.get_by_test_id("begin-view").click()
    await page.wait_for_url(re.compile(f"/recordings/{recorded}/player$"))
    await expect(page.get_by_test_id("time")).to_have_text("0:00 / 0:12")
    await inspect(page)

    await expect(page.get_by_test_id("gap-clinician")).to_be_visible()
    await expect(page.get_by_test_id("missing").get_by_role("listitem")).to_have_count(2)
    await page.get_by_test_id("play").click()
    both = f"(s) => !s.patient.isHidden && !s.clinician.isHidden && s.clinician.at > 0.3 && Math.abs(s.patient.at - s.clinician.at - 2) < {TOLERANCE_SECONDS}"  # noqa: E501
    await wait_until(page, both)
    await page.keyboard.press("Escape")
    await page.locator("h1").click()
    await page.keyboard.press("Space")
    await wait_until(page, "(s) => s.patient.isPaused && s.clinician.isPaused")

    await line_to(page, 6)
    await expect(page.get_by_test_id("gap-patient")).to_be_visible()
    await expect(page.get_by_test_id("gap-clinician")).to_be_hidden()
    await page.screenshot(path=tmp_path / "gap.png", full_page=True)
    await inspect(page)
    await line_to(page, 9)
    await wait_until(
        page,
        "(s) => Math.abs(s.patient.at - 9) < 0.05 && Math.abs(s.clinician.at - 7) < 0.05"
        " && s.patient.ready >= 2 && s.clinician.ready >= 2",
    )
    await page.screenshot(path=tmp_path / "player.png", full_page=True)
    await page.keyboard.press("ArrowLeft")
    await expect(page.get_by_test_id("time")).to_have_text("0:04 / 0:12")
    await page.keyboard.press("Space")
    await wait_until(page, "(s) => s.patient.at > 7.2 && !s.patient.isHidden")
    await wait_until(page, both)
    await page.keyboard.press("End")
    await expect(page.get_by_test_id("time")).to_have_text("0:12 / 0:12")
    await expect(page.get_by_test_id("player-problem")).to_be_hidden()
    await context.close()


async def test_a_track_that_does_not_open_is_told(
    chromium: Browser, live_server: str, cast: Cast, recorded: str, data_dir: Path
) -> None:
    for stored in (data_dir / "store" / "recordings").iterdir():
        stored.write_bytes(stored.read_bytes()[:-7])
    page = await (await chromium.new_context()).new_page()
    page.set_default_timeout(30_000)
    await page.goto(f"{live_server}/login")
    await page.get_by_test_id("login-username").fill(cast.toscana.clinician.username)
    await page.get_by_test_id("login-password").fill(PASSWORD)
    await page.get_by_test_id("login-submit").click()
    await page.wait_for_url(re.compile("/agenda$"))
    await page.goto(f"{live_server}/recordings/{recorded}")
    await page.locator("label[for=view-claim]").click()
    await page.get_by_test_id("begin-view").click()

    await expect(page.get_by_test_id("player-problem")).to_be_visible()
    await inspect(page)
