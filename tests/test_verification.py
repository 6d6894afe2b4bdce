"""The clinician's answer about the four figures: whose it is, when, and its line in the log."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from html import unescape

import pytest
from sqlalchemy import select

from server.audit import Act
from server.db import Database
from server.models import LogEntry, Visit, VisitState
from tests.conftest import Cast, MakeVisit
from tests.visitors import Site, Visitor, site

__all__ = ["site"]

ANSWERS = {
    "same": Act.SAS_CONFIRMED,
    "different": Act.SAS_MISMATCH,
    "skipped": Act.SAS_SKIPPED,
}


@pytest.fixture
async def clinician(site: Site, cast: Cast) -> Visitor:
    return await site.staff(cast.toscana.clinician)


async def put_into(database: Database, visit: Visit, state: VisitState) -> None:
    async with database.begin(visit.organisation_id) as session:
        row = await session.get_one(Visit, visit.id)
        row.state, row.admitted_at = state, datetime.now(UTC)


async def load_answers(database: Database, visit: Visit) -> list[dict[str, object]]:
    async with database.read(visit.organisation_id) as session:
        texts = await session.scalars(
            select(LogEntry.entry).where(LogEntry.visit_id == visit.id).order_by(LogEntry.id)
        )
        entries = [json.loads(text) for text in texts]
    return [entry for entry in entries if entry["action"].startswith("sas.")]


@pytest.mark.parametrize(("answer", "act"), ANSWERS.items())
async def test_every_answer_is_a_line_of_the_clinician(
    site: Site, cast: Cast, make_visit: MakeVisit, clinician: Visitor, answer: str, act: Act
) -> None:
    visit = await make_visit(cast.toscana)
    await put_into(site.database, visit, VisitState.IN_VISIT)

    given = await clinician.send("POST", f"/visits/{visit.id}/verification", {"answer": answer})

    assert (given.status, json.loads(given.text)) == (200, {"answer": answer})
    [entry] = await load_answers(site.database, visit)
    assert (entry["action"], entry["role"]) == (act, "clinician")
    assert (entry["actor"], entry["facts"]) == (cast.toscana.clinician.id, {})


@pytest.mark.parametrize("state", [s for s in VisitState if s is not VisitState.IN_VISIT])
async def test_only_a_running_visit_has_a_call_to_verify(
    site: Site, cast: Cast, make_visit: MakeVisit, clinician: Visitor, state: VisitState
) -> None:
    visit = await make_visit(cast.toscana)
    await put_into(site.database, visit, state)

    given = await clinician.send("POST", f"/visits/{visit.id}/verification", {"answer": "same"})

    assert given.status == 409
    assert await load_answers(site.database, visit) == []


@pytest.mark.parametrize("body", [{}, {"answer": "perhaps"}, {"answer": None}, "same"])
async def test_other_answers_are_refused(
    site: Site, cast: Cast, make_visit: MakeVisit, clinician: Visitor, body: object
) -> None:
    visit = await make_visit(cast.toscana)
    await put_into(site.database, visit, VisitState.IN_VISIT)

    given = await clinician.send("POST", f"/visits/{visit.id}/verification", body)

    assert given.status == 400
    assert await load_answers(site.database, visit) == []


async def test_different_figures_are_an_incident_in_the_session_log(
    site: Site, cast: Cast, make_visit: MakeVisit, clinician: Visitor
) -> None:
    visit = await make_visit(cast.toscana)
    await put_into(site.database, visit, VisitState.IN_VISIT)
    for answer in ANSWERS:
        await clinician.send("POST", f"/visits/{visit.id}/verification", {"answer": answer})

    manager = await site.staff(cast.toscana.manager)
    page = unescape((await manager.get(f"/sessions/{visit.id}")).text)

    lines = page.split('<li class="timeline-line')[1:]
    incidents = [line for line in lines if line.startswith(" timeline-incident")]
    assert len(incidents) == 1
    assert 'data-act="sas.mismatch"' in incidents[0]
    assert "incidente" in incidents[0]
    assert "qualcuno poteva essere in mezzo" in incidents[0]
    assert "Chiamata verificata" in page
    assert "Verifica della chiamata non fatta" in page
