"""The patient's answer and the second device's code in Chromium; what the desk completes."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

import pytest
import pytest_asyncio
from axe_playwright_python.async_playwright import Axe
from playwright.async_api import Browser, BrowserContext, Page, expect

from server.db import Database
from server.joinlink import JoinLink
from server.keyring import Keyring
from server.models import Appointment, Visit
from server.sealed import Identity
from tests.conftest import PASSWORD, ROSA, Cast, MakeVisit
from tests.patients import link_of, sent_code_of

BIRTH_DATE = "12/03/1948"
MARIA = Identity(
    family_name="Della Gherardesca-Sforza",
    given_name="Maria Antonietta",
    birth_date=ROSA.birth_date,
    phone="+393331112223",
)
SCREENS = [("it-IT", 320, 640), ("it-IT", 390, 844), ("en-GB", 1440, 900)]


IN_TIME, LATE = timedelta(days=12), timedelta(hours=20)
"""How long before the visit the patient answers."""


@pytest_asyncio.fixture(loop_scope="session")
async def visit(request: pytest.FixtureRequest, cast: Cast, make_visit: MakeVisit) -> Visit:
    start = datetime.now(UTC) + getattr(request, "param", IN_TIME)
    return await make_visit(cast.toscana, identity=MARIA, start=start)


@pytest_asyncio.fixture(loop_scope="session")
async def link(database: Database, keyring: Keyring, visit: Visit) -> JoinLink:
    return await link_of(database, keyring, visit)


@pytest.fixture
def address(live_server: str, visit: Visit, link: JoinLink) -> str:
    return f"{live_server}/v/{visit.locator}#{link.fragment}"


async def open_screen(
    chromium: Browser, language: str = "it-IT", width: int = 360, height: int = 740
) -> BrowserContext:
    return await chromium.new_context(locale=language, viewport={"width": width, "height": height})


async def inspect(page: Page) -> None:
    """No barrier that axe finds, nothing wider than the screen, nothing too small to touch."""
    results = await Axe().run(page)
    assert results.violations_count == 0, results.generate_snapshot()
    assert await page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    for button in await page.locator(".patient main .btn:visible").all():
        box = await button.bounding_box()
        assert box is not None
        assert box["height"] >= 48


async def claim(page: Page, address: str) -> None:
    await page.goto(address)
    await page.get_by_test_id("claim-birth-date").fill(BIRTH_DATE)
    await page.get_by_test_id("claim-submit").click()
    await page.wait_for_url("**/check-in**")


async def load_appointment(database: Database, visit: Visit) -> Appointment:
    async with database.read(visit.organisation_id) as session:
        return await session.get_one(Appointment, visit.appointment_id)


@pytest.mark.parametrize("visit", [IN_TIME, LATE], ids=["in time", "late"], indirect=True)
@pytest.mark.parametrize(("language", "width", "height"), SCREENS)
async def test_patient_confirms_and_then_cannot_come(
    chromium: Browser, address: str, visit: Visit, database: Database,
    language: str, width: int, height: int,
) -> None:  # fmt: skip
    context = await open_screen(chromium, language, width, height)
    page = await context.new_page()
    await claim(page, address)
    await inspect(page)
    await page.get_by_test_id("booking-link").click()
    await inspect(page)
    await page.get_by_test_id("booking-confirm").click()
    await expect(page.get_by_test_id("booking-confirmed")).to_be_visible()
    await inspect(page)
    await page.get_by_test_id("booking-cancel-open").click()
    await inspect(page)
    reason = page.get_by_test_id("booking-reason")
    if await reason.count():
        await page.get_by_test_id("booking-cancel").click()
        await expect(page.get_by_role("alert")).to_be_visible()
        await inspect(page)
        await reason.fill("Sono in ospedale")
    await page.get_by_test_id("booking-cancel").click()
    await expect(page.get_by_test_id("booking-cancel-asked")).to_be_visible()
    await inspect(page)

    appointment = await load_appointment(database, visit)
    assert appointment.confirmed_at is not None
    assert appointment.cancel_asked_at is not None
    assert appointment.is_cancel_late == (appointment.sealed_justification is not None)
    await context.close()


async def test_the_answer_needs_no_script(
    chromium: Browser, address: str, live_server: str, visit: Visit, database: Database
) -> None:
    first = await open_screen(chromium)
    await claim(await first.new_page(), address)
    plain = await chromium.new_context(
        java_script_enabled=False, storage_state=await first.storage_state(), locale="it-IT"
    )
    page = await plain.new_page()

    await page.goto(f"{live_server}/v/{visit.locator}/booking")
    await page.get_by_test_id("booking-confirm").click()

    await expect(page.get_by_test_id("booking-confirmed")).to_be_visible()
    assert (await load_appointment(database, visit)).confirmed_at is not None
    await plain.close()
    await first.close()


@pytest.mark.parametrize(("language", "width", "height"), SCREENS)
async def test_second_device_types_the_sent_code(
    chromium: Browser, address: str, visit: Visit, database: Database, keyring: Keyring,
    language: str, width: int, height: int,
) -> None:  # fmt: skip
    first = await open_screen(chromium)
    await claim(await first.new_page(), address)
    other = await open_screen(chromium, language, width, height)
    page = await other.new_page()
    await page.goto(address)
    await page.get_by_test_id("claim-birth-date").fill(BIRTH_DATE)
    await page.get_by_test_id("claim-submit").click()
    await expect(page.get_by_test_id("claim-send-code")).to_be_focused()
    await expect(page.get_by_test_id("claim-submit")).to_be_hidden()
    await inspect(page)

    await page.get_by_test_id("claim-send-code").click()
    await expect(page.get_by_test_id("claim-device-code")).to_be_focused()
    await inspect(page)
    code = await sent_code_of(database, keyring, visit)
    words = page.locator('[data-hook="claim-words"]')
    for wrong, said in (("12", "6 "), (str((int(code) + 1) % 10**6).zfill(6), "messag")):
        await page.get_by_test_id("claim-device-code").fill(wrong)
        await page.get_by_test_id("claim-submit").click()
        await expect(words).to_contain_text(said)
    await page.get_by_test_id("claim-send-again").click()
    await expect(words).to_contain_text(re.compile(r"\d\d:\d\d"))
    await inspect(page)
    await page.get_by_test_id("claim-device-code").fill(f"{code[:3]} {code[3:]}")
    await page.get_by_test_id("claim-submit").click()

    await page.wait_for_url("**/check-in**")
    await first.pages[0].reload()
    await expect(first.pages[0].get_by_test_id("claim-birth-date")).to_be_visible()
    await other.close()
    await first.close()


@pytest.mark.parametrize(("language", "width", "height"), SCREENS)
async def test_desk_completes_from_the_list(
    chromium: Browser, live_server: str, cast: Cast, make_visit: MakeVisit, database: Database,
    language: str, width: int, height: int,
) -> None:  # fmt: skip
    ada = Identity(family_name="Neri", given_name="Ada", phone="+393331112223")
    visit = await make_visit(
        cast.toscana, identity=ada, start=datetime.now(UTC) + timedelta(days=9)
    )
    context = await open_screen(chromium, language, width, height)
    page = await context.new_page()
    await page.goto(f"{live_server}/login")
    await page.get_by_test_id("login-username").fill(cast.toscana.desk.username)
    await page.get_by_test_id("login-password").fill(PASSWORD)
    await page.get_by_test_id("login-submit").click()

    await page.get_by_test_id("desk-list-complete").click()
    await expect(page.get_by_test_id("desk-row")).to_have_attribute("data-visit", visit.id)
    await inspect(page)
    await page.locator('[data-part="act"]').click()
    await page.get_by_test_id("desk-complete").click()
    await expect(page.get_by_test_id("desk-birth-date")).to_have_attribute("aria-invalid", "true")
    await inspect(page)
    await page.get_by_test_id("desk-birth-date").fill("1948-03-12")
    await page.get_by_test_id("desk-complete").click()
    await expect(page.get_by_text("12/03/1948")).to_be_visible()
    await page.get_by_test_id("desk-resend").click()
    await expect(page.get_by_test_id("desk-message").first).to_be_visible()
    await inspect(page)
    await context.close()
