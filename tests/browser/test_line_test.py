"""The whole test of the line in Chromium, against a real server with a real echo leg."""

from __future__ import annotations

import json
import socket
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import msgspec
import pytest
import pytest_asyncio
from aiohttp import web
from axe_playwright_python.async_playwright import Axe
from playwright.async_api import Browser, BrowserContext, Page, expect

from server.app import create_app
from server.db import Database
from server.keyring import Keyring
from server.models import LineTest, Visit
from server.readiness import Problem, Result, Step, load_newest_tests, problems_of, steps_of
from server.settings import Settings
from tests.browser.actors import Chromiums
from tests.browser.test_booking_pages import claim
from tests.browser.test_desk_pages import inspect as inspect_desk
from tests.browser.test_desk_pages import open_page
from tests.conftest import Cast, MakeVisit
from tests.patients import link_of

PATIENCE_MS = 60_000
HERE = "127.0.0.1"
SCREENS = [("it-IT", 360, 740), ("en-GB", 1440, 900), ("it-IT", 320, 640)]


@pytest_asyncio.fixture(loop_scope="session")
async def chromium(chromiums: Chromiums) -> AsyncIterator[Browser]:
    """A Chromium that meets a leg on this machine."""
    yield await chromiums.find("--allow-loopback-in-peer-connection")
    await chromiums.clear()


@pytest_asyncio.fixture(loop_scope="session")
async def live_server(database_url: str, data_dir: Path, keyring: Keyring) -> AsyncIterator[str]:
    listener = socket.create_server((HERE, 0))
    origin = f"http://{HERE}:{listener.getsockname()[1]}"
    settings = Settings(
        data_dir=data_dir, database_url=database_url, base_url=origin, media_address=HERE
    )
    runner = web.AppRunner(create_app(settings), access_log=None, shutdown_timeout=1)
    await runner.setup()
    await web.SockSite(runner, listener).start()
    yield origin
    await runner.cleanup()


@pytest_asyncio.fixture(loop_scope="session")
async def visit(cast: Cast, make_visit: MakeVisit) -> Visit:
    return await make_visit(cast.toscana, start=datetime.now(UTC) + timedelta(hours=20))


@pytest_asyncio.fixture(loop_scope="session")
async def address(live_server: str, database: Database, keyring: Keyring, visit: Visit) -> str:
    link = await link_of(database, keyring, visit)
    return f"{live_server}/v/{visit.locator}#{link.fragment}"


async def open_telephone(
    chromium: Browser, language: str = "it-IT", width: int = 360, height: int = 740,
    permissions: tuple[str, ...] = ("camera", "microphone"),
) -> BrowserContext:  # fmt: skip
    context = await chromium.new_context(
        locale=language, viewport={"width": width, "height": height}
    )
    await context.grant_permissions(list(permissions))
    context.set_default_timeout(PATIENCE_MS)
    return context


async def inspect(page: Page) -> None:
    """No barrier that axe finds, nothing wider than the screen, nothing too small to touch."""
    results = await Axe().run(page)
    assert results.violations_count == 0, results.generate_snapshot()
    assert await page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    for button in await page.locator("main .btn:visible").all():
        box = await button.bounding_box()
        assert box is not None
        assert box["height"] >= 48


async def load_newest(database: Database, visit: Visit) -> LineTest:
    async with database.read(visit.organisation_id) as session:
        return (await load_newest_tests(session, [visit.id]))[visit.id]


async def open_test(context: BrowserContext, address: str) -> Page:
    """The page of the test, from the link of the message."""
    page = await context.new_page()
    await claim(page, address)
    await page.goto(address.split("#")[0] + "/line-test")
    return page


async def hear_music(page: Page) -> None:
    await page.get_by_test_id("sound-yes").click()


@pytest.mark.timeout(240)
@pytest.mark.parametrize(("language", "width", "height"), SCREENS)
async def test_a_good_line_is_said_to_be_good(
    chromium: Browser, address: str, visit: Visit, database: Database,
    language: str, width: int, height: int,
) -> None:  # fmt: skip
    context = await open_telephone(chromium, language, width, height)
    page = await open_test(context, address)
    faults: list[str] = []
    page.on("pageerror", lambda fault: faults.append(str(fault)))
    await inspect(page)

    await page.get_by_test_id("line-start").click()
    await expect(page.get_by_test_id("sound-yes")).to_be_visible(timeout=PATIENCE_MS)
    await inspect(page)
    await hear_music(page)
    row = page.get_by_test_id("line-step-line")
    await expect(row).to_have_attribute("data-state", "running", timeout=PATIENCE_MS)
    await inspect(page)
    await expect(page.get_by_test_id("line-verdict")).to_be_visible(timeout=PATIENCE_MS)
    await inspect(page)

    newest = await load_newest(database, visit)
    steps = steps_of(newest)
    assert set(problems_of(newest)) <= {Problem.LINE_WEAK}  # a busy machine is a weak line
    assert {step: report.result for step, report in steps.items()} == dict.fromkeys(
        set(Step) - {Step.RELAY_UDP, Step.RELAY_TCP, Step.RELAY_TLS}, Result.OK
    )
    line = msgspec.structs.asdict(steps[Step.LINE])
    assert [name for name, figure in line.items() if figure is None] == []
    assert newest.browser == "chrome"
    assert faults == []
    await context.close()


@pytest.mark.timeout(240)
async def test_who_has_no_camera_and_hears_nothing_is_told_what_to_do(
    chromium: Browser, address: str, visit: Visit, database: Database
) -> None:
    context = await open_telephone(chromium)
    await context.add_init_script(
        """navigator.mediaDevices.getUserMedia = () =>
             Promise.reject(new DOMException("", "NotAllowedError"));"""
    )
    page = await open_test(context, address)
    await page.get_by_test_id("line-start").click()
    await page.get_by_test_id("sound-no").click()
    await expect(page.get_by_test_id("line-problem")).to_have_count(3, timeout=PATIENCE_MS)
    await inspect(page)
    await expect(page.get_by_role("main").get_by_role("link", name="055")).to_be_visible(
        timeout=PATIENCE_MS
    )

    newest = await load_newest(database, visit)
    assert problems_of(newest) == (Problem.CAMERA, Problem.MICROPHONE, Problem.LOUDSPEAKER)
    assert steps_of(newest)[Step.LINE].result is Result.OK
    await context.close()


@pytest.mark.long
@pytest.mark.timeout(240)
async def test_a_relay_that_nobody_reaches_and_a_full_house(
    chromium: Browser, live_server: str, address: str, visit: Visit, database: Database
) -> None:
    """The relay does not answer; all places of the echo are taken: that is nobody's fault."""
    context = await open_telephone(chromium)
    page = await open_test(context, address)
    dead = {"urls": [f"turn:{HERE}:9?transport=tcp"], "username": "1:x", "credential": "y"}
    await page.route("**/line-test/servers", lambda route: route.fulfill(json={"servers": [dead]}))
    await page.route(
        "**/line-test/echo",
        lambda route: route.fulfill(status=429, json={"code": "too_many_attempts"}),
    )
    await page.get_by_test_id("line-start").click()
    await hear_music(page)
    await expect(page.get_by_test_id("line-verdict")).to_be_visible(timeout=PATIENCE_MS)

    newest = await load_newest(database, visit)
    assert problems_of(newest) == (Problem.RELAY,)
    assert steps_of(newest)[Step.RELAY_TCP].result is Result.FAILED
    assert steps_of(newest)[Step.LINE].result is Result.SKIPPED
    await context.close()


@pytest.mark.parametrize("size", ["360 px", "1440 px"])
async def test_the_red_list_and_its_visit_have_no_barriers(
    chromium: Browser, live_server: str, cast: Cast, visit: Visit, database: Database, size: str
) -> None:
    steps = {"line": {"result": "ok", "up_kilobits": 90.5, "up_loss_percent": 0.4}}
    async with database.begin(visit.organisation_id) as session:
        session.add(
            LineTest(
                organisation_id=visit.organisation_id,
                visit_id=visit.id,
                taken_at=datetime.now(UTC),
                steps=json.dumps(steps),
                problems='["line_weak"]',
                browser="safari",
            )
        )
    page = await open_page(chromium, live_server, cast.toscana.desk, size=size)
    await page.get_by_test_id("desk-list-line").click()
    await expect(page.get_by_test_id("desk-row-phone")).to_be_visible()
    await inspect_desk(page)
    await page.get_by_test_id("desk-filter-line_missing").click()
    await expect(page.get_by_test_id("desk-row")).to_have_count(0)
    await page.get_by_test_id("desk-filter-line_failed").click()
    await page.get_by_test_id("desk-row").get_by_role("link").first.click()
    await expect(page.get_by_test_id("desk-line-test")).to_contain_text("90 kbit/s")
    await inspect_desk(page)
    await page.context.close()
