"""The session log verified in Chromium: the server's, a file's, and without any network."""

from __future__ import annotations

import asyncio
from pathlib import Path
from random import Random
from zipfile import ZipFile

import pytest
from playwright.async_api import Browser, Page, expect

from server.db import Database
from server.tlog.verify import verify
from tests.browser.test_desk_pages import VIEWS, inspect, open_page, play
from tests.conftest import Cast, MakeVisit
from tests.logattacks import ATTACKS
from tests.logbundles import Draft, make_good


async def judge(page: Page, path: Path, *, older: Path | None = None, key: str = "") -> str:
    """The verdict that the page gives on a file."""
    await page.get_by_test_id("log-verify-file").set_input_files(path)
    await page.get_by_test_id("log-verify-older").set_input_files(older or [])
    await page.get_by_test_id("log-verify-key").evaluate("(field, key) => field.value = key", key)
    await page.get_by_test_id("log-verify-submit").click()
    result = page.get_by_test_id("log-verify-result")
    await expect(result).to_be_visible()
    return await result.get_attribute("data-verdict") or ""


async def judge_draft(page: Page, draft: Draft, folder: Path) -> None:
    """The browser says what the verifier in Python says."""
    path, older = folder / "export.zip", folder / "older"
    draft.write(path)
    older.write_bytes(draft.older or b"")
    known = older if draft.older else None
    wanted = verify(str(path), str(known) if known else None, draft.key)

    assert await judge(page, path, older=known, key=draft.key or "") == wanted


@pytest.mark.parametrize(("size", "language"), VIEWS)
async def test_the_log_of_the_server_is_verified_without_barriers(
    chromium: Browser, live_server: str, cast: Cast, make_visit: MakeVisit, database: Database,
    size: str, language: str,
) -> None:  # fmt: skip
    await play(database, await make_visit(cast.toscana))
    page = await open_page(
        chromium, live_server, cast.toscana.manager, size=size, language=language
    )
    await page.goto(f"{live_server}/sessions/verify")
    await expect(page.get_by_test_id("log-verify-submit")).to_be_enabled()
    await inspect(page)

    await page.locator("summary").last.click()
    await inspect(page)
    await page.get_by_test_id("log-verify-submit").press("Enter")

    result = page.get_by_test_id("log-verify-result")
    await expect(result).to_be_focused()
    assert (await result.get_attribute("data-verdict") or "").startswith("OK: ")
    await inspect(page)
    await page.context.close()


async def test_a_changed_file_is_found_without_network(
    chromium: Browser, live_server: str, cast: Cast, make_visit: MakeVisit, database: Database,
    tmp_path: Path,
) -> None:  # fmt: skip
    await play(database, await make_visit(cast.toscana))
    page = await open_page(chromium, live_server, cast.toscana.auditor)
    await page.get_by_test_id("log-verify-link").click()
    await expect(page.get_by_test_id("log-verify-submit")).to_be_enabled()
    good, bad, note = tmp_path / "good.zip", tmp_path / "bad.zip", tmp_path / "note.txt"
    good.write_bytes(await (await page.request.get(f"{live_server}/sessions/log.zip")).body())
    spoil(good, bad, 2)
    code = cast.toscana.organisation.code
    answer = await page.request.get(f"{live_server}/log/{code}/checkpoint")
    note.write_bytes(await answer.body())
    await page.context.set_offline(True)
    await page.get_by_text("Confronti con ciò che ha conservato").click()

    assert (await judge(page, good, older=note)).startswith("OK: ")
    assert await judge(page, bad, older=note) == "entry 2: edited"
    await expect(page.get_by_text("Il testo della riga 2 non è quello")).to_be_visible()

    await page.get_by_test_id("log-verify-file").set_input_files([])
    await page.get_by_test_id("log-verify-submit").click()
    await expect(page.get_by_text("Il registro non è arrivato")).to_be_visible()
    await page.context.close()


async def test_chromium_says_what_the_others_say(
    chromium: Browser, live_server: str, cast: Cast, tmp_path: Path
) -> None:
    page = await open_page(chromium, live_server, cast.toscana.manager)
    await page.goto(f"{live_server}/sessions/verify")
    for seed in range(5):
        draft, _ = await asyncio.to_thread(make_good, Random(seed))
        await judge_draft(page, draft, tmp_path)
    for seed, attack in enumerate(ATTACKS[::3]):
        draft, _ = await asyncio.to_thread(attack, Random(seed))
        await judge_draft(page, draft, tmp_path)
    await page.context.close()


def spoil(good: Path, bad: Path, line: int) -> None:
    """A copy in which the text of one entry is another."""
    with ZipFile(good) as source, ZipFile(bad, "w") as target:
        for name in source.namelist():
            content = source.read(name)
            if name == "entries.jsonl":
                lines = content.split(b"\n")
                lines[line] = lines[line].replace(b"2026", b"2025").replace(b"2027", b"2025")
                content = b"\n".join(lines)
            target.writestr(name, content)
