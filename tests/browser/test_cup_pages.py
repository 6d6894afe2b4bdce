"""The pages of the CUP link in Chromium: no barriers, and its acts by hand."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from playwright.async_api import Browser, Page, expect

from server.cup.booking import Reason
from server.db import Database
from server.keyring import Keyring
from server.models import Connector, EventState, MessageState, Source, Visit
from tests.browser.test_desk_pages import VIEWS, inspect, open_page
from tests.conftest import Cast, MakeVisit
from tests.test_admin_pages import add_event, add_message, add_run, add_source

CSV = "codice_prenotazione;cognome;nome;inizio\nPRN-1;Della Gherardesca-Sforza;Maria;\n"
FHIR = b'{"resourceType": "Appointment", "status": "booked", "description": "%s"}' % (b"x" * 400)


async def fill(database: Database, keyring: Keyring, cast: Cast, visit: Visit) -> Source:
    """A link in which everything that can happen has happened; returns its source."""
    source = await add_source(database, cast.toscana)
    now = datetime.now(UTC)
    raws = {Connector.CSV: CSV.encode(), Connector.FHIR: FHIR}
    for number, reason in enumerate(Reason):
        connector = (Connector.HL7V2, Connector.FHIR, Connector.CSV)[number % 3]
        raw = {"raw": raws[connector]} if connector in raws else {}
        at = now - timedelta(minutes=number)
        await add_message(
            database, keyring, source, reason=reason, at=at, connector=connector, **raw
        )
    await add_message(database, keyring, source, state=MessageState.APPLIED)
    for state in EventState:
        await add_event(database, visit, state, now - timedelta(hours=1))
    await add_run(database, source, "PRN-1", "PRN-2")
    return source


async def look(page: Page, address: str) -> None:
    await page.goto(address)
    await inspect(page)


@pytest.mark.parametrize(("size", "language"), VIEWS)
async def test_no_page_of_the_administrator_has_barriers(
    chromium: Browser, live_server: str, cast: Cast, make_visit: MakeVisit, database: Database,
    keyring: Keyring, size: str, language: str,
) -> None:  # fmt: skip
    source = await fill(database, keyring, cast, await make_visit(cast.toscana))
    page = await open_page(
        chromium, live_server, cast.toscana.administrator, size=size, language=language
    )

    await inspect(page)
    for path in ("inbox", "quarantine", "outbox", "phases", "recording", "reconciliation"):
        await look(page, f"{live_server}/admin/{path}")
    await page.get_by_test_id("reconciliation-run").get_by_role("link").click()
    await expect(page.get_by_test_id("reconciliation-row")).to_have_count(2)
    await inspect(page)
    await page.goto(f"{live_server}/admin/quarantine")
    await page.get_by_test_id("quarantine-discard").first.click()
    await expect(page.get_by_test_id("discard-confirm")).to_be_visible()
    await inspect(page)
    await look(page, f"{live_server}/admin/sources/{source.id}")
    await page.get_by_test_id("source-words").fill("nothing: 1 = U")
    await page.get_by_test_id("source-save").click()
    await expect(page.get_by_test_id("source-words")).to_have_attribute("aria-invalid", "true")
    await inspect(page)
    await page.get_by_test_id("source-issue-token").click()
    await expect(page.get_by_test_id("source-token")).to_be_visible()
    await inspect(page)
    await page.context.close()


@pytest.mark.parametrize(("size", "language"), VIEWS)
async def test_no_page_of_messages_and_files_has_barriers(
    chromium: Browser, live_server: str, cast: Cast, make_visit: MakeVisit, database: Database,
    keyring: Keyring, size: str, language: str,
) -> None:  # fmt: skip
    await fill(database, keyring, cast, await make_visit(cast.toscana))
    page = await open_page(chromium, live_server, cast.toscana.desk, size=size, language=language)

    for number in range(3):
        await look(page, f"{live_server}/desk/messages")
        await page.get_by_test_id("message-row").nth(number).get_by_role("link").first.click()
        await page.locator("#purpose").select_option("correct_booking")
        await page.get_by_test_id("message-open").click()
        await expect(page.get_by_test_id("message-raw")).to_be_visible()
        await page.get_by_test_id("message-discard-open").click()
        await inspect(page)
    await look(page, f"{live_server}/desk/upload")
    await page.context.close()


async def test_phase_is_changed_by_hand(chromium: Browser, live_server: str, cast: Cast) -> None:
    page = await open_page(chromium, live_server, cast.toscana.administrator)
    await page.goto(f"{live_server}/admin/phases")

    await page.get_by_test_id("phase-select").select_option("sperimentale")
    await page.get_by_test_id("phase-clinic").check()
    await page.get_by_test_id("phase-review").click()
    await expect(page.get_by_role("main")).to_contain_text("Cardiologia territoriale")
    await inspect(page)
    await page.get_by_test_id("phase-save").click()

    await expect(page.get_by_test_id("phase-now")).to_have_attribute("data-phase", "sperimentale")
    await expect(page.get_by_test_id("phase-change")).to_have_count(1)
    await page.context.close()


async def test_a_file_is_uploaded_by_hand(
    chromium: Browser, live_server: str, cast: Cast, tmp_path: Path
) -> None:
    file = tmp_path / "prenotazioni.csv"
    file.write_text(CSV)
    page = await open_page(chromium, live_server, cast.toscana.desk, size="360 px")
    await page.goto(f"{live_server}/desk/upload")

    await page.get_by_test_id("upload-file").set_input_files(file)
    await page.get_by_test_id("upload-submit").click()

    await expect(page.get_by_test_id("upload-error")).to_have_count(1)
    await inspect(page)
    await page.context.close()
