"""Asking for a recording, agreeing and stopping over HTTP: rows, session log and room say the same;
nobody records where the organisation does not allow it."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select

from server.db import Database
from server.i18n import load_translators
from server.keyring import Keyring
from server.models import (
    Kept,
    LogEntry,
    Organisation,
    Recording,
    RecordingAnswer,
    RecordingConsent,
    RecordingPurpose,
    RecordingState,
    Visit,
    VisitState,
)
from server.recording.texts import recording_text
from server.terms import DEFAULT_DAYS
from tests.conftest import Cast, MakeVisit
from tests.visitors import Answer, Site, Visitor, open_site

CARE = RecordingPurpose.CARE


@pytest.fixture
async def site(
    database: Database, database_url: str, data_dir: Path, keyring: Keyring
) -> AsyncIterator[Site]:
    """Without workers: no recorder is started."""
    async with open_site(database, database_url, data_dir, has_workers=False) as site:
        yield site


@pytest.fixture
async def visit(cast: Cast, make_visit: MakeVisit, database: Database) -> Visit:
    """In the visit; its organisation allows to record for care."""
    await allow(database, cast, ["care"])
    return await make_visit(cast.toscana, state=VisitState.IN_VISIT)


@pytest.fixture
async def patient(site: Site, visit: Visit) -> Visitor:
    return await site.patient(visit)


@pytest.fixture
async def clinician(site: Site, cast: Cast) -> Visitor:
    return await site.staff(cast.toscana.clinician)


async def allow(database: Database, cast: Cast, purposes: list[str]) -> None:
    organisation = cast.toscana.clinician.organisation_id
    async with database.begin(organisation) as session:
        row = await session.get_one(Organisation, organisation)
        row.is_recording_allowed, row.recording_purposes = bool(purposes), purposes


async def text_hash(database: Database, visit: Visit, language: str = "it") -> str:
    async with database.read(visit.organisation_id) as session:
        row = await session.get_one(Organisation, visit.organisation_id)
    words, days = load_translators()[language], DEFAULT_DAYS[Kept.RECORDING]
    return recording_text(words, CARE, row.name, days).hash


async def ask(clinician: Visitor, visit: Visit, hash_: str, purpose: str = "care") -> Answer:
    body = {"purpose": purpose, "text_hash": hash_}
    return await clinician.send("POST", f"/visits/{visit.id}/recording", body)


async def say(visitor: Visitor, base: str, act: str, ask_: str, **fields: object) -> Answer:
    return await visitor.send("POST", f"{base}/recording/{act}", {"ask": ask_, **fields})


async def load_row(database: Database, visit: Visit) -> Recording:
    async with database.read(visit.organisation_id) as session:
        row = await session.scalar(select(Recording).where(Recording.visit_id == visit.id))
    assert row is not None
    return row


async def load_answers(database: Database, visit: Visit) -> list[tuple[str, str, str]]:
    async with database.read(visit.organisation_id) as session:
        rows = await session.scalars(select(RecordingConsent).order_by(RecordingConsent.at))
        return [(row.participant, row.answer.value, row.text_hash) for row in rows]


async def told(database: Database, visit: Visit) -> list[dict[str, Any]]:
    async with database.read(visit.organisation_id) as session:
        rows = await session.scalars(
            select(LogEntry.entry).where(LogEntry.visit_id == visit.id).order_by(LogEntry.id)
        )
        entries = [json.loads(row) for row in rows]
    return [entry for entry in entries if entry["action"].startswith("recording")]


async def test_both_agree_and_either_ends_it(
    visit: Visit, patient: Visitor, clinician: Visitor, database: Database
) -> None:
    here = f"/v/{visit.locator}"
    hash_ = await text_hash(database, visit)
    asked = json.loads((await ask(clinician, visit, hash_)).text)["ask"]
    text = json.loads((await patient.get(f"{here}/recording?ask={asked}")).text)

    yes = await say(patient, here, "answer", asked, is_accepted=True, text_hash=text["hash"])
    row = await load_row(database, visit)
    begun = row.began_at
    stopped = await say(patient, here, "stop", asked)
    late = await say(clinician, f"/visits/{visit.id}", "stop", asked)

    assert (yes.status, stopped.status, late.status) == (200, 200, 409)
    assert text["hash"] == hash_
    assert (row.state, row.id, row.asked_by) == (
        RecordingState.ON,
        asked,
        visit.appointment.clinician_id,
    )
    assert begun is not None
    assert await load_answers(database, visit) == [
        ("clinician", RecordingAnswer.ACCEPTED, hash_),
        ("patient", RecordingAnswer.ACCEPTED, hash_),
        ("patient", RecordingAnswer.STOPPED, hash_),
    ]
    row = await load_row(database, visit)
    assert (row.state, row.end_reason) == (RecordingState.ENDED, "stopped")
    entries = await told(database, visit)
    assert [entry["action"] for entry in entries] == [
        "recording.asked", "recording.accepted", "recording.began", "recording.stopped",
        "recording.ended",
    ]  # fmt: skip
    assert {entry["facts"]["recording"] for entry in entries} == {asked}
    assert entries[1]["facts"] | {"text_hash": hash_, "language": "it"} == entries[1]["facts"]


async def test_a_no_ends_it_before_it_began(
    visit: Visit, patient: Visitor, clinician: Visitor, database: Database
) -> None:
    asked = json.loads((await ask(clinician, visit, await text_hash(database, visit))).text)["ask"]

    await say(patient, f"/v/{visit.locator}", "answer", asked, is_accepted=False)
    row = await load_row(database, visit)

    assert (row.state, row.began_at, row.end_reason) == (RecordingState.REFUSED, None, "refused")
    acts = [entry["action"] for entry in await told(database, visit)]
    assert acts == ["recording.asked", "recording.refused"]


async def test_nothing_is_asked_where_it_is_not_allowed(
    visit: Visit, clinician: Visitor, cast: Cast, database: Database
) -> None:
    hash_ = await text_hash(database, visit)
    other = await ask(clinician, visit, hash_, "teaching")
    wrong = await ask(clinician, visit, "0" * 64)
    await allow(database, cast, [])
    off = await ask(clinician, visit, hash_)
    shown = await clinician.get(f"/visits/{visit.id}/recording")

    assert (other.status, wrong.status, off.status, shown.status) == (409, 400, 409, 409)
    assert await told(database, visit) == []


async def test_who_is_not_in_the_visit_is_not_recorded(
    cast: Cast, make_visit: MakeVisit, clinician: Visitor, database: Database
) -> None:
    await allow(database, cast, ["care"])
    waiting = await make_visit(cast.toscana, state=VisitState.WAITING)

    assert (await ask(clinician, waiting, await text_hash(database, waiting))).status == 409


async def test_one_recording_at_a_time(
    visit: Visit, clinician: Visitor, database: Database
) -> None:
    hash_ = await text_hash(database, visit)

    answers = [await ask(clinician, visit, hash_) for _ in range(2)]

    assert [answer.status for answer in answers] == [200, 409]


async def test_an_ask_of_another_visit_is_answered_by_nobody_else(
    site: Site,
    cast: Cast,
    make_visit: MakeVisit,
    visit: Visit,
    clinician: Visitor,
    database: Database,
) -> None:
    hash_ = await text_hash(database, visit)
    asked = json.loads((await ask(clinician, visit, hash_)).text)["ask"]
    others = [
        await make_visit(team, state=VisitState.IN_VISIT) for team in (cast.toscana, cast.emilia)
    ]

    for other in others:
        stranger = await site.patient(other)
        for act, fields in (("answer", {"is_accepted": True, "text_hash": hash_}), ("stop", {})):
            answer = await say(stranger, f"/v/{other.locator}", act, asked, **fields)
            assert answer.status == 409
    assert (await load_row(database, visit)).state is RecordingState.ASKED
    assert len(await load_answers(database, visit)) == 1


async def test_yes_needs_the_words_that_were_on_the_screen(
    visit: Visit, patient: Visitor, clinician: Visitor, database: Database
) -> None:
    asked = json.loads((await ask(clinician, visit, await text_hash(database, visit))).text)["ask"]
    here = f"/v/{visit.locator}"

    bad = await say(patient, here, "answer", asked, is_accepted=True, text_hash="0" * 64)
    none = await say(patient, here, "answer", asked, is_accepted=True)
    english = await text_hash(database, visit, "en")
    good = await say(patient, here, "answer", asked, is_accepted=True, text_hash=english)

    assert (bad.status, none.status, good.status) == (400, 400, 200)
    assert (await told(database, visit))[1]["facts"]["language"] == "en"


async def test_the_administrator_allows_it_and_forbids_it(
    site: Site, cast: Cast, visit: Visit, clinician: Visitor, database: Database
) -> None:
    administrator = await site.staff(cast.toscana.administrator)
    hash_ = await text_hash(database, visit)
    asked = json.loads((await ask(clinician, visit, hash_)).text)["ask"]

    saved = await administrator.post("/admin/recording", is_allowed="yes", purpose="teaching")
    row = await load_row(database, visit)
    none = await administrator.post("/admin/recording", is_allowed="yes")
    page = await administrator.get("/admin/recording")
    unknown = await administrator.post("/admin/recording", is_allowed="yes", purpose="fun")
    shown = await clinician.get(f"/visits/{visit.id}/recording")
    off = await administrator.post("/admin/recording")
    hidden = await clinician.get(f"/visits/{visit.id}/recording")

    assert (row.id, row.state, row.end_reason) == (asked, RecordingState.ENDED, "not_allowed")
    assert (saved.status, none.status, unknown.status, off.status) == (303, 400, 400, 303)
    assert "Scelga almeno uno scopo." in none.text
    assert page.text.count("checked") == 2
    assert [one["word"] for one in json.loads(shown.text)["purposes"]] == ["teaching"]
    assert hidden.status == 409


async def test_only_as_many_as_the_machine_is_good_for(
    cast: Cast,
    make_visit: MakeVisit,
    visit: Visit,
    database: Database,
    database_url: str,
    data_dir: Path,
    keyring: Keyring,
) -> None:
    other = await make_visit(cast.toscana, state=VisitState.IN_VISIT)
    hash_ = await text_hash(database, visit)
    place = (database, database_url, data_dir)
    async with open_site(*place, has_workers=False, recordings_at_once=1) as site:
        clinician = await site.staff(cast.toscana.clinician)
        answers = [await ask(clinician, one, hash_) for one in (visit, other)]

    assert [answer.status for answer in answers] == [200, 429]
