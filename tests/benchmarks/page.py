"""What a patient's telephone loads when the link is opened for the first time: bytes and requests.

Counted by Chromium itself as they come over the wire, headers included, with an empty cache;
then once more with what the first time has left in the cache.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

from playwright.async_api import BrowserContext, async_playwright

from server.models import VisitState
from tests.benchmarks.ground import make_ground
from tests.benchmarks.report import Goal, Report, Spread, ratios
from tests.benchmarks.targets import accanto_command, find_free_port, running
from tests.browser.actors import require_chromium_path
from tests.browser.chromium import FLAGS

LIMIT_KILOBYTES: Final = 200
TELEPHONE: Final = {"width": 360, "height": 740}


@dataclass
class Visit:
    """One opening of the page. Without slots: playwright marks whom its events go to."""

    addresses: list[str] = field(default_factory=list)
    kinds: dict[str, str] = field(default_factory=dict)
    """Request id → kind of resource."""
    wire_bytes: Counter[str] = field(default_factory=Counter)
    """By kind, as received."""
    plain_bytes: int = 0

    @property
    def kilobytes(self) -> float:
        return self.wire_bytes.total() / 1000

    def on_request(self, event: dict[str, Any]) -> None:
        address = event["request"]["url"]
        self.kinds[event["requestId"]] = event.get("type", "Other")
        if not address.startswith(("data:", "blob:")):
            self.addresses.append(address)

    def on_data(self, event: dict[str, Any]) -> None:
        self.plain_bytes += event["dataLength"]

    def on_finished(self, event: dict[str, Any]) -> None:
        kind = self.kinds.get(event["requestId"], "Other")
        self.wire_bytes[kind] += event["encodedDataLength"]


async def measure(folder: Path, rounds: int) -> Report:
    port = find_free_port()
    ground = await make_ground(folder / "data", port, rounds, VisitState.BOOKED)
    cold: list[Visit] = []
    warm: list[Visit] = []
    async with (
        running(accanto_command(ground.data_dir), port, folder / "accanto.log"),
        async_playwright() as playwright,
    ):
        browser = await playwright.chromium.launch(
            executable_path=require_chromium_path(), args=list(FLAGS)
        )
        for visit in ground.visits:
            address = f"{ground.base_url}/v/{visit.locator}#{visit.fragment}"
            context = await browser.new_context(viewport=TELEPHONE, locale="it-IT")
            cold.append(await _open(context, address))
            warm.append(await _open(context, address))
            await context.close()
        await browser.close()
    return _report(cold, warm, ground.base_url)


async def _open(context: BrowserContext, address: str) -> Visit:
    page = await context.new_page()
    visit = Visit()
    wire = await context.new_cdp_session(page)
    wire.on("Network.requestWillBeSent", visit.on_request)
    wire.on("Network.dataReceived", visit.on_data)
    wire.on("Network.loadingFinished", visit.on_finished)
    await wire.send("Network.enable")
    await page.goto(address, wait_until="networkidle")
    await page.close()
    return visit


def _report(cold: list[Visit], warm: list[Visit], base_url: str) -> Report:
    report = Report(
        "page",
        f"page: the patient's first page, {len(cold)} openings each (median [quartiles])",
        ("page", "kB on the wire", "÷ cold cache", "÷ uncompressed", "requests"),
    )
    anchors = [visit.kilobytes for visit in cold]
    for name, visits in (("cold cache", cold), ("warm cache", warm)):
        size = Spread([visit.kilobytes for visit in visits])
        by_cold = ratios(size.samples, anchors)
        by_plain = ratios(size.samples, [visit.plain_bytes / 1000 or 1 for visit in visits])
        requests = Spread([len(visit.addresses) for visit in visits])
        report.rows.append((name, size.text(1), by_cold.text(), by_plain.text(), requests.text(0)))
        report.figures[name] = {
            "kilobytes": size.content(),
            "requests": requests.content(),
            "by_kind": dict(visits[-1].wire_bytes),
        }
    parts = ", ".join(
        f"{kind.lower()} {size / 1000:.1f}" for kind, size in cold[-1].wire_bytes.most_common()
    )
    report.notes.append(f"cold, kB by kind: {parts}")
    own = urlsplit(base_url).netloc
    foreign = {
        address
        for visit in [*cold, *warm]
        for address in visit.addresses
        if urlsplit(address).netloc != own
    }
    report.goals = [
        Goal("kB of the first page", Spread(anchors).median, LIMIT_KILOBYTES),
        Goal("addresses on other hosts", len(foreign), 0),
    ]
    return report
