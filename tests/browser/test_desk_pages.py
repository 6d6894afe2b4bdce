"""The desk's and the manager's pages in Chromium: no barriers, live states, keys, print."""

from __future__ import annotations

import asyncio
import re
from datetime import UTC, datetime, timedelta

import pytest
from axe_playwright_python.async_playwright import Axe
from playwright.async_api import Browser, Page, expect
from sqlalchemy import update

from server.audit import Act, ActorRole, Entry, append
from server.db import Database
from server.models import Appointment, Outcome, User, Visit, VisitState, VisitSummary
from server.sealed import Identity
from tests.conftest import PASSWORD, Cast, MakeVisit

SIZES = {"320 px": (320, 640), "360 px": (360, 740), "1440 px": (1440, 900)}
VIEWS = [("320 px", "it-IT"), ("360 px", "en-GB"), ("1440 px", "it-IT")]
PATIENCE_MS = 30_000
LONG_NAME = Identity(
    family_name="Della Gherardesca-Sforza",
    given_name="Maria Antonietta",
    codice_fiscale="DLLMNT48C52D612X",
    address="Via dei Serragli 12, Firenze",
)


async def open_page(
    chromium: Browser, origin: str, user: User, *, size: str = "1440 px", language: str = "it-IT"
) -> Page:
    """A page of somebody who has logged in by hand."""
    width, height = SIZES[size]
    context = await chromium.new_context(
        viewport={"width": width, "height": height},
        locale=language,
        permissions=["clipboard-read", "clipboard-write"],
    )
    page = await context.new_page()
    page.set_default_timeout(PATIENCE_MS)
    await page.goto(f"{origin}/login")
    await page.get_by_test_id("login-username").fill(user.username)
    await page.get_by_test_id("login-password").fill(PASSWORD)
    await page.get_by_test_id("login-submit").click()
    await page.wait_for_url(re.compile("/(agenda|desk|sessions|admin)$"))
    return page


async def inspect(page: Page) -> None:
    """No barrier that axe finds, and nothing wider than the screen."""
    results = await Axe().run(page)
    assert results.violations_count == 0, results.generate_snapshot()
    assert await page.evaluate("document.documentElement.scrollWidth <= innerWidth")


async def play(database: Database, visit: Visit) -> None:
    """A finished visit with a lost line: in the log, in its row, and soon in the list."""
    start = visit.appointment.start
    acts = (
        (-5, Act.WAITING, ActorRole.PATIENT),
        (-5, Act.ROOM_JOINED, ActorRole.PATIENT),
        (-1, Act.ROOM_JOINED, ActorRole.CLINICIAN),
        (0, Act.ADMITTED, ActorRole.CLINICIAN),
        (4, Act.ROOM_DROPPED, ActorRole.PATIENT),
        (5, Act.ROOM_REJOINED, ActorRole.PATIENT),
        (9, Act.FINISHED, ActorRole.CLINICIAN),
        (9, Act.OUTCOME, ActorRole.CLINICIAN),
    )
    async with database.begin(visit.organisation_id) as session:
        entries = [
            Entry(start + timedelta(minutes=minutes), act, role, visit=visit.id)
            for minutes, act, role in acts
        ]
        await append(session, visit.organisation_id, *entries)
        ended = {"state": VisitState.ENDED, "outcome": Outcome.COMPLETED, "ended_at": start}
        await session.execute(update(Visit).where(Visit.id == visit.id).values(**ended))
    await listed(database, visit)


async def listed(database: Database, visit: Visit) -> None:
    """The leading process has summarised the end of the visit."""
    while True:
        async with database.read(visit.organisation_id) as session:
            summary = await session.get(VisitSummary, visit.id)
        if summary is not None and summary.closed_at is not None:
            return
        await asyncio.sleep(0.1)


@pytest.mark.parametrize(("size", "language"), VIEWS)
async def test_no_page_of_the_desk_has_barriers(
    chromium: Browser, live_server: str, cast: Cast, make_visit: MakeVisit, database: Database,
    size: str, language: str,
) -> None:  # fmt: skip
    now = datetime.now(UTC)
    await make_visit(cast.toscana, start=now - timedelta(minutes=20), state=VisitState.WAITING)
    visit = await make_visit(cast.toscana, start=now, identity=LONG_NAME)
    async with database.begin(visit.organisation_id) as session:
        await session.execute(
            update(Appointment)
            .where(Appointment.id == visit.appointment_id)
            .values(clinician_id=None)
        )
    page = await open_page(chromium, live_server, cast.toscana.desk, size=size, language=language)

    await inspect(page)
    await page.get_by_test_id("desk-search").fill("gherardesca")
    await page.get_by_test_id("desk-search-submit").click()
    await expect(page.get_by_test_id("desk-row")).to_have_count(1)
    await inspect(page)
    await page.get_by_test_id("desk-row").get_by_role("link").first.click()
    await page.get_by_test_id("desk-phone").fill("zero")
    await page.get_by_test_id("desk-contact-save").click()
    await expect(page.get_by_test_id("desk-phone")).to_have_attribute("aria-invalid", "true")
    await inspect(page)
    await page.get_by_test_id("desk-read-code").click()
    await expect(page.get_by_test_id("desk-spoken-code")).to_be_visible()
    await inspect(page)
    await page.get_by_test_id("desk-read-link").click()
    await page.get_by_test_id("desk-revoke-open").click()
    await expect(page.get_by_test_id("desk-revoke")).to_be_visible()
    await inspect(page)
    await page.context.close()


@pytest.mark.parametrize(("size", "language"), VIEWS)
async def test_no_page_of_the_log_has_barriers(
    chromium: Browser, live_server: str, cast: Cast, make_visit: MakeVisit, database: Database,
    size: str, language: str,
) -> None:  # fmt: skip
    await play(database, await make_visit(cast.toscana))
    await make_visit(cast.toscana)
    page = await open_page(
        chromium, live_server, cast.toscana.manager, size=size, language=language
    )

    await inspect(page)
    await page.locator("#problem").select_option("any")
    await page.get_by_role("button", name=re.compile("Mostra|Show")).click()
    await expect(page.get_by_test_id("sessions-row")).to_have_count(1)
    await page.get_by_test_id("sessions-row").click()
    await expect(page.get_by_test_id("session-timeline")).to_be_visible()
    await inspect(page)
    await page.context.close()


async def test_board_follows_the_day_without_a_reload(
    chromium: Browser, live_server: str, cast: Cast, make_visit: MakeVisit, database: Database
) -> None:
    now = datetime.now(UTC)
    first = await make_visit(cast.toscana, start=now, state=VisitState.IN_VISIT)
    second = await make_visit(cast.toscana, start=now, state=VisitState.IN_VISIT)
    page = await open_page(chromium, live_server, cast.toscana.desk)
    await page.evaluate("globalThis.isTheSamePage = true")
    rows = page.get_by_test_id("desk-row")
    order = sorted((first, second), key=lambda visit: visit.id)
    await expect(rows.first).to_have_attribute("data-visit", order[0].id)

    long_ago = now - timedelta(minutes=30)
    async with database.begin(first.organisation_id) as session:
        await session.execute(
            update(Visit)
            .where(Visit.id == order[1].id)
            .values(state=VisitState.WAITING, waiting_since=long_ago)
        )
        await session.execute(
            update(Appointment)
            .where(Appointment.id == order[1].appointment_id)
            .values(start=long_ago)
        )

    await expect(rows.first).to_have_attribute("data-visit", order[1].id, timeout=PATIENCE_MS)
    await expect(rows.first).to_contain_text("Il paziente aspetta da molto")
    await expect(rows.first).to_contain_text("In attesa da 30 minuti")
    await expect(rows.first.get_by_role("link", name="Avvisi il medico")).to_be_visible()
    assert await page.evaluate("globalThis.isTheSamePage")
    await page.context.close()


@pytest.mark.long
async def test_board_says_when_it_is_old(
    chromium: Browser, live_server: str, cast: Cast, make_visit: MakeVisit
) -> None:
    await make_visit(cast.toscana)
    page = await open_page(chromium, live_server, cast.toscana.desk)
    stale = page.locator('[data-hook="stale"]')
    await expect(stale).to_be_hidden()

    await page.context.set_offline(True)
    await expect(stale).to_be_visible(timeout=PATIENCE_MS)
    await page.context.set_offline(False)
    await expect(stale).to_be_hidden(timeout=PATIENCE_MS)
    await page.context.close()


async def test_desk_works_with_the_keyboard_alone(
    chromium: Browser, live_server: str, cast: Cast, make_visit: MakeVisit
) -> None:
    visit = await make_visit(cast.toscana)
    page = await open_page(chromium, live_server, cast.toscana.desk)

    await page.keyboard.press("Tab")
    await expect(page.get_by_role("link", name="Vai al contenuto")).to_be_focused()
    await page.get_by_test_id("desk-search").focus()
    await page.keyboard.type(visit.appointment.booking_code)
    await page.keyboard.press("Enter")
    await page.get_by_test_id("desk-row").get_by_role("link").first.focus()
    await page.keyboard.press("Enter")
    await page.get_by_test_id("desk-phone").focus()
    await page.keyboard.press("ControlOrMeta+a")
    await page.keyboard.type("055 7654321")
    await page.keyboard.press("Enter")

    await expect(page.get_by_role("link", name="Chiama 0557654321")).to_be_visible()
    await page.context.close()


async def test_link_can_be_copied_and_printed_and_leaves_the_page(
    chromium: Browser, live_server: str, cast: Cast, make_visit: MakeVisit
) -> None:
    visit = await make_visit(cast.toscana)
    page = await open_page(chromium, live_server, cast.toscana.desk)
    await page.goto(f"{live_server}/desk/visits/{visit.id}")
    await page.get_by_test_id("desk-read-link").click()
    link = await page.get_by_test_id("desk-link").inner_text()

    await page.get_by_role("button", name="Copia il link").click()
    await expect(page.get_by_role("button", name="Copiato")).to_be_visible()
    assert await page.evaluate("navigator.clipboard.readText()") == link
    await page.emulate_media(media="print")
    await expect(page.get_by_test_id("desk-link")).to_be_visible()
    await expect(page.get_by_test_id("desk-phone")).to_be_hidden()
    assert link.split("#")[1] not in page.url
    await page.context.close()


async def test_text_at_twice_the_size_stays_whole(
    chromium: Browser, live_server: str, cast: Cast, make_visit: MakeVisit, database: Database
) -> None:
    """200 % of 1440 px is a window of 720 px."""
    visit = await make_visit(cast.toscana, identity=LONG_NAME)
    await play(database, visit)
    for user, path in (
        (cast.toscana.desk, "/desk"),
        (cast.toscana.desk, f"/desk/visits/{visit.id}"),
        (cast.toscana.manager, "/sessions"),
        (cast.toscana.manager, f"/sessions/{visit.id}"),
    ):
        page = await open_page(chromium, live_server, user)
        await page.set_viewport_size({"width": 720, "height": 450})
        await page.goto(live_server + path)

        assert await page.evaluate("document.documentElement.scrollWidth <= innerWidth")
        await page.context.close()
