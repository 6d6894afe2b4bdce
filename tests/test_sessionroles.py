"""Each role sees of the sessions what the design's table says; problems, views and proofs."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime, timedelta
from html import unescape

import pytest
from sqlalchemy import insert, select, update

from server.audit import Act, Entry, append
from server.db import Database
from server.keyring import Keyring
from server.models import (
    CallOutage,
    LogCheckpoint,
    LogEntry,
    Outcome,
    User,
    VisitState,
)
from server.sealed import keep_value
from server.sessionlog.problems import load_open
from server.summary import Problem
from tests.conftest import Cast, MakeVisit, Team
from tests.test_sessionlog import MINUTE, Play, entries_of, play, summarise
from tests.visitors import Site, Visitor, site

__all__ = ["play", "site"]

ROLES = ("manager", "auditor", "clinician", "desk", "administrator")
TIMELINE_ACTS = re.compile(r'data-act="([\w.]+)"')


def user_of(team: Team, role: str) -> User:
    user: User = getattr(team, role)
    return user


async def visitors_of(site: Site, team: Team) -> dict[str, Visitor]:
    return {role: await site.staff(user_of(team, role)) for role in ROLES}


async def test_each_role_sees_its_part_of_list_and_timeline(
    site: Site, cast: Cast, make_visit: MakeVisit, play: Play
) -> None:
    visit = await make_visit(cast.toscana)
    other = await make_visit(cast.toscana, clinician=cast.toscana.colleague)
    for one in (visit, other):
        await play(cast.toscana, one, Outcome.TECHNICAL_FAILURE)
    seen: dict[str, set[str]] = {}
    for role, visitor in (await visitors_of(site, cast.toscana)).items():
        listed = await visitor.get("/sessions")
        shown = await visitor.get(f"/sessions/{visit.id}")
        assert (listed.status, shown.status) == (200, 200)
        marks = {
            "others": other.id in listed.text,
            "booking": visit.appointment.booking_code in shown.text,
            "pseudonym": re.search(r"<code>[0-9A-F]{6}</code>", shown.text),
            "clinician": "Anna Bianchi" in shown.text,
            "line": "session-line" in shown.text,
            "problems": "session-problems" in shown.text and "has-problem" in listed.text,
            "note": 'data-act="note.saved"' in shown.text,
            "consent": 'data-act="consent.given"' in shown.text,
            "presence": 'data-act="room.dropped"' in shown.text,
            "media": 'data-act="media.proven"' in shown.text,
            "proofs": "timeline-proof" in shown.text,
            "take": 'data-testid="acknowledge"' in shown.text,
            "Rosa": "Bertolucci" in listed.text + shown.text,
        }
        seen[role] = {name for name, is_there in marks.items() if is_there}

    everything = {
        "others", "booking", "pseudonym", "clinician", "line", "problems", "note", "consent",
        "presence", "media", "proofs", "take",
    }  # fmt: skip
    assert seen == {
        "manager": everything,
        "auditor": everything - {"booking", "take"},
        "clinician": everything - {"others", "pseudonym", "proofs", "take"},
        "desk": {"others", "booking", "clinician", "presence"},
        "administrator": {"others", "line", "problems", "presence", "media"},
    }


async def test_facts_of_the_desk_are_those_of_presence(
    site: Site, cast: Cast, make_visit: MakeVisit, play: Play
) -> None:
    visit = await make_visit(cast.toscana)
    await play(cast.toscana, visit)

    pages = {
        role: (await visitor.get(f"/sessions/{visit.id}")).text
        for role, visitor in (await visitors_of(site, cast.toscana)).items()
        if role in {"desk", "manager"}
    }

    assert "presenti: paziente" in pages["manager"]
    assert "presenti:" not in pages["desk"]
    assert "esito: Conclusa" in pages["desk"]


async def test_timeline_of_a_colleague_is_not_found(
    site: Site, cast: Cast, make_visit: MakeVisit
) -> None:
    visit = await make_visit(cast.toscana, clinician=cast.toscana.colleague)
    clinician = await site.staff(cast.toscana.clinician)

    assert (await clinician.get(f"/sessions/{visit.id}")).status == 404


async def test_personal_value_beside_the_log_is_shown_to_who_sees_bookings(
    site: Site, cast: Cast, make_visit: MakeVisit, database: Database, keyring: Keyring
) -> None:
    visit = await make_visit(cast.toscana)
    manager = cast.toscana.manager
    async with database.begin(visit.organisation_id) as session:
        digest = await keep_value(
            session, keyring, visit.organisation_id, "PRN-4711", visit=visit.id
        )
        entry = Entry(
            datetime.now(UTC), Act.CUP_MESSAGE_OPENED, "manager", manager.id, visit.id,
            {"message": digest},
        )  # fmt: skip
        await append(session, visit.organisation_id, entry)

    pages = {
        role: unescape((await visitor.get(f"/sessions/{visit.id}")).text)
        for role, visitor in (await visitors_of(site, cast.toscana)).items()
        if role in {"auditor", "manager"}
    }

    assert "PRN-4711" in pages["manager"]
    assert "PRN-4711" not in pages["auditor"]


# ---- the timeline ----------------------------------------------------------------------


async def test_drop_says_its_cause_where_the_pages_know_it(
    site: Site, cast: Cast, make_visit: MakeVisit, play: Play, database: Database
) -> None:
    visit = await make_visit(cast.toscana)
    began = visit.appointment.start + 5 * MINUTE - timedelta(seconds=4)
    async with database.begin(visit.organisation_id) as session:
        await session.execute(
            insert(CallOutage).values(
                id="outage", organisation_id=visit.organisation_id, visit_id=visit.id,
                seat="patient", began_at=began, seconds=64, cause="network_down",
            )
        )  # fmt: skip
    await play(cast.toscana, visit)

    page = unescape(
        (await (await site.staff(cast.toscana.manager)).get(f"/sessions/{visit.id}")).text
    )

    drop = page.split('data-act="room.dropped"')[1].split("</li>")[0]
    assert "lato del paziente: rete assente, 64 secondi" in " ".join(drop.split())


async def test_proof_of_an_entry_is_its_number_leaf_and_first_checkpoint(
    site: Site, cast: Cast, make_visit: MakeVisit, play: Play, database: Database
) -> None:
    visit = await make_visit(cast.toscana)
    await play(cast.toscana, visit)
    signed_at = datetime(2026, 11, 26, 9, 40, tzinfo=UTC)
    async with database.begin(visit.organisation_id) as session:
        rows = list(
            await session.scalars(
                select(LogEntry).where(LogEntry.visit_id == visit.id).order_by(LogEntry.seq)
            )
        )
        session.add(
            LogCheckpoint(
                organisation_id=visit.organisation_id,
                size=rows[3].seq,
                note="",
                signed_at=signed_at,
            )
        )

    page = unescape(
        (await (await site.staff(cast.toscana.auditor)).get(f"/sessions/{visit.id}")).text
    )

    proofs = [
        " ".join(re.sub(r"<[^>]+>", "", part.split("</span>")[0]).split())
        for part in page.split('<span class="timeline-proof">')[1:]
    ]
    for row, proof in zip(rows[:3], proofs, strict=False):
        assert proof.startswith(f"riga {row.seq} · {row.leaf[:12]}… · firmata giovedì 26 novembre")
        assert proof.endswith(f"(checkpoint {rows[3].seq})")
    assert proofs[-1] == "senza numero, per ora"


async def test_erased_and_altered_entries_are_counted_not_hidden(
    site: Site, cast: Cast, make_visit: MakeVisit, play: Play, database: Database
) -> None:
    visit = await make_visit(cast.toscana)
    await play(cast.toscana, visit)
    async with database.begin(visit.organisation_id) as session:
        for word, text in (("room.dropped", ""), ("room.rejoined", "{}"), ("note.saved", "x")):
            change = update(LogEntry).where(LogEntry.entry.contains(word)).values(entry=text)
            await session.execute(change.execution_options(synchronize_session=False))

    page = unescape(
        (await (await site.staff(cast.toscana.manager)).get(f"/sessions/{visit.id}")).text
    )

    assert "1 riga è stata cancellata" in page
    assert "2 righe non si leggono" in page


# ---- problems --------------------------------------------------------------------------


async def test_problem_is_open_until_somebody_takes_it_in_charge(
    site: Site, cast: Cast, make_visit: MakeVisit, play: Play, database: Database
) -> None:
    now = datetime.now(UTC)
    visit = await make_visit(cast.toscana, start=now - timedelta(hours=1))
    await make_visit(cast.toscana, start=now - timedelta(hours=1))
    await play(cast.toscana, visit, Outcome.TECHNICAL_FAILURE)
    manager = await site.staff(cast.toscana.manager)
    auditor = await site.staff(cast.toscana.auditor)
    stranger = await site.staff(cast.emilia.manager)

    page = (await manager.get("/sessions/problems")).text
    assert re.findall(r'data-testid="problem" data-visit="(\w+)"', page) == [visit.id]
    for other in (auditor, stranger):
        answer = await other.post(f"/sessions/problems/{visit.id}/acknowledge")
        assert answer.status == 404
    answer = await manager.post(f"/sessions/problems/{visit.id}/acknowledge")
    assert (answer.status, answer.location) == (303, "/sessions/problems")

    assert 'data-visit="' not in (await manager.get("/sessions/problems")).text
    shown = unescape((await manager.get(f"/sessions/{visit.id}")).text)
    assert shown.count("presa in carico da") == 3
    assert 'data-testid="acknowledge"' not in shown
    async with database.read(visit.organisation_id) as session:
        texts = await session.scalars(select(LogEntry.entry).order_by(LogEntry.id))
        acts = [json.loads(text) for text in texts]
    taken = [each for each in acts if each["action"] == Act.PROBLEM_ACKNOWLEDGED]
    assert [each["facts"]["taken"] for each in taken] == ["technical_failure,line_lost,weak_line"]


async def test_page_of_problems_hears_news_once(
    site: Site, cast: Cast, make_visit: MakeVisit, play: Play
) -> None:
    now = datetime.now(UTC)
    visit = await make_visit(cast.toscana, start=now - timedelta(hours=1))
    manager = await site.staff(cast.toscana.manager)

    before = json.loads((await manager.get("/sessions/problems/news")).text)
    await play(cast.toscana, visit)
    news = json.loads((await manager.get(f"/sessions/problems/news?seen={before['digest']}")).text)
    again = await manager.get(f"/sessions/problems/news?seen={news['digest']}")

    assert before["rows"] == []
    assert [(row["visit"], row["problems"]) for row in news["rows"]] == [(visit.id, ["line_lost"])]
    assert (again.status, again.text) == (204, "")


@pytest.mark.parametrize(("minutes", "is_open"), [(19, False), (21, True), (13 * 60, False)])
async def test_patient_who_sits_in_the_waiting_room_is_a_problem_of_now(
    database: Database, keyring: Keyring, cast: Cast, make_visit: MakeVisit, minutes: int,
    is_open: bool,
) -> None:  # fmt: skip
    now = datetime.now(UTC)
    start = now - minutes * MINUTE
    visit = await make_visit(cast.toscana, start=start, state=VisitState.WAITING)
    entries = [each for each in entries_of(visit.id, start) if each.act is Act.WAITING]
    async with database.begin(visit.organisation_id) as session:
        await append(session, visit.organisation_id, *entries)
    await summarise(database, keyring)

    async with database.read(visit.organisation_id) as session:
        found = await load_open(session, now)

    assert [(each.problems, each.is_now) for each in found] == (
        [([Problem.LONG_WAIT], True)] if is_open else []
    )


# ---- views -----------------------------------------------------------------------------


async def test_view_is_kept_shown_replaced_and_deleted_by_its_owner(
    site: Site, cast: Cast, make_visit: MakeVisit
) -> None:
    manager = await site.staff(cast.toscana.manager)
    auditor = await site.staff(cast.toscana.auditor)
    query = "from=2026-11-01&to=2026-11-30&problem=any"

    for _ in range(2):
        answer = await manager.post(f"/sessions/views?{query}", title="  Guasti   di novembre ")
        assert (answer.status, answer.location) == (303, f"/sessions?{query}")

    page = unescape((await manager.get("/sessions")).text)
    assert page.count(f'<a href="/sessions?{query}">Guasti di novembre</a>') == 1
    assert "Guasti di novembre" not in (await auditor.get("/sessions")).text
    view = re.search(r'name="view" value="(\w+)"', page)
    assert view is not None
    await auditor.post("/sessions/views/delete", view=view[1])
    assert "Guasti" in (await manager.get("/sessions")).text
    await manager.post("/sessions/views/delete", view=view[1])
    assert "Guasti" not in (await manager.get("/sessions")).text


@pytest.mark.parametrize("title", ["", "   ", "x" * 61])
async def test_view_without_a_fit_name_is_refused(site: Site, cast: Cast, title: str) -> None:
    manager = await site.staff(cast.toscana.manager)

    assert (await manager.post("/sessions/views", title=title)).status == 400
