"""The desk helps whoever calls, and never sees a clinical word."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import msgspec
import pytest
from sqlalchemy import select, update

from server.db import Database
from server.desk.board import (
    NOBODY,
    Line,
    NextAct,
    Presence,
    Problem,
    in_order,
    make_line,
    matches,
)
from server.desk.contact import read_contact
from server.desk.words import say_next_act, say_presence, say_problem, say_state
from server.i18n import LANGUAGES, Translator
from server.joinlink import JoinLink, derive_link
from server.keyring import Keyring
from server.models import (
    Appointment,
    AppointmentStatus,
    CheckIn,
    Device,
    LogEntry,
    Note,
    Outcome,
    Patient,
    Visit,
    VisitState,
)
from server.sealed import (
    Answers,
    Eligibility,
    Identity,
    open_identity,
    seal_answers,
    seal_eligibility,
    seal_note,
)
from tests.conftest import CARDIOLOGY, ROSA, Cast, MakeVisit
from tests.visitors import Site, Visitor, site

__all__ = ["site"]

NOW = datetime(2026, 11, 26, 9, 0, tzinfo=UTC)
MARIA = Identity(
    family_name="Della Gherardesca-Sforza",
    given_name="Maria Antonietta",
    codice_fiscale="DLLMNT50A41D612X",
    phone="+393331112223",
    email="maria@example.it",
)


def visit_at(start: datetime = NOW, **fields: object) -> Visit:
    """A visit in memory, with a clinician, as the rules see it."""
    appointment = Appointment(
        start=start, clinician_id="clinician", status=AppointmentStatus.BOOKED
    )
    defaults = {"id": "visit", "state": VisitState.BOOKED, "failed_claims": 0}
    return Visit(appointment=appointment, **(defaults | fields))


def line_of(
    visit: Visit,
    *,
    identity: Identity = ROSA,
    answers: Answers = Answers(),  # noqa: B008 - frozen
    presence: Presence = NOBODY,
    has_device: bool = True,
    now: datetime = NOW,
) -> Line:
    return make_line(visit, identity, answers, presence, has_device=has_device, now=now)


# ---- rules -----------------------------------------------------------------------------


def test_a_visit_without_trouble_has_no_problem() -> None:
    line = line_of(visit_at())

    assert (line.problems, line.next_act) == ((), NextAct.OPEN)


@pytest.mark.parametrize(
    ("make", "problem", "act"),
    [
        (
            lambda: line_of(visit_at(failed_claims=3), has_device=False, now=NOW - timedelta(1)),
            Problem.CLAIM_FAILING,
            NextAct.READ_CODE,
        ),
        (
            lambda: line_of(visit_at(), answers=Answers(camera="failed")),
            Problem.TEST_FAILED,
            NextAct.CALL_PATIENT,
        ),
        (
            lambda: line_of(visit_at(), has_device=False, now=NOW - timedelta(minutes=15)),
            Problem.NOT_OPENED,
            NextAct.READ_CODE,
        ),
        (
            lambda: line_of(
                visit_at(), identity=Identity(given_name="Ada", birth_date=ROSA.birth_date)
            ),
            Problem.NO_CONTACT,
            NextAct.ADD_CONTACT,
        ),
        (
            lambda: line_of(visit_at(), identity=Identity(given_name="Ada", phone="055123456")),
            Problem.TO_COMPLETE,
            NextAct.COMPLETE,
        ),
        (
            lambda: line_of(
                visit_at(state=VisitState.IN_VISIT),
                presence=Presence(away=frozenset({"patient"})),
            ),
            Problem.DROPPED,
            NextAct.CALL_PATIENT,
        ),
    ],
)
def test_each_trouble_is_a_problem_with_its_next_act(
    make: Callable[[], Line], problem: Problem, act: NextAct
) -> None:
    line = make()

    assert line.problems == (problem,)
    assert line.next_act is act


def test_visit_without_clinician_is_to_assign() -> None:
    visit = visit_at()
    visit.appointment.clinician_id = None

    assert line_of(visit).next_act is NextAct.ASSIGN


@pytest.mark.parametrize(
    ("came", "asked_at", "minutes", "is_long"),
    [(-30, 5, 5, False), (-30, 10, 10, True), (20, 25, 5, False), (20, 30, 10, True)],
)
def test_waiting_counts_from_the_hour_of_the_appointment(
    came: int, asked_at: int, minutes: int, *, is_long: bool
) -> None:
    visit = visit_at(state=VisitState.WAITING, waiting_since=NOW + timedelta(minutes=came))

    line = line_of(visit, now=NOW + timedelta(minutes=asked_at))

    assert line.waiting_minutes == minutes
    assert (Problem.WAITING_LONG in line.problems) is is_long


@pytest.mark.parametrize("state", [VisitState.ENDED, VisitState.CANCELLED])
def test_what_is_over_has_no_problem(state: VisitState) -> None:
    visit = visit_at(state=state, failed_claims=9)

    assert line_of(visit, identity=Identity(), has_device=False).problems == ()


def test_problems_come_first_then_time_and_what_is_over_last() -> None:
    early, late = NOW - timedelta(hours=1), NOW + timedelta(hours=3)
    lines = [
        line_of(visit_at(early, id="over", state=VisitState.ENDED)),
        line_of(visit_at(late, id="fine later")),
        line_of(visit_at(NOW, id="fine")),
        line_of(visit_at(late, id="no contact"), identity=Identity()),
        line_of(visit_at(late, id="test failed"), answers=Answers(microphone="failed")),
    ]

    order = [line.visit.id for line in in_order(lines)]

    assert order == ["test failed", "no contact", "fine", "fine later", "over"]


@pytest.mark.parametrize(
    ("sought", "is_found"),
    [
        ("rosa", True),
        ("BERTOLUCCI", True),
        ("bertolucci rosa", True),
        ("ros bert", True),
        ("055 123 4567", True),
        ("+39 055 1234567", True),
        ("4567", True),
        ("567", False),
        ("rossi", False),
        ("", False),
        (" ", False),
    ],
)
def test_search_looks_at_names_and_ends_of_numbers(sought: str, *, is_found: bool) -> None:
    assert matches(line_of(visit_at()), sought) is is_found


@pytest.mark.parametrize(
    ("field", "text", "kept"),
    [
        ("phone", " +39 055/123-4567 ", "+390551234567"),
        ("phone", "(055) 123.4567", "0551234567"),
        ("email", " rosa@example.it ", "rosa@example.it"),
        ("address", " Via  dei Serragli \n 12 ", "Via dei Serragli 12"),
        ("phone", "", ""),
    ],
)
def test_contact_is_cleaned(field: str, text: str, kept: str) -> None:
    contact = read_contact({field: text})

    assert getattr(contact, field) == kept
    assert contact.wrong_fields() == frozenset()


@pytest.mark.parametrize(
    ("field", "text"),
    [
        ("phone", "zero"),
        ("phone", "12345"),
        ("phone", "1" * 16),
        ("phone", "٠٥٥١٢٣٤٥٦٧"),
        ("email", "rosa"),
        ("email", "rosa@example"),
        ("email", "rosa@example.it, ada@example.it"),
        ("address", "x" * 201),
        ("address", "via\x07"),
    ],
)
def test_impossible_contact_is_refused(field: str, text: str) -> None:
    assert read_contact({field: text}).wrong_fields() == {field}


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_word_of_the_board_can_be_said(language: str) -> None:
    words = Translator(language)
    states = {
        say_state(words, line_of(visit_at(state=state, outcome=outcome)))
        for state in VisitState
        for outcome in (None, *Outcome)
    }
    problems = {say_problem(words, problem) for problem in Problem}
    acts = {say_next_act(words, act) for act in NextAct}

    assert (len(states), len(problems), len(acts)) == (11, len(Problem), len(NextAct))


@pytest.mark.parametrize(
    ("here", "away", "words"),
    [
        (set(), set(), ""),
        ({"patient"}, set(), "Paziente collegato"),
        ({"clinician"}, set(), "Medico collegato"),
        ({"patient", "clinician"}, set(), "Entrambi collegati"),
        ({"clinician"}, {"patient"}, "Paziente: linea caduta"),
    ],
)
def test_presence_is_said_in_words(here: set[str], away: set[str], words: str) -> None:
    assert say_presence(Translator("it"), Presence(frozenset(here), frozenset(away))) == words


# ---- the board -------------------------------------------------------------------------


@pytest.fixture
async def desk(site: Site, cast: Cast) -> Visitor:
    return await site.staff(cast.toscana.desk)


def soon() -> datetime:
    """A moment of today (in Rome, too) that is not over."""
    return datetime.now(UTC).replace(microsecond=0)


async def test_board_shows_the_day_problems_first(
    desk: Visitor, cast: Cast, make_visit: MakeVisit
) -> None:
    fine = await make_visit(cast.toscana, start=soon(), state=VisitState.IN_VISIT)
    silent = await make_visit(
        cast.toscana,
        start=soon(),
        state=VisitState.IN_VISIT,
        identity=msgspec.structs.replace(ROSA, codice_fiscale="XXXXXX00X00X000X", phone=""),
    )
    await make_visit(cast.emilia, start=soon(), identity=MARIA)

    page = (await desk.get("/desk")).text

    rows = re.findall(r'data-testid="desk-row" data-visit="(\w+)"', page)
    assert rows == [silent.id, fine.id]
    assert "Rosa Bertolucci" in page
    assert "dott.ssa Anna Bianchi" in page
    assert fine.appointment.booking_code in page
    assert "Mancano telefono ed e-mail" in page
    assert "Gherardesca" not in page


async def test_board_of_another_day_and_of_no_day(
    desk: Visitor, cast: Cast, make_visit: MakeVisit
) -> None:
    await make_visit(cast.toscana, start=datetime(2027, 3, 1, 22, 30, tzinfo=UTC))

    assert 'data-testid="desk-row"' in (await desk.get("/desk?day=2027-03-01")).text
    assert 'data-testid="desk-row"' not in (await desk.get("/desk?day=2027-03-02")).text
    for day in ("2027-02-30", "domani", "0001-01-01", "9999-12-31"):
        assert (await desk.get(f"/desk?day={day}")).status == 400


async def test_unfinished_visit_of_another_day_stays_on_the_board(
    desk: Visitor, cast: Cast, make_visit: MakeVisit
) -> None:
    long_ago = datetime.now(UTC) - timedelta(days=2)
    unfinished = await make_visit(cast.toscana, start=long_ago, state=VisitState.WAITING)
    await make_visit(cast.toscana, start=long_ago, state=VisitState.ENDED)

    page = (await desk.get("/desk")).text

    assert re.findall(r'data-visit="(\w+)"', page) == [unfinished.id]


async def test_states_say_the_same_as_the_board(
    desk: Visitor, cast: Cast, make_visit: MakeVisit
) -> None:
    visit = await make_visit(cast.toscana, start=soon(), state=VisitState.IN_VISIT)

    answer = await desk.get("/desk/states")

    [line] = json.loads(answer.text)["lines"]
    assert line["visit"] == visit.id
    assert line["state"] == "In visita"
    assert line["href"] == f"/desk/visits/{visit.id}#booking"
    assert "Rosa" not in answer.text


async def test_search_finds_code_on_any_day_and_name_on_the_day(
    desk: Visitor, cast: Cast, make_visit: MakeVisit
) -> None:
    far = await make_visit(cast.toscana, start=soon() + timedelta(days=90), identity=MARIA)
    today = await make_visit(cast.toscana, start=soon())
    other = await make_visit(cast.emilia, start=soon())

    async def find(sought: str) -> list[str]:
        page = (await desk.post("/desk", sought=sought)).text
        return re.findall(r'data-testid="desk-row" data-visit="(\w+)"', page)

    assert await find(far.appointment.booking_code.lower()) == [far.id]
    assert await find("bertolucci") == [today.id]
    assert await find("0551234567") == [today.id]
    assert await find("gherardesca") == []
    assert await find(other.appointment.booking_code) == []
    assert await find("%") == []


async def test_search_words_are_not_in_an_address(
    desk: Visitor, cast: Cast, make_visit: MakeVisit
) -> None:
    page = (await desk.get("/desk")).text

    assert re.search(r'<form[^>]*method="post" action="/desk" role="search">', page)
    assert (await desk.get("/desk?sought=rosa")).text.count("desk-row") == 0


# ---- one visit -------------------------------------------------------------------------

CLINICAL = {
    "question": CARDIOLOGY.question,
    "service": CARDIOLOGY.service_name,
    "nre": CARDIOLOGY.nre,
    "note": "Segreto clinico quarantadue",
    "ground": "known_disease",
    "reason": "paziente già nota per scompenso",
    "companions": "mia figlia Giulia",
    "place": "Via segreta 99",
}


async def test_desk_pages_show_no_clinical_word(
    desk: Visitor, cast: Cast, make_visit: MakeVisit, database: Database, keyring: Keyring
) -> None:
    visit = await make_visit(cast.toscana, start=soon())
    await write_clinical_words(database, keyring, visit, cast.toscana.clinician.id)
    path = f"/desk/visits/{visit.id}"

    answers = [
        await desk.get("/desk"),
        await desk.get("/desk/states"),
        await desk.post("/desk", sought=visit.appointment.booking_code),
        await desk.get(path),
        await desk.post(f"{path}/code"),
        await desk.post(f"{path}/link"),
        await desk.post(f"{path}/contact", phone="no", version="1"),
    ]

    assert [answer.status for answer in answers] == [200, 200, 200, 200, 200, 200, 400]
    for name, words in CLINICAL.items():
        assert all(words not in answer.text for answer in answers), name
    assert all("La prova del dispositivo" in answers[place].text for place in (0, 2, 3))


async def test_visit_page_shows_identity_contact_and_booking(
    desk: Visitor, cast: Cast, make_visit: MakeVisit
) -> None:
    visit = await make_visit(cast.toscana)

    page = (await desk.get(f"/desk/visits/{visit.id}")).text

    for words in (
        "Rosa Bertolucci", "12/03/1948", "BRTRSO48C52D612U", "+390551234567",
        "Via dei Serragli 12, Firenze", visit.appointment.booking_code, "Cardiologia territoriale",
    ):  # fmt: skip
        assert words in page


async def test_corrected_contact_is_sealed_again_and_logged_by_field_name(
    desk: Visitor, cast: Cast, make_visit: MakeVisit, database: Database, keyring: Keyring
) -> None:
    visit = await make_visit(cast.toscana)
    before = await load_patient(database, visit)

    answer = await desk.post(
        f"/desk/visits/{visit.id}/contact",
        phone="055 765 4321",
        email="rosa@example.it",
        address=ROSA.address,
        version=str(before.identity_version),
    )

    assert answer.status == 303
    after = await load_patient(database, visit)
    async with database.read(visit.organisation_id) as session:
        identity = await open_identity(keyring, session, after)
    assert identity == msgspec.structs.replace(ROSA, phone="0557654321", email="rosa@example.it")
    assert after.identity_version == before.identity_version + 1
    [entry] = await load_entries(database, visit, "contact.corrected")
    assert entry["facts"] == {"phone": True, "email": True}
    assert (entry["role"], entry["actor"]) == ("desk", cast.toscana.desk.id)
    assert "0557654321" not in json.dumps(entry)


async def test_unchanged_contact_writes_nothing(
    desk: Visitor, cast: Cast, make_visit: MakeVisit, database: Database
) -> None:
    visit = await make_visit(cast.toscana)
    before = await load_patient(database, visit)

    answer = await desk.post(
        f"/desk/visits/{visit.id}/contact",
        phone=ROSA.phone,
        email=ROSA.email,
        address=ROSA.address,
        version="1",
    )

    assert answer.status == 303
    assert (await load_patient(database, visit)).sealed_identity == before.sealed_identity
    assert await load_entries(database, visit, "contact.corrected") == []


async def test_second_of_two_corrections_is_not_an_overwrite(
    desk: Visitor, cast: Cast, make_visit: MakeVisit, database: Database
) -> None:
    visit = await make_visit(cast.toscana)
    path, version = f"/desk/visits/{visit.id}/contact", "1"

    first = await desk.post(path, phone="0557654321", version=version)
    second = await desk.post(path, phone="0551111111", version=version)

    assert (first.status, second.status) == (303, 409)
    assert len(await load_entries(database, visit, "contact.corrected")) == 1


async def test_wrong_contact_comes_back_as_it_was_typed(
    desk: Visitor, cast: Cast, make_visit: MakeVisit, database: Database
) -> None:
    visit = await make_visit(cast.toscana)

    answer = await desk.post(
        f"/desk/visits/{visit.id}/contact", phone="zero", email="rosa@x.it", version="1"
    )

    assert answer.status == 400
    assert 'value="zero"' in answer.text
    assert 'value="rosa@x.it"' in answer.text
    assert answer.text.count("aria-invalid") == 1
    assert await load_entries(database, visit, "contact.corrected") == []


async def test_code_and_link_are_shown_on_demand_and_logged(
    desk: Visitor,
    cast: Cast,
    make_visit: MakeVisit,
    database: Database,
    keyring: Keyring,
    site: Site,
) -> None:
    visit = await make_visit(cast.toscana)
    link = await derive(database, keyring, visit)
    path = f"/desk/visits/{visit.id}"

    page = await desk.get(path)
    with_code, with_link = await desk.post(f"{path}/code"), await desk.post(f"{path}/link")

    assert link.spoken_code not in page.text
    assert link.secret not in page.text + with_code.text
    assert link.spoken_code in with_code.text
    assert visit.locator in with_code.text
    assert f"{site.origin}/v/{visit.locator}#{link.fragment}" in with_link.text
    assert link.spoken_code not in with_link.text
    for act in ("link.code_read", "link.read"):
        [entry] = await load_entries(database, visit, act)
        assert entry["facts"] == {"version": 1}
        assert entry["actor"] == cast.toscana.desk.id


async def test_get_never_shows_a_secret(desk: Visitor, cast: Cast, make_visit: MakeVisit) -> None:
    visit = await make_visit(cast.toscana)

    for part in ("code", "link", "revoke", "contact", "assign"):
        assert (await desk.get(f"/desk/visits/{visit.id}/{part}")).status == 405


async def test_revoked_link_dies_at_once_with_its_devices(
    desk: Visitor,
    cast: Cast,
    make_visit: MakeVisit,
    database: Database,
    keyring: Keyring,
    site: Site,
) -> None:
    visit = await make_visit(cast.toscana)
    old = await derive(database, keyring, visit)
    patient = await site.patient(visit)
    room = f"/v/{visit.locator}/check-in/who"
    assert (await patient.get(room)).status == 200

    answer = await desk.post(f"/desk/visits/{visit.id}/revoke")

    assert answer.status == 303
    assert (await patient.get(room)).location == f"/v/{visit.locator}"
    async with database.read(visit.organisation_id) as session:
        stored = await session.get_one(Visit, visit.id)
        [device] = await session.scalars(select(Device).where(Device.visit_id == visit.id))
    assert (stored.link_version, stored.failed_claims) == (2, 0)
    assert device.ended_at is not None
    new = (await desk.post(f"/desk/visits/{visit.id}/code")).text
    assert old.spoken_code not in new
    assert (await derive(database, keyring, stored)).spoken_code in new
    [revoked] = await load_entries(database, visit, "link.revoked")
    assert revoked["facts"] == {"version": 1}


async def test_revoking_closes_the_page_that_holds_the_link(
    desk: Visitor, cast: Cast, make_visit: MakeVisit, site: Site
) -> None:
    visit = await make_visit(cast.toscana, state=VisitState.WAITING)
    patient = await site.patient(visit)
    await patient.post(f"/v/{visit.locator}/check-in/consents", visit="yes", tool="yes")
    ticket = json.loads((await patient.send("POST", f"/v/{visit.locator}/ticket", {})).text)

    async with site.session.ws_connect(
        f"{site.origin}/ws", headers={"Origin": site.origin}
    ) as socket:
        await socket.send_json({"type": "hello", "versions": [1], "ticket": ticket["ticket"]})
        assert (await socket.receive_json())["type"] == "welcome"
        board = json.loads((await desk.get("/desk/states")).text)["lines"]
        await desk.post(f"/desk/visits/{visit.id}/revoke")
        last: dict[str, object] = {}
        async for frame in socket:
            last = json.loads(frame.data)

    assert board[0]["presence"] == "Paziente collegato"
    assert (last["type"], last["reason"], last["action"]) == ("bye", "revoked", "stop")
    again = await patient.send("POST", f"/v/{visit.locator}/ticket", {})
    assert again.status == 401


@pytest.mark.parametrize("part", ["code", "link", "revoke"])
async def test_dead_link_is_neither_shown_nor_revoked(
    desk: Visitor, cast: Cast, make_visit: MakeVisit, database: Database, part: str
) -> None:
    visit = await make_visit(cast.toscana, state=VisitState.CANCELLED)

    assert (await desk.post(f"/desk/visits/{visit.id}/{part}")).status == 409
    assert await load_entries(database, visit, "link.code_read") == []


async def test_appointment_to_assign_gets_a_clinician_once(
    desk: Visitor, cast: Cast, make_visit: MakeVisit, database: Database
) -> None:
    visit = await make_visit(cast.toscana)
    async with database.begin(visit.organisation_id) as session:
        await session.execute(
            update(Appointment)
            .where(Appointment.id == visit.appointment_id)
            .values(clinician_id=None, clinician_code="MED-?")
        )
    path = f"/desk/visits/{visit.id}"
    page = (await desk.get(path)).text
    assert "il CUP indica MED-?" in page
    assert cast.toscana.colleague.id in page
    assert cast.emilia.clinician.id not in page

    for stranger in (cast.emilia.clinician.id, cast.toscana.desk.id, "", "nobody"):
        assert (await desk.post(f"{path}/assign", clinician=stranger)).status == 400
    first = await desk.post(f"{path}/assign", clinician=cast.toscana.colleague.id)
    second = await desk.post(f"{path}/assign", clinician=cast.toscana.clinician.id)

    assert (first.status, second.status) == (303, 409)
    async with database.read(visit.organisation_id) as session:
        appointment = await session.get_one(Appointment, visit.appointment_id)
    assert appointment.clinician_id == cast.toscana.colleague.id
    [entry] = await load_entries(database, visit, "booking.assigned")
    assert entry["facts"] == {"clinician": cast.toscana.colleague.id}


async def load_patient(database: Database, visit: Visit) -> Patient:
    async with database.read(visit.organisation_id) as session:
        return await session.get_one(Patient, visit.appointment.patient_id)


async def load_entries(database: Database, visit: Visit, act: str) -> list[dict[str, object]]:
    async with database.read(visit.organisation_id) as session:
        rows = await session.scalars(
            select(LogEntry.entry).where(LogEntry.visit_id == visit.id).order_by(LogEntry.id)
        )
        entries = [json.loads(row) for row in rows]
    return [entry for entry in entries if entry["action"] == act]


async def derive(database: Database, keyring: Keyring, visit: Visit) -> JoinLink:
    async with database.read(visit.organisation_id) as session:
        key = await keyring.load_secret(session, visit.organisation_id, "join")
    return derive_link(key, visit.id, visit.link_version)


async def write_clinical_words(
    database: Database, keyring: Keyring, visit: Visit, author_id: str
) -> None:
    """A note, a ground and answers: what a page of the desk must not show."""
    organisation = visit.organisation_id
    async with database.begin(organisation) as session:
        stored = await session.get_one(Visit, visit.id)
        note = Note(
            organisation_id=organisation,
            visit_id=visit.id,
            version=1,
            author_id=author_id,
            saved_at=NOW,
        )
        check_in = CheckIn(
            organisation_id=organisation, visit_id=visit.id, version=1, updated_at=NOW
        )
        answers = Answers(
            address=CLINICAL["place"], companions=CLINICAL["companions"], camera="failed"
        )
        eligibility = Eligibility(ground=CLINICAL["ground"], reason=CLINICAL["reason"])
        await seal_note(keyring, session, note, CLINICAL["note"])
        await seal_answers(keyring, session, check_in, answers)
        await seal_eligibility(keyring, session, stored, eligibility)
        session.add_all([note, check_in])
