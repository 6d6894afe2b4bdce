"""Practice visits: real ones in an organisation of their own, scored by what the log shows."""

from __future__ import annotations

import html
import json
import re
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest
from sqlalchemy import func, select, update

from recordings.script import Player, Trigger
from server.audit import Act, Entry, append
from server.auth import Actor
from server.db import EVERY_ORGANISATION, Database
from server.keyring import Keyring, Shredded
from server.mail.queue import queue_message
from server.models import (
    Appointment,
    DispatchState,
    EventKind,
    EventState,
    LogEntry,
    MessageKind,
    Organisation,
    OutboxEvent,
    Patient,
    Phase,
    Practice,
    TrainingScenario,
    User,
    Visit,
)
from server.outbox import tell_cup
from server.retention.files import SealedFiles
from server.retention.job import Shredder
from server.retention.night import seconds_to_night
from server.sealed import open_identity
from server.services import SETTINGS
from server.training.ground import CODE, Begun, begin_practice
from server.training.library import SCENARIOS
from server.training.scenario import (
    Scenario,
    ScenarioWrong,
    encode_scenario,
    load_shipped,
    parse_scenario,
)
from server.training.score import Criterion, Seen, Told, Verdict, score
from tests.conftest import Cast, Team
from tests.visitors import Site, Visitor, open_site, site

__all__ = ["site"]

NOW = datetime.now(UTC)
LATE = load_shipped()["paziente-in-ritardo"]
CAREGIVER = load_shipped()["parla-chi-assiste"]
RECORDED = load_shipped()["ferma-la-registrazione"]


def actor_of(user: User) -> Actor:
    return Actor(user.id, user.role, user.organisation_id, user.display_name)  # type: ignore[arg-type]


async def begin(
    database: Database, keyring: Keyring, user: User, now: datetime = NOW, chosen: Scenario = LATE
) -> Begun:
    return await begin_practice(database, keyring, actor_of(user), chosen, now)


async def load_ground(database: Database) -> Organisation:
    async with database.read(EVERY_ORGANISATION) as session:
        found = await session.scalars(select(Organisation).where(Organisation.is_training))
        return found.one()


# ---- scenarios ---------------------------------------------------------------------------


def test_the_six_scenarios_that_come_with_the_platform_can_be_played() -> None:
    shipped = load_shipped().values()

    assert len(shipped) == 6
    for scenario in shipped:
        player = Player(scenario.script)
        for trigger in Trigger:
            player.happened(trigger, 0.0, "Come sta? Mi mostra il documento?")
        assert player.take_due(2000.0), scenario.code
        assert parse_scenario(encode_scenario(scenario)) == scenario


def changed(**changes: Any) -> str:
    """A good scenario, with values set at paths."""
    content = json.loads(encode_scenario(CAREGIVER))
    for path, value in changes.items():
        *folders, name = path.split("__")
        place = content
        for folder in folders:
            place = place[int(folder) if folder.isdigit() else folder]
        place[name] = value
    return json.dumps(content)


@pytest.mark.parametrize(
    ("text", "field"),
    [
        ("{", ""),
        ("x" * 60_001, ""),
        (changed(title=""), "title"),
        (changed(title=7), "title"),
        (changed(code="Con spazi"), "code"),
        (changed(note="?"), "note"),
        (changed(patient__birth_date="ieri"), "patient.birth_date"),
        (changed(patient__birth_date="2026-01-01"), "patient.birth_date"),
        (changed(expected__outcomes=[]), "expected.outcomes"),
        (changed(expected__outcomes=["won"]), "expected.outcomes[0]"),
        (changed(script__steps__1__act="fly"), "script.steps[1].act"),
        (changed(script__steps__0__text=" "), "script.steps[0].text"),
        (changed(script__steps__0__after_seconds=-1), "script.steps[0].after_seconds"),
        (changed(script__companions=""), "script.companions"),
    ],
)
def test_a_wrong_field_of_a_scenario_is_named(text: str, field: str) -> None:
    with pytest.raises(ScenarioWrong) as refused:
        parse_scenario(text)

    assert refused.value.field == field
    assert (field or "the file") in str(refused.value)


def test_a_missing_field_of_a_scenario_is_named() -> None:
    content = json.loads(encode_scenario(LATE))
    del content["patient"]["question"]

    with pytest.raises(ScenarioWrong, match=r"patient\.question: missing"):
        parse_scenario(json.dumps(content))


# ---- the score sheet -----------------------------------------------------------------------


def told(act: Act, minute: float, role: str = "clinician", **facts: Any) -> Told:
    return Told(at=NOW + timedelta(minutes=minute), action=act.value, role=role, facts=facts)


GOOD = (
    told(Act.CARD_OPENED, 0),
    told(Act.CONSENT_GIVEN, 1, "patient"),
    told(Act.CONSENT_GIVEN, 1, "patient"),
    told(Act.CARD_OPENED, 2),
    told(Act.ADMITTED, 3),
    told(Act.IDENTITY_CONFIRMED, 4, confirmed=True),
    told(Act.ELIGIBILITY_CONFIRMED, 5, confirmed=True),
    told(Act.OUTCOME, 9, outcome="completed", present="patient"),
    told(Act.SUITABILITY_STATED, 9, stated="suitable"),
)
ABSENT = (told(Act.OUTCOME, 9, outcome="no_show_patient", present=""),)


def without(act: Act) -> tuple[Told, ...]:
    return tuple(entry for entry in GOOD if entry.action != act)


def with_outcome(**facts: Any) -> tuple[Told, ...]:
    return (*without(Act.OUTCOME), told(Act.OUTCOME, 9, **facts))


def verdict_of(
    criterion: Criterion, log: tuple[Told, ...], scenario: Scenario = LATE
) -> tuple[Verdict, Seen]:
    (line,) = (line for line in score(scenario, log) if line.criterion is criterion)
    return line.verdict, line.seen


def test_a_visit_as_the_guideline_wants_it_has_every_point_that_is_due() -> None:
    verdicts = {line.criterion: line.verdict for line in score(LATE, GOOD)}

    assert verdicts.pop(Criterion.RECORDING) is Verdict.NOT_DUE
    assert set(verdicts.values()) == {Verdict.MET}


IDENTITY_TAKEN_BACK = (*GOOD, told(Act.IDENTITY_CONFIRMED, 6, confirmed=False))
CARD_TOO_EARLY = (GOOD[0], *GOOD[1:3], *GOOD[4:])
CARD_TOO_LATE = (*CARD_TOO_EARLY, told(Act.CARD_OPENED, 7))
CASES: tuple[tuple[Criterion, tuple[Told, ...], Verdict, Seen], ...] = (
    (Criterion.IDENTITY, without(Act.IDENTITY_CONFIRMED), Verdict.NOT_MET, Seen.NOT_DONE),
    (Criterion.IDENTITY, IDENTITY_TAKEN_BACK, Verdict.NOT_MET, Seen.NOT_DONE),
    (Criterion.IDENTITY, ABSENT, Verdict.NOT_DUE, Seen.NOBODY_ADMITTED),
    (Criterion.ELIGIBILITY, without(Act.ELIGIBILITY_CONFIRMED), Verdict.NOT_MET, Seen.NOT_DONE),
    (Criterion.CONSENTS, without(Act.CONSENT_GIVEN), Verdict.NOT_MET, Seen.CONSENTS_MISSING),
    (Criterion.CONSENTS, CARD_TOO_EARLY, Verdict.NOT_MET, Seen.NOT_DONE),
    (Criterion.CONSENTS, CARD_TOO_LATE, Verdict.NOT_MET, Seen.LATE),
    (Criterion.CONSENTS, ABSENT, Verdict.NOT_DUE, Seen.NOBODY_ADMITTED),
    (
        Criterion.COMPANIONS,
        with_outcome(outcome="completed", present="caregiver,patient"),
        Verdict.NOT_MET,
        Seen.OTHERS_STATED,
    ),
    (
        Criterion.COMPANIONS,
        with_outcome(outcome="completed", present=""),
        Verdict.NOT_MET,
        Seen.NOT_DONE,
    ),
    (Criterion.SUITABILITY, without(Act.SUITABILITY_STATED), Verdict.NOT_MET, Seen.NOT_DONE),
    (Criterion.SUITABILITY, ABSENT, Verdict.NOT_DUE, Seen.NOBODY_ADMITTED),
    (Criterion.OUTCOME, ABSENT, Verdict.NOT_MET, Seen.OTHER_OUTCOME),
)


@pytest.mark.parametrize(("criterion", "log", "verdict", "seen"), CASES)
def test_what_lacks_is_said(
    criterion: Criterion, log: tuple[Told, ...], verdict: Verdict, seen: Seen
) -> None:
    assert verdict_of(criterion, log) == (verdict, seen)


def test_who_helps_the_patient_must_be_stated() -> None:
    both = with_outcome(outcome="completed", present="caregiver,patient")

    assert verdict_of(Criterion.COMPANIONS, both, CAREGIVER) == (Verdict.MET, Seen.STATED)
    assert verdict_of(Criterion.COMPANIONS, GOOD, CAREGIVER)[0] is Verdict.NOT_MET


ASKED, STOPPED = told(Act.RECORDING_ASKED, 5), told(Act.RECORDING_STOPPED, 7, "patient")
BY_DOCTOR = told(Act.RECORDING_STOPPED, 7)
AGAIN = told(Act.RECORDING_ASKED, 8)
REFUSED = told(Act.RECORDING_REFUSED, 6, "patient")


@pytest.mark.parametrize(
    ("log", "verdict", "seen"),
    [
        (GOOD, Verdict.NOT_MET, Seen.NOT_ASKED),
        ((*GOOD, ASKED, BY_DOCTOR), Verdict.NOT_DUE, Seen.WENT_ON),
        ((*GOOD, ASKED, STOPPED), Verdict.MET, Seen.HONOURED),
        ((*GOOD, ASKED, REFUSED), Verdict.MET, Seen.HONOURED),
        ((*GOOD, ASKED, STOPPED, AGAIN), Verdict.NOT_MET, Seen.ASKED_AGAIN),
    ],
)
def test_who_stops_a_recording_is_not_asked_again(
    log: tuple[Told, ...], verdict: Verdict, seen: Seen
) -> None:
    assert verdict_of(Criterion.RECORDING, log, RECORDED) == (verdict, seen)


# ---- the training organisation ----------------------------------------------------------------


async def test_a_clinician_is_her_twin_in_her_own_practice_only(
    site: Site, cast: Cast, database: Database, keyring: Keyring
) -> None:
    begun = await begin(database, keyring, cast.toscana.clinician)
    own = await site.staff(cast.toscana.clinician)
    others = [
        await site.staff(user)
        for user in (cast.toscana.colleague, cast.emilia.clinician, cast.toscana.desk)
    ]
    path = f"/visits/{begun.visit_id}"

    page = await own.get(path)
    agenda = await own.get("/agenda")

    assert page.status == 200
    assert LATE.patient.family_name in page.text
    assert f"/training/practices/{begun.practice_id}" in page.text
    assert LATE.patient.family_name not in agenda.text
    assert [(await other.get(path)).status for other in others] == [404, 404, 404]
    assert [
        (await other.get(f"/training/practices/{begun.practice_id}")).status for other in others
    ] == [404, 404, 404]


async def test_a_twin_cannot_log_in(
    site: Site, cast: Cast, database: Database, keyring: Keyring
) -> None:
    await begin(database, keyring, cast.toscana.clinician)
    async with database.read(EVERY_ORGANISATION) as session:
        twin = await session.scalar(select(User).where(User.twin_of.is_not(None)))
    assert twin is not None

    refused = await site.stranger.post("/login", username=twin.username, password="!")
    token = await site.staff(twin)

    assert refused.status == 401
    assert (await token.get("/agenda")).location == "/login"


async def test_practices_share_one_organisation_and_one_twin_for_each_clinician(
    database: Database, cast: Cast, keyring: Keyring
) -> None:
    people = (cast.toscana.clinician, cast.toscana.clinician, cast.emilia.clinician)
    for user in people:
        await begin(database, keyring, user)

    async with database.read(EVERY_ORGANISATION) as session:
        grounds = await session.scalar(
            select(func.count()).select_from(Organisation).where(Organisation.is_training)
        )
        twins = (await session.scalars(select(User.twin_of).where(User.twin_of.is_not(None)))).all()
        practices = (await session.scalars(select(Practice.user_id))).all()

    assert grounds == 1
    assert sorted(filter(None, twins)) == sorted({user.id for user in people})
    assert sorted(practices) == sorted(user.id for user in people)


async def test_a_practice_leaves_nothing_in_the_clinicians_own_organisation_but_that_it_was(
    database: Database, cast: Cast, keyring: Keyring
) -> None:
    await begin(database, keyring, cast.toscana.clinician)

    async with database.read(cast.toscana.organisation.id) as session:
        rows = {
            table.__tablename__: await session.scalar(select(func.count()).select_from(table))
            for table in (Visit, Appointment, Patient, LogEntry, Practice)
        }

    assert rows == {"visit": 0, "appointment": 0, "patient": 0, "log_entry": 0, "practice": 1}


async def test_nothing_leaves_the_training_organisation_in_any_phase(
    database: Database, cast: Cast, keyring: Keyring
) -> None:
    begun = await begin(database, keyring, cast.toscana.clinician)
    ground = await load_ground(database)
    assert (ground.code, ground.phase) == (CODE, Phase.COLLAUDO)

    async with database.begin(ground.id) as session:
        await session.execute(
            update(Organisation).where(Organisation.id == ground.id).values(phase=Phase.ATTIVO)
        )
        visit = await session.get_one(Visit, begun.visit_id)
        visit.appointment = await session.get_one(Appointment, visit.appointment_id)
        await tell_cup(session, visit, EventKind.ENDED, NOW, {"outcome": "completed"})
        message = await queue_message(session, visit, MessageKind.INVITATION, NOW)
        state = message.state
    async with database.read(EVERY_ORGANISATION) as session:
        events = (await session.scalars(select(OutboxEvent.state))).all()

    assert events == [EventState.WITHHELD]
    assert state is DispatchState.WITHHELD


async def finish(visitor: Visitor, visit_id: str, **form: object) -> int:
    answer = await visitor.send("POST", f"/visits/{visit_id}/finish", form)
    return answer.status


async def test_the_score_sheet_opens_when_the_visit_has_its_outcome(
    site: Site, cast: Cast, database: Database, keyring: Keyring
) -> None:
    begun = await begin(database, keyring, cast.toscana.clinician)
    ground, own = await load_ground(database), await site.staff(cast.toscana.clinician)
    sheet = f"/training/practices/{begun.practice_id}"
    before = await own.get(sheet)
    async with database.begin(ground.id) as session:
        for minute, act in ((-3, Act.CONSENT_GIVEN), (-3, Act.CONSENT_GIVEN)):
            at = NOW + timedelta(minutes=minute)
            await append(session, ground.id, Entry(at, act, "patient", "d", begun.visit_id))  # type: ignore[arg-type]
    await own.get(f"/visits/{begun.visit_id}")
    async with database.begin(ground.id) as session:
        entry = Entry(datetime.now(UTC), Act.ADMITTED, "clinician", "u", begun.visit_id)  # type: ignore[arg-type]
        await append(session, ground.id, entry)
    await own.send("POST", f"/visits/{begun.visit_id}/identity", {"is_confirmed": True})
    form = {"outcome": "completed", "suitability": "suitable", "present": ["patient"]}
    assert await finish(own, begun.visit_id, **form) == 200

    after = await own.get(sheet)

    assert "score-sheet" not in before.text
    assert LATE.task in before.text
    lines = re.findall(r'data-criterion="(\w+)" data-verdict="(\w+)"', after.text)
    assert lines == [
        ("identity", "met"),
        ("consents", "met"),
        ("eligibility", "not_met"),
        ("companions", "met"),
        ("suitability", "met"),
        ("recording", "not_due"),
        ("outcome", "met"),
    ]
    assert LATE.expected.why in html.unescape(after.text)


async def test_the_night_ends_practices_and_destroys_their_keys(
    site: Site, cast: Cast, database: Database, keyring: Keyring
) -> None:
    yesterday = await begin(database, keyring, cast.toscana.clinician, NOW - timedelta(hours=25))
    today = await begin(database, keyring, cast.toscana.clinician, NOW)
    ground = await load_ground(database)

    files = SealedFiles.of(site.app[SETTINGS])
    done = await Shredder(database, keyring, files, lambda: NOW).run_once(NOW)

    assert (done.visits, done.practices) == (1, 1)
    own = await site.staff(cast.toscana.clinician)
    assert (await own.get(f"/visits/{yesterday.visit_id}")).status == 404
    assert (await own.get(f"/visits/{today.visit_id}")).status == 200
    async with database.read(ground.id) as session:
        visit = await session.get_one(Visit, yesterday.visit_id)
        appointment = await session.get_one(Appointment, visit.appointment_id)
        patient = await session.get_one(Patient, appointment.patient_id)
        with pytest.raises(Shredded):
            await open_identity(keyring, session, patient)


@pytest.mark.parametrize(
    ("now", "hours"),
    [
        ("2026-11-22T00:30:00+01:00", 2.0),
        ("2026-11-22T02:30:00+01:00", 24.0),
        ("2026-11-22T20:30:00+01:00", 6.0),
        ("2026-10-24T12:30:00+02:00", 14.0),
    ],
)
def test_the_job_comes_every_night(now: str, hours: float) -> None:
    assert seconds_to_night(datetime.fromisoformat(now).astimezone(UTC)) == hours * 3600


# ---- facilitators -----------------------------------------------------------------------------

FORM: Mapping[str, str] = {
    "title": "Il cane abbaia",
    "summary": "Un cane abbaia.",
    "task": "Faccia la visita.",
    "patient.given_name": "Ugo",
    "patient.family_name": "Nessuno",
    "patient.sex": "M",
    "patient.birth_date": "1950-01-31",
    "patient.address": "Via Inventata 1",
    "patient.question": "Controllo",
    "expected.outcomes": "completed",
    "expected.why": "Il cane non è un motivo.",
    "script.face": "man",
    "script.has_camera": "yes",
    "script.arrives_after_seconds": "5",
    "script.line": "good",
    "steps[0].when": "heard",
    "steps[0].after_seconds": "1,5",
    "steps[0].words": "cane, gatto",
    "steps[0].act": "type",
    "steps[0].text": "È il cane del vicino.",
}


async def load_scenarios(database: Database, team: Team) -> list[TrainingScenario]:
    async with database.read(team.organisation.id) as session:
        return await SCENARIOS.load_newest(session)


async def test_a_facilitator_builds_a_scenario_and_others_adopt_it(
    site: Site, cast: Cast, database: Database
) -> None:
    author, other = [await site.staff(team.clinician) for team in (cast.toscana, cast.emilia)]
    assert (await author.post("/training/scenarios/new", **FORM)).status == 303
    (row,) = await load_scenarios(database, cast.toscana)
    assert (await other.post(f"/training/scenarios/{row.id}/adopt")).status == 404

    await author.post(f"/training/scenarios/{row.id}/publish")
    offered = await other.get("/training")
    await other.post(f"/training/scenarios/{row.id}/adopt")

    (copy,) = await load_scenarios(database, cast.emilia)
    assert FORM["title"] in offered.text
    assert (copy.content, copy.adopted_from) == (row.content, row.id)
    scenario = parse_scenario(copy.content)
    assert scenario.script.steps[0].words == ("cane", "gatto")
    assert scenario.script.steps[0].after_seconds == 1.5
    assert (await other.get(f"/training/scenarios/{copy.id}")).status == 200
    assert (await author.post(f"/training/scenarios/{row.id}/withdraw")).status == 303
    assert await load_scenarios(database, cast.toscana) == []


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"title": ""}, "title"),
        ({"patient.birth_date": "ieri"}, "patient.birth_date"),
        ({"script.arrives_after_seconds": "presto"}, "script.arrives_after_seconds"),
        ({"steps[0].text": ""}, "script.steps[0].text"),
        ({"text": '{"title": 3}'}, "title"),
    ],
)
async def test_the_form_names_the_field_that_is_wrong_and_keeps_what_was_written(
    changes: dict[str, str], field: str, site: Site, cast: Cast, database: Database
) -> None:
    author = await site.staff(cast.toscana.clinician)

    answer = await author.post("/training/scenarios/new", **{**FORM, **changes})

    assert answer.status == 400
    assert f'data-field="{field}"' in answer.text
    assert FORM["task"] in answer.text
    assert await load_scenarios(database, cast.toscana) == []


async def test_a_shipped_scenario_is_changed_as_ones_own(
    site: Site, cast: Cast, database: Database
) -> None:
    author = await site.staff(cast.toscana.clinician)
    text = encode_scenario(msgspec.structs.replace(LATE, title="Molto in ritardo"))

    form = await author.get(f"/training/scenarios/{LATE.code}")
    await author.post(f"/training/scenarios/{LATE.code}", text=text)

    (row,) = await load_scenarios(database, cast.toscana)
    assert form.status == 200
    assert (row.title, row.version, row.adopted_from) == ("Molto in ritardo", 1, None)
    await author.post(f"/training/scenarios/{row.id}", text=text)
    assert [row.version for row in await load_scenarios(database, cast.toscana)] == [2]


async def test_only_facilitators_build_and_share(
    site: Site, cast: Cast, database: Database
) -> None:
    colleague = await site.staff(cast.toscana.colleague)

    page = await colleague.get("/training")
    answers = [
        await colleague.get("/training/scenarios/new"),
        await colleague.post("/training/scenarios/new", **FORM),
    ]

    assert page.status == 200
    assert "/training/scenarios/" not in page.text
    assert [answer.status for answer in answers] == [404, 404]
    assert await load_scenarios(database, cast.toscana) == []


async def test_who_begins_when_every_patient_is_busy_is_asked_to_wait(
    database: Database, database_url: str, data_dir: Path, keyring: Keyring, cast: Cast
) -> None:
    async with open_site(database, database_url, data_dir, training_patients=1) as site:
        first, second = [await site.staff(team.clinician) for team in (cast.toscana, cast.emilia)]

        begun = await first.post("/training/practices", scenario=LATE.code)
        refused = await second.post("/training/practices", scenario=LATE.code)
        again = await first.post("/training/practices", scenario=LATE.code)

    assert (begun.status, refused.status, again.status) == (303, 429, 303)
    assert 'role="alert"' in refused.text
    async with database.read(cast.emilia.organisation.id) as session:
        assert (await session.scalars(select(Practice))).all() == []


async def test_a_scenario_that_is_not_there_begins_nothing(site: Site, cast: Cast) -> None:
    own = await site.staff(cast.toscana.clinician)

    assert (await own.post("/training/practices", scenario="non-esiste")).status == 404
