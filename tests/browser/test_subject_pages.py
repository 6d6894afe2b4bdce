"""The pages and the file that the law asks for, in Chromium: no barriers, at every width."""

from __future__ import annotations

import zipfile
from datetime import UTC, datetime
from pathlib import Path

import pytest
from playwright.async_api import Browser, expect

from recordings.store import SealedFolder
from server.assets import Assets
from server.cup.booking import Field
from server.cup.rectify import rectify
from server.db import Database
from server.keyring import Keyring
from server.pages import Pages
from server.sealed import ATTACHMENTS_FOLDER, open_recordings
from server.settings import Settings
from server.subjects.bundle import PAGE_NAME, CopyWriter
from tests.browser.test_desk_pages import VIEWS, inspect, open_page
from tests.conftest import Cast, MakeVisit
from tests.test_subjects import ADA, Ada, answer, load_patient

NOW = datetime.now(UTC)


@pytest.mark.parametrize(("size", "language"), VIEWS)
async def test_pages_about_a_persons_data_have_no_barriers(
    chromium: Browser, live_server: str, cast: Cast, make_visit: MakeVisit, database: Database,
    keyring: Keyring, size: str, language: str,
) -> None:  # fmt: skip
    team = cast.toscana
    visit = await make_visit(team, identity=ADA)
    for minute, is_given in enumerate((True, False)):
        await answer(database, visit, is_given=is_given, minute=minute)
    async with database.begin(visit.organisation_id) as session:
        said = {Field.PHONE: "055 1234567"}
        await rectify(keyring, session, visit.appointment.patient_id, said, NOW)

    page = await open_page(chromium, live_server, team.desk, size=size, language=language)
    await page.goto(f"{live_server}/desk/visits/{visit.id}")
    await expect(page.get_by_test_id("desk-corrected")).to_be_visible()
    await inspect(page)
    await page.get_by_test_id("consents-open").click()
    await expect(page.get_by_test_id("consent")).to_have_count(2)
    await expect(page.get_by_test_id("consent").first).to_have_attribute("data-answer", "withdrawn")
    await inspect(page)
    await page.context.close()

    page = await open_page(chromium, live_server, team.administrator, size=size, language=language)
    await page.goto(f"{live_server}/admin/privacy")
    await expect(page.get_by_test_id("flow").first).to_be_visible()
    await inspect(page)
    await page.context.close()


async def test_the_copy_is_a_page_without_barriers_that_asks_for_nothing(
    chromium: Browser, cast: Cast, make_visit: MakeVisit, database: Database, keyring: Keyring,
    data_dir: Path, tmp_path: Path,
) -> None:  # fmt: skip
    store = SealedFolder(data_dir / ATTACHMENTS_FOLDER)
    recordings = open_recordings(Settings(data_dir=data_dir))
    visit = await make_visit(cast.toscana, identity=ADA)
    await Ada(database, keyring, store).fill(cast.toscana, visit)
    writer = CopyWriter(database, keyring, store, recordings, Pages(Assets()))
    await writer.write(await load_patient(database, visit), tmp_path / "copy.zip", NOW)
    with zipfile.ZipFile(tmp_path / "copy.zip") as archive:
        archive.extractall(tmp_path / "copy")

    page = await (await chromium.new_context(viewport={"width": 360, "height": 740})).new_page()
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    await page.goto((tmp_path / "copy" / PAGE_NAME).as_uri())

    assert [url for url in asked if not url.endswith(PAGE_NAME)] == []
    await expect(page.get_by_text("Polso <regolare>")).to_be_visible()
    await inspect(page)
    await page.context.close()
