"""Takes the pictures of the README from a running demo: ``make tour``."""

from __future__ import annotations

import asyncio
import tempfile
from pathlib import Path
from typing import Final

from playwright.async_api import Page, async_playwright, expect

from tests.browser.actors import PATIENCE_MS, Demo, Person, open_person, running_demo

PICTURES: Final = Path(__file__).with_name("tour")


async def show_patient(demo: Demo, patient: Person) -> None:
    """From the link to the waiting room, a picture of each kind of step."""
    page = patient.page
    await page.goto(demo["patient_url"])
    await expect(patient("claim-birth-date")).to_be_visible()
    await take(page, "1-link")
    await patient("claim-birth-date").fill(demo["patient_birth_date"])
    await patient("claim-submit").click()
    await patient("checkin-next").click()
    await expect(patient("consent-visit")).to_be_visible()
    await patient("consent-visit").check()
    await patient("consent-tool").check()
    await take(page, "2-consents")
    await patient("checkin-next").click()
    await page.wait_for_url("**/devices")
    await expect(patient("checkin-next")).to_be_visible()
    await page.wait_for_timeout(2500)
    await take(page, "3-devices")
    await patient("checkin-next").click()
    await page.wait_for_url("**/place")
    await patient("checkin-next").click()
    await patient("enter-waiting-room").click()
    await expect(patient("waiting-status")).to_be_visible(timeout=PATIENCE_MS)
    await page.wait_for_timeout(1500)
    await take(page, "4-waiting")


async def show_visit(demo: Demo, patient: Person, clinician: Person) -> None:
    """Agenda and visit, with a call running."""
    await clinician.log_in(demo, "clinician")
    row = clinician.page.locator('[data-testid="agenda-row"][data-state="waiting"]')
    await expect(row).to_have_count(1, timeout=PATIENCE_MS)
    await take(clinician.page, "5-agenda")
    await row.get_by_test_id("open-visit").click()
    await expect(clinician("admit")).to_be_enabled(timeout=PATIENCE_MS)
    await clinician("admit").click()
    await clinician.sees_moving_picture()
    await patient.sees_moving_picture()
    await patient("chat-input").fill("Buongiorno dottoressa")
    await patient("chat-input").press("Enter")
    await clinician("note-editor").fill(
        "Controllo: sta bene, pressione 130/80. Prosegue la terapia."
    )
    await expect(clinician("note-status")).to_contain_text("Salvato", timeout=PATIENCE_MS)
    await clinician.page.wait_for_timeout(2500)
    await take(clinician.page, "6-visit")
    await take(patient.page, "6-visit-patient")
    await clinician("finish-visit").click()
    await clinician("outcome").select_option("completed")
    await clinician("outcome-confirm").click()
    await patient.page.wait_for_url("**/end")


async def show_timeline(demo: Demo, manager: Person) -> None:
    await manager.log_in(demo, "manager")
    ended = manager.page.locator('[data-testid="sessions-row"]', has_text="Conclusa")
    await ended.first.locator("a").first.click()
    await expect(manager("session-timeline")).to_be_visible()
    await take(manager.page, "7-timeline")


async def take(page: Page, name: str) -> None:
    """A picture of what is on the screen."""
    await page.screenshot(path=PICTURES / f"{name}.png")


async def main() -> None:
    PICTURES.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        async with async_playwright() as playwright, running_demo(folder / "data") as demo:
            patient = await open_person(
                playwright, folder, colour="green", tone_hz=440, width=360, height=740
            )
            clinician = await open_person(playwright, folder, colour="blue", tone_hz=1000)
            await show_patient(demo, patient)
            await show_visit(demo, patient, clinician)
            manager = await open_person(playwright, folder, colour="red", tone_hz=600)
            await show_timeline(demo, manager)
            for person in (patient, clinician, manager):
                await person.close()
    print(f"Pictures in {PICTURES}")


if __name__ == "__main__":
    asyncio.run(main())
