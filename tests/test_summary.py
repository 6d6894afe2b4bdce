"""Summaries say what log, booking and measures say, however the log was cut on its way to them."""

from __future__ import annotations

from dataclasses import asdict
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import delete, insert, select, update

from server.audit import Act, ActorRole, Entry, Fact, append
from server.db import Database
from server.keyring import Keyring
from server.models import (
    CallInterval,
    CallOutage,
    Direction,
    LogEntry,
    LogHead,
    Outcome,
    Suitability,
    SummaryHead,
    Visit,
    VisitState,
    VisitSummary,
)
from server.sealed import AddressParts, Details, Identity
from server.summary import (
    Problem,
    Summaries,
    pack_problems,
    unpack_problems,
)
from server.summary.told import Told, parse_heard
from tests.conftest import ROSA, Cast, MakeVisit
from tests.numbers import number_all

START = datetime(2026, 11, 26, 9, 0, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
CALL: list[tuple[float, Act, ActorRole, dict[str, Fact]]] = [
    (-900, Act.BOOKING_IMPORTED, ActorRole.SYSTEM, {}),
    (-890, Act.MESSAGE_SENT, ActorRole.SYSTEM, {"kind": "invitation", "channel": "sms"}),
    (-30, Act.LINK_CLAIM_FAILED, ActorRole.PATIENT, {"factor": "birth_date"}),
    (-29, Act.LINK_CLAIMED, ActorRole.PATIENT, {"way": "link"}),
    (-20, Act.CHECK_IN_SAVED, ActorRole.PATIENT, {"step": "place", "has_companions": True}),
    (-10, Act.WAITING, ActorRole.PATIENT, {}),
    (-10, Act.ROOM_JOINED, ActorRole.PATIENT, {}),
    (-8, Act.ROOM_DROPPED, ActorRole.PATIENT, {}),
    (-7, Act.ROOM_REJOINED, ActorRole.PATIENT, {}),
    (-2, Act.ROOM_JOINED, ActorRole.CLINICIAN, {}),
    (2, Act.ADMITTED, ActorRole.CLINICIAN, {"participant": "patient"}),
    (3, Act.MEDIA_PROVEN, ActorRole.CLINICIAN, {"of": "patient", "audio": True, "video": True}),
    (5, Act.ROOM_DROPPED, ActorRole.PATIENT, {}),
    (6, Act.ROOM_REJOINED, ActorRole.PATIENT, {}),
    (8, Act.ROOM_DROPPED, ActorRole.CLINICIAN, {}),
    (12, Act.FINISHED, ActorRole.CLINICIAN, {"state": "in_visit"}),
    (12, Act.OUTCOME, ActorRole.CLINICIAN, {"outcome": "technical_failure", "present": "patient"}),
    (12, Act.SUITABILITY_STATED, ActorRole.CLINICIAN,
     {"stated": "not_suitable", "proposed": "voice_only"}),
    (13, Act.ROOM_DROPPED, ActorRole.PATIENT, {}),
]  # fmt: skip
NUMBERS = {"patient_drops": 1, "clinician_drops": 1, "failed_claims": 1}


def entries_of(visit: str = "visit", start: datetime = START) -> list[Entry]:
    return [
        Entry(start + minutes * MINUTE, act, role, "", visit, facts)
        for minutes, act, role, facts in CALL
    ]


def tell(entries: list[Entry]) -> Told:
    told = Told()
    for entry in entries:
        told.hear(parse_heard(entry.canonical()))
    return told


def test_log_of_a_visit_is_told_in_figures() -> None:
    told = tell(entries_of())

    assert {name: getattr(told, name) for name in NUMBERS} == NUMBERS
    assert told.created_at == START - 900 * MINUTE
    assert (told.waiting_at, told.admitted_at) == (START - 10 * MINUTE, START + 2 * MINUTE)
    assert told.patient_joined_at == START - 10 * MINUTE
    assert told.clinician_joined_at == START - 2 * MINUTE
    assert (told.media_at, told.closed_at) == (START + 3 * MINUTE, START + 12 * MINUTE)
    assert (told.stated, told.verdict) == (Suitability.NOT_SUITABLE, Suitability.VOICE_ONLY)
    assert told.has_companions
    assert told.problems == {Problem.LINE_LOST, Problem.TECHNICAL_FAILURE, Problem.WEAK_LINE}
    assert told.problem_at == START + 12 * MINUTE


def test_time_of_a_call_that_is_written_late_counts() -> None:
    entries = entries_of()
    joined = next(each for each in entries if each.act is Act.ROOM_JOINED)
    entries.remove(joined)

    assert tell([*entries, joined]).patient_joined_at == joined.at


@pytest.mark.parametrize(
    ("waits", "is_long"), [((-30, 19), False), ((-30, 20), True), ((5, 24), False), ((5, 25), True)]
)
def test_wait_is_long_from_the_hour_or_from_coming_late(
    waits: tuple[int, int], is_long: bool
) -> None:
    waiting, admitted = waits
    told = Told(waiting_at=START + waiting * MINUTE, admitted_at=START + admitted * MINUTE)

    told.notice_wait(START)

    assert (Problem.LONG_WAIT in told.problems) is is_long


@given(st.sets(st.sampled_from(list(Problem))))
def test_problems_are_packed_and_unpacked(problems: set[Problem]) -> None:
    packed = pack_problems(problems)

    assert set(unpack_problems(packed)) == problems
    assert all((f",{one.value}," in packed) is (one in problems) for one in Problem)
    assert len(packed) < 255


# ---- rows ------------------------------------------------------------------------------


async def summarise(database: Database, keyring: Keyring) -> None:
    """What the leading process does within a second."""
    await number_all(database)
    await Summaries(database, keyring).follow_all()


async def load(database: Database, visit: Visit) -> VisitSummary:
    async with database.read(visit.organisation_id) as session:
        return await session.get_one(VisitSummary, visit.id)


async def write(database: Database, visit: Visit, *entries: Entry) -> None:
    async with database.begin(visit.organisation_id) as session:
        await append(session, visit.organisation_id, *entries)


def columns_of(row: VisitSummary) -> dict[str, object]:
    return {name: getattr(row, name) for name in VisitSummary.__table__.c.keys()}  # noqa: SIM118


async def test_booking_alone_makes_a_summary(
    database: Database, keyring: Keyring, cast: Cast, make_visit: MakeVisit
) -> None:
    address = AddressParts(text=ROSA.address, street="Via dei Serragli 12", city="Firenze")
    identity = Identity(
        **{name: getattr(ROSA, name) for name in ROSA.__struct_fields__} | {"residence": address}
    )
    details = Details(booked_on=START.date(), interpreter="sq")
    visit = await make_visit(cast.toscana, identity=identity, details=details, start=START)

    await summarise(database, keyring)

    row = await load(database, visit)
    assert (row.start, row.scheduled_minutes) == (START, 30)
    assert (row.clinic_id, row.clinician_id) == (cast.toscana.clinic.id, cast.toscana.clinician.id)
    assert (row.municipality, row.booked_on, row.has_interpreter) == (
        "Firenze", START.date(), True,
    )  # fmt: skip
    assert (row.state, row.outcome, row.priority) == (VisitState.BOOKED, None, "B")
    assert (row.has_problem, row.drops, row.visit_seconds) == (False, 0, None)


async def test_summary_is_the_same_however_the_log_was_cut(
    database: Database, keyring: Keyring, cast: Cast, make_visit: MakeVisit
) -> None:
    visit = await make_visit(cast.toscana, start=START)
    for entry in entries_of(visit.id):
        await write(database, visit, entry)
        await summarise(database, keyring)
    step_by_step = await load(database, visit)

    async with database.begin(visit.organisation_id) as session:
        await session.execute(delete(VisitSummary))
        await session.execute(update(SummaryHead).values(size=0))
    await Summaries(database, keyring).follow_all()

    assert columns_of(await load(database, visit)) == columns_of(step_by_step)
    assert step_by_step.waited_seconds == 12 * 60
    assert step_by_step.visit_seconds == 10 * 60
    assert step_by_step.drops == 2


async def test_measures_of_the_line_are_in_the_summary(
    database: Database, keyring: Keyring, cast: Cast, make_visit: MakeVisit
) -> None:
    visit = await make_visit(cast.toscana, start=START)
    common = {"organisation_id": visit.organisation_id, "visit_id": visit.id}
    numbers = dict.fromkeys(
        ("loss_percent", "rtt_ms", "jitter_ms", "concealed_percent", "frozen_ms",
         "frames_per_second", "kilobits_per_second"), 1,
    )  # fmt: skip
    async with database.begin(visit.organisation_id) as session:
        for at, path in enumerate(("direct", "relay_udp", "relay_udp")):
            await session.execute(
                insert(CallInterval).values(
                    **common, **numbers, seat="patient", direction=Direction.INCOMING,
                    began_at=START + at * MINUTE, seconds=10, path=path, rung="sd",
                )
            )  # fmt: skip
        for seat, second in (("patient", 0), ("clinician", 2)):
            await session.execute(
                insert(CallOutage).values(
                    **common, seat=seat, began_at=START + timedelta(seconds=second), seconds=5,
                    cause="path_lost",
                )
            )  # fmt: skip

    await write(database, visit, *entries_of(visit.id))
    await summarise(database, keyring)

    row = await load(database, visit)
    assert (row.path, row.broken_seconds) == ("relay_udp", 7)


async def test_state_and_outcome_are_those_of_the_visit(
    database: Database, keyring: Keyring, cast: Cast, make_visit: MakeVisit
) -> None:
    visit = await make_visit(cast.toscana, start=START)
    await summarise(database, keyring)
    async with database.begin(visit.organisation_id) as session:
        await append(session, visit.organisation_id, *entries_of(visit.id))
        ended = {"state": VisitState.ENDED, "outcome": Outcome.TECHNICAL_FAILURE}
        await session.execute(
            update(Visit).where(Visit.id == visit.id).values(**ended, outcome_reason="weak_line")
        )

    await summarise(database, keyring)

    row = await load(database, visit)
    assert (row.state, row.outcome) == tuple(ended.values())
    assert row.outcome_reason == "weak_line"


async def test_erased_entry_or_one_of_no_visit_holds_nothing_up(
    database: Database, keyring: Keyring, cast: Cast, make_visit: MakeVisit
) -> None:
    visit, other = await make_visit(cast.toscana), await make_visit(cast.emilia)
    await write(database, visit, *entries_of(visit.id), *entries_of("nobody"))
    await number_all(database)
    async with database.begin(visit.organisation_id) as session:
        await session.execute(
            update(LogEntry).where(LogEntry.entry.contains("visit.outcome")).values(entry="")
        )

    await Summaries(database, keyring).follow_all()

    assert (await load(database, visit)).drops == 2
    assert (await load(database, other)).drops == 0
    async with database.read(visit.organisation_id) as session:
        sizes = [await session.scalar(select(head.size)) for head in (LogHead, SummaryHead)]
    assert sizes[0] == sizes[1]


def test_what_is_told_has_its_columns() -> None:
    assert set(asdict(Told())) <= set(VisitSummary.__table__.columns.keys())
