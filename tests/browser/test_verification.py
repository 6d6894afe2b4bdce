"""The verified call on two real pages: figures, answer, badge, and when it stops being true."""

from __future__ import annotations

from typing import Any

import pytest
from playwright.async_api import expect

from tests.browser.actors import PATIENCE_MS, Person, open_call
from tests.browser.stage import Stage, stage

__all__ = ["stage"]


async def read_figures(person: Person) -> list[str]:
    """The names of the four figures, once they are shown."""
    await expect(person("figures")).to_be_visible(timeout=PATIENCE_MS)
    names = person("figures").locator(".figure-name")
    await expect(names).to_have_count(4, timeout=PATIENCE_MS)
    found: list[str] = await names.all_text_contents()
    return found


async def ask_for_figures(stage: Stage) -> None:
    await stage.clinician("verify-open").click(timeout=PATIENCE_MS)
    clinician, patient = [await read_figures(one) for one in (stage.clinician, stage.patient)]
    assert clinician == patient
    assert all(clinician)


def badge_of(person: Person) -> Any:
    return expect(person("verified-badge"))


async def load_acts(stage: Stage) -> list[str]:
    """The acts of the visit as the manager reads them."""
    manager = await stage.chromiums.open_person(colour="green", tone_hz=600)
    await manager.log_in(stage.demo, "manager")
    running = manager.page.locator('[data-testid="sessions-row"]', has_text="In visita")
    await running.first.locator("a").first.click()
    acts: list[str] = (
        await manager("session-timeline")
        .locator("[data-act]")
        .evaluate_all("(lines) => lines.map((line) => line.dataset.act)")
    )
    await manager.close()
    return acts


@pytest.mark.timeout(240)
async def test_the_badge_follows_the_answer_and_falls_with_a_new_page(stage: Stage) -> None:
    patient, clinician = stage.patient, stage.clinician
    await open_call(stage.demo, patient, clinician)
    for person in (patient, clinician):
        await badge_of(person).to_be_hidden()

    await ask_for_figures(stage)
    await clinician("verify-same").click()
    for person in (patient, clinician):
        await badge_of(person).to_have_text("Chiamata verificata", timeout=PATIENCE_MS)
        await badge_of(person).to_be_visible(timeout=PATIENCE_MS)
        await expect(person("figures")).to_be_hidden()

    await patient.page.reload()
    for person in (patient, clinician):
        await person.sees_moving_picture()
    await expect(clinician("verify-open")).to_be_visible(timeout=PATIENCE_MS)
    for person in (patient, clinician):
        await badge_of(person).to_be_hidden()
    words = clinician.page.locator('[data-hook="verify-words"]')
    await expect(words).to_contain_text("non vale più")

    await ask_for_figures(stage)
    await clinician("verify-later").click()
    await expect(patient("figures")).to_be_hidden(timeout=PATIENCE_MS)
    acts = await load_acts(stage)
    assert [act for act in acts if act.startswith("sas.")] == ["sas.confirmed", "sas.skipped"]
    assert patient.faults + clinician.faults == []


@pytest.mark.timeout(240)
async def test_coming_back_with_the_same_page_stays_verified(stage: Stage) -> None:
    patient, clinician = stage.patient, stage.clinician
    await open_call(stage.demo, patient, clinician)
    await ask_for_figures(stage)
    await clinician("verify-same").click()
    await badge_of(patient).to_be_visible(timeout=PATIENCE_MS)

    await patient("leave").click()
    await patient.page.locator('[data-hook="left"] [data-hook="rejoin"]').click()

    for person in (patient, clinician):
        await person.sees_moving_picture()
        await badge_of(person).to_be_visible(timeout=PATIENCE_MS)


@pytest.mark.long
@pytest.mark.timeout(240)
async def test_different_figures_end_the_call_on_both_pages(stage: Stage) -> None:
    patient, clinician = stage.patient, stage.clinician
    await open_call(stage.demo, patient, clinician)
    await ask_for_figures(stage)

    await clinician("verify-different").click()

    for person in (patient, clinician):
        unsafe = person.page.locator('[data-hook="unsafe"]')
        await expect(unsafe).to_be_visible(timeout=PATIENCE_MS)
        await expect(person("remote-video")).to_be_hidden()
    assert "sas.mismatch" in await load_acts(stage)

    await patient.page.locator('[data-hook="unsafe"] [data-hook="rejoin"]').click()
    await clinician.page.locator('[data-hook="unsafe"] [data-hook="rejoin"]').click()
    for person in (patient, clinician):
        await person.sees_moving_picture()
    await ask_for_figures(stage)
