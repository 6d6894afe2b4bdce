"""What the desk completes: the birth date, the clinician, the invitation that did not arrive."""

from __future__ import annotations

import json
import re
from datetime import UTC, date, datetime, timedelta

import pytest
from sqlalchemy import select, update

from server.db import Database
from server.keyring import Keyring
from server.models import (
    Appointment,
    DispatchState,
    LogEntry,
    MessageKind,
    Patient,
    PatientMessage,
    Visit,
    VisitState,
)
from server.sealed import Identity, open_identity, seal_justification
from tests.conftest import ROSA, Cast, MakeVisit
from tests.patients import messages_of
from tests.visitors import Site, Visitor, site

__all__ = ["site"]

ADA = Identity(family_name="Neri", given_name="Ada", phone="+393331112223")


@pytest.fixture
async def desk(site: Site, cast: Cast) -> Visitor:
    return await site.staff(cast.toscana.desk)


def next_week() -> datetime:
    return datetime.now(UTC) + timedelta(days=7)


def rows_of(text: str) -> list[str]:
    return re.findall(r'data-testid="desk-row" data-visit="(\w+)"', text)


async def change(database: Database, visit: Visit, **values: object) -> None:
    async with database.begin(visit.organisation_id) as session:
        await session.execute(
            update(Appointment).where(Appointment.id == visit.appointment_id).values(**values)
        )


async def entries_of(database: Database, visit: Visit, act: str) -> list[dict[str, object]]:
    async with database.read(visit.organisation_id) as session:
        rows = await session.scalars(select(LogEntry.entry).where(LogEntry.visit_id == visit.id))
        return [entry for entry in map(json.loads, rows) if entry["action"] == act]


async def load_resent(database: Database, visit: Visit) -> list[PatientMessage]:
    messages = await messages_of(database, visit, MessageKind.INVITATION)
    return [message for message in messages if message.occasion.startswith("resend-")]


async def birth_date_of(database: Database, keyring: Keyring, visit: Visit) -> date | None:
    async with database.read(visit.organisation_id) as session:
        patient = await session.get_one(Patient, visit.appointment.patient_id)
        return (await open_identity(keyring, session, patient)).birth_date


# ---- the lists -------------------------------------------------------------------------


async def test_lists_of_all_days_lead_to_what_is_to_do(
    desk: Visitor, cast: Cast, make_visit: MakeVisit, database: Database
) -> None:
    fine = await make_visit(cast.toscana, start=next_week())
    nameless = await make_visit(cast.toscana, start=next_week(), identity=ADA)
    unassigned = await make_visit(cast.toscana, start=next_week())
    asked = await make_visit(cast.toscana, start=next_week())
    await make_visit(cast.emilia, start=next_week(), identity=ADA)
    await make_visit(cast.toscana, start=datetime.now(UTC) - timedelta(days=1), identity=ADA)
    await make_visit(cast.toscana, identity=ADA, state=VisitState.CANCELLED)
    await change(database, unassigned, clinician_id=None)
    await change(database, asked, cancel_asked_at=datetime.now(UTC))

    board = (await desk.get("/desk")).text
    lists = {
        name: (await desk.get(f"/desk?list={name}")) for name in ("complete", "assign", "cancel")
    }

    assert re.findall(r'data-testid="desk-list-(\w+)">[^<]*<strong>(\d+)', board) == [
        ("assign", "1"), ("complete", "1"), ("cancel", "1"),
    ]  # fmt: skip
    assert {name: rows_of(answer.text) for name, answer in lists.items()} == {
        "complete": [nameless.id], "assign": [unassigned.id], "cancel": [asked.id],
    }  # fmt: skip
    assert "Completa la data di nascita" in lists["complete"].text
    assert "Ha chiesto di disdire" in lists["cancel"].text
    assert all(fine.id not in answer.text for answer in lists.values())
    assert (await desk.get("/desk?list=everything")).status == 400


async def test_an_empty_desk_has_no_lists(desk: Visitor) -> None:
    assert "desk-list-" not in (await desk.get("/desk")).text


# ---- the birth date --------------------------------------------------------------------


async def test_completed_birth_date_is_sealed_logged_and_off_the_list(
    desk: Visitor, cast: Cast, make_visit: MakeVisit, database: Database, keyring: Keyring
) -> None:
    visit = await make_visit(cast.toscana, start=next_week(), identity=ADA)
    path = f"/desk/visits/{visit.id}"
    assert 'data-testid="desk-birth-date"' in (await desk.get(path)).text

    answer = await desk.post(f"{path}/birth-date", birth_date="1948-03-12", version="1")

    assert (answer.status, answer.location) == (303, f"{path}#booking")
    assert await birth_date_of(database, keyring, visit) == date(1948, 3, 12)
    [entry] = await entries_of(database, visit, "patient.completed")
    assert (entry["facts"], entry["role"]) == ({"birth_date": True}, "desk")
    assert rows_of((await desk.get("/desk?list=complete")).text) == []
    page = (await desk.get(path)).text
    assert "12/03/1948" in page
    assert 'data-testid="desk-birth-date"' not in page


@pytest.mark.parametrize("typed", ["", "12/03", "1848-03-12", "2999-01-01", "1948-13-01"])
async def test_no_birth_date_is_said_and_changes_nothing(
    desk: Visitor, cast: Cast, make_visit: MakeVisit, database: Database, keyring: Keyring,
    typed: str,
) -> None:  # fmt: skip
    visit = await make_visit(cast.toscana, identity=ADA)

    answer = await desk.post(f"/desk/visits/{visit.id}/birth-date", birth_date=typed, version="1")

    assert answer.status == 400
    assert "Questa non è una data di nascita" in answer.text
    assert await birth_date_of(database, keyring, visit) is None


@pytest.mark.parametrize(("identity", "version"), [(ROSA, "1"), (ADA, "7")])
async def test_a_known_birth_date_is_not_the_desks_to_change(
    desk: Visitor, cast: Cast, make_visit: MakeVisit, database: Database, keyring: Keyring,
    identity: Identity, version: str,
) -> None:  # fmt: skip
    visit = await make_visit(cast.toscana, identity=identity)

    answer = await desk.post(
        f"/desk/visits/{visit.id}/birth-date", birth_date="1950-01-01", version=version
    )

    assert answer.status == 409
    assert await birth_date_of(database, keyring, visit) == identity.birth_date


# ---- to assign -------------------------------------------------------------------------


async def test_booking_to_assign_shows_what_cup_wrote_and_is_in_the_agenda_at_once(
    site: Site, desk: Visitor, cast: Cast, make_visit: MakeVisit, database: Database
) -> None:
    visit = await make_visit(cast.toscana)
    await change(database, visit, clinician_id=None, clinician_code="MED-404")
    path = f"/desk/visits/{visit.id}"
    clinician = await site.staff(cast.toscana.colleague)

    page = (await desk.get(path)).text
    before = (await clinician.get("/agenda")).text
    await desk.post(f"{path}/assign", clinician=cast.toscana.colleague.id)
    after = (await clinician.get("/agenda")).text

    assert "MED-404" in page
    assert "Cardiologia territoriale" in page
    opened = f'href="/visits/{visit.id}"'
    assert opened not in before
    assert opened in after


# ---- messages --------------------------------------------------------------------------


async def test_invitation_is_sent_again_once_a_minute_and_logged(
    desk: Visitor, cast: Cast, make_visit: MakeVisit, database: Database
) -> None:
    visit = await make_visit(cast.toscana, start=next_week())
    path = f"/desk/visits/{visit.id}"

    answers = [await desk.post(f"{path}/resend") for _ in range(2)]

    assert {answer.location for answer in answers} == {f"{path}#messages"}
    resent = await load_resent(database, visit)
    assert 1 <= len(resent) <= 2
    assert {message.state for message in resent} == {DispatchState.QUEUED}
    entries = await entries_of(database, visit, "link.issued")
    assert entries[-1]["facts"] == {"version": 1, "resent": True}
    page = (await desk.get(path)).text
    assert "Invito" in page
    assert "in attesa di partire" in page


@pytest.mark.parametrize(
    ("identity", "state"),
    [
        (ADA, VisitState.BOOKED),
        (Identity(given_name="Ada", birth_date=ROSA.birth_date), VisitState.BOOKED),
        (ROSA, VisitState.CANCELLED),
    ],
)
async def test_nothing_is_sent_again_where_it_has_no_use(
    desk: Visitor, cast: Cast, make_visit: MakeVisit, database: Database,
    identity: Identity, state: VisitState,
) -> None:  # fmt: skip
    visit = await make_visit(cast.toscana, identity=identity, state=state)
    path = f"/desk/visits/{visit.id}"

    assert 'data-testid="desk-resend"' not in (await desk.get(path)).text
    assert (await desk.post(f"{path}/resend")).status == 409
    assert await load_resent(database, visit) == []


async def test_desk_reads_what_the_patient_answered(
    desk: Visitor, cast: Cast, make_visit: MakeVisit, database: Database, keyring: Keyring
) -> None:
    visit = await make_visit(cast.toscana)
    path = f"/desk/visits/{visit.id}"
    await change(database, visit, confirmed_at=datetime.now(UTC))
    confirmed = (await desk.get(path)).text
    async with database.begin(visit.organisation_id) as session:
        visit.appointment = await session.get_one(Appointment, visit.appointment_id)
        visit.appointment.cancel_asked_at = datetime.now(UTC)
        visit.appointment.is_cancel_late = True
        await seal_justification(keyring, session, visit, "Sono in <b>ospedale</b>")

    asked = (await desk.get(path)).text

    assert "Prenotata e confermata" in confirmed
    assert "Il paziente ha chiesto di disdire" in asked
    assert "oltre il termine" in asked
    assert "Sono in &lt;b&gt;ospedale&lt;/b&gt;" in asked
