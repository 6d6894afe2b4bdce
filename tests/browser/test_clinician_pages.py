"""The clinician's pages as a person uses them: keys, live states, the outcome."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta

import pytest
import pytest_asyncio
from axe_playwright_python.async_playwright import Axe
from playwright.async_api import Browser, BrowserContext, Page, expect

from server.db import Database
from server.models import (
    CallInterval,
    Direction,
    Suitability,
    User,
    Visit,
    VisitState,
)
from tests.conftest import PASSWORD, Cast, MakeVisit

PHONE = {"width": 320, "height": 640}
DESK = {"width": 1440, "height": 900}


@pytest_asyncio.fixture(loop_scope="session")
async def context(chromium: Browser) -> AsyncIterator[BrowserContext]:
    context = await chromium.new_context(viewport=DESK, locale="it-IT")
    yield context
    await context.close()


@pytest_asyncio.fixture(loop_scope="session")
async def page(context: BrowserContext, live_server: str, cast: Cast) -> Page:
    """The clinician's agenda, logged in by hand."""
    page = await context.new_page()
    await log_in(page, live_server, cast.toscana.clinician)
    await page.wait_for_url("**/agenda")
    return page


async def log_in(page: Page, origin: str, user: User) -> None:
    await page.goto(f"{origin}/login")
    await page.get_by_test_id("login-username").fill(user.username)
    await page.get_by_test_id("login-password").fill(PASSWORD)
    await page.get_by_test_id("login-submit").click()


async def find_barriers(page: Page) -> list[str]:
    """What axe finds, and whether the page scrolls sideways."""
    found = (await Axe().run(page)).response["violations"]
    barriers = [f"{rule['id']}: {node['html'][:120]}" for rule in found for node in rule["nodes"]]
    if await page.evaluate("document.documentElement.scrollWidth > innerWidth"):
        barriers.append("scrolls sideways")
    return barriers


@pytest.mark.parametrize("size", [PHONE, DESK], ids=["phone", "desk"])
@pytest.mark.parametrize("language", ["it", "en"])
async def test_no_page_has_barriers(
    chromium: Browser,
    live_server: str,
    cast: Cast,
    make_visit: MakeVisit,
    size: dict[str, int],
    language: str,
) -> None:
    now = datetime.now(UTC)
    first = await make_visit(cast.toscana, is_first_visit=True)
    await make_visit(cast.toscana, start=now - timedelta(minutes=5), state=VisitState.WAITING)
    later = await make_visit(cast.toscana, start=now + timedelta(hours=3))
    ended = await make_visit(cast.toscana, state=VisitState.ENDED)
    context = await chromium.new_context(viewport=size, locale=language)  # type: ignore[arg-type]
    page = await context.new_page()
    await page.goto(f"{live_server}/login")
    assert await find_barriers(page) == []

    await log_in(page, live_server, cast.toscana.clinician)
    await expect(page.get_by_test_id("agenda-row").first).to_be_visible()
    assert await find_barriers(page) == []
    for visit in (first, later, ended):
        await page.goto(f"{live_server}/visits/{visit.id}")
        await expect(page.get_by_test_id("note-editor")).to_be_enabled()
        assert await find_barriers(page) == []
    await page.goto(f"{live_server}/visits/{first.id}")
    await page.get_by_test_id("finish-visit").click()
    await expect(page.get_by_test_id("outcome")).to_be_focused()
    assert await find_barriers(page) == []
    await context.close()


# ---- agenda ----------------------------------------------------------------------------


async def test_arrows_move_and_enter_opens(page: Page, cast: Cast, make_visit: MakeVisit) -> None:
    now = datetime.now(UTC)
    visits = [
        await make_visit(cast.toscana, start=now + timedelta(minutes=minutes))
        for minutes in (-20, 5, 10)
    ]
    await page.reload()
    links = page.get_by_test_id("open-visit")

    await page.keyboard.press("ArrowDown")
    await expect(links.nth(1)).to_be_focused()
    await page.keyboard.press("ArrowDown")
    await page.keyboard.press("ArrowDown")
    await expect(links.nth(2)).to_be_focused()
    await page.keyboard.press("ArrowUp")
    await page.keyboard.press("ArrowUp")
    await expect(links.nth(0)).to_be_focused()
    await page.keyboard.press("Enter")

    await page.wait_for_url(f"**/visits/{visits[0].id}")


async def test_an_arrival_shows_by_itself_and_moves_no_row(
    page: Page, cast: Cast, make_visit: MakeVisit, database: Database
) -> None:
    visits = [await make_visit(cast.toscana) for _ in range(3)]
    await page.reload()
    rows = page.get_by_test_id("agenda-row")
    codes = await rows.evaluate_all("(rows) => rows.map((row) => row.dataset.bookingCode)")
    places = await rows.evaluate_all("(rows) => rows.map((row) => row.getBoundingClientRect().y)")

    arrived = next(visit for visit in visits if visit.appointment.booking_code == codes[2])
    await set_state(database, arrived, VisitState.WAITING)

    await expect(rows.nth(2)).to_have_attribute("data-state", "waiting")
    await expect(page.locator('[data-hook="waiting-list"] a')).to_have_count(1)
    assert (await page.title()).startswith("● In attesa: 1")
    icon = page.locator('link[rel~="icon"]')
    await expect(icon).to_have_attribute("href", re.compile("alert"))
    after = await rows.evaluate_all("(rows) => rows.map((row) => row.getBoundingClientRect().y)")
    assert after == places
    await set_state(database, arrived, VisitState.IN_VISIT)
    await expect(page).to_have_title(re.compile("^Agenda"))


async def test_a_new_booking_is_offered_not_pushed_in(
    page: Page, cast: Cast, make_visit: MakeVisit
) -> None:
    await make_visit(cast.toscana)
    await page.reload()
    await make_visit(cast.toscana)

    await page.locator('[data-hook="reload"]').click()

    await expect(page.get_by_test_id("agenda-row")).to_have_count(2)


async def test_late_by_one_click(
    page: Page, cast: Cast, make_visit: MakeVisit, database: Database
) -> None:
    visit = await make_visit(cast.toscana)
    await page.reload()

    await page.get_by_role("button", name="10 minuti di ritardo").click()

    await expect(page.get_by_text("Avviso dato: 10 minuti")).to_be_visible()
    async with database.read(visit.organisation_id) as session:
        assert (await session.get_one(Visit, visit.id)).late_minutes == 10


async def set_state(database: Database, visit: Visit, state: VisitState) -> None:
    async with database.begin(visit.organisation_id) as session:
        row = await session.get_one(Visit, visit.id)
        row.state = state
        row.waiting_since = row.waiting_since or datetime.now(UTC)


# ---- card and outcome ------------------------------------------------------------------


async def test_checks_are_one_tap_and_can_be_taken_back(
    page: Page, live_server: str, cast: Cast, make_visit: MakeVisit
) -> None:
    visit = await make_visit(cast.toscana, is_first_visit=True)
    await page.goto(f"{live_server}/visits/{visit.id}")
    identity = page.locator('[data-hook="identity"]')
    ground = page.locator('[data-ground="therapy"]')

    await identity.click()
    await expect(identity).to_have_text("Identità confermata")
    await ground.click()
    await expect(page.locator('[data-hook="card-status"]')).to_contain_text("Prima visita")
    await expect(ground).to_have_attribute("aria-pressed", "false")
    await page.keyboard.type("Esami già visti in reparto")
    await ground.click()
    await expect(ground).to_have_attribute("aria-pressed", "true")
    await page.reload()
    await expect(ground).to_have_attribute("aria-pressed", "true")
    await expect(identity).to_have_attribute("aria-pressed", "true")
    await ground.click()
    await expect(ground).to_have_attribute("aria-pressed", "false")
    await identity.click()
    await expect(identity).to_have_attribute("aria-pressed", "false")


async def test_finishing_lands_on_the_end(
    page: Page, live_server: str, cast: Cast, make_visit: MakeVisit, database: Database
) -> None:
    visit = await make_visit(cast.toscana)
    await set_state(database, visit, VisitState.WAITING)
    await page.goto(f"{live_server}/visits/{visit.id}")
    await page.get_by_test_id("note-editor").fill("ultima frase")

    await page.get_by_test_id("finish-visit").click()
    absence = page.locator('option[value="no_show_patient"]')
    await expect(absence).to_be_disabled()
    await page.get_by_test_id("outcome").select_option("technical_failure")
    await page.locator("#reason").select_option("patient_device")
    await page.get_by_test_id("outcome-confirm").click()

    await expect(page.locator('[data-hook="over"]')).to_contain_text("motivi tecnici")
    await expect(page.get_by_test_id("note-editor")).to_have_value("ultima frase")
    await page.get_by_role("link", name="Torna all'agenda").click()
    await expect(page.get_by_test_id("agenda-row")).to_have_attribute("data-state", "ended")


async def test_in_person_by_one_tap_names_what_was_measured(
    page: Page, live_server: str, cast: Cast, make_visit: MakeVisit, database: Database
) -> None:
    visit = await make_visit(cast.toscana)
    await page.goto(f"{live_server}/visits/{visit.id}")
    await measure_a_weak_line(database, visit)

    await page.get_by_test_id("finish-visit").click()
    convert = page.locator('[data-hook="convert"]')
    await expect(convert).to_contain_text("Linea debole (mancavano parti della voce)")
    await expect(page.locator('input[name="suitability"][value="not_suitable"]')).to_be_checked()
    await convert.click()

    await expect(page.locator('[data-hook="over"]')).to_contain_text("Prosegue in presenza")
    async with database.read(visit.organisation_id) as session:
        saved = await session.get_one(Visit, visit.id)
    assert saved.outcome_reason == "weak_line"
    assert saved.suitability is Suitability.NOT_SUITABLE


async def measure_a_weak_line(database: Database, visit: Visit) -> None:
    """A minute in which the patient's voice had gaps at the clinician's."""
    now = datetime.now(UTC)
    async with database.begin(visit.organisation_id) as session:
        for place in range(12):
            session.add(
                CallInterval(
                    organisation_id=visit.organisation_id,
                    visit_id=visit.id,
                    seat="clinician",
                    direction=Direction.INCOMING,
                    began_at=now - timedelta(seconds=5 * place),
                    seconds=5,
                    loss_percent=20,
                    rtt_ms=60,
                    jitter_ms=5,
                    concealed_percent=25,
                    frozen_ms=0,
                    frames_per_second=20,
                    kilobits_per_second=500,
                    path="direct",
                    rung="hd",
                )
            )
