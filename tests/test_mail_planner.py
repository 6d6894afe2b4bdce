"""Invitations that are missing, and reminders: planned once, at the right time, and anew."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import datetime, timedelta

import pytest
from sqlalchemy import text, update

from server.db import EVERY_ORGANISATION, Database
from server.i18n import ROME
from server.keyring import Keyring
from server.mail import planner
from server.models import (
    Appointment,
    AppointmentStatus,
    DispatchState,
    MessageKind,
    NoticeRule,
    Organisation,
    Patient,
    PatientMessage,
    Phase,
    Visit,
    VisitState,
)
from server.sealed import Identity, seal_identity
from tests.conftest import CARDIOLOGY, ROSA, Cast, MakeVisit, Team
from tests.post import MailServer, PostOffice, mail_server, mail_settings, post_office

ENRICO = Identity(
    family_name="Fabbri",
    given_name="Enrico",
    email="enrico@posta.example.org",
    birth_date=ROSA.birth_date,
)
NOBODY_KNOWS_HER_AGE = Identity(family_name="Sani", given_name="Ada", phone="3331234567")


def in_rome(day: str) -> datetime:
    return datetime.fromisoformat(day).replace(tzinfo=ROME)


@pytest.fixture
async def box() -> AsyncIterator[MailServer]:
    async with mail_server() as running:
        yield running


@pytest.fixture
async def office(
    database: Database, keyring: Keyring, cast: Cast, box: MailServer
) -> AsyncIterator[PostOffice]:
    """It is Monday 2 November 2026, noon."""
    settings = mail_settings(smtp_host="127.0.0.1", smtp_port=box.port)
    async with post_office(database, keyring, settings) as running:
        running.now = in_rome("2026-11-02 12:00")
        yield running


async def booked(
    office: PostOffice,
    make_visit: MakeVisit,
    team: Team,
    start: str = "2026-11-26 10:40",
    *,
    identity: Identity = ENRICO,
    state: VisitState = VisitState.BOOKED,
) -> Visit:
    """A visit about which nothing is queued yet."""
    visit = await make_visit(
        team, start=in_rome(start), identity=identity, details=CARDIOLOGY, state=state
    )
    async with office.database.begin(visit.organisation_id) as session:
        await session.execute(text("DELETE FROM patient_message"))
    return visit


async def said(office: PostOffice, visit: Visit) -> list[str]:
    """Kind, state and time in Rome of everything about a visit."""
    return [
        f"{one.kind} {one.state} {(one.sent_at or one.due_at).astimezone(ROME):%m-%d %H:%M}"
        for one in await office.messages(visit)
    ]


async def let_time_pass(office: PostOffice, until: str) -> None:
    """Plan and send once a day at noon; a server does so all the time."""
    while office.now < in_rome(until):
        await office.plan()
        await office.send_due()
        office.now += timedelta(days=1)
    await office.plan()
    await office.send_due()


async def test_a_visit_is_invited_once_and_reminded_twice(
    office: PostOffice, make_visit: MakeVisit, cast: Cast, box: MailServer
) -> None:
    visit = await booked(office, make_visit, cast.toscana)

    await let_time_pass(office, "2026-11-27 12:00")

    assert await said(office, visit) == [
        "invitation sent 11-02 12:00",
        "reminder sent 11-19 12:00",
        "reminder sent 11-23 12:00",
    ]
    assert len(box.messages) == 3


async def test_reminders_are_planned_ahead_to_the_minute(
    office: PostOffice, make_visit: MakeVisit, cast: Cast
) -> None:
    office.now = in_rome("2026-11-12 12:00")
    visit = await booked(office, make_visit, cast.toscana)

    await office.plan()
    await office.plan()

    assert await said(office, visit) == [
        "invitation queued 11-12 12:00",
        "reminder queued 11-19 10:00",
        "reminder queued 11-23 10:00",
    ]


@pytest.mark.parametrize("state", [VisitState.CANCELLED, VisitState.ENDED, VisitState.IN_VISIT])
async def test_nothing_is_planned_for_a_visit_that_is_not_to_come(
    office: PostOffice, make_visit: MakeVisit, cast: Cast, state: VisitState
) -> None:
    visit = await booked(office, make_visit, cast.toscana, state=state)
    past = await booked(office, make_visit, cast.toscana, "2026-11-01 10:00")

    await office.plan()

    assert await said(office, visit) + await said(office, past) == []


async def test_who_is_to_complete_waits_for_the_desk(
    office: PostOffice, make_visit: MakeVisit, cast: Cast, keyring: Keyring
) -> None:
    visit = await booked(office, make_visit, cast.toscana, identity=NOBODY_KNOWS_HER_AGE)
    await office.plan()
    before = await said(office, visit)
    async with office.database.begin(visit.organisation_id) as session:
        patient = await session.get_one(Patient, visit.appointment.patient_id)
        patient.identity_version += 1
        await seal_identity(keyring, session, patient, ENRICO)

    await office.plan()

    assert before == []
    assert await said(office, visit) == ["invitation queued 11-02 12:00"]


async def test_in_collaudo_nothing_leaves_and_everything_leaves_after_it(
    office: PostOffice, make_visit: MakeVisit, cast: Cast, box: MailServer
) -> None:
    withheld = await booked(office, make_visit, cast.toscana)
    await office.set_phase(Phase.COLLAUDO)
    await office.queue(withheld, MessageKind.INVITATION, occasion="1")
    missing = await make_visit(cast.emilia, start=in_rome("2026-11-26 10:40"), identity=ENRICO)
    await let_time_pass(office, "2026-11-10 12:00")
    nothing = len(box.messages)

    await office.set_phase(Phase.ATTIVO)
    await let_time_pass(office, "2026-11-10 12:00")

    assert nothing == 0
    assert len(box.messages) == 2
    for visit in (withheld, missing):
        [invitation, *_] = await office.messages(visit)
        assert invitation.state is DispatchState.SENT


async def test_in_sperimentale_only_the_pilots_are_written_to(
    office: PostOffice, make_visit: MakeVisit, cast: Cast, box: MailServer
) -> None:
    pilot = await booked(office, make_visit, cast.toscana)
    await office.set_phase(Phase.SPERIMENTALE, ("CARD-02",))
    await let_time_pass(office, "2026-11-03 12:00")
    nothing = len(box.messages)

    await office.set_phase(Phase.SPERIMENTALE, (cast.toscana.clinic.code,))
    await let_time_pass(office, "2026-11-03 12:00")

    assert nothing == 0
    assert len(box.messages) == 1
    assert (await office.messages(pilot))[0].state is DispatchState.SENT


async def test_a_move_plans_the_reminders_anew(
    office: PostOffice, make_visit: MakeVisit, cast: Cast, box: MailServer
) -> None:
    visit = await booked(office, make_visit, cast.toscana)
    await let_time_pass(office, "2026-11-20 12:00")
    await _move(office, visit, "2026-12-10 09:00")

    await let_time_pass(office, "2026-12-11 12:00")

    assert [line for line in await said(office, visit) if "sent" in line] == [
        "invitation sent 11-02 12:00",
        "reminder sent 11-19 12:00",
        "reminder sent 12-03 12:00",
        "reminder sent 12-04 12:00",
    ]


async def test_a_move_there_and_back_keeps_the_reminders(
    office: PostOffice, make_visit: MakeVisit, cast: Cast
) -> None:
    office.now = in_rome("2026-11-12 12:00")
    visit = await booked(office, make_visit, cast.toscana)
    await office.plan()
    await _move(office, visit, "2026-12-02 09:00")
    await office.plan()
    moved = await said(office, visit)
    await _move(office, visit, "2026-11-26 10:40")

    await office.plan()

    assert [line for line in moved if "reminder queued" in line] == [
        "reminder queued 11-25 10:00",
        "reminder queued 11-27 10:00",
    ]
    assert [line for line in await said(office, visit) if "reminder queued" in line] == [
        "reminder queued 11-19 10:00",
        "reminder queued 11-23 10:00",
    ]


async def _move(office: PostOffice, visit: Visit, start: str) -> None:
    begins = in_rome(start)
    async with office.database.begin(visit.organisation_id) as session:
        await session.execute(
            update(Appointment)
            .where(Appointment.id == visit.appointment_id)
            .values(start=begins, end=begins + timedelta(minutes=30))
        )


async def test_other_rules_move_what_is_planned(
    office: PostOffice, make_visit: MakeVisit, cast: Cast
) -> None:
    office.now = in_rome("2026-11-25 12:00")
    visit = await booked(office, make_visit, cast.toscana, "2026-12-11 09:00")
    await office.plan()
    before = await said(office, visit)

    async with office.database.begin(EVERY_ORGANISATION) as session:
        await session.execute(update(Organisation).values(province="MI"))
    await office.plan()
    milan = await said(office, visit)
    async with office.database.begin(EVERY_ORGANISATION) as session:
        await session.execute(update(Organisation).values(notice_rule=NoticeRule.SOLAR_DAYS))
    await office.plan()

    solar = await said(office, visit)
    assert [_queued(lines) for lines in (before, milan, solar)] == [
        ["12-04 10:00", "12-07 10:00"],
        ["12-04 10:00"],
        ["12-04 10:00", "12-08 10:00"],
    ]


def _queued(lines: list[str]) -> list[str]:
    prefix = "reminder queued "
    return [line.removeprefix(prefix) for line in lines if line.startswith(prefix)]


async def test_a_cancelled_visit_loses_its_reminders(
    office: PostOffice, make_visit: MakeVisit, cast: Cast, box: MailServer
) -> None:
    visit = await booked(office, make_visit, cast.toscana)
    await let_time_pass(office, "2026-11-12 12:00")
    async with office.database.begin(visit.organisation_id) as session:
        await session.execute(
            update(Appointment)
            .where(Appointment.id == visit.appointment_id)
            .values(status=AppointmentStatus.CANCELLED)
        )

    await let_time_pass(office, "2026-11-27 12:00")

    assert len(box.messages) == 1
    states = {one.state for one in await office.messages(visit)}
    assert states == {DispatchState.SENT, DispatchState.DROPPED}


async def test_a_late_booking_gets_its_invitation_only(
    office: PostOffice, make_visit: MakeVisit, cast: Cast, box: MailServer
) -> None:
    office.now = in_rome("2026-11-25 12:00")
    await booked(office, make_visit, cast.toscana)

    await let_time_pass(office, "2026-11-26 12:00")

    [mail] = box.messages
    content = mail.get_body(("plain",)).get_content()  # type: ignore[union-attr]
    assert "La visita è vicina: se non può esserci" in content


async def test_a_server_that_was_down_sends_one_reminder_not_two(
    office: PostOffice, make_visit: MakeVisit, cast: Cast, box: MailServer
) -> None:
    visit = await booked(office, make_visit, cast.toscana)
    await let_time_pass(office, "2026-11-18 12:00")
    office.now = in_rome("2026-11-24 12:00")

    await let_time_pass(office, "2026-11-24 12:00")

    states = {one.occasion.split(":")[0]: one.state for one in await office.messages(visit)}
    assert (states["week"], states["last"]) == (DispatchState.DROPPED, DispatchState.SENT)
    assert len(box.messages) == 2


async def test_many_visits_are_planned_in_chunks(
    office: PostOffice, make_visit: MakeVisit, cast: Cast, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(planner, "_CHUNK", 3)
    office.now = in_rome("2026-11-12 12:00")
    visits = [await make_visit(cast.toscana, start=in_rome("2026-11-26 10:40")) for _ in range(7)]
    async with office.database.begin(visits[0].organisation_id) as session:
        await session.execute(text("DELETE FROM patient_message"))

    await office.plan()

    kinds = [one.kind for visit in visits for one in await office.messages(visit)]
    assert kinds.count(MessageKind.INVITATION) == 7
    assert kinds.count(MessageKind.REMINDER) == 14


async def test_one_organisation_does_not_see_the_other(
    office: PostOffice, make_visit: MakeVisit, cast: Cast, database: Database
) -> None:
    here = await booked(office, make_visit, cast.toscana)
    there = await make_visit(cast.emilia, start=in_rome("2026-11-26 10:40"), identity=ENRICO)

    await office.plan()

    async with database.read(cast.emilia.organisation.id) as session:
        assert await session.get(PatientMessage, (await office.messages(here))[0].id) is None
    assert {one.organisation_id for one in await office.messages(there)} == {
        cast.emilia.organisation.id
    }
