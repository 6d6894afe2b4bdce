"""A synthetic patient as the trouble of a call in Chromium: her line gets weak and good again, the
clinician's page is loaded anew, she is cut off and comes back."""

from __future__ import annotations

from pathlib import Path

import pytest
from playwright.async_api import async_playwright, expect

from recordings.bothost import BotHost
from recordings.botwords import Orders
from recordings.echowords import Endpoint
from recordings.script import Line, Script, Step, StepAct, Trigger
from tests.browser.actors import PATIENCE_MS, Person, open_person, running_demo

WEAK, GOOD = "Linea debole", "Linea buona"
SAYS_MS = 2 * PATIENCE_MS
SCRIPT = Script(
    steps=(
        Step(when=Trigger.ADMITTED, after_seconds=1, act=StepAct.SAY, text="Buongiorno."),
        Step(when=Trigger.HEARD, words=("dolore",), act=StepAct.TYPE, text="No, nessuno."),
        Step(when=Trigger.HEARD, words=("spostare",), act=StepAct.LINE, line=Line.BAD),
        Step(when=Trigger.HEARD, words=("finestra",), act=StepAct.LINE),
        Step(when=Trigger.HEARD, words=("batteria",), act=StepAct.LEAVE),
        Step(when=Trigger.ADMITTED, after_seconds=150, act=StepAct.COME_BACK),
        Step(when=Trigger.RETURNED, act=StepAct.TYPE, text="Eccomi di nuovo."),
    )
)


async def write(clinician: Person, text: str) -> None:
    await clinician("chat-input").fill(text)
    await clinician("chat-input").press("Enter")


async def call(clinician: Person) -> None:
    chat = clinician("chat-log")
    incoming = clinician.page.locator('[data-hook="line-incoming"]')
    await clinician.sees_moving_picture()
    await write(clinician, "Ha dolore?")
    await expect(chat).to_contain_text("No, nessuno.", timeout=SAYS_MS)
    await clinician.page.reload()
    await clinician.sees_moving_picture()
    await expect(incoming).to_contain_text(GOOD, timeout=SAYS_MS)

    await write(clinician, "Si può spostare?")
    await expect(incoming).to_contain_text(WEAK, timeout=SAYS_MS)
    await write(clinician, "Meglio vicino alla finestra.")
    await expect(incoming).to_contain_text(GOOD, timeout=SAYS_MS)

    await write(clinician, "Ha ancora batteria?")
    await expect(chat).to_contain_text("Eccomi di nuovo.", timeout=9 * PATIENCE_MS)
    await clinician.sees_moving_picture()


@pytest.mark.timeout(560)
async def test_a_clinician_and_a_synthetic_patient_come_through_her_troubles(
    tmp_path: Path,
) -> None:
    host = BotHost(1)
    async with async_playwright() as playwright, running_demo(tmp_path / "data") as demo:
        clinician = await open_person(playwright, tmp_path, colour="blue", tone_hz=1000)
        orders = Orders(
            link=demo["patient_url"],
            birth_date=demo["patient_birth_date"],
            script=SCRIPT,
            endpoint=Endpoint(),
            seconds=540,
        )
        try:
            await host.start("patient", orders)
            await clinician.log_in(demo, "clinician")
            row = clinician.page.locator('[data-testid="agenda-row"][data-state="waiting"]')
            await row.get_by_test_id("open-visit").click(timeout=SAYS_MS)
            await clinician("admit").click(timeout=SAYS_MS)
            await call(clinician)
        finally:
            await host.close()
            await clinician.close()
    assert clinician.faults == []
