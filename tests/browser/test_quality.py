"""The line of a real call: measured into the database, voice only by hand, stated at the end."""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Iterable
from contextlib import closing
from pathlib import Path

import pytest
from playwright.async_api import expect

from tests.browser.actors import PATIENCE_MS, Person, open_call
from tests.browser.stage import Stage, stage

__all__ = ["stage"]

_STOPPED_JS = """async (video) => {
  const frames = () => video.getVideoPlaybackQuality().totalVideoFrames;
  const before = frames();
  await new Promise((resolve) => setTimeout(resolve, 1500));
  return frames() === before;
}"""


async def expect_picture_stands(person: Person) -> None:
    """Wait until no frame comes for a second and a half."""
    for _ in range(10):
        if await person("remote-video").evaluate(_STOPPED_JS):
            return
    raise AssertionError("the picture still moves")


def fetch(stage: Stage, query: str) -> list[tuple[object, ...]]:
    path = Path(stage.demo["data_dir"]) / "accanto.db"
    with closing(sqlite3.connect(path)) as connection:
        return connection.execute(query).fetchall()


async def wait_for_rows(stage: Stage, people: Iterable[Person]) -> None:
    """Each page tells in its own answers when its first rows are in."""
    for person in people:
        async with person.page.expect_response(
            lambda answer: answer.url.endswith("/quality") and answer.request.method == "POST",
            timeout=40_000,
        ) as answered:
            pass
        assert (await answered.value).status == 200


@pytest.mark.long
@pytest.mark.timeout(240)
async def test_a_call_is_measured_kept_to_the_voice_by_hand_and_stated(stage: Stage) -> None:
    patient, clinician = stage.patient, stage.clinician
    await open_call(stage.demo, patient, clinician)

    await clinician("picture-choice").select_option("voice")
    told = clinician.page.locator('[data-hook="picture-state"]')
    heard = patient.page.locator('[data-hook="picture-state"]')
    await expect(told).to_contain_text("Ha scelto solo la voce", timeout=PATIENCE_MS)
    await expect(heard).to_contain_text("ha scelto solo la voce", timeout=PATIENCE_MS)
    for person in (patient, clinician):
        await expect_picture_stands(person)
    assert abs(await patient.tone() - 1000) < 30
    assert abs(await clinician.tone() - 440) < 30

    await clinician("picture-choice").select_option("automatic")
    for person in (patient, clinician):
        await person.sees_moving_picture()
    for words in (told, heard):
        await expect(words).to_be_hidden(timeout=PATIENCE_MS)

    await wait_for_rows(stage, (patient, clinician, clinician))
    measured = fetch(
        stage,
        "SELECT seat, direction, max(kilobits_per_second) > 0, max(frames_per_second) > 0,"
        " count(voice_score) > 0, max(path) FROM call_interval"
        " GROUP BY seat, direction ORDER BY seat, direction",
    )
    assert measured == [
        (seat, direction, 1, 1, 1, "direct")
        for seat in ("clinician", "patient")
        for direction in ("incoming", "outgoing")
    ]

    await clinician("finish-visit").click()
    await expect(clinician.page.locator('[data-hook="measured"]')).to_contain_text("Linea finora")
    proposed = clinician.page.locator('input[name="suitability"]:checked')
    await expect(proposed).to_have_count(1)
    await clinician.page.locator('input[name="suitability"][value="voice_only"]').check()
    await clinician("outcome-confirm").click()
    await expect(patient.page).to_have_url(re.compile("/end$"), timeout=PATIENCE_MS)

    await expect(clinician("line-stated")).to_contain_text("adatta alla sola voce")
    await expect(clinician("session-line")).to_contain_text("collegamento diretto")
    assert fetch(stage, "SELECT suitability FROM visit WHERE outcome = 'completed'")[-1] == (
        "voice_only",
    )
    entries = fetch(stage, "SELECT entry FROM log_entry WHERE entry LIKE '%suitability_stated%'")
    assert len(entries) == 1
    assert '"stated":"voice_only"' in str(entries[0][0])
