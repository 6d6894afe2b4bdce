"""Route × role × organisation: who gets in where, and that nobody meets what is not theirs.

Every route of the application is in one of the tables here; a new one without its line fails.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import pytest
from sqlalchemy import func, select

from recordings.store import SealedFolder
from server.audit import UNDECLARED
from server.auth import ROUTES
from server.db import EVERY_ORGANISATION, Database
from server.joinlink import derive_link
from server.keyring import Keyring
from server.models import (
    CheckIn,
    EventState,
    LogEntry,
    Note,
    NoteTemplate,
    Phrase,
    Practice,
    Source,
    Submission,
    SubmissionState,
    TrainingScenario,
    User,
    Visit,
    VisitState,
    new_id,
)
from server.sealed import Answers, Identity, NoteContent, Section, seal_answers, seal_note
from server.services import FILES
from server.training.scenario import encode_scenario, load_shipped
from tests.conftest import CARDIOLOGY, ROSA, Cast, MakeVisit, Team
from tests.files import add_attachment
from tests.reportvisits import add_signed_report
from tests.test_admin_pages import add_event, add_message, add_run
from tests.tracks import make_recording, make_track
from tests.visitors import OWN_PAGE, Answer, Site, Visitor, site

__all__ = ["site"]

PUBLIC = {
    "GET /", "GET /healthz", "GET /readyz", "GET /static/{version}/{name:.+}", "GET /ws",
    "POST /language",
    "GET /login", "POST /login", "GET /login/code", "POST /login/code", "POST /logout",
    "GET /v", "GET /v/{locator}", "GET /v/{locator}/", "GET /V/{locator}", "POST /api/join",
    "GET /fhir/metadata", "POST /fhir", "POST /fhir/", "* /fhir/{rest:.*}",
    "GET /fhir/{kind}", "POST /fhir/{kind}", "PUT /fhir/{kind}",
    "GET /fhir/{kind}/{id}", "PUT /fhir/{kind}/{id}",
    "POST /api/join/code", "GET /metrics",
    "GET /log/{code}/key", "GET /log/{code}/checkpoint",
    "GET /log/{code}/consistency/{first}/{second}",
}  # fmt: skip
PATIENT = {
    "GET /v/{locator}/check-in",
    "GET /v/{locator}/check-in/who", "POST /v/{locator}/check-in/who",
    "GET /v/{locator}/check-in/consents", "POST /v/{locator}/check-in/consents",
    "GET /v/{locator}/check-in/devices", "POST /v/{locator}/check-in/devices",
    "GET /v/{locator}/check-in/place", "POST /v/{locator}/check-in/place",
    "GET /v/{locator}/check-in/ready",
    "POST /v/{locator}/consents/withdraw",
    "GET /v/{locator}/booking", "POST /v/{locator}/booking/confirm",
    "GET /v/{locator}/booking/cancel", "POST /v/{locator}/booking/cancel",
    "GET /v/{locator}/line-test", "POST /v/{locator}/line-test/servers",
    "POST /v/{locator}/line-test/echo", "POST /v/{locator}/line-test/result",
    "GET /v/{locator}/in-person", "GET /v/{locator}/device-test", "GET /v/{locator}/calendar.ics",
    "POST /v/{locator}/waiting-room", "GET /v/{locator}/room",
    "POST /v/{locator}/ticket", "GET /v/{locator}/end", "POST /v/{locator}/quality",
    "POST /v/{locator}/rating",
    "GET /v/{locator}/reports", "POST /v/{locator}/reports/code",
    "POST /v/{locator}/reports/open", "GET /v/{locator}/reports/{report_id}",
    "GET /v/{locator}/reports/{report_id}/pdf",
    "GET /v/{locator}/files", "POST /v/{locator}/files",
    "GET /v/{locator}/files/{file_id}", "POST /v/{locator}/files/{file_id}/delete",
    "GET /v/{locator}/proof.zip",
    "GET /v/{locator}/who-opened",
    "GET /v/{locator}/still", "POST /v/{locator}/still", "POST /v/{locator}/still/answer",
    "GET /v/{locator}/recording", "POST /v/{locator}/recording/answer",
    "POST /v/{locator}/recording/stop",
}  # fmt: skip
CLINICIAN, DESK, LOG_READERS = {"clinician"}, {"desk"}, {"manager", "auditor"}
ADMINISTRATOR = {"administrator"}
EVERYBODY = CLINICIAN | DESK | LOG_READERS | ADMINISTRATOR
STAFF: dict[str, set[str]] = {
    "GET /agenda": CLINICIAN,
    "GET /agenda/states": CLINICIAN,
    "POST /agenda/late": CLINICIAN,
    "GET /visits/{visit_id}": CLINICIAN,
    "POST /visits/{visit_id}/late": CLINICIAN,
    "POST /visits/{visit_id}/take": CLINICIAN,
    "POST /visits/{visit_id}/ticket": CLINICIAN,
    "POST /visits/{visit_id}/identity": CLINICIAN,
    "POST /visits/{visit_id}/eligibility": CLINICIAN,
    "POST /visits/{visit_id}/finish": CLINICIAN,
    "POST /visits/{visit_id}/quality": CLINICIAN,
    "GET /visits/{visit_id}/quality": CLINICIAN,
    "POST /visits/{visit_id}/rating": CLINICIAN,
    "POST /visits/{visit_id}/verification": CLINICIAN,
    "GET /visits/{visit_id}/files": CLINICIAN,
    "GET /visits/{visit_id}/files/{file_id}": CLINICIAN,
    "POST /visits/{visit_id}/files/{file_id}/report": CLINICIAN,
    "POST /visits/{visit_id}/still": CLINICIAN,
    "GET /visits/{visit_id}/recording": CLINICIAN,
    "POST /visits/{visit_id}/recording": CLINICIAN,
    "POST /visits/{visit_id}/recording/answer": CLINICIAN,
    "POST /visits/{visit_id}/recording/stop": CLINICIAN,
    "GET /visits/{visit_id}/report": CLINICIAN,
    "GET /visits/{visit_id}/report/{report_id}/pdf": CLINICIAN,
    "POST /visits/{visit_id}/report/sign": CLINICIAN,
    "POST /visits/{visit_id}/report/correct": CLINICIAN,
    "POST /visits/{visit_id}/report/addendum": CLINICIAN,
    "POST /visits/{visit_id}/report/give-up": CLINICIAN,
    "GET /visits/{visit_id}/note": CLINICIAN,
    "PUT /visits/{visit_id}/note": CLINICIAN,
    "GET /visits/{visit_id}/note/history": CLINICIAN,
    "GET /visits/{visit_id}/note/version": CLINICIAN,
    "GET /visits/{visit_id}/note/print": CLINICIAN,
    "GET /recordings": CLINICIAN,
    "GET /recordings/{recording_id}": CLINICIAN,
    "POST /recordings/{recording_id}/view": CLINICIAN,
    "GET /recordings/{recording_id}/player": CLINICIAN,
    "GET /recordings/{recording_id}/tracks/{track_id}": CLINICIAN,
    "POST /recordings/{recording_id}/export": CLINICIAN,
    "GET /figures": LOG_READERS,
    "GET /figures.csv": LOG_READERS,
    "GET /ratings": {"manager"},
    "GET /signature": CLINICIAN,
    "POST /signature": CLINICIAN,
    "POST /signature/remove": CLINICIAN,
    "GET /writing": CLINICIAN,
    "GET /writing/help": CLINICIAN,
    "POST /writing/codes/search": CLINICIAN,
    "POST /visits/{visit_id}/template": CLINICIAN,
    "GET /writing/templates/{template_id}": CLINICIAN,
    "POST /writing/templates/{template_id}": CLINICIAN,
    "GET /writing/templates/{template_id}/content": CLINICIAN,
    "POST /writing/templates/{template_id}/publish": CLINICIAN,
    "POST /writing/templates/{template_id}/withdraw": CLINICIAN,
    "POST /writing/templates/{template_id}/adopt": CLINICIAN,
    "POST /writing/phrases": CLINICIAN,
    "POST /writing/phrases/{phrase_id}/delete": CLINICIAN,
    "GET /training": CLINICIAN,
    "POST /training/practices": CLINICIAN,
    "GET /training/practices/{practice_id}": CLINICIAN,
    "GET /training/practices/{practice_id}/state": CLINICIAN,
    "GET /training/scenarios/{scenario_id}": CLINICIAN,
    "POST /training/scenarios/{scenario_id}": CLINICIAN,
    "POST /training/scenarios/{scenario_id}/publish": CLINICIAN,
    "POST /training/scenarios/{scenario_id}/withdraw": CLINICIAN,
    "POST /training/scenarios/{scenario_id}/adopt": CLINICIAN,
    "GET /desk": DESK,
    "POST /desk": DESK,
    "GET /desk/states": DESK,
    "GET /desk/visits/{visit_id}": DESK,
    "POST /desk/visits/{visit_id}/contact": DESK,
    "POST /desk/visits/{visit_id}/code": DESK,
    "POST /desk/visits/{visit_id}/link": DESK,
    "POST /desk/visits/{visit_id}/revoke": DESK,
    "POST /desk/visits/{visit_id}/assign": DESK,
    "POST /desk/visits/{visit_id}/birth-date": DESK,
    "POST /desk/visits/{visit_id}/resend": DESK,
    "GET /desk/messages": DESK,
    "GET /desk/messages/{message_id}": DESK,
    "POST /desk/messages/{message_id}/open": DESK,
    "POST /desk/messages/{message_id}/replay": DESK,
    "POST /desk/messages/{message_id}/discard": DESK,
    "GET /desk/upload": DESK,
    "POST /desk/upload": DESK,
    "GET /admin": ADMINISTRATOR,
    "POST /admin/sources": ADMINISTRATOR,
    "GET /admin/sources/{source_id}": ADMINISTRATOR,
    "POST /admin/sources/{source_id}": ADMINISTRATOR,
    "POST /admin/sources/{source_id}/pause": ADMINISTRATOR,
    "POST /admin/sources/{source_id}/resume": ADMINISTRATOR,
    "POST /admin/sources/{source_id}/token": ADMINISTRATOR,
    "POST /admin/sources/{source_id}/outgoing-token": ADMINISTRATOR,
    "GET /admin/inbox": ADMINISTRATOR,
    "GET /admin/quarantine": ADMINISTRATOR,
    "POST /admin/quarantine/replay": ADMINISTRATOR,
    "POST /admin/quarantine/{message_id}/replay": ADMINISTRATOR,
    "GET /admin/quarantine/{message_id}/discard": ADMINISTRATOR,
    "POST /admin/quarantine/{message_id}/discard": ADMINISTRATOR,
    "GET /admin/outbox": ADMINISTRATOR,
    "POST /admin/outbox/{event_id}/retry": ADMINISTRATOR,
    "GET /admin/fse": ADMINISTRATOR,
    "POST /admin/fse/{submission_id}/retry": ADMINISTRATOR,
    "GET /fse": {"clinician", "manager"},
    "POST /fse/{submission_id}/retry": CLINICIAN,
    "GET /admin/phases": ADMINISTRATOR,
    "GET /admin/recording": ADMINISTRATOR,
    "POST /admin/recording": ADMINISTRATOR,
    "GET /admin/retention": ADMINISTRATOR,
    "GET /admin/privacy": ADMINISTRATOR,
    "GET /visits/{visit_id}/consents": {"clinician", "desk"},
    "POST /admin/retention": ADMINISTRATOR,
    "POST /admin/retention/holds": ADMINISTRATOR,
    "POST /admin/retention/holds/{visit_id}/lift": ADMINISTRATOR,
    "POST /admin/phases": ADMINISTRATOR,
    "POST /admin/phases/review": ADMINISTRATOR,
    "POST /admin/phases/rules": ADMINISTRATOR,
    "GET /admin/reconciliation": ADMINISTRATOR,
    "POST /admin/reconciliation": ADMINISTRATOR,
    "GET /admin/reconciliation/{run_id}": ADMINISTRATOR,
    "GET /admin/reconciliation/{run_id}/csv": ADMINISTRATOR,
    "GET /sessions": EVERYBODY,
    "GET /sessions/head": LOG_READERS | ADMINISTRATOR,
    "GET /sessions/log.zip": LOG_READERS,
    "GET /sessions/verify": LOG_READERS,
    "GET /sessions/{visit_id}": EVERYBODY,
    "GET /sessions/export.csv": LOG_READERS,
    "GET /sessions/export.ndjson": LOG_READERS,
    "GET /sessions/export.fhir.ndjson": LOG_READERS,
    "GET /sessions/log.fhir.ndjson": LOG_READERS,
    "GET /sessions/{visit_id}/events.fhir.ndjson": LOG_READERS,
    "GET /sessions/{visit_id}/proof.zip": LOG_READERS,
    "POST /sessions/views": EVERYBODY,
    "POST /sessions/views/delete": EVERYBODY,
    "GET /sessions/problems": LOG_READERS,
    "GET /sessions/problems/news": LOG_READERS,
    "POST /sessions/problems/{visit_id}/acknowledge": {"manager"},
}
JSON_BODIES: dict[str, object] = {
    "POST /visits/{visit_id}/ticket": {},
    "POST /visits/{visit_id}/identity": {"is_confirmed": True},
    "POST /visits/{visit_id}/eligibility": {"ground": "therapy"},
    "POST /visits/{visit_id}/finish": {"outcome": "completed"},
    "POST /visits/{visit_id}/quality": {"intervals": [], "outages": []},
    "POST /v/{locator}/quality": {"intervals": [], "outages": []},
    "POST /visits/{visit_id}/verification": {"answer": "same"},
    "POST /visits/{visit_id}/still": {},
    "POST /visits/{visit_id}/recording": {"purpose": "care", "text_hash": "0" * 64},
    "POST /visits/{visit_id}/recording/answer": {"ask": "0" * 16, "is_accepted": True},
    "POST /visits/{visit_id}/recording/stop": {"ask": "0" * 16},
    "POST /visits/{visit_id}/files/{file_id}/report": {"is_in_report": True},
    "PUT /visits/{visit_id}/note": {"sections": {"free": "una nota"}},
    "POST /writing/codes/search": {"system": "icd9_cm", "sought": "scompenso"},
    "POST /visits/{visit_id}/template": {
        "title": "Controllo",
        "content": {"sections": {"findings": "Sta bene"}},
    },
}
FORM = {
    "purpose": "patient_asks",
    "minutes": "10", "phone": "0551234567", "version": "1", "sought": "rosa", "code": "cup-nuovo",
    "phase": "attivo", "seen": "attivo", "notice_days": "2", "notice_rule": "working_days",
    "title": "Controllo", "findings": "Sta bene", "shortcut": "pa", "text": "Pressione",
    "visit": "good", "scenario": "paziente-in-ritardo",
}  # fmt: skip
NEEDS_MORE = (
    "/assign", "/correct", "/addendum", "/upload", "/admin/reconciliation", "/admin/retention",
    "/admin/retention/holds", "/admin/recording", "/signature", "/view", "/export",
    "/training/scenarios/{scenario_id}",
)  # fmt: skip
"""Forms that want something of their own: a 400 shows that one is in."""
ROLES = ("clinician", "colleague", "desk", "manager", "auditor", "administrator")


NOTHING = dict.fromkeys(
    (
        "source_id",
        "message_id",
        "event_id",
        "run_id",
        "file_id",
        "template_id",
        "phrase_id",
        "submission_id",
        "report_id",
        "recording_id",
        "track_id",
        "practice_id",
        "scenario_id",
    ),
    "0" * 16,
)
"""Objects that are not there."""
KEYED = {route for route in STAFF if "{" in route}


@pytest.fixture
def template(sqlite_template: Path) -> Path:
    """How organisations are kept apart is in SQLAlchemy; ``test_db`` proves it on both engines."""
    return sqlite_template


async def make_objects(
    database: Database, keyring: Keyring, visit: Visit, files: SealedFolder
) -> dict[str, str]:
    """One of each kind besides visits, in the visit's organisation, by what paths call it."""
    source = Source(organisation_id=visit.organisation_id, code=f"cup-{new_id()}")
    async with database.begin(visit.organisation_id) as session:
        session.add(source)
    message = await add_message(database, keyring, source)
    event = await add_event(database, visit, EventState.DEAD)
    run = await add_run(database, source, "PRN-1")
    file = await add_attachment(database, keyring, files, visit)
    template = NoteTemplate(
        id=new_id(),
        organisation_id=visit.organisation_id,
        code=new_id(),
        title="Controllo",
        content="{}",
        author_id=visit.appointment.clinician_id,
        saved_at=datetime.now(UTC),
    )
    phrase = Phrase(
        id=new_id(), organisation_id=visit.organisation_id, shortcut=new_id(), text="Pressione"
    )
    practice, scenario = make_training(visit)
    async with database.begin(visit.organisation_id) as session:
        session.add_all([template, phrase, practice, scenario])
    report_id = await add_signed_report(database, keyring, visit)
    recording = make_recording(visit, datetime.now(UTC))
    track = make_track(recording, "patient")
    async with database.begin(visit.organisation_id) as session:
        session.add(recording)
        await session.flush()
        session.add(track)
    return {
        "source_id": source.id,
        "message_id": message.id,
        "event_id": event.id,
        "run_id": run.id,
        "file_id": file.id,
        "template_id": template.id,
        "phrase_id": phrase.id,
        "practice_id": practice.id,
        "scenario_id": scenario.id,
        "report_id": report_id,
        "recording_id": recording.id,
        "track_id": track.id,
        "submission_id": await add_refusal(database, visit, report_id),
    }


def make_training(visit: Visit) -> tuple[Practice, TrainingScenario]:
    """A practice of the visit's clinician, and a scenario that a facilitator built."""
    content = encode_scenario(load_shipped()["paziente-in-ritardo"])
    clinician, now = visit.appointment.clinician_id, datetime.now(UTC)
    practice = Practice(
        id=new_id(),
        organisation_id=visit.organisation_id,
        user_id=clinician,
        twin_id=clinician,
        visit_id=visit.id,
        scenario=content,
        began_at=now,
    )
    scenario = TrainingScenario(
        id=new_id(),
        organisation_id=visit.organisation_id,
        code=new_id(),
        title="In ritardo",
        content=content,
        author_id=clinician,
        saved_at=now,
    )
    return practice, scenario


async def add_refusal(database: Database, visit: Visit, report_id: str) -> str:
    """The national record has refused this report; the id of its place in the queue."""
    now = datetime.now(UTC)
    submission = Submission(
        id=new_id(),
        organisation_id=visit.organisation_id,
        report_id=report_id,
        state=SubmissionState.REFUSED,
        next_try_at=now,
        created_at=now,
        changed_at=now,
    )
    async with database.begin(visit.organisation_id) as session:
        session.add(submission)
    return submission.id


async def ask(
    visitor: Visitor, route: str, visit: Visit, objects: Mapping[str, str] = NOTHING
) -> Answer:
    """One well-formed request to a route, about one visit or other objects."""
    method, path = route.split(" ")
    for name, value in {"visit_id": visit.id, "locator": visit.locator, **objects}.items():
        path = path.replace(f"{{{name}}}", value)
    headers = {} if method == "GET" else {**OWN_PAGE, "If-Match": '"0"'}
    if route in JSON_BODIES:
        headers["Accept"] = "application/json"
        return await visitor.ask(method, path, headers, json=JSON_BODIES[route])
    body = {} if method == "GET" else {"data": FORM}
    return await visitor.ask(method, path, headers, **body)


def is_sent_away(answer: Answer, way_in: str) -> bool:
    """Whether somebody without the right session is sent to the way in, or told so."""
    return answer.status == 401 or (answer.status == 303 and answer.location == way_in)


async def count_entries(database: Database) -> int:
    async with database.read(EVERY_ORGANISATION) as session:
        return await session.scalar(select(func.count()).select_from(LogEntry)) or 0


def user_of(team: Team, role: str) -> User:
    user: User = getattr(team, role)
    return user


def test_every_route_is_in_a_table(site: Site) -> None:
    registered = {f"{route.method} {route.path}" for route in site.app[ROUTES]}
    served = {
        f"{route.method} {route.resource.canonical}"
        for route in site.app.router.routes()
        if route.resource is not None and route.method != "HEAD"
    }

    assert registered == PUBLIC | PATIENT | STAFF.keys()
    assert len(served) == len(registered)


def test_every_route_declares_what_it_leaves_in_the_log(site: Site) -> None:
    """That it does so is held against it whenever a test asks for it: see ``tests.visitors``."""
    silent = [route.name for route in site.app[ROUTES] if route.leaves is UNDECLARED]
    unexplained = [
        route.name
        for route in site.app[ROUTES]
        if not route.leaves.always and not route.leaves.why and route.leaves is not UNDECLARED
    ]

    assert (silent, unexplained) == ([], [])


async def test_other_roles_do_not_find_the_routes_of_a_role(
    site: Site, cast: Cast, make_visit: MakeVisit, database: Database
) -> None:
    visit = await make_visit(cast.toscana)
    visitors = {role: await site.staff(user_of(cast.toscana, role)) for role in ROLES}
    before = await count_entries(database)

    wrong = [
        f"{role}: {route} → {answer.status}"
        for route, roles in STAFF.items()
        for role, visitor in visitors.items()
        if user_of(cast.toscana, role).role not in roles
        for answer in [await ask(visitor, route, visit)]
        if answer.status != 404
    ]

    assert wrong == []
    assert await count_entries(database) == before


async def test_without_a_session_every_staff_route_leads_to_the_login(
    site: Site, cast: Cast, make_visit: MakeVisit, database: Database
) -> None:
    visit = await make_visit(cast.toscana)
    junk = Visitor(site.session, site.origin, {"session": "x" * 43})
    visitors = {"stranger": site.stranger, "junk": junk, "patient": await site.patient(visit)}
    before = await count_entries(database)

    wrong = [
        f"{name}: {route} → {answer.status}"
        for route in STAFF
        for name, visitor in visitors.items()
        for answer in [await ask(visitor, route, visit)]
        if not is_sent_away(answer, "/login")
    ]

    assert wrong == []
    assert await count_entries(database) == before


@pytest.mark.timeout(400)
async def test_the_right_role_gets_in(
    site: Site, cast: Cast, make_visit: MakeVisit, database: Database, keyring: Keyring
) -> None:
    """The other half of the table: a route that refuses everybody would pass the tests above."""
    wrong: list[str] = []
    for route, roles in STAFF.items():
        for role in sorted(roles):
            visit = await make_visit(cast.toscana)
            objects = await make_objects(database, keyring, visit, site.app[FILES])
            visitor = await site.staff(user_of(cast.toscana, role))
            answer = await ask(visitor, route, visit, objects)
            is_in = answer.status in {200, 303, 409} or (
                answer.status == 400 and route.endswith(NEEDS_MORE)
            )
            if not is_in or answer.location == "/login":
                wrong.append(f"{role}: {route} → {answer.status}")

    assert wrong == []


async def test_objects_of_another_organisation_are_not_found(
    site: Site, cast: Cast, make_visit: MakeVisit, database: Database, keyring: Keyring
) -> None:
    visit = await make_visit(cast.toscana)
    objects = await make_objects(database, keyring, visit, site.app[FILES])
    before = await count_entries(database)

    wrong = [
        f"{role}: {route} → {answer.status}"
        for route in sorted(KEYED)
        for role in sorted(STAFF[route])
        for answer in [
            await ask(await site.staff(user_of(cast.emilia, role)), route, visit, objects)
        ]
        if answer.status != 404
    ]

    assert wrong == []
    assert await count_entries(database) == before


async def test_visits_of_a_colleague_are_not_found(
    site: Site, cast: Cast, make_visit: MakeVisit, database: Database
) -> None:
    visit = await make_visit(cast.toscana)
    colleague = await site.staff(cast.toscana.colleague)
    before = await count_entries(database)

    wrong = [
        f"{route} → {answer.status}"
        for route, roles in STAFF.items()
        if "{visit_id}" in route and roles == CLINICIAN
        for answer in [await ask(colleague, route, visit)]
        if answer.status != 404
    ]

    assert wrong == []
    assert await count_entries(database) == before


async def test_missing_objects_look_like_those_of_others(
    site: Site, cast: Cast, make_visit: MakeVisit, database: Database, keyring: Keyring
) -> None:
    foreign, missing = await make_visit(cast.toscana), Visit(id="0" * 16, locator="0" * 10)
    objects = await make_objects(database, keyring, foreign, site.app[FILES])
    ids = (foreign.id, missing.id, *objects.values())
    for route in sorted(KEYED):
        visitor = await site.staff(user_of(cast.emilia, min(STAFF[route])))
        answers = [
            await ask(visitor, route, foreign, objects),
            await ask(visitor, route, missing, NOTHING),
        ]
        texts = [without_ids(answer.text, ids) for answer in answers]

        assert texts[0] == texts[1], route


def without_ids(text: str, ids: Iterable[str]) -> str:
    for known in ids:
        text = text.replace(known, "object")
    text = re.sub(r"<code>\w{16}</code>", "<code>fault</code>", text)
    return re.sub(r'"id": ?"\w{16}"', '"id": "fault"', text)


# ---- patients --------------------------------------------------------------------------


async def test_a_patients_cookie_opens_nothing_of_another_visit(
    site: Site, cast: Cast, make_visit: MakeVisit, database: Database
) -> None:
    own = await make_visit(cast.toscana)
    patient = await site.patient(own)
    token = patient.cookies[f"visit-{own.locator}"]
    before = await count_entries(database)
    wrong: list[str] = []
    for other in (await make_visit(cast.toscana), await make_visit(cast.emilia)):
        renamed = {f"visit-{other.locator}": token}
        for cookies in (patient.cookies, renamed, patient.cookies | renamed, {"session": token}):
            visitor = Visitor(site.session, site.origin, cookies)
            for route in PATIENT:
                answer = await ask(visitor, route, other)
                if not is_sent_away(answer, f"/v/{other.locator}"):
                    wrong.append(f"{route} → {answer.status}")

    assert wrong == []
    assert await count_entries(database) == before + 4  # two bookings imported, two links


async def test_own_cookie_opens_the_own_visit(
    site: Site, cast: Cast, make_visit: MakeVisit, database: Database, keyring: Keyring
) -> None:
    wrong: list[str] = []
    for route in PATIENT:
        visit = await make_visit(cast.toscana)
        objects = await make_objects(database, keyring, visit, site.app[FILES])
        answer = await ask(await site.patient(visit), route, visit, objects)
        if is_sent_away(answer, f"/v/{visit.locator}") or answer.status in {403, 404, 500}:
            wrong.append(f"{route} → {answer.status}")

    assert wrong == []


async def test_staff_are_not_patients(site: Site, cast: Cast, make_visit: MakeVisit) -> None:
    visit = await make_visit(cast.toscana)

    wrong = [
        f"{role}: {route} → {answer.status}"
        for role in ROLES
        for visitor in [await site.staff(user_of(cast.toscana, role))]
        for route in PATIENT
        for answer in [await ask(visitor, route, visit)]
        if not is_sent_away(answer, f"/v/{visit.locator}")
    ]

    assert wrong == []


async def test_ended_device_and_old_link_version_open_nothing(
    site: Site, cast: Cast, make_visit: MakeVisit, database: Database
) -> None:
    visit = await make_visit(cast.toscana)
    patient = await site.patient(visit)
    async with database.begin(visit.organisation_id) as session:
        (await session.get_one(Visit, visit.id)).link_version = 2

    for route in PATIENT:
        assert is_sent_away(await ask(patient, route, visit), f"/v/{visit.locator}"), route


# ---- what each role sees: the table of design §4 -----------------------------------------


@dataclass(frozen=True, slots=True)
class Row:
    """What a role meets on all pages that open for it."""

    sees: set[str]
    never: set[str]


IDENTITY, CONTACT, BOOKING = {"name", "birth date"}, {"phone", "e-mail"}, {"booking code"}
CLINICAL, CHECK_IN, LOG = {"question", "note"}, {"place", "companions"}, {"timeline"}
SECRETS = {"link secret", "spoken code"}
EVERYTHING = IDENTITY | CONTACT | BOOKING | CLINICAL | CHECK_IN | LOG | SECRETS
TABLE = {
    "clinician": Row({"name"} | CLINICAL | CHECK_IN | LOG, SECRETS),
    "colleague": Row(set(), EVERYTHING),
    "desk": Row(IDENTITY | CONTACT | BOOKING | LOG, CLINICAL | CHECK_IN | SECRETS),
    "manager": Row(BOOKING | LOG, EVERYTHING - BOOKING - LOG),
    "auditor": Row(LOG, EVERYTHING - LOG),
    "administrator": Row(LOG, EVERYTHING - LOG),
    "patient": Row({"name"}, CLINICAL | LOG | SECRETS),
}
MARIA = Identity(
    family_name="Della Gherardesca-Sforza",
    given_name="Maria Antonietta",
    birth_date=ROSA.birth_date,
    codice_fiscale="DLLMNT48C52D612X",
    phone="+393331112223",
    email="maria.gherardesca@example.it",
)
ANSWERS = Answers(address="Via segreta novantanove", companions="mia figlia Giuliana")
NOTE = "Segreto clinico quarantadue"


@pytest.mark.parametrize("role", TABLE)
async def test_each_role_sees_its_columns_and_no_other(
    role: str, site: Site, cast: Cast, make_visit: MakeVisit, database: Database, keyring: Keyring
) -> None:
    visit = await make_visit(cast.toscana, start=datetime.now(UTC), identity=MARIA)
    words = await write_everything(database, keyring, visit, cast.toscana)
    is_patient = role == "patient"
    objects = await make_objects(database, keyring, visit, site.app[FILES])
    visitor = await (site.patient(visit) if is_patient else site.staff(user_of(cast.toscana, role)))

    text = ""
    for route in sorted(PATIENT if is_patient else STAFF):
        if route.startswith("GET"):
            answer = await ask(visitor, route, visit, objects)
            text += decoded(answer) if answer.status == 200 else ""

    seen = {name for name, word in words.items() if word in text}
    assert TABLE[role].sees <= seen
    assert seen & TABLE[role].never == set()


def decoded(answer: Answer) -> str:
    """The text as people read it: JSON and HTML escapes undone."""
    media_type = answer.headers["Content-Type"]
    if "json" in media_type:
        documents = answer.text.splitlines() if "ndjson" in media_type else [answer.text]
        return json.dumps([json.loads(each) for each in documents], ensure_ascii=False)
    return answer.text.replace("&#39;", "'")


async def write_everything(
    database: Database, keyring: Keyring, visit: Visit, team: Team
) -> dict[str, str]:
    """A visit with a note and answers; returns the words that give each column away."""
    organisation, now = visit.organisation_id, datetime.now(UTC)
    async with database.begin(organisation) as session:
        (await session.get_one(Visit, visit.id)).state = VisitState.WAITING
        note = Note(
            organisation_id=organisation,
            visit_id=visit.id,
            version=1,
            author_id=team.clinician.id,
            saved_at=now,
        )
        check_in = CheckIn(
            organisation_id=organisation, visit_id=visit.id, version=1, updated_at=now
        )
        await seal_note(keyring, session, note, NoteContent(sections={Section.FINDINGS: NOTE}))
        await seal_answers(keyring, session, check_in, ANSWERS)
        session.add_all([note, check_in])
        key = await keyring.load_secret(session, organisation, "join")
    link = derive_link(key, visit.id, visit.link_version)
    return {
        "name": MARIA.family_name,
        "birth date": "12/03/1948",
        "phone": MARIA.phone,
        "e-mail": MARIA.email,
        "booking code": visit.appointment.booking_code,
        "question": CARDIOLOGY.question,
        "note": NOTE,
        "place": ANSWERS.address,
        "companions": ANSWERS.companions,
        "timeline": 'data-testid="session-timeline"',
        "link secret": link.secret,
        "spoken code": link.spoken_code,
    }
