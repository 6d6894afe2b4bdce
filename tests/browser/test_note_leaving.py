"""Pages of the note that go away with words that the server does not have."""

from __future__ import annotations

import asyncio

from playwright.async_api import BrowserContext, Page, Route, expect

from server.db import Database
from server.keyring import Keyring
from server.models import Visit
from server.sealed import Section
from tests.browser.actors import PATIENCE_MS
from tests.browser.test_note import (
    context,
    expect_saved,
    load_notes,
    open_note_of,
    other,
    page,
    visit,
)

__all__ = ["context", "other", "page", "visit"]

COUNT_DRAFTS = """() => new Promise((resolve) => {
  const opening = indexedDB.open("accanto-drafts");
  opening.onsuccess = () => {
    const counting = opening.result.transaction("drafts").objectStore("drafts").count();
    counting.onsuccess = () => resolve(counting.result);
  };
})"""


class HeldSave:
    """The first save of a page: it arrives or not, and its answer never comes."""

    def __init__(self, *, arrives: bool) -> None:
        self.is_held = asyncio.Event()
        self._arrives = arrives

    async def __call__(self, route: Route) -> None:
        if route.request.method != "PUT":
            await route.continue_()
            return
        if self._arrives:
            await route.fetch()
        self.is_held.set()


async def write_while_held(window: Page, held: HeldSave, origin: str, visit: Visit) -> None:
    await window.route("**/note", held)
    editor = await open_note_of(window, origin, visit)
    await editor.fill("prima")
    await asyncio.wait_for(held.is_held.wait(), 10)
    await editor.fill("prima e dopo")


async def test_the_last_words_follow_the_save_that_arrived(
    page: Page, live_server: str, visit: Visit, database: Database, keyring: Keyring
) -> None:
    await write_while_held(page, HeldSave(arrives=True), live_server, visit)

    await page.goto("about:blank")

    for _ in range(50):
        notes = await load_notes(database, keyring, visit)
        if len(notes) == 2:
            break
        await asyncio.sleep(0.1)
    assert [note.text_of(Section.FINDINGS) for note in notes] == ["prima", "prima e dopo"]


async def test_the_last_words_do_not_overwrite_what_another_page_saved(
    page: Page, other: Page, live_server: str, visit: Visit, database: Database, keyring: Keyring
) -> None:
    await open_note_of(other, live_server, visit)
    await write_while_held(page, HeldSave(arrives=False), live_server, visit)
    await other.get_by_test_id("open-therapy").click()
    await other.get_by_test_id("section-therapy").fill("la terapia")
    await expect_saved(other)

    editor = await open_note_of(page, live_server, visit)

    await expect(editor).to_have_value("prima e dopo")
    await expect(page.get_by_test_id("section-therapy")).to_have_value("la terapia")


async def test_two_tabs_that_were_closed_without_a_line_both_come_back(
    page: Page, other: Page, context: BrowserContext, live_server: str, visit: Visit
) -> None:
    findings = await open_note_of(page, live_server, visit)
    await open_note_of(other, live_server, visit)
    await other.get_by_test_id("open-therapy").click()
    for window in (page, other):
        await window.route("**/note", lambda route: route.abort())
    await findings.fill("il referto")
    await other.get_by_test_id("section-therapy").fill("la terapia")
    await page.wait_for_timeout(1000)
    await page.close()
    await other.close()

    third = await context.new_page()
    editor = await open_note_of(third, live_server, visit)

    await expect(editor).to_have_value("il referto")
    await expect(third.get_by_test_id("section-therapy")).to_have_value("la terapia")
    await expect_saved(third)
    async with asyncio.timeout(PATIENCE_MS / 1000):
        while await third.evaluate(COUNT_DRAFTS):
            await asyncio.sleep(0.2)
