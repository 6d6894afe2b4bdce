"""The clinician's page of one visit: whose it is, the checks, and the outcome."""

from __future__ import annotations

import asyncio
import json
from datetime import UTC, datetime, timedelta
from html import unescape
from typing import Any

import pytest
from sqlalchemy import select

from server.audit import Act
from server.db import Database
from server.keyring import Keyring
from server.models import (
    CheckIn,
    Consent,
    ConsentKind,
    LogEntry,
    Outcome,
    Visit,
    VisitState,
)
from server.sealed import Answers, open_eligibility, seal_answers
from server.services import HUB
from server.visit.card import ConsentStatus, consent_answer
from server.visit.checks import Ground
from tests.conftest import Cast, MakeVisit
from tests.visitors import Site, Visitor, site

__all__ = ["site"]


@pytest.fixture
async def clinician(site: Site, cast: Cast) -> Visitor:
    return await site.staff(cast.toscana.clinician)


async def load(database: Database, visit: Visit) -> Visit:
    async with database.read(visit.organisation_id) as session:
        return await session.get_one(Visit, visit.id)


async def change(database: Database, visit: Visit, **values: Any) -> None:
    async with database.begin(visit.organisation_id) as session:
        row = await session.get_one(Visit, visit.id)
        for name, value in values.items():
            setattr(row, name, value)


async def entries_of(database: Database, visit: Visit, *acts: Act) -> list[dict[str, Any]]:
    async with database.read(visit.organisation_id) as session:
        texts = await session.scalars(
            select(LogEntry.entry).where(LogEntry.visit_id == visit.id).order_by(LogEntry.id)
        )
        entries = [json.loads(text) for text in texts]
    return [entry for entry in entries if entry["action"] in acts]


# ---- whose visit it is -----------------------------------------------------------------

FIRST = {"If-Match": '"0"'}
ROUTES = [
    ("GET", "", None),
    ("POST", "/ticket", {}),
    ("POST", "/identity", {"is_confirmed": True}),
    ("POST", "/eligibility", {"ground": "therapy"}),
    ("POST", "/finish", {"outcome": "completed"}),
    ("GET", "/note", None),
    ("PUT", "/note", {"sections": {"free": "x"}}),
]


@pytest.mark.parametrize(("method", "path", "body"), ROUTES, ids=lambda part: str(part))
async def test_only_the_assigned_clinician_finds_a_visit(
    site: Site, cast: Cast, make_visit: MakeVisit, method: str, path: str, body: object
):
    visit = await make_visit(cast.toscana)
    toscana, emilia = cast.toscana, cast.emilia
    strangers = [toscana.colleague, emilia.clinician, toscana.desk, toscana.manager]

    for user in [*strangers, toscana.auditor, toscana.administrator]:
        visitor = await site.staff(user)
        answer = await visitor.send(
            method, f"/visits/{visit.id}{path}", body, **{"If-Match": '"0"'}
        )
        assert answer.status == 404, user.username
    patient = await site.patient(visit)
    answer = await patient.send(method, f"/visits/{visit.id}{path}", body, **FIRST)
    assert answer.status == 401
    after = await load(site.database, visit)
    assert (after.state, after.identity_confirmed_at) == (VisitState.BOOKED, None)


async def test_a_visit_that_is_not_there_is_not_found(clinician: Visitor):
    assert (await clinician.get("/visits/0000000000000000")).status == 404


# ---- the card --------------------------------------------------------------------------


async def test_the_card_shows_what_is_known_and_what_was_not_answered(
    site: Site, cast: Cast, make_visit: MakeVisit, clinician: Visitor, keyring: Keyring
):
    visit = await make_visit(cast.toscana)
    blank = unescape((await clinician.get(f"/visits/{visit.id}")).text)
    await answer_check_in(site.database, keyring, visit)

    page = unescape((await clinician.get(f"/visits/{visit.id}")).text)

    for known in (
        "Rosa Bertolucci", "12/03/1948", "BRTRSO48C52D612U", "+390551234567",
        "Controllo dello scompenso cardiaco", "090A04000000248", visit.appointment.booking_code,
        "B, entro 10 giorni", "Via dei Serragli 12, Firenze", "mia figlia <Carla>",
        "telecamera: funziona", "suono: nessuna risposta",
    ):  # fmt: skip
        assert known in page
    assert "Con il paziente</dt><dd>nessuna risposta" in blank
    assert "Consenso alla televisita</dt><dd>dato" in page
    assert "Consenso allo strumento</dt><dd>ritirato" in page
    opened = await entries_of(site.database, visit, Act.CARD_OPENED)
    assert [entry["actor"] for entry in opened] == [cast.toscana.clinician.id] * 2


async def answer_check_in(database: Database, keyring: Keyring, visit: Visit) -> None:
    now = datetime.now(UTC)
    answers = Answers(
        address="Via dei Serragli 12, Firenze", companions="mia figlia <Carla>", camera="ok"
    )
    async with database.begin(visit.organisation_id) as session:
        row = CheckIn(
            organisation_id=visit.organisation_id, visit_id=visit.id, version=1, updated_at=now
        )
        await seal_answers(keyring, session, row, answers)
        session.add(row)
        for kind, is_given, minutes in (
            (ConsentKind.VISIT, True, 0),
            (ConsentKind.TOOL, True, 0),
            (ConsentKind.TOOL, False, 1),
        ):
            session.add(make_consent(visit, kind, now + timedelta(minutes=minutes), is_given))


def make_consent(visit: Visit, kind: ConsentKind, at: datetime, is_given: bool) -> Consent:
    return Consent(
        organisation_id=visit.organisation_id,
        visit_id=visit.id,
        kind=kind,
        is_given=is_given,
        text_version="1",
        text_hash="0" * 64,
        language="it",
        answered_at=at,
    )


@pytest.mark.parametrize(
    ("answers", "status"),
    [
        ([], ConsentStatus.NOT_ANSWERED),
        ([True], ConsentStatus.GIVEN),
        ([False], ConsentStatus.REFUSED),
        ([True, False], ConsentStatus.WITHDRAWN),
        ([False, True], ConsentStatus.GIVEN),
        ([True, False, True], ConsentStatus.GIVEN),
    ],
)
def test_where_a_consent_stands(answers: list[bool], status: ConsentStatus):
    visit = Visit(organisation_id="o", id="v")
    rows = [make_consent(visit, ConsentKind.VISIT, datetime.now(UTC), given) for given in answers]

    assert consent_answer(rows).status is status


# ---- checks ----------------------------------------------------------------------------


async def test_identity_is_confirmed_and_taken_back(
    site: Site, cast: Cast, make_visit: MakeVisit, clinician: Visitor
):
    visit = await make_visit(cast.toscana)

    await clinician.send("POST", f"/visits/{visit.id}/identity", {"is_confirmed": True})
    assert (await load(site.database, visit)).identity_confirmed_at is not None
    await clinician.send("POST", f"/visits/{visit.id}/identity", {"is_confirmed": False})

    assert (await load(site.database, visit)).identity_confirmed_at is None
    entries = await entries_of(site.database, visit, Act.IDENTITY_CONFIRMED)
    assert [entry["facts"]["confirmed"] for entry in entries] == [True, False]


@pytest.mark.parametrize("ground", Ground)
async def test_one_ground_is_enough_and_stays_out_of_the_log(
    site: Site, cast: Cast, make_visit: MakeVisit, clinician: Visitor, keyring: Keyring, ground: str
):
    visit = await make_visit(cast.toscana)

    answer = await clinician.send("POST", f"/visits/{visit.id}/eligibility", {"ground": ground})

    assert answer.status == 200
    saved = await load(site.database, visit)
    async with site.database.read(visit.organisation_id) as session:
        eligibility = await open_eligibility(keyring, session, saved)
    assert eligibility is not None
    assert eligibility.ground == ground
    entries = await entries_of(site.database, visit, Act.ELIGIBILITY_CONFIRMED)
    assert [entry["facts"] for entry in entries] == [{"confirmed": True}]


async def test_eligibility_is_taken_back(
    site: Site, cast: Cast, make_visit: MakeVisit, clinician: Visitor
):
    visit = await make_visit(cast.toscana)
    path = f"/visits/{visit.id}/eligibility"

    await clinician.send("POST", path, {"ground": "therapy"})
    await clinician.send("POST", path, {"ground": None})

    saved = await load(site.database, visit)
    assert (saved.eligibility_confirmed_at, saved.sealed_eligibility) == (None, None)


async def test_a_first_visit_needs_a_reason(
    site: Site, cast: Cast, make_visit: MakeVisit, clinician: Visitor
):
    visit = await make_visit(cast.toscana, is_first_visit=True)
    path = f"/visits/{visit.id}/eligibility"

    without = await clinician.send("POST", path, {"ground": "therapy", "reason": "  "})
    with_reason = await clinician.send(
        "POST", path, {"ground": "therapy", "reason": "Esami già visti in reparto"}
    )

    assert without.status == 400
    assert json.loads(without.text)["field"] == "reason"
    assert with_reason.status == 200
    sealed = (await load(site.database, visit)).sealed_eligibility or b""
    assert b"reparto" not in sealed


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("identity", {}),
        ("identity", {"is_confirmed": "yes"}),
        ("eligibility", {"ground": "because"}),
        ("eligibility", {"ground": "therapy", "reason": "x" * 501}),
        ("finish", {"outcome": "cancelled"}),
        ("finish", {"outcome": "completed", "reason": "free words"}),
        ("finish", {"outcome": "completed", "present": ["ghost"]}),
        ("finish", {"outcome": "completed", "suitability": "perfect"}),
        ("finish", {"outcome": "no_show_clinician", "suitability": "suitable"}),
        ("finish", ["completed"]),
    ],
)
async def test_odd_bodies_are_refused(
    site: Site, cast: Cast, make_visit: MakeVisit, clinician: Visitor, path: str, body: object
):
    visit = await make_visit(cast.toscana)

    answer = await clinician.send("POST", f"/visits/{visit.id}/{path}", body)

    assert answer.status == 400
    assert (await load(site.database, visit)).state is VisitState.BOOKED


# ---- the ticket ------------------------------------------------------------------------


async def test_a_ticket_while_the_room_is_open(
    cast: Cast, make_visit: MakeVisit, clinician: Visitor
):
    now = datetime.now(UTC)
    open_room = await make_visit(cast.toscana)
    later = await make_visit(cast.toscana, start=now + timedelta(hours=3))
    over = await make_visit(cast.toscana, state=VisitState.ENDED)

    answer = await clinician.send("POST", f"/visits/{open_room.id}/ticket", {})

    assert json.loads(answer.text)["ticket"]
    for visit in (later, over):
        refused = await clinician.send("POST", f"/visits/{visit.id}/ticket", {})
        assert refused.status == 409


# ---- the end ---------------------------------------------------------------------------


@pytest.mark.parametrize("outcome", Outcome)
async def test_finishing_ends_the_visit_with_its_outcome(
    site: Site, cast: Cast, make_visit: MakeVisit, clinician: Visitor, outcome: Outcome
):
    visit = await make_visit(cast.toscana)
    answers = {
        "reason": "weak_line",
        "present": ["patient", "caregiver"],
    }

    answer = await clinician.send(
        "POST", f"/visits/{visit.id}/finish", {"outcome": outcome, **answers}
    )

    assert answer.status == 200
    saved = await load(site.database, visit)
    assert (saved.state, saved.outcome, saved.outcome_reason) == (
        VisitState.ENDED,
        outcome,
        "weak_line",
    )
    assert saved.ended_at is not None
    finished, told = await entries_of(site.database, visit, Act.FINISHED, Act.OUTCOME)
    assert finished["facts"] == {"state": "booked"}
    assert told["facts"] == {
        "outcome": outcome,
        "reason": "weak_line",
        "present": "caregiver,patient",
    }
    page = await clinician.get(f"/visits/{visit.id}")
    assert 'href="/agenda"' in page.text
    assert "outcome-confirm" not in page.text


@pytest.mark.parametrize("state", [VisitState.WAITING, VisitState.CHECKED_IN])
async def test_who_has_waited_is_never_a_no_show(
    site: Site, cast: Cast, make_visit: MakeVisit, clinician: Visitor, state: VisitState
):
    visit = await make_visit(cast.toscana, state=state)
    await change(site.database, visit, waiting_since=datetime.now(UTC))
    path = f"/visits/{visit.id}"

    answer = await clinician.send("POST", f"{path}/finish", {"outcome": "no_show_patient"})

    assert answer.status == 400
    assert json.loads(answer.text)["reason"] == "patient_waited"
    assert (await load(site.database, visit)).state is state
    assert 'value="no_show_patient" disabled' in (await clinician.get(path)).text


async def test_the_same_outcome_twice_is_one_act(
    site: Site, cast: Cast, make_visit: MakeVisit, clinician: Visitor
):
    visit = await make_visit(cast.toscana)
    path = f"/visits/{visit.id}/finish"

    first = await clinician.send("POST", path, {"outcome": "completed"})
    again = await clinician.send("POST", path, {"outcome": "completed"})
    other = await clinician.send("POST", path, {"outcome": "technical_failure"})

    assert (first.status, again.status, other.status) == (200, 200, 409)
    assert (await load(site.database, visit)).outcome is Outcome.COMPLETED
    assert len(await entries_of(site.database, visit, Act.OUTCOME)) == 1


async def test_two_windows_that_finish_at_once_leave_one_outcome(
    site: Site, cast: Cast, make_visit: MakeVisit, clinician: Visitor
):
    visit = await make_visit(cast.toscana)
    path = f"/visits/{visit.id}/finish"

    answers = await asyncio.gather(
        *(clinician.send("POST", path, {"outcome": outcome}) for outcome in Outcome)
    )

    assert sorted(answer.status for answer in answers) == [200, 409, 409, 409, 409]
    assert len(await entries_of(site.database, visit, Act.OUTCOME)) == 1


@pytest.mark.parametrize("path", ["identity", "eligibility", "finish"])
async def test_a_cancelled_visit_stays_cancelled(
    site: Site, cast: Cast, make_visit: MakeVisit, clinician: Visitor, path: str
):
    visit = await make_visit(cast.toscana, state=VisitState.CANCELLED)
    body = {"is_confirmed": True, "ground": "therapy", "outcome": "completed"}

    answer = await clinician.send("POST", f"/visits/{visit.id}/{path}", body)

    assert answer.status == 409
    assert (await load(site.database, visit)).state is VisitState.CANCELLED
    assert (await clinician.get(f"/visits/{visit.id}")).status == 200


async def test_leaving_is_not_finishing(
    site: Site, cast: Cast, make_visit: MakeVisit, clinician: Visitor
):
    visit = await make_visit(cast.toscana, state=VisitState.IN_VISIT)

    await site.app[HUB].disconnect(visit.id, "clinician")

    assert (await load(site.database, visit)).state is VisitState.IN_VISIT
    assert (await clinician.send("POST", f"/visits/{visit.id}/ticket", {})).status == 200


async def test_admit_needs_no_check_first(
    site: Site, cast: Cast, make_visit: MakeVisit, clinician: Visitor
):
    visit = await make_visit(cast.toscana, is_first_visit=True, state=VisitState.WAITING)

    page = await clinician.get(f"/visits/{visit.id}")

    assert 'data-testid="admit"' in page.text
    assert (await clinician.send("POST", f"/visits/{visit.id}/ticket", {})).status == 200
