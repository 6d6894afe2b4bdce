"""Ratings and figures in Chromium: two taps that stay on the page, no barriers, every width."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from playwright.async_api import Browser, Page, expect

from server.auth import make_device
from server.db import Database
from server.keyring import Keyring
from server.models import Outcome, Suitability, Visit
from server.sealed import open_rating_words
from tests.browser.test_desk_pages import VIEWS, inspect, open_page
from tests.conftest import Cast, MakeVisit
from tests.reportvisits import make_finished
from tests.test_ratings import ratings_of
from tests.test_regional import SETTLED, Summarise, summarise

__all__ = ["summarise"]

_SMALLEST_TOUCH = 48


async def open_end(
    chromium: Browser, origin: str, database: Database, visit: Visit, width: int, language: str
) -> Page:
    """The last page of the patient, on a device that has opened the link before."""
    device, token = make_device(visit, datetime.now(UTC))
    async with database.begin(visit.organisation_id) as session:
        session.add(device)
    context = await chromium.new_context(locale=language, viewport={"width": width, "height": 740})
    cookie = {"name": f"visit-{visit.locator}", "value": token, "url": origin}
    await context.add_cookies([cookie])  # type: ignore[list-item]
    page = await context.new_page()
    await page.goto(f"{origin}/v/{visit.locator}/end")
    return page


async def press(page: Page, name: str) -> None:
    button = page.get_by_test_id(f"rating-{name}")
    await button.click()
    await expect(button).to_have_attribute("aria-pressed", "true")


@pytest.mark.parametrize(("width", "language"), [(320, "it-IT"), (360, "en-GB"), (1440, "it-IT")])
async def test_the_patient_rates_with_two_taps_and_a_sentence(
    chromium: Browser, live_server: str, cast: Cast, make_visit: MakeVisit, database: Database,
    keyring: Keyring, width: int, language: str,
) -> None:  # fmt: skip
    visit = await make_finished(make_visit, database, keyring, cast.toscana)
    page = await open_end(chromium, live_server, database, visit, width, language)
    await page.evaluate("window.isSamePage = true")

    await press(page, "visit-good")
    await press(page, "line-poor")
    await press(page, "line-fair")
    await page.get_by_test_id("rating-words").fill("La voce saltava.")
    async with page.expect_response("**/rating") as sent:
        await page.get_by_test_id("rating-send").click()

    assert (await sent.value).status == 200
    assert await page.evaluate("window.isSamePage")
    assert await page.locator('[aria-pressed="true"]').count() == 2
    for button in await page.locator(".rating button").all():
        box = await button.bounding_box()
        assert box is not None
        assert box["height"] >= _SMALLEST_TOUCH
    await inspect(page)
    rating = (await ratings_of(database, visit))["patient"]
    async with database.read(visit.organisation_id) as session:
        assert await open_rating_words(keyring, session, rating) == "La voce saltava."
    await page.context.close()


async def test_what_is_not_kept_says_so(
    chromium: Browser, live_server: str, cast: Cast, make_visit: MakeVisit, database: Database,
    keyring: Keyring,
) -> None:  # fmt: skip
    visit = await make_finished(make_visit, database, keyring, cast.toscana)
    page = await open_end(chromium, live_server, database, visit, 360, "it-IT")
    await page.context.set_offline(True)

    await page.get_by_test_id("rating-visit-good").click()

    await expect(page.get_by_text("Non è stato salvato")).to_be_visible()
    assert await page.locator('[aria-pressed="true"]').count() == 0
    await page.context.close()


async def test_the_clinician_rates_beside_the_note(
    chromium: Browser, live_server: str, cast: Cast, make_visit: MakeVisit, database: Database,
    keyring: Keyring,
) -> None:  # fmt: skip
    visit = await make_finished(make_visit, database, keyring, cast.toscana)
    page = await open_page(chromium, live_server, cast.toscana.clinician)
    await page.goto(f"{live_server}/visits/{visit.id}")

    await press(page, "visit-good")
    await press(page, "line-good")

    await inspect(page)
    assert set(await ratings_of(database, visit)) == {"clinician"}
    await page.context.close()


@pytest.mark.parametrize(("size", "language"), VIEWS)
async def test_figures_have_no_barriers(
    chromium: Browser, live_server: str, cast: Cast, make_visit: MakeVisit, summarise: Summarise,
    size: str, language: str,
) -> None:  # fmt: skip
    visits = [await make_visit(cast.toscana) for _ in range(16)]
    await summarise(visits[:6], verdict=Suitability.SUITABLE, municipality="Barberino Tavarnelle")
    await summarise(visits[6:11], verdict=Suitability.NOT_SUITABLE, municipality="Firenze")
    await summarise(visits[11:], outcome=Outcome.NO_SHOW_PATIENT)
    page = await open_page(
        chromium, live_server, cast.toscana.manager, size=size, language=language
    )

    await page.goto(f"{live_server}/figures?month={SETTLED}")
    await expect(page.get_by_test_id("figures-outcomes")).to_contain_text("11")
    await inspect(page)
    await page.goto(f"{live_server}/ratings")
    await inspect(page)
    await page.context.close()
