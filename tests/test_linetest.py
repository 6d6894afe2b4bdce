"""The test of the line: when it is open, what it keeps, what is a problem, and who hears of it."""

from __future__ import annotations

import asyncio
import base64
import hmac
import json
import re
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import msgspec
import pytest
from sqlalchemy import func, select

from server.db import Database
from server.keyring import Keyring
from server.linetest.rules import WEAK_KILOBITS, find_problems
from server.linetest.store import MOST_KEPT, SHORTEST_PAUSE
from server.models import (
    Appointment,
    AppointmentStatus,
    LineTest,
    LogEntry,
    Visit,
    VisitState,
)
from server.readiness import (
    Problem,
    Result,
    Step,
    StepReport,
    is_line_test_open,
    load_newest_tests,
    problems_of,
    steps_of,
)
from server.settings import Settings
from tests.conftest import Cast, MakeVisit
from tests.test_echo import offer_text
from tests.visitors import Answer, Site, Visitor, open_site, site

__all__ = ["site"]

NOW = datetime(2026, 11, 26, 9, 0, tzinfo=UTC)
GOOD = {
    "socket": {"result": "ok", "ms": 40.0},
    "camera": {"result": "ok"},
    "microphone": {"result": "ok"},
    "loudspeaker": {"result": "ok"},
    "line": {"result": "ok", "up_kilobits": 2000, "down_kilobits": 3000, "rtt_ms": 30},
    "reconnect": {"result": "ok", "ms": 900},
}
BAD = GOOD | {"camera": {"result": "failed"}}
SECRET = "a-secret-of-this-test-only-long-enough"


@pytest.fixture
async def relayed(
    database: Database, database_url: str, data_dir: Path, keyring: Keyring
) -> AsyncIterator[Site]:
    """With a relay, loopback legs, one place, and a test that opens three days before."""
    async with open_site(
        database, database_url, data_dir,
        turn_urls=["turn:turn.example.it:3478?transport=udp"], turn_secret=SECRET,
        media_address="127.0.0.1", line_test_legs=1, line_test_hours=72,
    ) as site:  # fmt: skip
        yield site


def visit_at(start: datetime = NOW, state: VisitState = VisitState.BOOKED) -> Visit:
    appointment = Appointment(
        start=start, end=start + timedelta(minutes=30), status=AppointmentStatus.BOOKED
    )
    return Visit(appointment=appointment, state=state)


def reports(**results: str) -> dict[Step, StepReport]:
    return {Step(name): StepReport(Result(result)) for name, result in results.items()}


def line(**figures: float) -> dict[Step, StepReport]:
    return {Step.LINE: StepReport(Result.OK, **figures)}


async def send(visitor: Visitor, visit: Visit, path: str, content: object) -> Answer:
    return await visitor.send("POST", f"/v/{visit.locator}/line-test/{path}", content)


async def save(
    database: Database, visit: Visit, *, problems: str = "[]", ago: timedelta = timedelta()
) -> None:
    """A test that was taken some time ago."""
    async with database.begin(visit.organisation_id) as session:
        session.add(
            LineTest(
                organisation_id=visit.organisation_id,
                visit_id=visit.id,
                taken_at=datetime.now(UTC) - ago,
                steps=json.dumps(GOOD),
                problems=problems,
                browser="firefox",
            )
        )


async def load_newest(database: Database, visit: Visit) -> LineTest:
    async with database.read(visit.organisation_id) as session:
        return (await load_newest_tests(session, [visit.id]))[visit.id]


def rows_of(text: str) -> list[str]:
    return re.findall(r'data-testid="desk-row" data-visit="(\w+)"', text)


def page_of(visit: Visit) -> str:
    return f"/v/{visit.locator}/line-test"


def in_hours(hours: float) -> datetime:
    return datetime.now(UTC) + timedelta(hours=hours)


# ---- rules -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("steps", "problems"),
    [
        (reports(socket="ok", camera="ok"), ()),
        (reports(camera="skipped", relay_udp="skipped"), ()),
        (reports(socket="failed", reconnect="failed"), (Problem.SOCKET, Problem.RECONNECT)),
        (reports(loudspeaker="failed", microphone="failed"),
         (Problem.MICROPHONE, Problem.LOUDSPEAKER)),
        (reports(relay_udp="failed", relay_tcp="failed"), (Problem.RELAY,)),
        (reports(relay_udp="failed", relay_tls="ok"), ()),
        (reports(line="failed"), (Problem.LINE_DEAD,)),
        (reports(line="skipped"), ()),
        (line(), ()),
        (line(up_kilobits=WEAK_KILOBITS, down_kilobits=WEAK_KILOBITS), ()),
        (line(up_kilobits=WEAK_KILOBITS - 1), (Problem.LINE_WEAK,)),
        (line(down_kilobits=0), (Problem.LINE_WEAK,)),
        (line(up_loss_percent=5), ()),
        (line(up_loss_percent=5.1), (Problem.LINE_WEAK,)),
        (line(down_loss_percent=30), (Problem.LINE_WEAK,)),
        (line(rtt_ms=501), (Problem.LINE_WEAK,)),
    ],
)  # fmt: skip
def test_a_person_hears_of_what_matters(
    steps: dict[Step, StepReport], problems: tuple[Problem, ...]
) -> None:
    assert find_problems(steps) == problems


@pytest.mark.parametrize(
    ("before", "state", "is_open"),
    [
        (timedelta(hours=24, seconds=1), VisitState.BOOKED, False),
        (timedelta(hours=24), VisitState.BOOKED, True),
        (timedelta(), VisitState.CHECKED_IN, True),
        (timedelta(minutes=-30), VisitState.BOOKED, False),
        (timedelta(hours=1), VisitState.WAITING, False),
        (timedelta(hours=1), VisitState.CANCELLED, False),
    ],
)
def test_the_test_opens_some_hours_before(
    before: timedelta, state: VisitState, is_open: bool
) -> None:
    visit = visit_at(state=state)

    assert is_line_test_open(visit, visit.appointment, NOW - before, 24) == is_open


def test_a_cancelled_booking_has_no_test() -> None:
    visit = visit_at()
    visit.appointment.status = AppointmentStatus.CANCELLED

    assert not is_line_test_open(visit, visit.appointment, NOW, 24)


@pytest.mark.parametrize("ports", ["40000", "40000-", "-1", "50000-40000", "80-90", "1-70000"])
def test_ports_that_are_none_are_refused(ports: str) -> None:
    with pytest.raises(ValueError, match="must"):
        Settings(media_ports=ports)


def test_the_endpoint_is_read_from_the_settings() -> None:
    endpoint = Settings(media_address="203.0.113.7", media_ports="40000-40099").media_endpoint

    assert msgspec.structs.astuple(endpoint) == ("203.0.113.7", 40000, 40099)


# ---- the patient -----------------------------------------------------------------------


async def test_a_result_is_kept_and_said(
    site: Site, cast: Cast, make_visit: MakeVisit, database: Database
) -> None:
    visit = await make_visit(cast.toscana)
    patient = await site.patient(visit)
    answer = await send(patient, visit, "result", {"steps": BAD})
    page = await patient.get(f"/v/{visit.locator}/line-test")
    newest = await load_newest(database, visit)

    assert json.loads(answer.text) == {"problems": ["camera"]}
    assert problems_of(newest) == (Problem.CAMERA,)
    assert steps_of(newest)[Step.LINE].up_kilobits == 2000
    assert "Qualcosa non funziona ancora" in page.text
    assert 'data-problem="camera"' in page.text
    assert 'data-testid="line-step-camera" data-state="failed"' in page.text
    assert "055" in page.text


async def test_the_newest_counts(
    site: Site, cast: Cast, make_visit: MakeVisit, database: Database
) -> None:
    visit = await make_visit(cast.toscana)
    await save(database, visit, problems='["line_dead"]', ago=timedelta(minutes=1))
    patient = await site.patient(visit)
    assert "Qualcosa non funziona ancora" in (await patient.get(page_of(visit))).text

    await send(patient, visit, "result", {"steps": GOOD})

    assert "Funziona tutto" in (await patient.get(page_of(visit))).text


async def test_what_was_not_done_is_not_said_to_work(
    site: Site, cast: Cast, make_visit: MakeVisit
) -> None:
    visit = await make_visit(cast.toscana)
    patient = await site.patient(visit)
    await send(patient, visit, "result", {"steps": GOOD | {"line": {"result": "skipped"}}})
    page = await patient.get(page_of(visit))

    assert "Quello che abbiamo provato funziona" in page.text
    assert "Funziona tutto" not in page.text


@pytest.mark.parametrize(
    "content",
    [
        {},
        {"steps": {"socket": {"result": "perhaps"}}},
        {"steps": {"address": {"result": "ok"}}},
        {"steps": {"socket": {"result": "ok", "address": "10.0.0.1"}}},
        {"steps": {"socket": {"result": "ok", "ms": "10.0.0.1"}}},
        {"steps": {"line": {"result": "ok", "up_loss_percent": 101}}},
        {"steps": {}, "note": "mia figlia"},
    ],
)
async def test_nothing_but_figures_is_taken(
    site: Site, cast: Cast, make_visit: MakeVisit, database: Database, content: object
) -> None:
    visit = await make_visit(cast.toscana)
    answer = await send(await site.patient(visit), visit, "result", content)
    async with database.read(visit.organisation_id) as session:
        kept = await session.scalar(select(func.count()).select_from(LineTest))

    assert (answer.status, kept) == (400, 0)


async def test_only_so_many_runs_are_kept_and_not_faster_than_one_can_be(
    site: Site, cast: Cast, make_visit: MakeVisit, database: Database
) -> None:
    visit = await make_visit(cast.toscana)
    for minutes in range(1, MOST_KEPT + 3):
        await save(database, visit, ago=timedelta(minutes=minutes))
    patient = await site.patient(visit)
    first = await send(patient, visit, "result", {"steps": BAD})
    second = await send(patient, visit, "result", {"steps": GOOD})
    async with database.read(visit.organisation_id) as session:
        kept = await session.scalar(select(func.count()).select_from(LineTest))

    assert (first.status, second.status) == (200, 429)
    assert second.headers["Retry-After"] == str(int(SHORTEST_PAUSE.total_seconds()))
    assert kept == MOST_KEPT
    assert problems_of(await load_newest(database, visit)) == (Problem.CAMERA,)


async def test_a_test_leaves_its_line_in_the_log(
    site: Site, cast: Cast, make_visit: MakeVisit, database: Database
) -> None:
    visit = await make_visit(cast.toscana)
    await send(await site.patient(visit), visit, "result", {"steps": BAD})
    async with database.read(visit.organisation_id) as session:
        entries = [json.loads(text) for text in await session.scalars(select(LogEntry.entry))]
    [entry] = [entry for entry in entries if entry["action"] == "line.tested"]

    assert (entry["role"], entry["visit"]) == ("patient", visit.id)
    assert entry["facts"] == {"problems": 1}


async def test_before_its_time_the_test_is_closed(
    site: Site, cast: Cast, make_visit: MakeVisit
) -> None:
    visit = await make_visit(cast.toscana, start=in_hours(30))
    patient = await site.patient(visit)
    page = await patient.get(page_of(visit))
    answers = [
        await send(patient, visit, path, content)
        for path, content in (("servers", {}), ("echo", {"sdp": "v=0"}), ("result", {"steps": {}}))
    ]

    assert (page.status, page.location) == (303, f"/v/{visit.locator}/check-in")
    assert [answer.status for answer in answers] == [409, 409, 409]


async def test_the_hours_are_a_setting(relayed: Site, cast: Cast, make_visit: MakeVisit) -> None:
    early = await make_visit(cast.toscana, start=in_hours(70))
    earlier = await make_visit(cast.toscana, start=in_hours(80))
    pages = {}
    for visit in (early, earlier):
        patient = await relayed.patient(visit)
        pages[visit.id] = (await patient.get(f"/v/{visit.locator}/check-in")).text
        assert (await patient.get(page_of(visit))).status == (200 if visit is early else 303)

    assert 'data-testid="line-test-link"' in pages[early.id]
    assert 'data-testid="line-test-link"' not in pages[earlier.id]


async def test_the_booking_leads_to_the_test(site: Site, cast: Cast, make_visit: MakeVisit) -> None:
    visit = await make_visit(cast.toscana, start=in_hours(20))
    page = await (await site.patient(visit)).get(f"/v/{visit.locator}/booking")

    assert f'href="/v/{visit.locator}/line-test"' in page.text


# ---- relays and the echo ---------------------------------------------------------------


async def test_credentials_are_of_the_visit_and_for_ten_minutes(
    relayed: Site, cast: Cast, make_visit: MakeVisit
) -> None:
    visit = await make_visit(cast.toscana)
    answer = await send(await relayed.patient(visit), visit, "servers", {})
    [server] = json.loads(answer.text)["servers"]
    expiry, identity = server["username"].split(":")
    mac = hmac.digest(SECRET.encode(), server["username"].encode(), "sha1")

    assert identity.startswith(f"{visit.id}.test")
    assert int(expiry) - datetime.now(UTC).timestamp() <= 600
    assert server["credential"] == base64.b64encode(mac).decode()
    assert SECRET not in answer.text


async def test_without_a_relay_no_server_is_named(
    site: Site, cast: Cast, make_visit: MakeVisit
) -> None:
    visit = await make_visit(cast.toscana)
    answer = await send(await site.patient(visit), visit, "servers", {})

    assert json.loads(answer.text) == {"servers": []}


async def test_the_echo_answers_one_and_asks_the_other_to_wait(
    relayed: Site, cast: Cast, make_visit: MakeVisit
) -> None:
    visits = [await make_visit(cast.toscana) for _ in range(2)]
    patients = [await relayed.patient(visit) for visit in visits]
    offer = {"sdp": await offer_text()}
    first = await send(patients[0], visits[0], "echo", offer)
    again = await send(patients[0], visits[0], "echo", offer)
    second = await send(patients[1], visits[1], "echo", offer)

    assert "127.0.0.1" in json.loads(first.text)["sdp"]
    assert again.status == 200
    assert (second.status, second.headers["Retry-After"]) == (429, "10")


async def test_an_offer_that_is_none_is_refused(
    relayed: Site, cast: Cast, make_visit: MakeVisit
) -> None:
    visit = await make_visit(cast.toscana)
    patient = await relayed.patient(visit)
    answers = [
        await send(patient, visit, "echo", content)
        for content in ({}, {"sdp": "v=0"}, {"sdp": "x" * 70_000})
    ]

    assert [answer.status for answer in answers] == [400, 400, 400]


async def test_a_greeting_without_a_ticket_is_answered(site: Site) -> None:
    """What the page's first step rests on."""
    async with (
        asyncio.timeout(20),
        site.session.ws_connect(f"{site.origin}/ws", origin=site.origin) as connection,
    ):
        await connection.send_str(json.dumps({"type": "hello", "versions": [1]}))

        assert (await connection.receive_json())["type"] == "bye"


# ---- the desk and the clinician --------------------------------------------------------


async def test_the_red_list_has_the_failed_and_the_missing(
    site: Site, cast: Cast, make_visit: MakeVisit, database: Database
) -> None:
    failed = await make_visit(cast.toscana, start=in_hours(60))
    missing = await make_visit(cast.toscana, start=in_hours(23))
    repaired = await make_visit(cast.toscana, start=in_hours(20))
    far = await make_visit(cast.toscana, start=in_hours(25))
    foreign = await make_visit(cast.emilia, start=in_hours(20))
    await save(database, failed, problems='["microphone","line_weak"]')
    await save(database, repaired, problems='["camera"]', ago=timedelta(minutes=5))
    await save(database, repaired)
    desk = await site.staff(cast.toscana.desk)
    board = await desk.get("/desk")
    lists = {
        name: await desk.get(f"/desk?list={name}")
        for name in ("line", "line_failed", "line_missing")
    }
    text = lists["line"].text

    assert re.search(r'data-testid="desk-list-line">.*<strong>2</strong>', board.text)
    assert {name: rows_of(page.text) for name, page in lists.items()} == {
        "line": [missing.id, failed.id],
        "line_failed": [failed.id],
        "line_missing": [missing.id],
    }
    assert not {far.id, foreign.id} & set(rows_of(text))
    assert "Il microfono non ha funzionato" in text
    assert "La linea era debole" in text
    assert "Il collegamento non è stato ancora provato" in text
    assert 'href="tel:+390551234567" data-testid="desk-row-phone"' in text


async def test_who_waits_is_not_on_the_red_list(
    site: Site, cast: Cast, make_visit: MakeVisit
) -> None:
    await make_visit(cast.toscana, state=VisitState.WAITING)
    desk = await site.staff(cast.toscana.desk)

    assert rows_of((await desk.get("/desk?list=line")).text) == []


async def test_the_board_of_today_says_a_failed_test_but_not_a_missing_one(
    site: Site, cast: Cast, make_visit: MakeVisit, database: Database
) -> None:
    visit = await make_visit(cast.toscana)
    desk = await site.staff(cast.toscana.desk)
    assert "La prova del collegamento non è riuscita" not in (await desk.get("/desk")).text

    await save(database, visit, problems='["camera"]')

    assert "La prova del collegamento non è riuscita" in (await desk.get("/desk")).text


async def test_the_visits_page_lists_every_test_with_its_figures(
    site: Site, cast: Cast, make_visit: MakeVisit, database: Database
) -> None:
    visit = await make_visit(cast.toscana)
    await save(database, visit, problems='["line_weak"]', ago=timedelta(hours=1))
    await save(database, visit)
    page = await (await site.staff(cast.toscana.desk)).get(f"/desk/visits/{visit.id}")

    assert page.text.count('data-testid="desk-line-test"') == 2
    assert "2000 kbit/s in salita, 3000 in discesa" in page.text
    assert "La linea era debole" in page.text
    assert "Firefox" in page.text


@pytest.mark.parametrize(
    ("problems", "sign"),
    [("[]", "collegamento provato"), ('["camera"]', "prova del collegamento non riuscita")],
)
async def test_the_agenda_shows_a_sign(
    site: Site, cast: Cast, make_visit: MakeVisit, database: Database, problems: str, sign: str
) -> None:
    visit = await make_visit(cast.toscana)
    clinician = await site.staff(cast.toscana.clinician)
    assert 'data-testid="line-sign"' not in (await clinician.get("/agenda")).text

    await save(database, visit, problems=problems)

    assert f'data-testid="line-sign">{sign}<' in (await clinician.get("/agenda")).text
