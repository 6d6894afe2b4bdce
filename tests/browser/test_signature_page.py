"""The page of a clinician's signature in Chromium: no barriers, the keyboard, the words."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from axe_playwright_python.async_playwright import Axe
from playwright.async_api import Browser, Page, expect

from tests.conftest import PASSWORD, Cast
from tests.signers import PIN, SigningAuthority

VIEWS = [((320, 640), "it-IT"), ((360, 740), "en-GB"), ((1440, 900), "it-IT")]


async def inspect(page: Page) -> None:
    """No barrier that axe finds, and nothing wider than the screen."""
    results = await Axe().run(page)
    assert results.violations_count == 0, results.generate_snapshot()
    assert await page.evaluate("document.documentElement.scrollWidth <= innerWidth")


async def add(page: Page, file: Path, pin: str) -> None:
    await page.get_by_test_id("signature-file").set_input_files(file)
    await page.get_by_test_id("signature-pin").fill(pin)
    await page.get_by_test_id("signature-pin").press("Enter")


@pytest.mark.parametrize(("size", "language"), VIEWS)
async def test_clinician_adds_and_removes_a_signature_without_barriers(
    chromium: Browser, live_server: str, cast: Cast, tmp_path: Path,
    size: tuple[int, int], language: str,
) -> None:  # fmt: skip
    now, file = datetime.now(UTC), tmp_path / "firma.p12"
    validity = {"begins_at": now - timedelta(days=1), "ends_at": now + timedelta(days=20)}
    file.write_bytes(SigningAuthority().issue_file(**validity))
    context = await chromium.new_context(
        viewport={"width": size[0], "height": size[1]}, locale=language
    )
    page = await context.new_page()
    page.set_default_timeout(30_000)
    await page.goto(f"{live_server}/login")
    await page.get_by_test_id("login-username").fill(cast.toscana.clinician.username)
    await page.get_by_test_id("login-password").fill(PASSWORD)
    await page.get_by_test_id("login-submit").click()
    await page.wait_for_url(re.compile("/agenda$"))

    await page.goto(f"{live_server}/signature")
    await inspect(page)
    await add(page, file, "sbagliato")
    await expect(page.get_by_test_id("signature-problem")).to_be_visible()
    await inspect(page)
    await add(page, file, PIN)
    await expect(page.get_by_test_id("signature-subject")).to_have_text("BIANCHI ANNA")
    await expect(page.get_by_test_id("signature-ending")).to_be_visible()
    await inspect(page)
    await page.get_by_test_id("signature-remove").click()
    await expect(page.get_by_test_id("signature")).to_have_count(0)
    await context.close()
