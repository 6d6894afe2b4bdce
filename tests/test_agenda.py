"""The clinician's day: which visits are in it, what each row says, and being late."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from datetime import UTC, date, datetime, timedelta
from html import unescape
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import event, select

from server.agenda import day_bounds
from server.audit import Act
from server.auth import Actor
from server.caseload import age_on
from server.chips import Chip, Signs, chip_of, waiting_minutes
from server.db import Database
from server.i18n import ROME
from server.keyring import Keyring
from server.models import CheckIn, LogEntry, MessageKind, User, Visit, VisitState
from server.sealed import Answers, Identity, seal_answers
from server.services import DATABASE
from tests.conftest import ROSA, Cast, MakeVisit
from tests.patients import messages_of
from tests.visitors import Site, Visitor, open_site, site

__all__ = ["site"]

STRANGE = Identity(given_name="<b>Ada</b>", family_name='"O\'Hara" & Co')


async def load_states(visitor: Visitor) -> dict[str, dict[str, str]]:
    answer = await visitor.get("/agenda/states")
    return {visit["id"]: visit for visit in json.loads(answer.text)["visits"]}


# ---- which visits ----------------------------------------------------------------------


@pytest.fixture
async def still_site(
    database: Database, database_url: str, data_dir: Path, keyring: Keyring
) -> AsyncIterator[Site]:
    """Without workers, which have statements of their own."""
    async with open_site(database, database_url, data_dir, has_workers=False) as site:
        yield site


@pytest.fixture
async def shown_at(site: Site, cast: Cast):
    """Which visits the clinician sees at a moment."""
    from server.agenda import _load_day

    actor = Actor(cast.toscana.clinician.id, "clinician", cast.toscana.organisation.id)

    async def load(now: datetime) -> list[str]:
        async with site.database.read(actor.organisation) as session:
            return [visit.id for visit in await _load_day(session, actor, now)]

    return load


async def test_after_midnight_is_seen_before_midnight(cast: Cast, make_visit: MakeVisit, shown_at):
    start = datetime(2026, 11, 26, 23, 5, tzinfo=UTC)
    visit = await make_visit(cast.toscana, start=start)

    assert await shown_at(start - timedelta(minutes=7)) == [visit.id]
    assert await shown_at(start - timedelta(minutes=40)) == []
    assert await shown_at(start + timedelta(hours=23, minutes=50)) == [visit.id]


async def test_yesterdays_running_visit_stays_until_it_is_finished(
    cast: Cast, make_visit: MakeVisit, shown_at
):
    start = datetime(2026, 11, 25, 10, 0, tzinfo=UTC)
    running = await make_visit(cast.toscana, start=start, state=VisitState.IN_VISIT)
    await make_visit(cast.toscana, start=start, state=VisitState.ENDED)

    assert await shown_at(start + timedelta(days=1)) == [running.id]


async def test_the_day_is_in_the_order_of_the_hours(cast: Cast, make_visit: MakeVisit, shown_at):
    noon = datetime(2026, 11, 26, 12, 0, tzinfo=UTC)
    visits = [
        await make_visit(cast.toscana, start=noon + timedelta(hours=hours)) for hours in (3, -2, 0)
    ]

    assert await shown_at(noon) == [visits[1].id, visits[2].id, visits[0].id]


@pytest.mark.parametrize(
    ("day", "hours"), [(date(2026, 3, 29), 23), (date(2026, 10, 25), 25), (date(2026, 11, 26), 24)]
)
def test_a_day_is_as_long_as_the_clock_says(day: date, hours: int):
    start, end = day_bounds(datetime(day.year, day.month, day.day, 12, tzinfo=UTC))

    assert end.astimezone(UTC) - start.astimezone(UTC) == timedelta(hours=hours)


async def test_colleagues_and_other_organisations_are_not_in_it(
    site: Site, cast: Cast, make_visit: MakeVisit
):
    own = await make_visit(cast.toscana)
    await make_visit(cast.toscana, clinician=cast.toscana.colleague)
    await make_visit(cast.emilia)
    clinician = await site.staff(cast.toscana.clinician)

    page = await clinician.get("/agenda")

    assert page.text.count('data-testid="agenda-row"') == 1
    assert set(await load_states(clinician)) == {own.id}


async def test_a_visit_of_nobody_is_shown_without_a_name_and_can_be_taken_once(
    site: Site, cast: Cast, make_visit: MakeVisit
):
    stranger = User(code="SOSTITUTO-1")
    visit = await make_visit(cast.toscana, clinician=stranger)
    foreign = await make_visit(cast.emilia, clinician=stranger)
    clinician = await site.staff(cast.toscana.clinician)
    colleague = await site.staff(cast.toscana.colleague)

    page = await colleague.get("/agenda")

    assert visit.appointment.booking_code in page.text
    assert foreign.appointment.booking_code not in page.text
    assert "Bertolucci" not in page.text
    assert (await clinician.get(f"/visits/{visit.id}")).status == 404
    assert (await clinician.post(f"/visits/{foreign.id}/take")).status == 404

    taken = await clinician.post(f"/visits/{visit.id}/take")

    assert (taken.status, taken.location) == (303, f"/visits/{visit.id}")
    assert (await clinician.get(taken.location)).status == 200
    assert (await colleague.post(f"/visits/{visit.id}/take")).status == 404
    assert visit.appointment.booking_code not in (await colleague.get("/agenda")).text
    assert set(await load_states(clinician)) == {visit.id}


@pytest.mark.parametrize("role", ["desk", "manager", "auditor", "administrator"])
async def test_the_agenda_is_for_clinicians(site: Site, cast: Cast, role: str):
    visitor = await site.staff(getattr(cast.toscana, role))

    assert (await visitor.get("/agenda")).status == 404
    assert (await visitor.get("/agenda/states")).status == 404
    assert (await visitor.post("/agenda/late", minutes="5")).status == 404


# ---- what a row says -------------------------------------------------------------------


async def test_names_are_text_not_markup(site: Site, cast: Cast, make_visit: MakeVisit):
    await make_visit(cast.toscana, identity=STRANGE)
    clinician = await site.staff(cast.toscana.clinician)

    page = await clinician.get("/agenda")

    assert "<b>Ada" not in page.text
    assert STRANGE.full_name in unescape(page.text)


async def test_states_carry_no_names(site: Site, cast: Cast, make_visit: MakeVisit):
    await make_visit(cast.toscana, state=VisitState.WAITING)
    clinician = await site.staff(cast.toscana.clinician)

    answer = await clinician.get("/agenda/states")

    assert answer.status == 200
    assert "Rosa" not in answer.text
    assert "Bertolucci" not in answer.text


async def test_the_list_opens_no_card(site: Site, cast: Cast, make_visit: MakeVisit):
    visit = await make_visit(cast.toscana)
    clinician = await site.staff(cast.toscana.clinician)

    await clinician.get("/agenda")

    assert not await logged(site.database, visit, Act.CARD_OPENED)


async def test_a_row_follows_the_patient(
    site: Site, cast: Cast, make_visit: MakeVisit, keyring: Keyring
):
    visit = await make_visit(cast.toscana)
    clinician = await site.staff(cast.toscana.clinician)

    async def chip() -> str:
        return (await load_states(clinician))[visit.id]["chip"]

    assert await chip() == "to_do"
    await site.patient(visit)
    assert await chip() == "link_open"
    await save_answers(site.database, keyring, visit, Answers(camera="ok", microphone="failed"))
    assert await chip() == "test_failed"
    async with site.database.begin(visit.organisation_id) as session:
        row = await session.get_one(Visit, visit.id)
        row.state = VisitState.WAITING
        row.waiting_since = datetime.now(UTC) - timedelta(minutes=6, seconds=30)
    assert await chip() == "waiting"
    words = (await load_states(clinician))[visit.id]["words"]
    assert words == "In attesa da 6 minuti"


async def save_answers(
    database: Database, keyring: Keyring, visit: Visit, answers: Answers
) -> None:
    async with database.begin(visit.organisation_id) as session:
        row = CheckIn(
            organisation_id=visit.organisation_id,
            visit_id=visit.id,
            version=1,
            updated_at=datetime.now(UTC),
        )
        await seal_answers(keyring, session, row, answers)
        session.add(row)


async def test_chips_of_a_visit(cast: Cast, make_visit: MakeVisit):
    visit = await make_visit(cast.toscana)
    now = visit.appointment.start
    late = visit.appointment.end + timedelta(hours=2)

    visit.appointment.confirmed_at = now
    assert chip_of(visit, Signs(is_link_open=True), now) is Chip.CONFIRMED
    assert chip_of(visit, Signs(answers=Answers(camera="failed")), now) is Chip.TEST_FAILED
    visit.appointment.cancel_asked_at = now
    assert chip_of(visit, Signs(answers=Answers(camera="ok")), now) is Chip.CANCEL_ASKED
    visit.appointment.confirmed_at = visit.appointment.cancel_asked_at = None
    assert chip_of(visit, Signs(answers=Answers(camera="ok")), now) is Chip.TEST_OK
    assert chip_of(visit, Signs(answers=Answers(camera="skipped")), now) is Chip.TO_DO
    assert chip_of(visit, Signs(), late) is Chip.TO_CLOSE
    visit.state, visit.waiting_since = VisitState.WAITING, now
    assert chip_of(visit, Signs(is_patient_out=True), now) is Chip.AWAY
    assert chip_of(visit, Signs(), late) is Chip.TO_CLOSE
    assert waiting_minutes(visit, now + timedelta(seconds=119)) == 1
    visit.state = VisitState.IN_VISIT
    assert chip_of(visit, Signs(), late) is Chip.IN_VISIT
    assert waiting_minutes(visit, late) == 0
    visit.state = VisitState.ENDED
    assert chip_of(visit, Signs(), late) is Chip.ENDED
    visit.state = VisitState.CANCELLED
    assert chip_of(visit, Signs(), now) is Chip.CANCELLED


@pytest.mark.parametrize(
    ("day", "age"),
    [(date(2026, 3, 11), 77), (date(2026, 3, 12), 78), (date(2026, 12, 31), 78)],
)
def test_age_in_whole_years(day: date, age: int):
    assert ROSA.birth_date
    assert age_on(day, ROSA.birth_date) == age


def test_a_leap_day_birthday_is_on_the_first_of_march():
    assert age_on(date(2026, 2, 28), date(2000, 2, 29)) == 25
    assert age_on(date(2026, 3, 1), date(2000, 2, 29)) == 26


async def test_a_long_day_costs_no_more_statements(
    still_site: Site, cast: Cast, make_visit: MakeVisit
):
    site = still_site
    clinician = await site.staff(cast.toscana.clinician)
    statements: list[str] = []
    engine = site.app[DATABASE].engine.sync_engine

    @event.listens_for(engine, "before_cursor_execute")
    def count(connection, cursor, statement, *rest) -> None:
        # A login that is older than a minute is written down.
        if statement.startswith("SELECT"):
            statements.append(statement)

    counts = []
    for more in (1, 30):
        for number in range(more):
            await make_visit(cast.toscana, start=datetime.now(UTC) + timedelta(seconds=number))
        statements.clear()
        page = await clinician.get("/agenda")
        counts.append(len(statements))

    assert page.text.count('data-testid="agenda-row"') == 31
    assert counts[1] <= counts[0]


# ---- being late ------------------------------------------------------------------------


async def test_one_click_tells_the_rest_of_the_day(site: Site, cast: Cast, make_visit: MakeVisit):
    now = datetime.now(UTC)
    waiting = await make_visit(cast.toscana, start=now, state=VisitState.WAITING)
    coming = await make_visit(cast.toscana, start=now + timedelta(minutes=20))
    running = await make_visit(cast.toscana, start=now, state=VisitState.IN_VISIT)
    over = await make_visit(cast.toscana, start=now, state=VisitState.ENDED)
    others = await make_visit(cast.toscana, clinician=cast.toscana.colleague)
    clinician = await site.staff(cast.toscana.clinician)

    answer = await clinician.post("/agenda/late", minutes="15")

    assert answer.location == "/agenda"
    assert await late_minutes(site.database, waiting, coming) == [15, 15]
    assert await late_minutes(site.database, running, over, others) == [0, 0, 0]
    entries = await logged(site.database, waiting, Act.LATE_ANNOUNCED)
    assert {entry["visit"] for entry in entries} == {waiting.id, coming.id}
    assert {entry["facts"]["minutes"] for entry in entries} == {15}


async def test_on_time_again(site: Site, cast: Cast, make_visit: MakeVisit):
    visit = await make_visit(cast.toscana)
    clinician = await site.staff(cast.toscana.clinician)

    await clinician.post("/agenda/late", minutes="30")
    await clinician.post("/agenda/late", minutes="0")

    assert await late_minutes(site.database, visit) == [0]


@pytest.mark.parametrize("minutes", ["", "7", "-5", "1e3", "999", "١٥"])
async def test_odd_minutes_are_refused(site: Site, cast: Cast, minutes: str):
    clinician = await site.staff(cast.toscana.clinician)

    assert (await clinician.post("/agenda/late", minutes=minutes)).status == 400


async def late_messages(site: Site, *visits: Visit) -> list[list[tuple[str, str]]]:
    return [
        [
            (message.occasion, message.parameters)
            for message in await messages_of(site.database, visit, MessageKind.LATE)
        ]
        for visit in visits
    ]


async def test_who_comes_soon_and_is_not_here_gets_a_message(
    site: Site, cast: Cast, make_visit: MakeVisit
):
    now = datetime.now(UTC)
    starts = [timedelta(minutes=minutes) for minutes in (-5, 5, 170, 190)]
    visits = [await make_visit(cast.toscana, start=now + start) for start in starts]
    waiting = await make_visit(cast.toscana, state=VisitState.WAITING)
    checked_in = await make_visit(cast.toscana, state=VisitState.CHECKED_IN)
    clinician = await site.staff(cast.toscana.clinician)

    for visit in (*visits, *visits, waiting, checked_in):
        await clinician.post(f"/visits/{visit.id}/late", minutes="20")

    said = [(f"{now.astimezone(ROME).date()} 20", '{"minutes": 20}')]
    assert await late_messages(site, *visits) == [said, said, said, []]
    assert await late_messages(site, waiting, checked_in) == [[], said]


async def test_one_click_writes_to_everybody_of_the_rest_of_the_day(
    site: Site, cast: Cast, make_visit: MakeVisit
):
    visits = [await make_visit(cast.toscana) for _ in range(2)]
    clinician = await site.staff(cast.toscana.clinician)

    await clinician.post("/agenda/late", minutes="45")

    assert [len(messages) for messages in await late_messages(site, *visits)] == [1, 1]


async def test_on_time_again_is_no_message(site: Site, cast: Cast, make_visit: MakeVisit):
    visit = await make_visit(cast.toscana)
    clinician = await site.staff(cast.toscana.clinician)

    await clinician.post("/agenda/late", minutes="0")
    assert await late_messages(site, visit) == [[]]
    await clinician.post(f"/visits/{visit.id}/late", minutes="10")

    [[(_occasion, parameters)]] = await late_messages(site, visit)
    assert parameters == '{"minutes": 10}'


async def test_late_for_one_visit(site: Site, cast: Cast, make_visit: MakeVisit):
    visit = await make_visit(cast.toscana)
    other = await make_visit(cast.toscana)
    over = await make_visit(cast.toscana, state=VisitState.ENDED)
    clinician = await site.staff(cast.toscana.clinician)
    colleague = await site.staff(cast.toscana.colleague)

    assert (await clinician.post(f"/visits/{visit.id}/late", minutes="10")).status == 303
    assert (await clinician.post(f"/visits/{over.id}/late", minutes="10")).status == 409
    assert (await colleague.post(f"/visits/{other.id}/late", minutes="10")).status == 404
    assert await late_minutes(site.database, visit, other, over) == [10, 0, 0]


async def logged(database: Database, visit: Visit, act: Act) -> list[dict[str, Any]]:
    """The entries of one act in the organisation of a visit."""
    async with database.read(visit.organisation_id) as session:
        entries = [json.loads(text) for text in await session.scalars(select(LogEntry.entry))]
    return [entry for entry in entries if entry["action"] == act]


async def late_minutes(database: Database, *visits: Visit) -> list[int]:
    async with database.read(visits[0].organisation_id) as session:
        return [(await session.get_one(Visit, visit.id)).late_minutes for visit in visits]
