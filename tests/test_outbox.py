"""What is told to CUP, written with the act itself, on both databases."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from server.audit import Act
from server.cup.csvfile.out import render
from server.cup.outbox.outgoing import OutgoingEvent
from server.db import Database, OrganisationId
from server.errors import Conflict, NotFound
from server.keyring import Keyring
from server.models import (
    Connector,
    EventKind,
    EventState,
    OutboxEvent,
    Outcome,
    Phase,
    Visit,
    VisitState,
)
from server.outbox import retry_event, tell_cup
from server.sources import Outgoing
from server.waiting import Spool, VisitHooks
from signaling.hub import Refused
from tests.conftest import Cast, MakeVisit
from tests.cups import lead_events, load_events, set_phase
from tests.patients import acts_of, link_of, open_practice
from tests.test_visit import change, entries_of
from tests.visitors import Site, site

__all__ = ["site"]

NOW = datetime(2026, 11, 23, 9, 0, tzinfo=UTC)


@pytest.fixture
async def visit(cast: Cast, make_visit: MakeVisit, database: Database) -> Visit:
    """Of an organisation that is live; its source has a way out."""
    visit = await make_visit(cast.toscana)
    await lead_events(database, visit, "127.0.0.1:1")
    return visit


async def tell(database: Database, visit: Visit, kind: EventKind) -> OutboxEvent:
    async with database.begin(visit.organisation_id) as session:
        await tell_cup(session, visit, kind, NOW)
    return (await load_events(database))[-1]


def facts_of(event: OutboxEvent) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(event.facts)
    return found


# ---- acts ------------------------------------------------------------------------------

REBOOKED = (
    (Outcome.CONVERTED_TO_IN_PERSON, "exam_needed"),
    (Outcome.TECHNICAL_FAILURE, "weak_line"),
    (Outcome.NO_SHOW_CLINICIAN, ""),
)


@pytest.mark.parametrize(("outcome", "reason"), REBOOKED)
async def test_a_visit_that_is_still_owed_asks_for_a_new_slot(
    site: Site, cast: Cast, visit: Visit, database: Database, outcome: Outcome, reason: str
) -> None:
    await change(database, visit, state=VisitState.WAITING, waiting_since=NOW)
    clinician = await site.staff(cast.toscana.clinician)

    body = {"outcome": outcome, "reason": reason}
    reply = await clinician.send("POST", f"/visits/{visit.id}/finish", body)
    again = await clinician.send("POST", f"/visits/{visit.id}/finish", body)

    assert (reply.status, again.status) == (200, 200)
    ended, asked = await load_events(database)
    assert (ended.kind, asked.kind) == (EventKind.ENDED, EventKind.REBOOKING_ASKED)
    assert facts_of(ended)["outcome"] == outcome != Outcome.NO_SHOW_PATIENT
    assert facts_of(ended)["waited"] is True
    assert facts_of(asked)["reason"] == (reason or outcome)


async def test_a_completed_visit_says_when_it_really_was(
    site: Site, cast: Cast, visit: Visit, database: Database
) -> None:
    began_at = datetime.now(UTC)
    await change(database, visit, state=VisitState.IN_VISIT, admitted_at=began_at)
    clinician = await site.staff(cast.toscana.clinician)

    await clinician.send("POST", f"/visits/{visit.id}/finish", {"outcome": "completed"})

    (ended,) = await load_events(database)
    facts = facts_of(ended)
    assert ended.state is EventState.QUEUED
    assert datetime.fromisoformat(facts["began_at"]) == began_at
    assert datetime.fromisoformat(facts["ended_at"]) == ended.created_at


async def test_whoever_waited_is_never_told_to_be_absent(
    site: Site, cast: Cast, visit: Visit, database: Database
) -> None:
    await change(database, visit, state=VisitState.WAITING, waiting_since=NOW)
    clinician = await site.staff(cast.toscana.clinician)

    body = {"outcome": "no_show_patient"}
    reply = await clinician.send("POST", f"/visits/{visit.id}/finish", body)

    assert reply.status == 400
    assert await load_events(database) == []


async def test_the_first_admission_is_told_once(
    visit: Visit, database: Database, tmp_path: Path
) -> None:
    hooks = VisitHooks(database, Spool(tmp_path), lambda: NOW)
    hooks.opened(visit.id, await hooks.load(visit.id))
    with pytest.raises(Refused):
        await hooks.admit(visit.id, "anna", "patient")
    await change(database, visit, state=VisitState.WAITING)

    await hooks.admit(visit.id, "anna", "patient")
    await hooks.admit(visit.id, "anna", "patient")

    (begun,) = await load_events(database)
    assert begun.kind is EventKind.BEGUN
    assert facts_of(begun) == {"began_at": NOW.isoformat()}


async def test_a_finished_check_in_is_told_once(
    visit: Visit, database: Database, keyring: Keyring, database_url: str, data_dir: Path
) -> None:
    async with open_practice(database_url, data_dir) as practice:
        telephone = practice.telephone()
        link = await link_of(database, keyring, visit)
        await telephone.claim(visit.locator, secret=link.fragment)
        here = f"/v/{visit.locator}/check-in"
        await telephone.post(f"{here}/who")
        await telephone.post(f"{here}/consents", visit="yes", tool="yes")
        before = await load_events(database)
        await telephone.post(f"{here}/place", address="Via Roma 1")
        await telephone.post(f"{here}/place", address="Via Roma 2")

    assert before == []
    assert [event.kind for event in await load_events(database)] == [EventKind.CHECKED_IN]
    assert (await acts_of(database, visit)).count("check_in.completed") == 1


# ---- where it goes ---------------------------------------------------------------------


async def test_an_event_waits_stays_or_has_no_way_out(
    cast: Cast, make_visit: MakeVisit, database: Database
) -> None:
    visit = await make_visit(cast.emilia)
    await set_phase(database, visit.organisation_id, Phase.COLLAUDO)
    await tell(database, visit, EventKind.CONFIRMED)
    await set_phase(database, visit.organisation_id, Phase.ATTIVO)
    await tell(database, visit, EventKind.CONFIRMED)
    await lead_events(database, visit, "127.0.0.1:1")
    await tell(database, visit, EventKind.CONFIRMED)

    events = await load_events(database)

    assert [event.state for event in events] == [
        EventState.WITHHELD,
        EventState.NO_ROUTE,
        EventState.QUEUED,
    ]
    assert [event.next_attempt_at for event in events] == [None, None, NOW]


async def test_an_act_that_fails_tells_nothing(visit: Visit, database: Database) -> None:
    async def tell_and_fail() -> None:
        async with database.begin(visit.organisation_id) as session:
            await tell_cup(session, visit, EventKind.BEGUN, NOW)
            raise RuntimeError

    with pytest.raises(RuntimeError):
        await tell_and_fail()

    assert await load_events(database) == []


async def put_back(database: Database, organisation: OrganisationId, event: OutboxEvent) -> None:
    async with database.begin(organisation) as session:
        await retry_event(session, event.id, by="", now=NOW)


# ---- put back --------------------------------------------------------------------------


async def test_a_dead_event_is_put_back_once_and_logged(
    cast: Cast, visit: Visit, database: Database
) -> None:
    event = await tell(database, visit, EventKind.CONFIRMED)
    async with database.begin(visit.organisation_id) as session:
        stored = await session.get_one(OutboxEvent, event.number)
        stored.state, stored.attempts, stored.reason = EventState.DEAD, 9, "refused"
        stored.tried_since = NOW
    by = cast.toscana.administrator.id

    async with database.begin(visit.organisation_id) as session:
        await retry_event(session, event.id, by=by, now=NOW)
    with pytest.raises(Conflict):
        await put_back(database, visit.organisation_id, event)

    (stored,) = await load_events(database)
    assert (stored.state, stored.attempts, stored.reason) == (EventState.QUEUED, 0, "")
    assert (stored.tried_since, stored.next_attempt_at) == (None, NOW)
    (entry,) = await entries_of(database, visit, Act.CUP_EVENT_RETRIED)
    assert (entry["actor"], entry["role"]) == (by, "administrator")
    assert entry["facts"] == {"event": event.id}


@pytest.mark.parametrize("state", [EventState.WITHHELD, EventState.DELIVERED, EventState.QUEUED])
async def test_what_is_not_stuck_is_not_put_back(
    visit: Visit, database: Database, state: EventState
) -> None:
    event = await tell(database, visit, EventKind.CONFIRMED)
    async with database.begin(visit.organisation_id) as session:
        (await session.get_one(OutboxEvent, event.number)).state = state

    with pytest.raises(Conflict):
        await put_back(database, visit.organisation_id, event)

    assert (await load_events(database))[0].state is state


async def test_an_event_of_another_organisation_is_not_found(
    cast: Cast, visit: Visit, database: Database
) -> None:
    event = await tell(database, visit, EventKind.CONFIRMED)

    with pytest.raises(NotFound):
        await put_back(database, cast.emilia.organisation.id, event)


# ---- as a file -------------------------------------------------------------------------


def test_a_file_names_the_booking_and_starts_no_formula() -> None:
    outgoing = Outgoing(connector=Connector.CSV, address="out", words={"weak_line": "linea"})
    facts = {
        "outcome": "technical_failure",
        "reason": "weak_line",
        "began_at": "2026-11-23T09:00:00+00:00",
        "ended_at": "",
        "waited": True,
    }
    event = OutgoingEvent(
        number=7,
        control_id="abc",
        kind=EventKind.ENDED,
        facts=facts,
        booking_code='=HYPERLINK("x")',
        start=NOW,
        end=NOW,
        sent_at=NOW,
    )

    header, row = render(event, outgoing).splitlines()

    assert header == "codice_prenotazione;evento;esito;motivo;inizio;fine;id_evento"
    assert row == (
        '"\'=HYPERLINK(""x"")";conclusa;non_erogata_per_la_struttura;linea;'
        "2026-11-23T10:00:00+01:00;;abc"
    )


def test_every_kind_and_outcome_has_its_word() -> None:
    outgoing = Outgoing(connector=Connector.CSV, address="out")
    words = {
        (kind, outcome): render(
            OutgoingEvent(
                number=1,
                control_id="abc",
                kind=kind,
                facts={"outcome": outcome} if outcome else {},
                booking_code="B1",
                start=NOW,
                end=NOW,
                sent_at=NOW,
            ),
            outgoing,
        ).splitlines()[1]
        for kind in EventKind
        for outcome in ("", *Outcome)
    }

    absent = [key for key, row in words.items() if "assente" in row]
    assert absent == [(kind, Outcome.NO_SHOW_PATIENT) for kind in EventKind]
