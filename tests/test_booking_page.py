"""The patient's answer to the booking: confirm, or ask CUP to cancel. On both databases."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from datetime import datetime, timedelta
from html import unescape
from pathlib import Path

import pytest
from sqlalchemy import func, select, update

from server.db import EVERY_ORGANISATION, Base, Database
from server.i18n import ROME
from server.keyring import Keyring
from server.models import (
    Appointment,
    AppointmentStatus,
    EventKind,
    LogEntry,
    MessageKind,
    Organisation,
    OutboxEvent,
    PatientMessage,
    Visit,
    VisitState,
)
from server.sealed import open_justification
from tests.conftest import Cast, MakeVisit
from tests.patients import Practice, Telephone, acts_of, link_of, load_visit, open_practice

THURSDAY = datetime(2026, 11, 26, 10, 40, tzinfo=ROME)
IN_TIME = datetime(2026, 11, 24, 23, 59, 30, tzinfo=ROME)
LATE = datetime(2026, 11, 25, 0, 0, tzinfo=ROME)
"""Two working days before Thursday end with Tuesday."""


@pytest.fixture
async def practice(database_url: str, data_dir: Path, keyring: Keyring) -> AsyncIterator[Practice]:
    async with open_practice(database_url, data_dir) as practice:
        practice.clock.now = IN_TIME - timedelta(days=3)
        yield practice


@pytest.fixture
async def visit(cast: Cast, make_visit: MakeVisit) -> Visit:
    return await make_visit(cast.toscana, start=THURSDAY)


@pytest.fixture
async def patient(
    practice: Practice, visit: Visit, database: Database, keyring: Keyring
) -> Telephone:
    telephone = practice.telephone()
    link = await link_of(database, keyring, visit)
    assert (await telephone.claim(visit.locator, secret=link.fragment)).status == 200
    return telephone


@pytest.fixture
def here(visit: Visit) -> str:
    return f"/v/{visit.locator}/booking"


def seen(visit: Visit) -> str:
    """What the forms of the pages carry."""
    return visit.appointment.start.isoformat()


async def load_appointment(database: Database, visit: Visit) -> Appointment:
    async with database.read(visit.organisation_id) as session:
        return await session.get_one(Appointment, visit.appointment_id)


async def change(database: Database, visit: Visit, **values: object) -> None:
    async with database.begin(visit.organisation_id) as session:
        await session.execute(
            update(Appointment).where(Appointment.id == visit.appointment_id).values(**values)
        )


async def events_of(database: Database, visit: Visit) -> list[tuple[EventKind, dict[str, object]]]:
    async with database.read(visit.organisation_id) as session:
        rows = await session.scalars(
            select(OutboxEvent).where(OutboxEvent.visit_id == visit.id).order_by(OutboxEvent.number)
        )
        return [(row.kind, json.loads(row.facts)) for row in rows]


# ---- the page --------------------------------------------------------------------------


async def test_page_says_when_where_and_until_which_day(
    patient: Telephone, here: str, visit: Visit
) -> None:
    page = await patient.get(here)

    text = unescape(page.text)
    assert page.status == 200
    for words in (
        "Viene alla visita?", "giovedì 26 novembre", "10:40", "Cardiologia territoriale",
        visit.appointment.booking_code, "entro martedì 24 novembre", "Confermo", "Non posso venire",
    ):  # fmt: skip
        assert words in text
    assert "<script" not in page.text.split("<main")[1].split("</main>")[0]


async def test_a_get_changes_nothing(
    patient: Telephone, here: str, database: Database, practice: Practice
) -> None:
    async def dump() -> list[str]:
        """All rows but those that workers write meanwhile: the queue of messages, the numbers and
        the tree of the session log."""
        tables = [table for table in Base.metadata.sorted_tables if table.name not in workers]
        async with database.read(EVERY_ORGANISATION) as session:
            entries = list(await session.scalars(select(LogEntry.entry).order_by(LogEntry.id)))
            rows = [
                str(sorted(map(tuple, await session.execute(select(table))), key=str))
                for table in tables
            ]
        return entries + rows

    workers = {
        PatientMessage.__tablename__, "visit_summary", "summary_head",
        *(table for table in Base.metadata.tables if table.startswith("log_")),
    }  # fmt: skip

    before = await dump()
    for path in (here, f"{here}/cancel"):
        for method in ("GET", "HEAD"):
            await patient.send(method, path)

    assert await dump() == before
    async with database.read(EVERY_ORGANISATION) as session:
        kinds = set(await session.scalars(select(PatientMessage.kind)))
    assert kinds <= {MessageKind.INVITATION, MessageKind.REMINDER}


async def test_without_the_devices_cookie_the_way_is_the_link(
    practice: Practice, here: str, visit: Visit, database: Database
) -> None:
    stranger = practice.telephone()

    assert (await stranger.get(here)).location == f"/v/{visit.locator}"
    for part in ("confirm", "cancel"):
        assert (await stranger.post(f"{here}/{part}", start=seen(visit))).status == 401
    assert await events_of(database, visit) == []


async def test_the_answer_is_on_the_pages_before_the_visit_and_not_after(
    patient: Telephone, practice: Practice, visit: Visit, here: str, database: Database
) -> None:
    early = await patient.get(f"/v/{visit.locator}/check-in")
    practice.clock.now = THURSDAY - timedelta(hours=2)
    first_step = await patient.get(f"/v/{visit.locator}/check-in/who")
    practice.clock.now = THURSDAY - timedelta(minutes=10)
    near = await patient.get(f"/v/{visit.locator}/check-in/who")
    practice.clock.now = THURSDAY + timedelta(minutes=1)
    begun = await patient.get(f"/v/{visit.locator}/check-in/who")

    assert f'href="{here}"' in early.text
    assert f'href="{here}"' in first_step.text
    assert f'href="{here}"' not in near.text
    assert f'href="{here}/cancel"' in near.text
    assert here not in begun.text
    assert (await patient.get(here)).location == f"/v/{visit.locator}/check-in"


@pytest.mark.parametrize("state", [VisitState.WAITING, VisitState.IN_VISIT, VisitState.ENDED])
async def test_during_and_after_the_visit_there_is_nothing_to_answer(
    patient: Telephone, visit: Visit, here: str, database: Database, state: VisitState
) -> None:
    async with database.begin(visit.organisation_id) as session:
        await session.execute(update(Visit).where(Visit.id == visit.id).values(state=state))

    for part in ("confirm", "cancel"):
        assert (await patient.post(f"{here}/{part}", start=seen(visit))).status == 303
    assert (await patient.get(here)).location == f"/v/{visit.locator}/check-in"
    assert await events_of(database, visit) == []


# ---- I confirm -------------------------------------------------------------------------


async def test_confirming_is_told_once_to_cup_and_to_the_log(
    patient: Telephone, here: str, visit: Visit, database: Database
) -> None:
    replies = await asyncio.gather(
        *(patient.post(f"{here}/confirm", start=seen(visit)) for _ in range(6))
    )

    assert {(reply.status, reply.location) for reply in replies} == {(303, here)}
    assert (await load_appointment(database, visit)).confirmed_at is not None
    assert await events_of(database, visit) == [(EventKind.CONFIRMED, {})]
    assert (await acts_of(database, visit)).count("booking.confirmed") == 1
    page = unescape((await patient.get(here)).text)
    assert "La aspettiamo" in page
    assert 'data-testid="booking-confirm"' not in page
    assert "Non posso più venire" in page


async def test_nobody_confirms_an_hour_she_has_not_read(
    patient: Telephone, here: str, visit: Visit, database: Database
) -> None:
    later = THURSDAY + timedelta(days=1)
    await change(database, visit, start=later, end=later + timedelta(minutes=30))

    replies = [
        await patient.post(f"{here}/{part}", start=seen(visit)) for part in ("confirm", "cancel")
    ]

    assert [reply.status for reply in replies] == [409, 409]
    assert all("venerdì 27 novembre" in unescape(reply.text) for reply in replies)
    assert all("appena stata spostata" in unescape(reply.text) for reply in replies)
    assert await events_of(database, visit) == []
    again = await patient.post(
        f"{here}/confirm", start=later.astimezone(visit.appointment.start.tzinfo).isoformat()
    )
    assert again.status == 303
    assert await events_of(database, visit) == [(EventKind.CONFIRMED, {})]


# ---- I cannot come ---------------------------------------------------------------------


async def test_cancelling_in_time_is_a_request_and_closes_nothing(
    patient: Telephone, practice: Practice, here: str, visit: Visit, database: Database
) -> None:
    practice.clock.now = IN_TIME
    asking = unescape((await patient.get(f"{here}/cancel")).text)

    reply = await patient.post(f"{here}/cancel", start=seen(visit), reason="non si tiene")

    assert "Fino a martedì 24 novembre non paga niente" in asking
    assert 'data-testid="booking-reason"' not in asking
    assert (reply.status, reply.location) == (303, here)
    appointment = await load_appointment(database, visit)
    assert appointment.status is AppointmentStatus.BOOKED
    assert (await load_visit(database, visit)).state is VisitState.BOOKED
    assert (appointment.is_cancel_late, appointment.sealed_justification) == (False, None)
    assert await events_of(database, visit) == [(EventKind.CANCEL_ASKED, {"late": False})]
    assert "booking.cancel_asked" in await acts_of(database, visit)
    page = unescape((await patient.get(here)).text)
    assert "La sua richiesta va al CUP" in page
    assert "<form" not in page.split("<main")[1].split("</main>")[0]


async def test_late_cancelling_asks_why_is_marked_and_never_refused(
    patient: Telephone, practice: Practice, here: str, visit: Visit, database: Database,
    keyring: Keyring,
) -> None:  # fmt: skip
    practice.clock.now = LATE
    asking = unescape((await patient.get(f"{here}/cancel")).text)

    silent = await patient.post(f"{here}/cancel", start=seen(visit), reason="  ")
    said = await patient.post(f"{here}/cancel", start=seen(visit), reason="Sono in ospedale")

    assert "Il termine per disdire senza motivo era martedì 24 novembre" in asking
    assert (silent.status, said.status) == (400, 303)
    assert "Scriva qui perché non può venire" in unescape(silent.text)
    visit.appointment = await load_appointment(database, visit)
    assert visit.appointment.is_cancel_late
    assert b"ospedale" not in (visit.appointment.sealed_justification or b"")
    async with database.read(visit.organisation_id) as session:
        assert await open_justification(keyring, session, visit) == "Sono in ospedale"
    assert await events_of(database, visit) == [(EventKind.CANCEL_ASKED, {"late": True})]


async def test_cancelling_is_asked_once_also_after_a_confirmation(
    patient: Telephone, here: str, visit: Visit, database: Database
) -> None:
    await patient.post(f"{here}/confirm", start=seen(visit))

    await asyncio.gather(*(patient.post(f"{here}/cancel", start=seen(visit)) for _ in range(6)))
    await patient.post(f"{here}/confirm", start=seen(visit))

    kinds = [kind for kind, _facts in await events_of(database, visit)]
    assert kinds == [EventKind.CONFIRMED, EventKind.CANCEL_ASKED]
    assert (await patient.get(f"{here}/cancel")).location == here


async def test_the_rule_of_the_organisation_decides_what_is_late(
    patient: Telephone, practice: Practice, here: str, visit: Visit, database: Database
) -> None:
    practice.clock.now = IN_TIME
    async with database.begin(EVERY_ORGANISATION) as session:
        (await session.get_one(Organisation, visit.organisation_id)).notice_days = 4

    page = unescape((await patient.get(f"{here}/cancel")).text)

    assert "venerdì 20 novembre" in page
    assert 'data-testid="booking-reason"' in page


async def test_a_cancelled_booking_opens_the_sentence_of_the_link(
    patient: Telephone, here: str, visit: Visit, database: Database
) -> None:
    """CUP has said yes: the link's version goes up, the page of the link says what happened."""
    await change(database, visit, status=AppointmentStatus.CANCELLED)
    async with database.begin(visit.organisation_id) as session:
        cancelled = {"state": VisitState.CANCELLED, "link_version": 2}
        await session.execute(update(Visit).where(Visit.id == visit.id).values(**cancelled))

    assert (await patient.get(here)).location == f"/v/{visit.locator}"
    assert "annullata" in unescape((await patient.get(f"/v/{visit.locator}")).text)
    async with database.read(visit.organisation_id) as session:
        assert await session.scalar(select(func.count()).select_from(OutboxEvent)) == 0
