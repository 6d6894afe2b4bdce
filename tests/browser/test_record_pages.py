"""The pages of the way to the national record in Chromium: no barriers, at every width."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from playwright.async_api import Browser, expect

from server.db import Database
from server.keyring import Keyring
from server.models import Organisation, Phase, SubmissionState
from server.settings import Settings
from tests.browser.test_desk_pages import VIEWS, inspect, open_page
from tests.conftest import Cast, MakeVisit
from tests.fsegateway import check_structure, connect, serve_gateway
from tests.test_fse_pages import Shelf


async def fill(shelf: Shelf, cast: Cast) -> None:
    """One visit of every kind."""
    team = cast.toscana
    await shelf.end(team, 6.5)
    await shelf.end(team, 1.5)
    refused = await shelf.end(team, 2.5)
    await shelf.file(refused, SubmissionState.REFUSED, problem="/msg/semantic")
    waiting = await shelf.end(team, 4.2)
    await shelf.file(waiting, SubmissionState.REFUSED, problem="/msg/jwt-validation")
    published = await shelf.end(team, 1)
    first = await shelf.file(published, SubmissionState.REFUSED, problem="http-413")
    await shelf.file(published, SubmissionState.PUBLISHED, earlier=first)


@pytest.mark.parametrize(("size", "language"), VIEWS)
async def test_the_pages_of_the_health_record_have_no_barriers(
    chromium: Browser, live_server: str, cast: Cast, make_visit: MakeVisit, database: Database,
    keyring: Keyring, data_dir: Path, tmp_path: Path, size: str, language: str,
) -> None:  # fmt: skip
    team = cast.toscana
    await fill(Shelf(database, keyring, make_visit), cast)
    page = await open_page(chromium, live_server, team.clinician, size=size, language=language)
    await expect(page.get_by_test_id("fse-counter")).to_have_attribute("data-count", "4")
    await inspect(page)
    await page.goto(f"{live_server}/fse")
    await expect(page.get_by_test_id("fse-off")).to_be_visible()
    await expect(page.get_by_test_id("fse-row")).to_have_count(4)
    await inspect(page)
    await page.get_by_test_id("fse-retry").first.click()
    await expect(page.get_by_test_id("fse-words")).to_have_count(1)
    await page.context.close()

    page = await open_page(chromium, live_server, team.manager, size=size, language=language)
    await page.goto(f"{live_server}/fse")
    await expect(page.get_by_test_id("fse-row")).to_have_count(4)
    await inspect(page)
    await page.context.close()

    page = await open_page(chromium, live_server, team.administrator, size=size, language=language)
    await page.goto(f"{live_server}/admin/fse")
    await expect(page.get_by_test_id("fse-off")).to_be_visible()
    await inspect(page)
    async with database.begin(team.organisation.id) as session:
        row = await session.get_one(Organisation, team.organisation.id)
        row.phase = Phase.ATTIVO
    async with serve_gateway(tmp_path, lambda: datetime.now(UTC), check_structure) as gateway:
        folder = Settings(data_dir=data_dir).fse_folder / team.organisation.code
        connect(folder, gateway, ends_at=datetime.now(UTC) + timedelta(days=20))
        await page.reload()
        await expect(page.get_by_test_id("fse-off")).to_have_count(0)
        await inspect(page)
    await page.context.close()
