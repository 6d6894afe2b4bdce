"""A manager and the log in Chromium: a broken visit is found, understood and proved to others."""

from __future__ import annotations

import asyncio
import re
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from zipfile import ZipFile

import pytest
from playwright.async_api import Browser, expect
from sqlalchemy import func, insert, select, update

from server.audit import Act, ActorRole, Entry, Fact, append
from server.db import Database
from server.models import CallOutage, LogCheckpoint, LogEntry, Outcome, Visit, VisitState
from tests.browser.test_desk_pages import VIEWS, inspect, listed, open_page, play
from tests.conftest import Cast, MakeVisit

MINUTE = timedelta(minutes=1)
CALL: list[tuple[float, Act, ActorRole, dict[str, Fact]]] = [
    (-10, Act.WAITING, ActorRole.PATIENT, {}),
    (-10, Act.ROOM_JOINED, ActorRole.PATIENT, {}),
    (0, Act.ROOM_JOINED, ActorRole.CLINICIAN, {}),
    (1, Act.ADMITTED, ActorRole.CLINICIAN, {"participant": "patient"}),
    (6, Act.ROOM_DROPPED, ActorRole.PATIENT, {}),
    (9, Act.FINISHED, ActorRole.CLINICIAN, {"state": "in_visit"}),
    (9, Act.OUTCOME, ActorRole.CLINICIAN, {"outcome": "technical_failure", "reason": "weak_line"}),
    (9, Act.SUITABILITY_STATED, ActorRole.CLINICIAN,
     {"stated": "not_suitable", "proposed": "not_suitable"}),
]  # fmt: skip


async def break_down(database: Database, visit: Visit) -> None:
    """The patient's network went away in the visit and did not come back."""
    start = visit.appointment.start
    async with database.begin(visit.organisation_id) as session:
        entries = [
            Entry(start + minutes * MINUTE, act, role, visit=visit.id, facts=facts)
            for minutes, act, role, facts in CALL
        ]
        await append(session, visit.organisation_id, *entries)
        ended = {
            "state": VisitState.ENDED,
            "outcome": Outcome.TECHNICAL_FAILURE,
            "outcome_reason": "weak_line",
        }
        await session.execute(update(Visit).where(Visit.id == visit.id).values(**ended))
        await session.execute(
            insert(CallOutage).values(
                id="outage", organisation_id=visit.organisation_id, visit_id=visit.id,
                seat="patient", began_at=start + 6 * MINUTE, seconds=180, cause="network_down",
            )
        )  # fmt: skip
    await listed(database, visit)
    await signed(database, visit)


async def signed(database: Database, visit: Visit) -> None:
    """Until the signer has seen everything of this visit."""
    newest = select(func.max(LogEntry.seq)).where(LogEntry.visit_id == visit.id)
    signed = select(func.max(LogCheckpoint.size))
    async with asyncio.timeout(60):
        while True:
            async with database.read(visit.organisation_id) as session:
                last, size = await session.scalar(newest), await session.scalar(signed)
            if last is not None and size is not None and last < size:
                return
            await asyncio.sleep(0.2)


def verify_outside(proof: Path, folder: Path) -> tuple[int, str]:
    """What the verifier that travels in the proof says, with a bare Python and nothing of ours."""
    with ZipFile(proof) as archive:
        archive.extract("verify.py", folder)
    command = [sys.executable, "-I", "verify.py", str(proof)]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    return done.returncode, done.stdout


@pytest.mark.timeout(300)
async def test_broken_visit_of_last_month_is_found_understood_and_proved_to_an_outsider(
    chromium: Browser, live_server: str, cast: Cast, make_visit: MakeVisit, database: Database,
    tmp_path: Path,
) -> None:  # fmt: skip
    then = datetime.now(UTC) - timedelta(days=30)
    broken = await make_visit(cast.toscana, start=then)
    for days in (2, 29, 31):
        await play(database, await make_visit(cast.toscana, start=then + timedelta(days=days - 30)))
    await break_down(database, broken)
    page = await open_page(chromium, live_server, cast.toscana.manager)

    await page.locator("#from").fill(str((then - timedelta(days=15)).date()))
    await page.locator("#problem").select_option("technical_failure")
    await page.get_by_role("button", name="Mostra").click()
    row = page.get_by_test_id("sessions-row")
    await expect(row).to_have_count(1)
    await expect(row).to_have_attribute("data-visit", broken.id)
    await row.get_by_role("link").click()

    await expect(page.get_by_test_id("session-problems")).to_contain_text(
        "Linea caduta durante la visita: 1 volta dalla parte del paziente"
    )
    drop = page.locator('[data-act="room.dropped"]')
    await expect(drop).to_contain_text("lato del paziente: rete assente, 180 secondi")
    async with page.expect_download() as waiting:
        await page.get_by_test_id("export-proof").click()
    proof = tmp_path / "proof.zip"
    await (await waiting.value).save_as(proof)
    await page.context.close()

    status, verdict = verify_outside(proof, tmp_path / "outside")
    assert status == 0, verdict
    assert re.match(r"OK: \d+ entries of .*ausl-toscana, proved in a log of \d+", verdict)


@pytest.mark.parametrize(("size", "language"), VIEWS)
async def test_open_problems_come_by_themselves_and_are_taken_with_the_keyboard(
    chromium: Browser, live_server: str, cast: Cast, make_visit: MakeVisit, database: Database,
    size: str, language: str,
) -> None:  # fmt: skip
    now = datetime.now(UTC)
    visits = [await make_visit(cast.toscana, start=now - n * 60 * MINUTE) for n in (1, 2)]
    page = await open_page(
        chromium, live_server, cast.toscana.manager, size=size, language=language
    )
    await page.goto(f"{live_server}/sessions/problems")
    problems = page.get_by_test_id("problem")
    await expect(problems).to_have_count(0)
    await inspect(page)
    await page.evaluate("globalThis.isTheSamePage = true")

    for visit in visits:
        await play(database, visit)
    await expect(problems).to_have_count(2, timeout=30_000)
    await inspect(page)
    first = await problems.first.get_attribute("data-visit")
    await problems.first.get_by_role("button").press("Enter")

    await expect(problems).to_have_count(1)
    assert await problems.first.get_attribute("data-visit") != first
    await expect(problems.first.get_by_role("button")).to_be_focused()
    await page.keyboard.press("Enter")
    await expect(problems).to_have_count(0)
    await expect(page.locator('[data-hook="empty"]')).to_be_visible()
    assert await page.evaluate("globalThis.isTheSamePage")
    await page.context.close()
