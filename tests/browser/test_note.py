"""The note as a doctor writes it: sections, keys, two tabs, a lost line, versions, paper."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
import pytest_asyncio
from playwright.async_api import Browser, BrowserContext, Locator, Page, expect
from sqlalchemy import delete, select

from server.db import EVERY_ORGANISATION, Database
from server.keyring import Keyring
from server.models import CodeSystem, Note, Phrase, UserSession, Visit
from server.sealed import NoteContent, Section, open_note
from server.writing.codelists import CodeLine, replace_list
from tests.browser.test_clinician_pages import (
    DESK,
    PHONE,
    context,
    find_barriers,
    log_in,
    page,
)
from tests.conftest import CARDIOLOGY, Cast, MakeVisit

__all__ = ["context", "page"]


@pytest_asyncio.fixture(loop_scope="session")
async def visit(cast: Cast, make_visit: MakeVisit) -> Visit:
    return await make_visit(cast.toscana)


@pytest_asyncio.fixture(loop_scope="session")
async def other(context: BrowserContext) -> Page:
    """A second tab of the same doctor."""
    return await context.new_page()


async def open_note_of(window: Page, origin: str, visit: Visit) -> Locator:
    """The visit's page; gives the field of the report section."""
    await window.goto(f"{origin}/visits/{visit.id}")
    editor = window.get_by_test_id("note-editor")
    await expect(editor).to_be_enabled()
    return editor


async def expect_saved(window: Page) -> None:
    await expect(window.get_by_test_id("note-status")).to_contain_text("Salvato")


async def load_notes(database: Database, keyring: Keyring, visit: Visit) -> list[NoteContent]:
    async with database.read(visit.organisation_id) as session:
        notes = await session.scalars(
            select(Note).where(Note.visit_id == visit.id).order_by(Note.version)
        )
        return [await open_note(keyring, session, note) for note in notes.all()]


# ---- sections ----------------------------------------------------------------------------


async def test_sections_open_by_key_and_tap_and_show_a_tick(
    page: Page, live_server: str, visit: Visit, database: Database, keyring: Keyring
) -> None:
    editor = await open_note_of(page, live_server, visit)
    await expect(page.get_by_test_id("section-question")).to_have_value(CARDIOLOGY.question)
    await expect(page.get_by_test_id("note-status")).to_have_text("La nota è vuota.")
    therapy = page.get_by_test_id("section-therapy")
    await expect(therapy).to_be_hidden()

    await page.keyboard.press("Alt+0")
    await expect(therapy).to_be_focused()
    await page.keyboard.type("Continua ramipril")
    await page.keyboard.press("Alt+2")
    await expect(editor).to_be_focused()
    await page.keyboard.type("Compenso stabile")
    await page.get_by_test_id("open-soap").click()
    await expect(page.get_by_test_id("section-plan")).to_be_visible()
    await page.get_by_test_id("open-soap").click()
    await expect(page.get_by_test_id("section-plan")).to_be_hidden()

    await expect_saved(page)
    filled = page.locator(".note-opener.is-filled")
    assert [text.split(",")[0].strip("✓ \n") for text in await filled.all_inner_texts()] == [
        "Quesito",
        "Referto",
        "Terapia consigliata",
    ]
    await page.reload()
    await expect(therapy).to_have_value("Continua ramipril")
    assert (await load_notes(database, keyring, visit))[-1].sections == {
        Section.QUESTION: CARDIOLOGY.question,
        Section.FINDINGS: "Compenso stabile",
        Section.THERAPY: "Continua ramipril",
    }


async def test_a_save_comes_within_two_seconds_of_steady_typing(
    page: Page, live_server: str, visit: Visit
) -> None:
    editor = await open_note_of(page, live_server, visit)
    await editor.focus()
    began = datetime.now(UTC)

    async with page.expect_request(lambda request: request.method == "PUT") as sent:
        for _ in range(40):
            await page.keyboard.type("parola ")
            await page.wait_for_timeout(50)
            if sent.is_done():
                break
        await sent.value

    assert (datetime.now(UTC) - began).total_seconds() < 3


# ---- two tabs ----------------------------------------------------------------------------


async def test_different_sections_of_two_tabs_come_together(
    page: Page,
    other: Page,
    live_server: str,
    visit: Visit,
    database: Database,
    keyring: Keyring,
) -> None:
    mine = await open_note_of(page, live_server, visit)
    await open_note_of(other, live_server, visit)

    await mine.fill("il referto")
    await expect_saved(page)
    await other.get_by_test_id("open-therapy").click()
    await other.get_by_test_id("section-therapy").fill("la terapia")

    await expect(other.get_by_test_id("note-editor")).to_have_value("il referto")
    await expect_saved(other)
    await expect(other.locator('[data-hook="merge"]')).to_be_hidden()
    last = (await load_notes(database, keyring, visit))[-1]
    assert last.text_of(Section.FINDINGS) == "il referto"
    assert last.text_of(Section.THERAPY) == "la terapia"


async def test_one_section_of_two_tabs_is_shown_three_ways_and_loses_nothing(
    page: Page,
    other: Page,
    live_server: str,
    visit: Visit,
    database: Database,
    keyring: Keyring,
) -> None:
    first = await open_note_of(page, live_server, visit)
    await first.fill("all'inizio")
    await expect_saved(page)
    second = await open_note_of(other, live_server, visit)

    await first.fill("dalla prima")
    await page.wait_for_timeout(1500)
    await expect_saved(page)
    await second.fill("dalla seconda")
    row = other.locator('[data-row="findings"]')
    await expect(row.locator("[data-base]")).to_have_text("all'inizio")
    await expect(row.locator("[data-mine]")).to_have_text("dalla seconda")
    await expect(other.locator('[data-hook="merge-theirs"]')).to_have_text("dalla prima")
    await other.get_by_test_id("open-advice").click()
    await other.get_by_test_id("section-advice").fill("intanto un consiglio")
    assert await find_barriers(other) == []
    await second.press_sequentially(", ancora")
    await other.locator('[data-hook="keep-both"]').click()
    await expect_saved(other)
    both = "dalla prima\n\ndalla seconda, ancora"
    last = (await load_notes(database, keyring, visit))[-1]
    assert last.text_of(Section.FINDINGS) == both
    assert last.text_of(Section.ADVICE) == "intanto un consiglio"

    await first.press_sequentially(" e poi")
    await page.locator('[data-hook="keep-theirs"]').click()
    await expect(first).to_have_value(both)
    await expect_saved(page)
    texts = [one.text_of(Section.FINDINGS) for one in await load_notes(database, keyring, visit)]
    assert texts[-1] == both
    assert any("dalla prima e poi" in text for text in texts)


# ---- a lost line, a reload, an ended login ------------------------------------------------


async def test_a_note_outlives_a_lost_line(
    page: Page,
    context: BrowserContext,
    live_server: str,
    visit: Visit,
    database: Database,
    keyring: Keyring,
) -> None:
    editor = await open_note_of(page, live_server, visit)

    await context.set_offline(True)
    await editor.press_sequentially("scritto senza linea")
    await expect(page.get_by_test_id("note-status")).to_contain_text("La linea è interrotta")
    kept = await page.evaluate("JSON.stringify([{...localStorage}, {...sessionStorage}])")
    assert "senza" not in kept
    await context.set_offline(False)

    await expect_saved(page)
    last = (await load_notes(database, keyring, visit))[-1]
    assert last.text_of(Section.FINDINGS) == "scritto senza linea"


async def test_a_tab_that_was_closed_without_a_line_joins_what_came_meanwhile(
    page: Page,
    other: Page,
    context: BrowserContext,
    live_server: str,
    visit: Visit,
) -> None:
    first = await open_note_of(page, live_server, visit)
    await page.route("**/note", lambda route: route.abort())
    await first.fill("senza linea")
    await expect(page.get_by_test_id("note-status")).to_contain_text("La linea è interrotta")
    await page.wait_for_timeout(600)
    await page.close()
    third = await open_note_of(other, live_server, visit)

    await expect(third).to_have_value("senza linea")
    await expect_saved(other)


async def test_a_reload_keeps_the_last_words(page: Page, live_server: str, visit: Visit) -> None:
    editor = await open_note_of(page, live_server, visit)

    await editor.press_sequentially("appena scritto")
    await page.reload()

    await expect(editor).to_have_value("appena scritto")


async def test_an_ended_login_keeps_the_text_until_the_next(
    page: Page,
    context: BrowserContext,
    live_server: str,
    cast: Cast,
    visit: Visit,
    database: Database,
) -> None:
    editor = await open_note_of(page, live_server, visit)
    async with database.begin(EVERY_ORGANISATION) as session:
        await session.execute(delete(UserSession))

    await editor.press_sequentially("dopo la scadenza")
    await expect(page.get_by_test_id("note-status")).to_contain_text("accesso")
    async with context.expect_page() as opened:
        await page.locator('[data-hook="note-login"]').click()
    await log_in(await opened.value, live_server, cast.toscana.clinician)

    await expect_saved(page)
    await expect(editor).to_have_value("dopo la scadenza")


# ---- versions, paper, help ----------------------------------------------------------------


async def test_an_older_version_is_read_and_the_note_is_printed(
    page: Page, context: BrowserContext, live_server: str, visit: Visit
) -> None:
    editor = await open_note_of(page, live_server, visit)
    await editor.fill("prima stesura")
    await expect_saved(page)
    await editor.fill("seconda stesura")

    await page.get_by_test_id("note-history").click()
    versions = page.get_by_test_id("history-list").get_by_role("button")
    await expect(versions).to_have_count(2)
    await versions.last.click()
    await expect(page.get_by_test_id("history-text")).to_contain_text("prima stesura")
    assert await find_barriers(page) == []
    await page.locator('[data-hook="history-close"]').click()

    async with context.expect_page() as opened:
        await page.get_by_test_id("note-print").click()
    paper = await opened.value
    await expect(paper.get_by_test_id("print-section")).to_have_count(2)
    await expect(paper.locator("main")).to_contain_text("seconda stesura")
    assert await find_barriers(paper) == []
    await paper.emulate_media(media="print")
    await expect(paper.locator('[data-hook="print"]')).to_be_hidden()


async def test_a_phrase_and_a_template_save_typing(
    page: Page, live_server: str, cast: Cast, visit: Visit, database: Database
) -> None:
    async with database.begin(visit.organisation_id) as session:
        session.add(
            Phrase(
                organisation_id=visit.organisation_id,
                owner_id=cast.toscana.clinician.id,
                shortcut="pa",
                text="Pressione arteriosa mmHg:",
            )
        )
    editor = await open_note_of(page, live_server, visit)
    async with page.expect_response("**/writing/help"):
        await page.reload()
    await expect(editor).to_be_enabled()

    await editor.press_sequentially("Oggi .pa 130/80")
    await expect(editor).to_have_value("Oggi Pressione arteriosa mmHg:130/80")

    await page.get_by_test_id("template-new").click()
    await page.get_by_test_id("template-title").fill("Controllo")
    assert await find_barriers(page) == []
    await page.get_by_test_id("template-save").click()
    choice = page.get_by_test_id("note-template")
    await expect(choice).to_be_enabled()
    await editor.fill("mio testo")
    await page.get_by_test_id("section-question").fill("")
    await choice.select_option(label="Controllo")
    await expect(page.get_by_test_id("section-question")).to_have_value(CARDIOLOGY.question)
    await expect(editor).to_have_value("mio testo")


async def test_a_diagnosis_is_found_by_its_words(
    page: Page, live_server: str, visit: Visit, database: Database, keyring: Keyring
) -> None:
    lines = [
        CodeLine("428.0", "Insufficienza cardiaca congestizia, non specificata"),
        CodeLine("428.1", "Insufficienza del cuore sinistro"),
        CodeLine("401.1", "Ipertensione essenziale benigna"),
    ]
    async with database.begin(EVERY_ORGANISATION) as session:
        await replace_list(
            session, CodeSystem.ICD9_CM, lines, version="2007", now=datetime.now(UTC)
        )
    await open_note_of(page, live_server, visit)
    await page.keyboard.press("Alt+8")
    field = page.get_by_test_id("code-diagnosis_codes")

    await field.press_sequentially("insuff car")
    await expect(page.locator("#codes-diagnosis_codes li")).to_have_count(1)
    assert await find_barriers(page) == []
    await field.press("Enter")
    await field.press_sequentially("401")
    await page.locator("#codes-diagnosis_codes li").click()

    await expect_saved(page)
    await page.reload()
    chosen = page.locator('[data-hook="chosen-diagnosis_codes"] li')
    await expect(chosen).to_have_count(2)
    await chosen.first.get_by_role("button").click()
    await page.wait_for_timeout(1200)
    await expect_saved(page)
    [code] = (await load_notes(database, keyring, visit))[-1].diagnosis_codes
    assert (code.code, code.list_version) == ("401.1", "2007")


@pytest.mark.parametrize("size", [PHONE, DESK], ids=["phone", "desk"])
async def test_pages_for_writing_have_no_barriers(
    chromium: Browser, live_server: str, cast: Cast, visit: Visit, size: dict[str, int]
) -> None:
    window = await chromium.new_page(viewport=size, locale="it-IT")  # type: ignore[arg-type]
    await log_in(window, live_server, cast.toscana.clinician)
    await window.wait_for_url("**/agenda")
    await open_note_of(window, live_server, visit)
    for opener in await window.locator(".note-opener").all():
        await opener.click()
    assert await find_barriers(window) == []
    await window.goto(f"{live_server}/writing/templates/new")
    assert await find_barriers(window) == []
    await window.get_by_label("Titolo").fill("Controllo dello scompenso")
    await window.get_by_label("Referto").fill("Compenso stabile, NYHA II.")
    await window.get_by_role("button", name="Salva il modello").click()
    await window.get_by_test_id("template-publish").click()
    await window.get_by_label("Abbreviazione").fill(".pa")
    await window.get_by_label("Testo").fill("Pressione arteriosa")
    await window.get_by_role("button", name="Salva la frase").click()
    await expect(window.get_by_test_id("phrase")).to_have_count(1)
    assert await find_barriers(window) == []
    await window.close()
