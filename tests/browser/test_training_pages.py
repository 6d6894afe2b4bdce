"""The pages of training: without barriers on a telephone and a desk, and the facilitator's form."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
import pytest_asyncio
from playwright.async_api import Browser, Page, expect

from server.auth import Actor
from server.db import EVERY_ORGANISATION, Database
from server.keyring import Keyring
from server.models import Outcome, User, Visit, VisitState
from server.training.ground import Begun, begin_practice
from server.training.scenario import load_shipped
from tests.browser.test_clinician_pages import DESK, PHONE, find_barriers, log_in
from tests.conftest import Cast

LATE = load_shipped()["paziente-in-ritardo"]


async def begin(database: Database, keyring: Keyring, user: User) -> Begun:
    actor = Actor(user.id, user.role, user.organisation_id)  # type: ignore[arg-type]
    return await begin_practice(database, keyring, actor, LATE, datetime.now(UTC))


async def end(database: Database, visit_id: str) -> None:
    async with database.begin(EVERY_ORGANISATION) as session:
        visit = await session.get_one(Visit, visit_id)
        visit.state, visit.outcome = VisitState.ENDED, Outcome.NO_SHOW_PATIENT
        visit.ended_at = datetime.now(UTC)


@pytest.mark.parametrize("size", [PHONE, DESK], ids=["phone", "desk"])
@pytest.mark.parametrize("language", ["it", "en"])
async def test_no_page_of_training_has_barriers(
    chromium: Browser,
    live_server: str,
    cast: Cast,
    database: Database,
    keyring: Keyring,
    size: dict[str, int],
    language: str,
) -> None:
    clinician = cast.toscana.clinician
    over = await begin(database, keyring, clinician)
    await end(database, over.visit_id)
    running = await begin(database, keyring, clinician)
    context = await chromium.new_context(viewport=size, locale=language)  # type: ignore[arg-type]
    page = await context.new_page()
    await log_in(page, live_server, clinician)
    await page.get_by_test_id("practice-button").click()

    await expect(page.get_by_test_id("begin-practice")).to_have_count(6)
    assert await find_barriers(page) == []
    for path in (
        f"/training/practices/{running.practice_id}",
        f"/training/practices/{over.practice_id}",
        f"/training/scenarios/{LATE.code}",
        "/training/scenarios/new",
        f"/visits/{running.visit_id}",
    ):
        await page.goto(live_server + path)
        assert await find_barriers(page) == [], path
    await expect(page.get_by_test_id("practice-mark")).to_be_visible()
    await context.close()


@pytest_asyncio.fixture(loop_scope="session")
async def page(chromium: Browser, live_server: str, cast: Cast) -> Page:
    """The list of scenarios, as a facilitator sees it."""
    context = await chromium.new_context(viewport=DESK, locale="it-IT")  # type: ignore[arg-type]
    page = await context.new_page()
    await log_in(page, live_server, cast.toscana.clinician)
    await page.goto(f"{live_server}/training")
    return page


async def test_a_facilitator_changes_a_scenario_and_is_told_which_step_is_wrong(page: Page) -> None:
    await page.get_by_role("link", name="Ne faccia uno Suo: La paziente in ritardo").click()
    await page.get_by_label("Titolo").fill("Un'ora dopo")
    first = page.locator(".script-steps li").first
    await first.get_by_label("con queste parole").fill("")
    await page.get_by_test_id("save-scenario").click()

    wrong = page.get_by_test_id("wrong-field")
    await expect(wrong).to_have_attribute("data-field", "script.steps[0].text")
    await expect(page.get_by_label("Titolo")).to_have_value("Un'ora dopo")

    await first.get_by_label("con queste parole").fill("Buongiorno, eccomi.")
    await page.get_by_test_id("save-scenario").click()
    await expect(page.get_by_test_id("own-scenario")).to_contain_text("Un'ora dopo")
    await page.get_by_role("button", name="Pubblica: Un'ora dopo").click()
    await expect(page.get_by_test_id("own-scenario")).to_contain_text("pubblicato")
