"""A whole visit, from the waiting room to the signed report in the patient's hands."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from axe_playwright_python.async_playwright import Axe
from playwright.async_api import Page, expect

from server.demo import people
from server.demo.signers import demo_pin
from server.keyring import load_keyring
from tests.browser.actors import PATIENCE_MS, open_call
from tests.browser.stage import Stage, stage
from tests.reports import Validator, open_validator
from tests.test_cli import Installation

__all__ = ["stage"]

FINDINGS = "Compenso buono: K⁺ < 5, ΣNYHA = 2 & nessun edema."


@pytest.fixture(scope="module")
def validator() -> Iterator[Validator]:
    """Skips where the national rules do not lie beside the project."""
    yield from open_validator()


async def find_barriers(page: Page) -> list[str]:
    """What axe finds, and whether the page scrolls sideways."""
    found = (await Axe().run(page)).response["violations"]
    barriers = [f"{rule['id']}: {node['html'][:120]}" for rule in found for node in rule["nodes"]]
    if await page.evaluate("document.documentElement.scrollWidth > innerWidth"):
        barriers.append("scrolls sideways")
    return barriers


async def read_code(page: Page, outbox: str) -> str:
    """The newest code of a report among what patients would receive."""
    pattern = re.compile(r"(\d{6}) è il suo codice per il referto|Il suo codice è (\d{6})")
    async with asyncio.timeout(PATIENCE_MS / 1000):
        while True:
            await page.goto(outbox)
            found = pattern.search(await page.locator("main").inner_text())
            if found:
                return found.group(1) or found.group(2)
            await page.wait_for_timeout(300)


async def finish_and_sign(stage: Stage, pin: str) -> None:
    """Note, outcome, the report as the patient will see it, and two clicks."""
    clinician = stage.clinician
    await clinician("note-editor").fill(FINDINGS)
    await expect(clinician("note-status")).to_contain_text("Salvato", timeout=PATIENCE_MS)
    await clinician("finish-visit").click()
    await clinician("outcome").select_option("completed")
    await clinician("outcome-confirm").click()
    await clinician("open-report").click(timeout=PATIENCE_MS)
    await expect(clinician("report-content")).to_contain_text("ΣNYHA = 2 & nessun edema")
    assert await find_barriers(clinician.page) == []
    await take(stage, clinician.page, "report-to-sign")
    await clinician("sign-pin").fill(pin)
    await clinician("sign").click()
    state = clinician("report-state")
    await expect(state).to_have_attribute("data-state", "delivered", timeout=PATIENCE_MS)
    assert await find_barriers(clinician.page) == []
    await take(stage, clinician.page, "report-signed")


async def open_with_code(stage: Stage) -> Path:
    """The patient's way: the link of the message, a code, the list, the download."""
    patient, page = stage.patient, stage.patient.page
    await page.goto(stage.demo["patient_url"])
    await expect(patient("report-code-send")).to_be_visible(timeout=PATIENCE_MS)
    assert await find_barriers(page) == []
    await take(stage, page, "patient-code")
    await patient("report-code-send").click()
    await expect(patient("report-code")).to_be_visible(timeout=PATIENCE_MS)
    beside = await page.context.new_page()
    code = await read_code(beside, stage.demo["smtp_outbox_url"])
    await beside.close()
    await patient("report-code").fill(code)
    await patient("report-code-open").click()
    await expect(patient("report-download")).to_be_visible(timeout=PATIENCE_MS)
    assert await find_barriers(page) == []
    await take(stage, page, "patient-list")
    async with page.expect_download() as waiting:
        await patient("report-download").click()
    download = await waiting.value
    path = stage.folder / "downloaded.pdf"
    await download.save_as(path)
    await patient("report-read").click()
    await expect(patient("report-content")).to_contain_text("ΣNYHA = 2")
    assert await find_barriers(page) == []
    await take(stage, page, "patient-report")
    return path


async def take(stage: Stage, page: Page, name: str) -> None:
    await page.screenshot(path=stage.folder / f"{name}.png", full_page=True)


@pytest.mark.timeout(360)
async def test_a_visit_ends_in_a_signed_report_that_the_patient_opens(
    stage: Stage, validator: Validator
) -> None:
    folder = Path(stage.demo["data_dir"])
    pin = demo_pin(load_keyring(folder), people.CLINICIAN.username)
    await open_call(stage.demo, stage.patient, stage.clinician)

    await finish_and_sign(stage, pin)
    downloaded = await open_with_code(stage)

    assert stage.patient.faults + stage.clinician.faults == []
    exported = await asyncio.to_thread(export, folder, stage.folder / "out")
    assert downloaded.read_bytes() == (exported / "report.pdf").read_bytes()
    cda = (exported / "cda.xml").read_bytes()
    assert FINDINGS.replace("&", "&amp;").replace("<", "&lt;") in cda.decode()
    assert validator.errors(cda) == []
    for name in ("document.json", "transaction.json"):
        assert json.loads((exported / name).read_bytes())["resourceType"] == "Bundle"


def export(data_dir: Path, to: Path) -> Path:
    """The report of the main visit, by the command."""
    installation = Installation(data_dir)
    installation.succeed("report", "export", "TA26-100005", "--to", to)
    listed = [json.loads(line) for line in installation.succeed("visits", "--json").splitlines()]
    main = next(visit for visit in listed if visit["booking_code"] == "TA26-100005")
    assert (main["outcome"], main["report_state"]) == ("completed", "delivered")
    return to
