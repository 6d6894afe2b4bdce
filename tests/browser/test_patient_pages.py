"""The patient's pages in Chromium: the link, the robot that opens it first, the four steps."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from datetime import UTC, date, datetime, timedelta

import pytest
import pytest_asyncio
from axe_playwright_python.async_playwright import Axe
from playwright.async_api import Browser, BrowserContext, Page, expect
from sqlalchemy import func, select

from server.db import Database
from server.joinlink import JoinLink
from server.keyring import Keyring
from server.models import CheckIn, Device, Visit
from server.sealed import Identity, open_answers
from tests.conftest import Cast, MakeVisit
from tests.patients import link_of, load_visit

BIRTH_DATE = "12/03/1948"
LONG_NAME = Identity(
    family_name="Della Gherardesca-Sforza",
    given_name="Maria Antonietta",
    birth_date=date(1948, 3, 12),
    address="Via dei Serragli 12, Firenze",
)
WCAG = {"runOnly": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa"]}
PATIENCE_MS = 45_000
NO_CAMERA = """() => {
  navigator.mediaDevices.getUserMedia = async () => {
    throw new DOMException("", "NotAllowedError");
  };
}"""
CLICK_EVERYTHING = """() => setTimeout(() => {
  for (const element of document.querySelectorAll("button, a, summary, input, label")) {
    if (!element.closest("header")) element.click();
  }
  for (const form of document.forms) form.requestSubmit();
})"""


@pytest_asyncio.fixture(loop_scope="session")
async def visit(cast: Cast, make_visit: MakeVisit) -> Visit:
    start = datetime.now(UTC) + timedelta(minutes=20)
    return await make_visit(cast.toscana, identity=LONG_NAME, start=start)


@pytest_asyncio.fixture(loop_scope="session")
async def link(database: Database, keyring: Keyring, visit: Visit) -> JoinLink:
    return await link_of(database, keyring, visit)


@pytest.fixture
def address(live_server: str, visit: Visit, link: JoinLink) -> str:
    """What is in the patient's message."""
    return f"{live_server}/v/{visit.locator}#{link.fragment}"


@pytest_asyncio.fixture(loop_scope="session")
async def telephone(chromium: Browser) -> AsyncIterator[BrowserContext]:
    context = await chromium.new_context(
        locale="it-IT",
        viewport={"width": 360, "height": 740},
        permissions=["camera", "microphone", "clipboard-read", "clipboard-write"],
    )
    yield context
    await context.close()


async def claim(page: Page, address: str) -> None:
    await page.goto(address)
    await page.get_by_test_id("claim-birth-date").fill(BIRTH_DATE)
    await page.get_by_test_id("claim-submit").click()
    await page.wait_for_url("**/check-in/who", timeout=PATIENCE_MS)


async def go_on(page: Page, step: str) -> None:
    await page.get_by_test_id("checkin-next").click()
    await page.wait_for_url(f"**/check-in/{step}")


async def inspect(page: Page) -> None:
    """No barrier that axe finds, nothing wider than the screen, nothing too small to touch."""
    results = await Axe().run(page, options=WCAG)
    assert results.violations_count == 0, results.generate_snapshot()
    assert await page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    for button in await page.locator("main .btn:visible").all():
        box = await button.bounding_box()
        assert box is not None
        assert box["height"] >= 48


async def count_devices(database: Database, visit: Visit) -> int:
    async with database.read(visit.organisation_id) as session:
        return (await session.scalar(select(func.count()).select_from(Device))) or 0


# ---- the whole way ---------------------------------------------------------------------


@pytest.mark.parametrize(
    ("language", "width", "height"),
    [("it-IT", 360, 740), ("en-GB", 1440, 900), ("it-IT", 320, 640)],
)
async def test_every_page_is_accessible_and_fits(
    chromium: Browser, address: str, language: str, width: int, height: int
) -> None:
    context = await chromium.new_context(
        locale=language, viewport={"width": width, "height": height}
    )
    await context.grant_permissions(["camera", "microphone"])
    page = await context.new_page()
    faults: list[str] = []
    page.on("pageerror", lambda fault: faults.append(str(fault)))

    await page.goto(address)
    await inspect(page)
    await claim(page, address)
    await page.locator("summary").click()
    await inspect(page)
    await go_on(page, "consents")
    await page.get_by_test_id("checkin-next").click()
    await expect(page.get_by_role("alert")).to_be_visible()
    for summary in await page.locator("summary").all():
        await summary.click()
    await inspect(page)
    await page.get_by_test_id("consent-visit").check()
    await page.get_by_test_id("consent-tool").check()
    await go_on(page, "devices")
    await page.get_by_test_id("device-start").click()
    await page.get_by_test_id("play-sound").click()
    await inspect(page)
    await go_on(page, "place")
    await page.get_by_test_id("checkin-address").fill("")
    await page.get_by_test_id("checkin-next").click()
    await expect(page.get_by_role("alert")).to_be_visible()
    await inspect(page)
    await page.get_by_test_id("checkin-address").fill("Via Roma 1")
    await go_on(page, "ready")
    await expect(page.get_by_test_id("enter-waiting-room")).to_be_visible()
    await inspect(page)
    await page.locator("summary").click()
    await page.get_by_test_id("withdraw-consents").click()
    await page.wait_for_url("**/in-person")
    await inspect(page)
    assert faults == []
    await context.close()


async def test_text_of_twice_the_size_loses_nothing(
    telephone: BrowserContext, address: str
) -> None:
    page = await telephone.new_page()
    await claim(page, address)
    await go_on(page, "consents")

    await page.evaluate("document.documentElement.style.fontSize = '200%'")

    wide = await page.evaluate(
        """() => [...document.querySelectorAll("*")]
          .filter((element) => element.getBoundingClientRect().right > innerWidth)
          .map((element) => element.outerHTML.slice(0, 90))"""
    )
    assert wide == []


# ---- the link --------------------------------------------------------------------------


async def test_secret_leaves_the_address_at_once_and_is_kept_nowhere(
    telephone: BrowserContext, live_server: str, visit: Visit, link: JoinLink, address: str
) -> None:
    page = await telephone.new_page()
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url + str(request.headers)))

    await page.goto(address)
    await expect(page.get_by_test_id("claim-submit")).to_be_enabled()

    assert page.url == f"{live_server}/v/{visit.locator}"
    kept = await page.evaluate(
        "async () => JSON.stringify([history.state, {...localStorage}, {...sessionStorage}, "
        "document.cookie, await indexedDB.databases(), document.documentElement.outerHTML])"
    )
    assert link.secret not in kept
    assert link.secret not in "".join(asked)


async def test_nothing_is_sent_before_a_person_presses(
    telephone: BrowserContext, address: str
) -> None:
    page = await telephone.new_page()
    posts: list[str] = []
    page.on("request", lambda request: request.method == "POST" and posts.append(request.url))
    await page.goto(address)
    await expect(page.get_by_test_id("claim-submit")).to_be_enabled()

    await page.evaluate(
        """(date) => {
          document.querySelector('[data-testid="claim-birth-date"]').value = date;
          document.querySelector('[data-hook="claim-form"]').requestSubmit();
          document.querySelector('[data-testid="claim-submit"]').click();
        }""",
        BIRTH_DATE,
    )
    await page.evaluate("new Promise((resolve) => requestAnimationFrame(resolve))")

    assert posts == []


@pytest.mark.long
async def test_mangled_links_still_work(
    telephone: BrowserContext, live_server: str, visit: Visit, link: JoinLink, address: str
) -> None:
    locator, fragment = visit.locator, link.fragment
    mangled = [
        f"/v/{locator.upper()}#{fragment.upper()}",
        f"/V/{locator.upper()}#{fragment.upper()}",
        f"/v/{locator}#{fragment}.",
        f"/v/{locator}#{fragment})",
        f"/v/{locator}#{fragment}>",
        f"/v/{locator}#{fragment},",
        f"/v/{locator}#{fragment}%20",
        f"/v/{locator}#%20{fragment}",
        f"/v/{locator}##{fragment}",
        f"/v/{locator}/#{fragment}",
        f"/v/{locator}?utm_source=sms#{fragment}",
        f"/v/{locator}?utm_source=sms&utm_campaign=x#{fragment}",
        f"/v/{locator}#{fragment}?utm_source=sms",
        f"/v/{locator}#{fragment}&utm_source=sms",
        f"/v/{locator}%23{fragment}",
        f"/v/{locator}%2523{fragment}",
        f"/v/{locator}%23{fragment}.",
        f"/v/{locator}{fragment}",
        f"/v/{locator}#{fragment[:13]}-{fragment[13:]}",
        f"/v/{locator}#{fragment[:13]}%0A{fragment[13:]}",
        f"/v/{locator}#{fragment.replace('0', 'O').replace('1', 'l')}",
    ]
    sent: list[str] = []

    for path in mangled:
        page = await telephone.new_page()
        await page.route("**/api/join", lambda route: route.abort())
        page.on("request", lambda request: request.post_data and sent.append(request.post_data))
        await page.goto(live_server + path)
        await page.get_by_test_id("claim-birth-date").fill(BIRTH_DATE)
        await page.get_by_test_id("claim-submit").click()
        await expect(page.locator('[data-hook="claim-words"]')).to_contain_text("internet")
        await page.close()

    bodies = [json.loads(body) for body in sent]
    read = [body["secret"].lower().replace("o", "0").replace("l", "1") for body in bodies]
    assert read == [fragment] * len(mangled)
    assert {body["locator"] for body in bodies} == {locator}


@pytest.mark.parametrize("kept", [0, 5, 26])
async def test_a_cut_link_says_so_and_the_code_opens(
    telephone: BrowserContext,
    live_server: str,
    visit: Visit,
    link: JoinLink,
    database: Database,
    kept: int,
) -> None:
    page = await telephone.new_page()
    await page.goto(f"{live_server}/v/{visit.locator}#{link.fragment[:kept]}")
    await page.get_by_test_id("claim-birth-date").fill(BIRTH_DATE)
    await page.get_by_test_id("claim-submit").click()
    await expect(page.get_by_test_id("claim-code")).to_be_visible()
    assert (await load_visit(database, visit)).failed_claims == 0

    await page.get_by_test_id("claim-code").fill(link.spoken_code)
    await page.get_by_test_id("claim-submit").click()

    await page.wait_for_url("**/check-in/who")


async def test_the_code_opens_from_paper(
    telephone: BrowserContext, live_server: str, visit: Visit, link: JoinLink
) -> None:
    page = await telephone.new_page()
    await page.goto(f"{live_server}/v")
    await inspect(page)

    await page.get_by_test_id("claim-locator").fill(visit.locator.upper())
    await page.get_by_test_id("claim-code").fill(link.spoken_code.lower())
    await page.get_by_test_id("claim-birth-date").fill("12031948")
    await page.get_by_test_id("claim-submit").click()

    await page.wait_for_url("**/check-in/who")


async def test_a_claimed_link_goes_straight_on(
    telephone: BrowserContext, address: str, link: JoinLink
) -> None:
    page = await telephone.new_page()
    await claim(page, address)

    await page.goto("about:blank")
    await page.goto(address)

    await page.wait_for_url("**/check-in/who#main")
    assert link.secret not in page.url


async def test_a_change_of_language_keeps_the_link(
    telephone: BrowserContext, address: str, live_server: str, visit: Visit
) -> None:
    page = await telephone.new_page()
    await page.goto(address)
    await page.get_by_role("button", name="English").click()
    await expect(page.get_by_test_id("claim-submit")).to_have_text("Enter")

    assert page.url == f"{live_server}/v/{visit.locator}"
    await page.get_by_test_id("claim-birth-date").fill(BIRTH_DATE)
    await page.get_by_test_id("claim-submit").click()
    await page.wait_for_url("**/check-in/who")


async def test_a_second_device_asks_for_the_code_and_takes_over(
    telephone: BrowserContext, chromium: Browser, address: str, link: JoinLink
) -> None:
    first = await telephone.new_page()
    await claim(first, address)
    other = await chromium.new_context(locale="it-IT")
    second = await other.new_page()
    await second.goto(address)
    await second.get_by_test_id("claim-birth-date").fill(BIRTH_DATE)
    await second.get_by_test_id("claim-submit").click()
    await expect(second.locator('[data-hook="claim-words"]')).to_contain_text("già aperto")

    await second.get_by_test_id("claim-code").fill(link.spoken_code)
    await second.get_by_test_id("claim-submit").click()

    await second.wait_for_url("**/check-in/who")
    await first.reload()
    await expect(first.get_by_test_id("claim-birth-date")).to_be_visible()
    await other.close()


async def test_browsers_inside_apps_get_help_and_may_go_on(chromium: Browser, address: str) -> None:
    context = await chromium.new_context(
        locale="it-IT",
        user_agent="Mozilla/5.0 (Linux; Android 14; wv) WhatsApp/2",
        permissions=["clipboard-read", "clipboard-write"],
    )
    page = await context.new_page()
    await page.goto(address)
    await inspect(page)

    await page.get_by_role("button", name="Copi il link").click()
    await expect(page.get_by_text("Copiato")).to_be_visible()

    assert await page.evaluate("navigator.clipboard.readText()") == address
    await claim(page, address)
    await context.close()


# ---- the robot -------------------------------------------------------------------------


async def click_everything(robot: Page) -> None:
    """All at once. Several of the clicks lead to other pages, in no certain order, so the robot's
    browser is closed once the first form is on its way (a page alone, while it leads on, may never
    be)."""
    async with robot.expect_request(lambda request: request.method == "POST"):
        await robot.evaluate(CLICK_EVERYTHING)
    assert await robot.context.cookies() == []
    await robot.context.close()


@pytest.mark.timeout(300)
async def test_a_robot_gets_nothing_and_the_patient_still_joins(
    telephone: BrowserContext, chromium: Browser, address: str, visit: Visit, database: Database
) -> None:
    robot = await chromium.new_page()
    await robot.goto(address)
    await expect(robot.get_by_test_id("claim-submit")).to_be_enabled()

    field, button = robot.get_by_test_id("claim-birth-date"), robot.get_by_test_id("claim-submit")
    for typed in ("", "junk", "1/1/70", "01/01/1950", "02/02/1960", "03/03/1970", "1955-05-05"):
        await field.fill(typed)
        await button.click()
        await expect(button).not_to_have_attribute("aria-disabled", "true", timeout=PATIENCE_MS)
    await click_everything(robot)
    again = await chromium.new_page()
    await again.goto(address)
    await click_everything(again)
    assert await count_devices(database, visit) == 0

    await claim(await telephone.new_page(), address)

    assert await count_devices(database, visit) == 1


# ---- the test of the devices -----------------------------------------------------------


async def load_results(database: Database, keyring: Keyring, visit: Visit) -> tuple[str, str, str]:
    async with database.read(visit.organisation_id) as session:
        answers = await open_answers(keyring, session, await session.get(CheckIn, visit.id))
    return answers.camera, answers.microphone, answers.loudspeaker


async def test_ticks_stay_and_are_saved(
    telephone: BrowserContext, address: str, visit: Visit, database: Database, keyring: Keyring
) -> None:
    page = await telephone.new_page()
    await claim(page, address)
    await page.goto(page.url.replace("who", "devices"))

    await page.get_by_test_id("device-start").click()
    for device in ("camera", "microphone"):
        tick = page.locator(f'[data-hook="tick-{device}"].is-ok')
        await expect(tick.get_by_text("Funziona", exact=True)).to_be_visible(timeout=PATIENCE_MS)
    await page.get_by_test_id("play-sound").click()
    await page.get_by_test_id("sound-yes").click()
    await go_on(page, "place")

    assert await load_results(database, keyring, visit) == ("ok", "ok", "ok")
    await page.go_back()
    for device in ("camera", "microphone", "loudspeaker"):
        tick = page.locator(f'[data-hook="tick-{device}"].is-ok')
        await expect(tick.get_by_text("Funziona", exact=True)).to_be_visible(timeout=PATIENCE_MS)


async def test_a_denied_camera_is_explained_and_stops_nobody(
    telephone: BrowserContext, address: str, visit: Visit, database: Database, keyring: Keyring
) -> None:
    page = await telephone.new_page()
    await claim(page, address)
    await page.goto(page.url.replace("who", "devices"))
    await page.evaluate(NO_CAMERA)

    await page.get_by_test_id("device-start").click()

    await expect(page.locator(".help-browser:visible")).to_have_count(1)
    await inspect(page)
    await expect(page.get_by_role("button", name="Continua senza telecamera")).to_be_visible()
    await go_on(page, "place")
    assert await load_results(database, keyring, visit) == ("failed", "failed", "skipped")
