"""The line of a call: what is taken from the pages, what it was good for, and its history."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import func, select

from server.audit import Act
from server.db import Database
from server.line.drawing import Band, draw_line
from server.line.history import merge_breaks
from server.line.measured import Cause, Interval, Measured, Outage, Path, Rung, Seat
from server.line.verdict import Flaw, Limits, judge
from server.models import CallInterval, CallOutage, LogEntry, Suitability, Visit, VisitState
from server.quality import store
from tests.conftest import Cast, MakeVisit
from tests.visitors import Site, Visitor, site

__all__ = ["site"]

START = datetime(2026, 11, 26, 9, 0, tzinfo=UTC)
LIMITS = Limits(
    voice_gap_percent=10, delay_ms=800, frames_per_second=5, frozen_percent=30, bad_time_percent=15
)


def interval(second: float, sender: Seat = Seat.PATIENT, **values: Any) -> Interval:
    """Five good seconds, but for ``values``."""
    good: dict[str, Any] = {
        "sender": sender,
        "is_received": True,
        "began_at": START + timedelta(seconds=second),
        "seconds": 5.0,
        "loss_percent": 0.0,
        "rtt_ms": 60,
        "concealed_percent": 0.5,
        "frozen_ms": 0,
        "frames_per_second": 24.0,
        "path": Path.DIRECT,
        "rung": Rung.HD,
    }
    return Interval(**{**good, **values})


def minutes_of(count: int, sender: Seat = Seat.PATIENT, **values: Any) -> list[Interval]:
    return [interval(5 * place, sender, **values) for place in range(12 * count)]


def outage(seat: Seat, second: float, seconds: float, cause: Cause) -> Outage:
    return Outage(seat, START + timedelta(seconds=second), seconds, cause)


# ---- the verdict -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("values", "suitability", "flaws"),
    [
        ({}, "suitable", ()),
        ({"concealed_percent": 10.0}, "suitable", ()),
        ({"concealed_percent": 10.1}, "not_suitable", (Flaw.VOICE_GAPS,)),
        ({"loss_percent": 30.0}, "suitable", ()),
        ({"rtt_ms": 801}, "not_suitable", (Flaw.DELAY,)),
        ({"frames_per_second": 1.0, "rung": Rung.SLOW}, "voice_only", (Flaw.SLOW_PICTURE,)),
        ({"frames_per_second": 0.0, "rung": Rung.VOICE}, "voice_only", (Flaw.NO_PICTURE,)),
        ({"frames_per_second": 0.0, "rung": Rung.OFF}, "suitable", ()),
        ({"frozen_ms": 1600}, "voice_only", (Flaw.FROZEN_PICTURE,)),
    ],
)
def test_verdict_of_a_visit_that_was_alike_throughout(
    values: dict[str, Any], suitability: str, flaws: tuple[Flaw, ...]
) -> None:
    verdict = judge(Measured(minutes_of(2, **values)), LIMITS)

    assert verdict.suitability == suitability
    assert verdict.flaws == flaws


@pytest.mark.parametrize(("bad", "suitability"), [(3, "suitable"), (4, "not_suitable")])
def test_a_part_of_a_visit_may_be_bad(bad: int, suitability: str) -> None:
    """15 % of two minutes are 18 seconds: three intervals pass, four do not."""
    good = minutes_of(2)[bad:]
    weak = [interval(5 * place, concealed_percent=40.0) for place in range(bad)]

    assert judge(Measured([*weak, *good]), LIMITS).suitability == suitability


def test_the_worse_direction_decides() -> None:
    patient = minutes_of(2)
    clinician = minutes_of(2, Seat.CLINICIAN, rung=Rung.VOICE, frames_per_second=0.0)

    verdict = judge(Measured([*patient, *clinician]), LIMITS)

    assert verdict.suitability is Suitability.VOICE_ONLY


def test_too_little_says_nothing() -> None:
    assert judge(Measured([interval(0), interval(5)]), LIMITS).suitability is None
    assert judge(Measured(), LIMITS).suitability is None


def test_time_without_a_line_is_bad_time() -> None:
    gone = [outage(Seat.PATIENT, 60, 30, Cause.NETWORK_DOWN)]

    assert judge(Measured(minutes_of(2), gone), LIMITS).suitability is Suitability.NOT_SUITABLE
    short = [outage(Seat.PATIENT, 60, 12, Cause.NETWORK_DOWN)]
    verdict = judge(Measured(minutes_of(2), short), LIMITS)
    assert (verdict.suitability, verdict.flaws) == (Suitability.SUITABLE, (Flaw.BREAKS,))


def test_what_is_heard_counts_and_what_was_sent_only_fills_in() -> None:
    """Half of what the sender says was lost was repaired: the ear decides while it reports."""
    heard = [interval(5 * place) for place in range(12)]
    sent = [interval(5 * n + 1, is_received=False, loss_percent=20.0) for n in range(24)]
    measured = Measured(sorted([*heard, *sent], key=lambda each: each.began_at))

    flow = measured.flow(Seat.PATIENT)

    assert sum(each.is_received for each in flow) == 12
    assert all(
        each.began_at > START + timedelta(minutes=1) for each in flow if not each.is_received
    )
    assert judge(measured, LIMITS).suitability is Suitability.NOT_SUITABLE
    assert judge(Measured(heard), LIMITS).suitability is Suitability.SUITABLE


# ---- breaks ----------------------------------------------------------------------------

PATIENT, CLINICIAN = Seat.PATIENT, Seat.CLINICIAN


@pytest.mark.parametrize(
    ("outages", "side", "cause"),
    [
        ([(PATIENT, "network_down"), (CLINICIAN, "other_side_away")], PATIENT, "network_down"),
        ([(PATIENT, "network_changed"), (CLINICIAN, "path_lost")], PATIENT, "network_changed"),
        ([(CLINICIAN, "network_down"), (PATIENT, "other_side_away")], CLINICIAN, "network_down"),
        ([(PATIENT, "network_down"), (CLINICIAN, "network_down")], None, "network_down"),
        ([(CLINICIAN, "other_side_away")], PATIENT, "other_side_away"),
        ([(PATIENT, "page_asleep"), (CLINICIAN, "media_stopped")], PATIENT, "page_asleep"),
        ([(PATIENT, "server_away"), (CLINICIAN, "network_down")], None, "server_away"),
        ([(PATIENT, "path_lost"), (CLINICIAN, "path_lost")], None, "path_lost"),
        ([(PATIENT, "media_stopped")], None, "media_stopped"),
    ],
)
def test_two_pages_tell_of_one_break(
    outages: list[tuple[Seat, str]], side: Seat | None, cause: str
) -> None:
    lived = [outage(seat, 10 + n, 20, Cause(word)) for n, (seat, word) in enumerate(outages)]

    [found] = merge_breaks(lived)

    assert (found.side, found.cause) == (side, cause)
    assert found.start == START + timedelta(seconds=10)
    assert found.seconds == 20 + len(outages) - 1


def test_breaks_apart_stay_apart() -> None:
    lived = [
        outage(PATIENT, 200, 8, Cause.NETWORK_DOWN),
        outage(PATIENT, 10, 20, Cause.NETWORK_DOWN),
    ]

    assert [found.seconds for found in merge_breaks(lived)] == [20, 8]


# ---- the drawing -----------------------------------------------------------------------


def test_minutes_that_are_alike_are_one_stretch() -> None:
    """A change of the path or of the quality begins a new one, and so does a gap."""
    good = minutes_of(3)
    weak = [interval(180 + 5 * n, rung=Rung.VOICE) for n in range(12)]
    relayed = [interval(240 + 5 * n, path=Path.RELAY_TCP) for n in range(24)]
    bad = [interval(600 + 5 * n, concealed_percent=50.0) for n in range(6)]

    line = draw_line(Measured([*good, *weak, *relayed, *bad]), LIMITS)

    assert line is not None
    assert [
        ((each.start - START).total_seconds(), each.band, each.path) for each in line.flows[PATIENT]
    ] == [
        (0, Band.GOOD, Path.DIRECT),
        (180, Band.WEAK, Path.DIRECT),
        (240, Band.GOOD, Path.RELAY_TCP),
        (600, Band.BAD, Path.DIRECT),
    ]
    assert line.span.end == START + timedelta(seconds=630)
    assert line.flows[CLINICIAN] == []


def test_nothing_measured_is_no_drawing() -> None:
    assert draw_line(Measured(), LIMITS) is None


# ---- what the pages bring --------------------------------------------------------------


def row(moment: datetime, /, **values: object) -> dict[str, object]:
    good: dict[str, object] = {
        "direction": "incoming",
        "began_at": moment.isoformat(),
        "seconds": 5.01,
        "loss_percent": 0.4,
        "rtt_ms": 62,
        "jitter_ms": 4,
        "concealed_percent": 0.2,
        "frozen_ms": 0,
        "frames_per_second": 23.9,
        "kilobits_per_second": 812,
        "path": "direct",
        "rung": "hd",
        "voice_score": 4.31,
    }
    return {**good, **values}


def rows(count: int, now: datetime, **values: object) -> list[dict[str, object]]:
    return [row(now - timedelta(seconds=5 * place), **values) for place in range(1, count + 1)]


def batch(
    intervals: Sequence[object] = (), outages: Sequence[object] = ()
) -> dict[str, Sequence[object]]:
    return {"intervals": intervals, "outages": outages}


async def count(database: Database, visit: Visit, table: type[CallInterval | CallOutage]) -> int:
    async with database.read(visit.organisation_id) as session:
        found = select(func.count()).select_from(table).where(table.visit_id == visit.id)
        return await session.scalar(found) or 0


@pytest.fixture
async def visit(cast: Cast, make_visit: MakeVisit) -> Visit:
    return await make_visit(cast.toscana, state=VisitState.IN_VISIT)


@pytest.fixture
async def clinician(site: Site, cast: Cast) -> Visitor:
    return await site.staff(cast.toscana.clinician)


async def test_rows_sent_again_are_taken_once(
    site: Site, visit: Visit, clinician: Visitor, database: Database
) -> None:
    now = datetime.now(UTC)
    patient = await site.patient(visit)
    lost = {"began_at": now.isoformat(), "seconds": 21.4, "cause": "network_down"}
    path = f"/v/{visit.locator}/quality"

    first = await patient.send("POST", path, batch(rows(3, now), [lost]))
    again = await patient.send("POST", path, batch(rows(5, now), [lost]))
    both = [*rows(5, now), *rows(5, now, direction="outgoing")]
    other = await clinician.send("POST", f"/visits/{visit.id}/quality", batch(both))

    assert [answer.status for answer in (first, again, other)] == [200, 200, 200]
    assert await count(database, visit, CallInterval) == 5 + 10
    assert await count(database, visit, CallOutage) == 1
    async with database.read(visit.organisation_id) as session:
        kept = await session.scalar(select(CallOutage))
    assert kept is not None
    assert (kept.seat, kept.seconds, kept.cause) == ("patient", 21.4, "network_down")


ABSURD: list[tuple[str, object]] = [
    ("loss_percent", 100.1),
    ("loss_percent", -1),
    ("rtt_ms", 60_001),
    ("jitter_ms", 3.5),
    ("concealed_percent", "much"),
    ("frozen_ms", -1),
    ("frames_per_second", 241),
    ("kilobits_per_second", 10**9),
    ("voice_score", 5),
    ("seconds", 0),
    ("seconds", 61),
    ("path", "10.1.2.3"),
    ("rung", "8k"),
    ("direction", "sideways"),
    ("began_at", "2026-11-26T09:00:00"),
    ("began_at", "2020-01-01T09:00:00+00:00"),
    ("began_at", "2199-01-01T09:00:00+00:00"),
]


async def test_an_absurd_value_is_named_and_nothing_is_kept(
    visit: Visit, clinician: Visitor, database: Database
) -> None:
    now = datetime.now(UTC)
    for field, value in ABSURD:
        sent = [row(now - timedelta(seconds=9)), row(now, **{field: value})]
        answer = await clinician.send("POST", f"/visits/{visit.id}/quality", batch(sent))

        assert answer.status == 400, field
        assert json.loads(answer.text)["field"] == f"intervals[1].{field}"
    assert await count(database, visit, CallInterval) == 0


@pytest.mark.parametrize(
    "body",
    [[], {}, batch(["x"]), {**batch(), "address": "10.1.2.3"}, batch([{}] * 201)],
    ids=["list", "nothing", "word", "unknown", "too many"],
)
async def test_a_body_that_is_no_batch_is_refused(
    visit: Visit, clinician: Visitor, body: object
) -> None:
    answer = await clinician.send("POST", f"/visits/{visit.id}/quality", body)

    assert answer.status == 400


async def test_a_visit_has_so_many_rows_and_no_more(
    site: Site, visit: Visit, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store, "MOST_INTERVALS", 6)
    patient = await site.patient(visit)
    path = f"/v/{visit.locator}/quality"
    now = datetime.now(UTC)

    few = await patient.send("POST", path, batch(rows(6, now)))
    more = await patient.send("POST", path, batch([row(now)]))

    assert (few.status, more.status) == (200, 429)
    assert await count(database, visit, CallInterval) == 6


@pytest.mark.parametrize(
    ("state", "ended", "status"),
    [
        (VisitState.ENDED, timedelta(minutes=5), 200),
        (VisitState.ENDED, timedelta(hours=2), 409),
        (VisitState.CANCELLED, None, 409),
    ],
)
async def test_rows_may_come_late_but_not_for_ever(
    site: Site,
    visit: Visit,
    database: Database,
    state: VisitState,
    ended: timedelta | None,
    status: int,
) -> None:
    now = datetime.now(UTC)
    patient = await site.patient(visit)
    async with database.begin(visit.organisation_id) as session:
        kept = await session.get_one(Visit, visit.id)
        kept.state, kept.ended_at = state, now - ended if ended else None

    answer = await patient.send("POST", f"/v/{visit.locator}/quality", batch(rows(1, now)))

    assert answer.status == status


# ---- the statement ---------------------------------------------------------------------


async def test_the_verdict_proposes_and_the_doctor_states(
    site: Site, cast: Cast, visit: Visit, clinician: Visitor, database: Database
) -> None:
    now = datetime.now(UTC)
    path = f"/visits/{visit.id}"
    unknown = await clinician.get(f"{path}/quality")
    lost = {"began_at": now.isoformat(), "seconds": 20, "cause": "network_changed"}
    voice = rows(40, now, rung="voice", frames_per_second=0)
    patient = await site.patient(visit)
    await patient.send("POST", f"/v/{visit.locator}/quality", batch(voice, [lost]))

    proposed = json.loads((await clinician.get(f"{path}/quality")).text)
    body = {"outcome": "completed", "suitability": "suitable", "present": ["patient"]}
    answer = await clinician.send("POST", f"{path}/finish", body)

    assert json.loads(unknown.text)["verdict"] is None
    assert proposed == {
        "verdict": "voice_only",
        "reasons": ["breaks", "no_picture"],
        "breaks": 1,
        "broken_seconds": 20,
    }
    assert answer.status == 200
    async with database.read(visit.organisation_id) as session:
        kept = await session.get_one(Visit, visit.id)
        entry = await session.scalar(
            select(LogEntry.entry).where(LogEntry.entry.contains(Act.SUITABILITY_STATED))
        )
    assert kept.suitability is Suitability.SUITABLE
    assert kept.suitability_stated_at is not None
    assert kept.suitability_stated_by == cast.toscana.clinician.id
    assert json.loads(entry or "")["facts"] == {"stated": "suitable", "proposed": "voice_only"}


async def test_history_shows_when_which_side_why_how_long_and_the_verdict(
    site: Site, cast: Cast, visit: Visit, clinician: Visitor, database: Database
) -> None:
    """A visit of fifty minutes with an outage of 20 s that both pages lived."""
    began = datetime.now(UTC).replace(microsecond=0) - timedelta(hours=1)
    patient = await site.patient(visit)
    for first in range(0, 600, 200):
        sent = [row(began + timedelta(seconds=5 * n)) for n in range(first, first + 200)]
        await patient.send("POST", f"/v/{visit.locator}/quality", batch(sent))
        await clinician.send("POST", f"/visits/{visit.id}/quality", batch(sent))
    lost_at = began + timedelta(minutes=10)
    mine = {"began_at": lost_at.isoformat(), "seconds": 20, "cause": "network_down"}
    theirs = {"began_at": lost_at.isoformat(), "seconds": 19, "cause": "other_side_away"}
    await patient.send("POST", f"/v/{visit.locator}/quality", batch((), [mine]))
    await clinician.send("POST", f"/visits/{visit.id}/quality", batch((), [theirs]))
    finish = {"outcome": "completed", "suitability": "suitable"}
    await clinician.send("POST", f"/visits/{visit.id}/finish", finish)
    manager = await site.staff(cast.toscana.manager)

    for page in (
        await manager.get(f"/sessions/{visit.id}"),
        await clinician.get(f"/visits/{visit.id}"),
    ):
        assert 'data-cause="network_down" data-side="patient"' in page.text
        assert "20 secondi</strong>" in page.text
        assert "lato del paziente: rete assente" in page.text
        assert "Dichiarata dal medico" in page.text
        assert "collegamento diretto" in page.text
        assert "4.31" not in page.text
        assert page.text.count("<rect") < 100
    desk = await (await site.staff(cast.toscana.desk)).get(f"/sessions/{visit.id}")
    assert (desk.status, "collegamento diretto" in desk.text) == (200, False)
