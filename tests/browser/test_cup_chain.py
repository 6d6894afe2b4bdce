"""The whole chain: a booking posted by FHIR, the link from the outbox, the visit, the outcome in
the outbox to CUP. And what a waiting patient sees when CUP moves or cancels."""

from __future__ import annotations

import asyncio
import json
import re
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import aiohttp
import pytest
from playwright.async_api import expect

from tests.browser.actors import PATIENCE_MS, Demo, Person
from tests.browser.stage import Stage, stage
from tests.sweep import find_canaries

__all__ = ["stage"]

CODE = "TV-CATENA-001"
FAMILY_NAME = "Quagliarella"
BIRTH_DATE = "1950-02-03"


def booking(demo: Demo, start: datetime, status: str = "booked") -> dict[str, Any]:
    """An Appointment that contains everything it refers to."""
    return {
        "resourceType": "Appointment",
        "meta": {"lastUpdated": datetime.now(UTC).isoformat()},
        "contained": [
            {
                "resourceType": "Patient",
                "id": "patient",
                "name": [{"family": FAMILY_NAME, "given": ["Ermelinda"]}],
                "birthDate": BIRTH_DATE,
                "gender": "female",
                "address": [{"line": ["Via dei Serragli 12"], "city": "Firenze"}],
                "telecom": [{"system": "email", "value": "ermelinda@posta.example.org"}],
            },
            {
                "resourceType": "PractitionerRole",
                "id": "role",
                "identifier": [{"value": demo["clinician_code"]}],
            },
            {
                "resourceType": "ServiceRequest",
                "id": "request",
                "status": "active",
                "intent": "order",
                "subject": {"reference": "#patient"},
                "requisition": {"value": "090A04000000777"},
            },
        ],
        "identifier": [{"value": CODE}],
        "status": status,
        "basedOn": [{"reference": "#request"}],
        "start": start.isoformat(),
        "end": (start + timedelta(minutes=20)).isoformat(),
        "participant": [
            {"actor": {"reference": "#patient"}, "status": "accepted"},
            {"actor": {"reference": "#role"}, "status": "accepted"},
        ],
    }


async def post(demo: Demo, resource: dict[str, Any]) -> int:
    headers = {
        "Authorization": f"Bearer {demo['fhir_token']}",
        "Content-Type": "application/fhir+json",
    }
    url = f"{demo['fhir_url']}/Appointment"
    async with (
        aiohttp.ClientSession() as session,
        session.post(url, data=json.dumps(resource), headers=headers) as response,
    ):
        return response.status


async def find_in_outbox(demo: Demo, pattern: str, booking_code: str = CODE) -> str:
    """The first match in a message about a booking, as soon as one is there."""
    async with asyncio.timeout(20), aiohttp.ClientSession() as session:
        while True:
            headers = {"Accept": "application/json"}
            async with session.get(demo["smtp_outbox_url"], headers=headers) as response:
                messages = await response.json()
            for message in messages:
                if message["booking_code"] == booking_code:
                    found = re.search(pattern, message["text"])
                    if found:
                        return found.group()
            await asyncio.sleep(0.2)


def run_accanto(demo: Demo, *arguments: str) -> list[dict[str, Any]]:
    """The JSON lines of a command over the demo's folder, beside the running server."""
    command = [str(Path(sys.executable).parent / "accanto"), *arguments, "--json"]
    output = subprocess.run(
        [*command, "--data", demo["data_dir"]], check=True, capture_output=True, text=True
    ).stdout
    return [json.loads(line) for line in output.splitlines()]


async def wait_in_room(patient: Person, demo: Demo) -> None:
    link = await find_in_outbox(demo, r"https?://\S+/v/\S+#\S+")
    booked = Demo(demo.process, {**demo.line, "patient_url": link})
    booked.line["patient_birth_date"] = BIRTH_DATE
    await patient.claim_and_check_in(booked)


@pytest.mark.timeout(240)
async def test_a_posted_booking_becomes_a_visit_and_its_outcome_goes_back(stage: Stage) -> None:
    demo, patient, clinician = stage.demo, stage.patient, stage.clinician
    assert await post(demo, booking(demo, datetime.now(UTC) + timedelta(minutes=3))) == 201
    await wait_in_room(patient, demo)

    await clinician.log_in(demo, "clinician")
    row = clinician.page.locator(f'[data-testid="agenda-row"][data-booking-code="{CODE}"]')
    await row.get_by_test_id("open-visit").click(timeout=PATIENCE_MS)
    await expect(clinician("admit")).to_be_enabled(timeout=PATIENCE_MS)
    await clinician("admit").click()
    for person in (patient, clinician):
        await person.sees_moving_picture()
    await clinician("finish-visit").click()
    await clinician("outcome").select_option("completed")
    await clinician("outcome-confirm").click()
    await expect(patient.page).to_have_url(re.compile("/end$"), timeout=PATIENCE_MS)

    events = [
        event for event in run_accanto(demo, "cup", "outbox") if event["booking_code"] == CODE
    ]
    (ended,) = [event for event in events if event["kind"] == "ended"]
    assert json.loads(ended["facts"])["outcome"] == "completed"
    async with asyncio.timeout(20):
        while ended["state"] != "delivered":
            await asyncio.sleep(0.5)
            (ended,) = [
                row for row in run_accanto(demo, "cup", "outbox") if row["id"] == ended["id"]
            ]
    folders = [Path(demo["data_dir"]), stage.folder / "demo.log"]
    assert find_canaries({"name": FAMILY_NAME}, folders) == []


@pytest.mark.timeout(300)
async def test_a_waiting_patient_hears_of_a_move_and_of_a_cancel(stage: Stage) -> None:
    demo, patient = stage.demo, stage.patient
    start = datetime.now(UTC) + timedelta(minutes=10)
    assert await post(demo, booking(demo, start)) == 201
    await wait_in_room(patient, demo)

    moved = booking(demo, start + timedelta(minutes=15))
    assert await post(demo, moved) in {200, 201}
    local = datetime.fromisoformat(moved["start"]).astimezone(ZoneInfo("Europe/Rome"))
    await expect(patient.page.locator("main")).to_contain_text(
        f"{local:%H:%M}", timeout=PATIENCE_MS
    )

    assert await post(demo, booking(demo, start, "cancelled")) in {200, 201}
    await expect(patient.page.locator("main")).to_contain_text("annullat", timeout=PATIENCE_MS)
