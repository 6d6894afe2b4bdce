"""The patient's room and the rooms' door to the records, on both databases."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from aiohttp import web
from sqlalchemy import select, text, update

from server.db import Database
from server.keyring import Keyring
from server.models import AppointmentStatus, LogEntry, Outcome, Visit, VisitState
from server.waiting import Spool, VisitHooks
from signaling.hub import Refused
from signaling.messages import (
    Admitted,
    Away,
    Joined,
    MediaProven,
    ParticipantState,
    Returned,
    Role,
)
from tests.conftest import Cast, MakeVisit
from tests.patients import Practice, Telephone, acts_of, link_of, load_visit, open_practice


@pytest.fixture
async def practice(database_url: str, data_dir: Path, keyring: Keyring) -> AsyncIterator[Practice]:
    async with open_practice(database_url, data_dir) as practice:
        yield practice


@pytest.fixture
async def visit(cast: Cast, make_visit: MakeVisit) -> Visit:
    return await make_visit(cast.toscana)


@pytest.fixture
async def telephone(
    practice: Practice, visit: Visit, database: Database, keyring: Keyring
) -> Telephone:
    """Of a patient who has claimed the link and done the check-in."""
    telephone = practice.telephone()
    link = await link_of(database, keyring, visit)
    await telephone.claim(visit.locator, secret=link.fragment)
    here = f"/v/{visit.locator}/check-in"
    await telephone.post(f"{here}/who")
    await telephone.post(f"{here}/consents", visit="yes", tool="yes")
    await telephone.post(f"{here}/place", address="Via Roma 1")
    return telephone


async def set_visit(database: Database, visit: Visit, **values: object) -> None:
    async with database.begin(visit.organisation_id) as session:
        await session.execute(update(Visit).where(Visit.id == visit.id).values(**values))


async def all_acts(database: Database, visit: Visit) -> list[str]:
    async with database.read(visit.organisation_id) as session:
        rows = await session.scalars(
            select(LogEntry.entry).where(LogEntry.visit_id == visit.id).order_by(LogEntry.id)
        )
        return [json.loads(row)["action"] for row in rows]


# ---- pages -----------------------------------------------------------------------------


async def test_entering_twice_is_one_act(
    telephone: Telephone, visit: Visit, database: Database
) -> None:
    room = f"/v/{visit.locator}/room"

    first = await telephone.post(f"/v/{visit.locator}/waiting-room")
    second = await telephone.post(f"/v/{visit.locator}/waiting-room")

    assert first.location == second.location == room
    assert (await telephone.get(room)).status == 200
    stored = await load_visit(database, visit)
    assert stored.state is VisitState.WAITING
    assert stored.waiting_since is not None
    assert (await acts_of(database, visit)).count("visit.waiting") == 1


async def test_the_room_is_not_open_before_its_time(
    telephone: Telephone, practice: Practice, visit: Visit, database: Database
) -> None:
    practice.clock.move(hours=-3)

    reply = await telephone.post(f"/v/{visit.locator}/waiting-room")

    assert (await load_visit(database, visit)).state is VisitState.CHECKED_IN
    assert (await telephone.get(reply.location)).location != f"/v/{visit.locator}/room"


async def test_without_consents_there_is_no_waiting_and_no_ticket(
    telephone: Telephone, visit: Visit, database: Database
) -> None:
    here = f"/v/{visit.locator}"
    await telephone.post(f"{here}/waiting-room")
    assert "ticket" in (await telephone.post(f"{here}/ticket")).json
    await set_visit(database, visit, state=VisitState.IN_VISIT)

    await telephone.post(f"{here}/consents/withdraw")

    assert (await telephone.post(f"{here}/ticket")).status == 409
    assert (await telephone.get(f"{here}/room")).location == f"{here}/check-in"


@pytest.mark.parametrize(
    ("state", "page"),
    [
        (VisitState.BOOKED, "check-in"),
        (VisitState.ENDED, "end"),
        (VisitState.CANCELLED, ""),
    ],
)
async def test_the_room_sends_on_who_has_no_place_in_it(
    telephone: Telephone, visit: Visit, database: Database, state: VisitState, page: str
) -> None:
    outcome = Outcome.COMPLETED if state is VisitState.ENDED else None
    await set_visit(database, visit, state=state, outcome=outcome)

    reply = await telephone.get(f"/v/{visit.locator}/room")

    assert reply.location == f"/v/{visit.locator}/{page}".rstrip("/")
    assert (await telephone.post(f"/v/{visit.locator}/ticket")).status == 409


@pytest.mark.parametrize("outcome", list(Outcome))
async def test_each_outcome_has_its_words_at_the_end(
    telephone: Telephone, visit: Visit, database: Database, outcome: Outcome
) -> None:
    await set_visit(database, visit, state=VisitState.ENDED, outcome=outcome)

    page = (await telephone.get(f"/v/{visit.locator}/end")).text

    words = {
        Outcome.COMPLETED: "scrive il referto",
        Outcome.CONVERTED_TO_IN_PERSON: "di persona",
        Outcome.TECHNICAL_FAILURE: "Non vale come assenza",
        Outcome.NO_SHOW_CLINICIAN: "Non vale come assenza",
        Outcome.NO_SHOW_PATIENT: "chiami il numero",
    }
    assert words[outcome] in page


# ---- the rooms' door to the records ----------------------------------------------------


@pytest.fixture
async def hooks(database: Database, tmp_path: Path) -> AsyncIterator[VisitHooks]:
    hooks = VisitHooks(database, Spool(tmp_path), lambda: datetime.now(UTC))
    async for _ in hooks.lifetime(web.Application()):
        yield hooks


async def open_room(hooks: VisitHooks, visit: Visit) -> None:
    hooks.opened(visit.id, await hooks.load(visit.id))


async def test_a_room_knows_what_the_records_know(
    hooks: VisitHooks, visit: Visit, database: Database
) -> None:
    assert (await hooks.load(visit.id)).admitted == frozenset()

    await set_visit(database, visit, state=VisitState.IN_VISIT, late_minutes=10)
    running = await hooks.load(visit.id)
    await set_visit(database, visit, state=VisitState.ENDED, outcome=Outcome.COMPLETED)
    ended = await hooks.load(visit.id)
    await set_visit(database, visit, state=VisitState.CANCELLED, outcome=None)
    cancelled = await hooks.load(visit.id)

    assert (running.admitted, running.late_minutes) == (frozenset({"patient"}), 10)
    assert (ended.outcome, cancelled.outcome) == ("completed", "cancelled")
    with pytest.raises(Refused):
        await hooks.load("no-such-visit")


async def test_only_a_waiting_patient_is_admitted_and_the_act_is_logged(
    hooks: VisitHooks, visit: Visit, database: Database
) -> None:
    await open_room(hooks, visit)
    with pytest.raises(Refused):
        await hooks.admit(visit.id, "clinician", "patient")
    await set_visit(database, visit, state=VisitState.WAITING)

    await hooks.admit(visit.id, "clinician", "patient")

    stored = await load_visit(database, visit)
    assert stored.state is VisitState.IN_VISIT
    assert stored.admitted_at is not None
    assert (await all_acts(database, visit))[-1] == "visit.admitted"


def joined() -> Joined:
    return Joined(seq=1, participant="patient", role=Role.PATIENT, state=ParticipantState.WAITING)


async def test_what_happens_in_a_room_is_logged_in_order(
    hooks: VisitHooks, visit: Visit, database: Database
) -> None:
    await open_room(hooks, visit)
    before = len(await all_acts(database, visit))

    hooks.observe(visit.id, joined())
    hooks.observe(visit.id, Admitted(seq=2, participant="patient"))
    hooks.observe(
        visit.id,
        MediaProven(seq=3, participant="clinician", of="patient", audio=True, video=True),
    )
    hooks.observe(visit.id, Away(seq=4, participant="patient"))
    hooks.observe(visit.id, Returned(seq=5, participant="patient"))
    hooks.observe(visit.id, joined())

    assert await wait_for_acts(database, visit, before + 5) == [
        "room.joined",
        "media.proven",
        "room.dropped",
        "room.rejoined",
        "room.rejoined",
    ]


async def wait_for_acts(database: Database, visit: Visit, count: int) -> list[str]:
    async with asyncio.timeout(10):
        while len(acts := await all_acts(database, visit)) < count:
            await asyncio.sleep(0.02)
    return acts[-5:]


async def test_rows_of_a_running_call_wait_for_the_database(
    hooks: VisitHooks, visit: Visit, database: Database
) -> None:
    """The table is away for a while, as on a bad day of the database."""
    await open_room(hooks, visit)
    before = len(await all_acts(database, visit))
    await rename_table(database, "log_entry", "log_entry_away")

    hooks.observe(visit.id, joined())
    hooks.observe(visit.id, Away(seq=2, participant="patient"))
    await asyncio.sleep(0.3)
    await rename_table(database, "log_entry_away", "log_entry")

    assert (await wait_for_acts(database, visit, before + 2))[-2:] == [
        "room.joined",
        "room.dropped",
    ]


async def rename_table(database: Database, old: str, new: str) -> None:
    async with database.engine.begin() as connection:
        await connection.execute(text(f"ALTER TABLE {old} RENAME TO {new}"))


async def test_a_cancelled_booking_has_no_room(
    telephone: Telephone, visit: Visit, database: Database
) -> None:
    appointment = visit.appointment
    async with database.begin(visit.organisation_id) as session:
        stored = await session.get_one(type(appointment), appointment.id)
        stored.status = AppointmentStatus.CANCELLED

    await telephone.post(f"/v/{visit.locator}/waiting-room")

    assert (await load_visit(database, visit)).state is VisitState.CHECKED_IN
