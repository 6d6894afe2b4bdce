"""How long after the admit click each side sees the other's first frame, against a floor.

The real pages of the product and two bare pre-connected pages take turns in the same two Chromium
processes. The clock starts in the click's event and stops when the browser has painted a frame
of the remote video (``requestVideoFrameCallback``); both pages read the clock of one machine.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from playwright.async_api import Browser, Page, async_playwright, expect

from server.models import VisitState
from tests.benchmarks.ground import Ground, GroundVisit, make_ground
from tests.benchmarks.report import Goal, Report, Spread, ratios
from tests.benchmarks.targets import accanto_command, find_free_port, relay_command, running
from tests.browser.actors import PATIENCE_MS, require_chromium_path
from tests.browser.chromium import FLAGS

CALM_MS: Final = 1000
"""Between the connection and the click: what opening the pages has started is over."""

_WATCH_JS: Final = """(() => {
  const watch = { clickedAt: 0, paintedAt: 0, connections: [] };
  const Native = window.RTCPeerConnection;
  window.RTCPeerConnection = class extends Native {
    constructor(...given) {
      super(...given);
      watch.connections.push(this);
    }
  };
  document.addEventListener("click", ({ target }) => {
    if (target.closest('[data-testid="admit"]')) watch.clickedAt = Date.now();
  }, true);
  watch.awaitFrame = () => {
    const video = document.querySelector('[data-testid="remote-video"]');
    video.requestVideoFrameCallback(() => { watch.paintedAt = Date.now(); });
  };
  window.__watch = watch;
})()"""
_IS_CONNECTED_JS: Final = (
    "() => __watch.connections.some(({ connectionState }) => connectionState === 'connected')"
)


@dataclass(slots=True)
class Times:
    """Milliseconds from the click to the first frame."""

    patient: list[float] = field(default_factory=list)
    clinician: list[float] = field(default_factory=list)


async def measure(folder: Path, rounds: int) -> Report:
    port, floor_port = find_free_port(), find_free_port()
    ground = await make_ground(folder / "data", port, rounds + 1, VisitState.WAITING)
    product, floor = Times(), Times()
    async with (
        running(accanto_command(ground.data_dir), port, folder / "accanto.log"),
        running(relay_command(floor_port), floor_port, folder / "relay.log"),
        two_browsers() as (patients, clinicians),
    ):
        for number, visit in enumerate(ground.visits):
            turns = [
                (product, lambda visit=visit: _open_product(patients, clinicians, ground, visit)),
                (floor, lambda room=number: _open_floor(patients, clinicians, floor_port, room)),
            ]
            for times, opened in turns if number % 2 else reversed(turns):
                async with opened() as (patient, clinician):
                    await _measure_admission(patient, clinician, times if number else Times())
    return _report(product, floor)


@asynccontextmanager
async def two_browsers() -> AsyncIterator[tuple[Browser, Browser]]:
    """One process for the patients' pages and one for the clinicians'."""
    async with async_playwright() as playwright:
        path = require_chromium_path()
        browsers = [
            await playwright.chromium.launch(executable_path=path, args=list(FLAGS))
            for _ in range(2)
        ]
        yield browsers[0], browsers[1]
        for browser in browsers:
            await browser.close()


@asynccontextmanager
async def _page(browser: Browser, cookie: dict[str, str] | None = None) -> AsyncIterator[Page]:
    context = await browser.new_context(
        locale="it-IT",
        permissions=["camera", "microphone"],
        viewport={"width": 1280, "height": 800},
    )
    await context.add_init_script(_WATCH_JS)
    if cookie:
        await context.add_cookies([cookie])
    yield await context.new_page()
    await context.close()


@asynccontextmanager
async def _open_product(
    patients: Browser, clinicians: Browser, ground: Ground, visit: GroundVisit
) -> AsyncIterator[tuple[Page, Page]]:
    base = ground.base_url
    device = {"name": f"visit-{visit.locator}", "value": visit.device_token, "url": base}
    session = {"name": "session", "value": ground.clinician_token, "url": base}
    async with _page(patients, device) as patient, _page(clinicians, session) as clinician:
        await patient.goto(f"{base}/v/{visit.locator}/room")
        await clinician.goto(f"{base}/visits/{visit.id}")
        yield patient, clinician


@asynccontextmanager
async def _open_floor(
    patients: Browser, clinicians: Browser, port: int, room: int
) -> AsyncIterator[tuple[Page, Page]]:
    address = f"http://127.0.0.1:{port}/floor/index.html?room={room}&role="
    async with _page(patients) as patient, _page(clinicians) as clinician:
        await patient.goto(address + "patient")
        await patient.wait_for_selector('html[data-state="waiting"]', timeout=PATIENCE_MS)
        await clinician.goto(address + "clinician")
        yield patient, clinician


async def _measure_admission(patient: Page, clinician: Page, times: Times) -> None:
    admit = clinician.get_by_test_id("admit")
    await expect(admit).to_be_enabled(timeout=PATIENCE_MS)
    for page in (patient, clinician):
        await page.wait_for_function(_IS_CONNECTED_JS, timeout=PATIENCE_MS)
        await page.evaluate("() => __watch.awaitFrame()")
    await clinician.wait_for_timeout(CALM_MS)
    await admit.click()
    for page in (patient, clinician):
        await page.wait_for_function("() => __watch.paintedAt", timeout=PATIENCE_MS)
    clicked_at = await clinician.evaluate("() => __watch.clickedAt")
    times.patient.append(await patient.evaluate("() => __watch.paintedAt") - clicked_at)
    times.clinician.append(await clinician.evaluate("() => __watch.paintedAt") - clicked_at)


def _report(product: Times, floor: Times) -> Report:
    report = Report(
        "admit",
        f"admit: click to the first remote frame, {len(product.patient)} samples each "
        "(median [quartiles])",
        ("side", "Accanto ms", "floor ms", "median ÷ median", "÷ by round"),
    )
    sides = (
        ("patient sees the clinician", "patient", product.patient, floor.patient),
        ("clinician sees the patient", "clinician", product.clinician, floor.clinician),
    )
    for words, name, ours, bare in sides:
        ratio = Spread(ours).median / Spread(bare).median
        by_round = ratios(ours, bare)
        report.rows.append(
            (words, Spread(ours).text(0), Spread(bare).text(0), f"{ratio:.2f}", by_round.text())
        )
        report.goals.append(Goal(f"{words} ÷ floor", ratio, 1.3))
        report.figures[name] = {
            "product_ms": Spread(ours).content(),
            "floor_ms": Spread(bare).content(),
            "ratio_by_round": by_round.content(),
        }
    return report
