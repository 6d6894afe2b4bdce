"""Photos and documents in real visits: the patient sends, the doctor asks, both see.

The patient's camera is red, so that a picture of it can be told from any other.
"""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import pytest
from axe_playwright_python.async_playwright import Axe
from PIL import Image
from playwright.async_api import Page, expect

from tests.browser.actors import PATIENCE_MS, Person, open_call, open_waiting_visit
from tests.browser.stage import Stage, stage
from tests.browser.test_first_visit import assert_colour, find_faults, finish
from tests.files import PDF, make_photo
from tests.sweep import find_canaries

__all__ = ["stage"]

MAKER = "Fotocamera Segreta Quarantadue"


async def find_barriers(page: Page) -> list[str]:
    results = await Axe().run(page)
    found = [
        f"{fault['id']}: {fault['nodes'][0]['html']}" for fault in results.response["violations"]
    ]
    is_wide = await page.evaluate(
        "document.documentElement.scrollWidth > document.documentElement.clientWidth"
    )
    return [*found, *(["wider than the screen"] if is_wide else [])]


def file_named(name: str, content: bytes, kind: str) -> Any:
    return {"name": name, "mimeType": kind, "buffer": content}


async def send(patient: Person, name: str, content: bytes, kind: str = "image/jpeg") -> None:
    await patient("own-file").set_input_files(file_named(name, content, kind))


async def open_files(patient: Person) -> None:
    await patient("files-toggle").click()
    await expect(patient.page.locator('[data-hook="files-panel"]')).to_be_visible()


async def painted(person: Person, test_id: str) -> tuple[int, int]:
    """The natural size of a picture, once it is painted."""
    picture = person(test_id)
    await expect(picture).to_be_visible(timeout=PATIENCE_MS)
    await person.page.wait_for_function(
        "(id) => document.querySelector(`[data-testid=${id}]`).naturalWidth > 0", arg=test_id
    )
    width, height = await picture.evaluate("(img) => [img.naturalWidth, img.naturalHeight]")
    return width, height


async def answer_still(stage: Stage) -> None:
    """The doctor asks, the patient agrees and takes the picture."""
    patient, clinician = stage.patient, stage.clinician
    await clinician("ask-still").click()
    await expect(patient("still")).to_be_visible(timeout=PATIENCE_MS)
    assert await find_barriers(patient.page) == []
    await patient("still-agree").click()
    await expect(clinician("still-state")).to_contain_text("ha detto di sì", timeout=PATIENCE_MS)
    await expect(patient("still-shoot")).to_be_enabled(timeout=PATIENCE_MS)
    await patient("still-shoot").click()
    await painted(patient, "still-picture")


@pytest.mark.timeout(240)
async def test_what_the_patient_sends_from_the_waiting_room_the_doctor_sees_at_once(
    stage: Stage,
) -> None:
    patient, clinician = stage.patient, stage.clinician
    await open_waiting_visit(stage.demo, patient, clinician)
    await open_files(patient)

    await send(patient, "gamba.heic", make_photo((800, 600), maker=MAKER))
    await expect(patient("file-status")).to_contain_text("Inviato", timeout=PATIENCE_MS)
    await expect(clinician("files-list")).to_contain_text("gamba.heic", timeout=PATIENCE_MS)
    await send(patient, "esame.pdf", PDF, "application/pdf")
    await expect(clinician("files-list")).to_contain_text("esame.pdf", timeout=PATIENCE_MS)
    await send(patient, "finto.pdf", b"<html><script>alert(1)</script>", "application/pdf")
    await expect(patient("file-problem")).to_contain_text("solo foto", timeout=PATIENCE_MS)

    await clinician("open-file").first.click()
    assert await painted(clinician, "viewer-picture") == (600, 800)
    assert await find_barriers(clinician.page) == []
    await clinician("viewer").locator('[data-hook="viewer-close"]').click()
    async with clinician.page.expect_download() as downloading:
        await clinician("files-list").get_by_role("link").click()
    download = await downloading.value
    assert Path(await download.path()).read_bytes() == PDF
    assert download.suggested_filename.startswith("accanto-")

    assert await find_barriers(patient.page) == []
    await patient("file-list").get_by_role("button", name="Elimina esame.pdf").click()
    await expect(clinician("files-list")).not_to_contain_text("esame.pdf", timeout=PATIENCE_MS)
    assert [fault for fault in find_faults(patient, clinician) if "400" not in fault] == []
    canaries = {"maker": MAKER, "name": "gamba.heic", "document": "Esame del sangue"}
    places = [Path(stage.demo["data_dir"]), stage.folder / "demo.log"]
    assert find_canaries(canaries, places) == []


@pytest.mark.timeout(240)
async def test_a_photo_is_asked_for_agreed_to_taken_and_chosen_for_the_report(
    stage: Stage,
) -> None:
    patient, clinician = stage.patient, stage.clinician
    await open_call(stage.demo, patient, clinician)

    await answer_still(stage)
    assert abs(await clinician.tone() - 440) < 30
    await patient("still-send").click()
    await expect(patient("still-done")).to_contain_text("inviata", timeout=PATIENCE_MS)
    await expect(clinician("still-state")).to_contain_text("arrivata", timeout=PATIENCE_MS)
    await expect(patient("still")).to_be_hidden()

    await clinician("open-file").click()
    assert await painted(clinician, "viewer-picture") >= (320, 240)
    facts = clinician.page.locator('[data-hook="viewer-facts"]')
    await expect(facts).to_contain_text("Consenso alle")
    await clinician("viewer-report").click()
    await expect(clinician("files-list")).to_contain_text("nel referto", timeout=PATIENCE_MS)
    shot = Image.open(io.BytesIO(await clinician("viewer-picture").screenshot())).convert("RGB")
    assert_colour(shot.resize((1, 1)).getpixel((0, 0)), "red")  # type: ignore[arg-type]
    await clinician("viewer").locator('[data-hook="viewer-close"]').click()

    for person in (patient, clinician):
        await person.sees_moving_picture()
    assert_colour(await clinician.colour(), "red")
    assert abs(await clinician.tone() - 440) < 30
    assert abs(await patient.tone() - 1000) < 30
    await finish(clinician)
    await expect(clinician.page.locator('[data-hook="over"]')).to_be_visible(timeout=PATIENCE_MS)
    await expect(clinician("files-list")).to_contain_text("nel referto", timeout=PATIENCE_MS)
    assert find_faults(patient, clinician) == []


@pytest.mark.timeout(240)
async def test_no_is_an_answer_and_so_is_a_change_of_mind(stage: Stage) -> None:
    patient, clinician = stage.patient, stage.clinician
    await open_call(stage.demo, patient, clinician)

    await clinician("ask-still").click()
    await patient("still-decline").click(timeout=PATIENCE_MS)
    await expect(clinician("still-state")).to_contain_text("non invia", timeout=PATIENCE_MS)
    await answer_still(stage)
    await patient("still-again").click()
    await patient("still-shoot").click()
    await patient("still-cancel").click(timeout=PATIENCE_MS)
    await expect(clinician("still-state")).to_contain_text("non invia", timeout=PATIENCE_MS)

    await expect(clinician("files-list").locator("li")).to_have_count(0)
    await clinician.sees_moving_picture()
    assert_colour(await clinician.colour(), "red")
    assert find_faults(patient, clinician) == []


@pytest.mark.timeout(240)
async def test_a_question_survives_a_reload_of_the_patients_page(stage: Stage) -> None:
    patient, clinician = stage.patient, stage.clinician
    await open_call(stage.demo, patient, clinician)

    await clinician("ask-still").click()
    await expect(patient("still")).to_be_visible(timeout=PATIENCE_MS)
    await patient.page.reload()

    await expect(patient("still")).to_be_visible(timeout=PATIENCE_MS)
    await patient("still-decline").click()
    await expect(clinician("still-state")).to_contain_text("non invia", timeout=PATIENCE_MS)
