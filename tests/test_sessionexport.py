"""Exports of the session log: AuditEvents of IHE's patterns, CSV, NDJSON, proofs of one visit."""

from __future__ import annotations

import csv
import io
import json
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from zipfile import ZipFile

import msgspec
import pytest
from aiohttp import ClientPayloadError, web
from aiohttp.test_utils import TestClient, TestServer
from fhir.resources.R4B import get_fhir_model_class
from sqlalchemy import select, update

from server.audit import Act, ActorRole, ActOutcome, Entry, Fact, append, store
from server.db import Database
from server.keyring import Keyring
from server.logexport import settle_log
from server.logsigner.client import SignerProcess
from server.models import Clinic, LogEntry, Rating, Score, Visit
from server.sessionexport.balp import Place, audit_event, parse_entry
from server.sessionexport.stream import send_file
from server.sessionexport.table import COLUMNS
from server.spreadsheets import defuse
from server.summary import follow_log
from tests.balp import PROFILES, find_problems
from tests.conftest import Cast, MakeVisit, Team
from tests.pdfs import count_pages, text_of
from tests.visitors import Site, site

__all__ = ["site"]

AT = datetime(2026, 11, 26, 9, 0, tzinfo=UTC)
PLACE = Place(
    "https://televisita.example", "ausl-toscana", "Azienda USL", {"user1": "Anna Bianchi"}
)
PSEUDONYM = "0123456789abcdef"
FACTS: dict[str, Fact] = {"version": 2, "resent": True, "empty": "", "none": None, "way": "link"}


def entry_of(act: Act, role: ActorRole, visit: str | None, reason: str = "") -> Entry:
    actor = "" if role is ActorRole.SYSTEM else "user1"
    return Entry(AT, act, role, actor, visit, FACTS, "", reason)


def events_of_all_acts() -> Iterator[tuple[Act, dict[str, Any]]]:
    """Each act by each role, with a patient and without."""
    for act in Act:
        for role in ActorRole:
            for visit, patient in (("visit1", PSEUDONYM), (None, "")):
                entry = entry_of(act, role, visit, "care")
                yield act, audit_event(7, parse_entry(entry.canonical()), PLACE, patient)


# ---- AuditEvents -----------------------------------------------------------------------


def test_every_act_gives_a_valid_audit_event_of_its_pattern() -> None:
    model = get_fhir_model_class("AuditEvent")
    followed = set()

    for act, event in events_of_all_acts():
        model.model_validate_json(msgspec.json.encode(event))
        for address in event.get("meta", {}).get("profile", []):
            name = address.rpartition("IHE.BasicAudit.")[2]
            followed.add(name)
            assert find_problems(PROFILES[name], event) == [], (act, event)

    assert followed == set(PROFILES), "a pattern that nothing follows"


def write_event(act: Act, role: ActorRole = ActorRole.CLINICIAN, **more: Any) -> dict[str, Any]:
    entry = entry_of(act, role, more.get("visit", "visit1"), more.get("reason", ""))
    return audit_event(7, parse_entry(entry.canonical()), PLACE, more.get("patient", PSEUDONYM))


@pytest.mark.parametrize(
    ("act", "path"),
    [
        (Act.NOTE_OPENED, ("agent", 0, "network")),
        (Act.NOTE_OPENED, ("agent", 1, "who")),
        (Act.NOTE_OPENED, ("entity", 0, "role")),
        (Act.NOTE_SAVED, ("entity", 1, "what")),
        (Act.LOG_READ, ("entity", 1, "query")),
        (Act.LOG_EXPORTED, ("subtype", 0)),
        (Act.WAITING, ("entity", 1, "type")),
        (Act.WAITING, ("agent", 3)),
    ],
)
def test_pattern_misses_what_is_taken_away(act: Act, path: tuple[str | int, ...]) -> None:
    event = write_event(act, ActorRole.PATIENT)
    profile = PROFILES[event["meta"]["profile"][0].rpartition("IHE.BasicAudit.")[2]]
    part: Any = event
    for step in path[:-1]:
        part = part[step]

    del part[path[-1]]

    assert find_problems(profile, event)


def test_refused_and_failed_acts_claim_no_pattern_and_say_why() -> None:
    refused = write_event(Act.TURNED_AWAY, reason="not_the_patient")
    failed = write_event(Act.LOGIN_FAILED, visit=None, patient="")

    assert "meta" not in refused
    assert (refused["outcome"], refused["outcomeDesc"]) == ("4", "not_the_patient")
    assert "meta" not in failed
    assert failed["outcome"] == "8"
    assert failed["type"]["code"] == "110114"


def test_purpose_of_a_consultation_is_the_reader_s_purpose_of_use() -> None:
    event = write_event(Act.NOTE_OPENED, reason="second_opinion")

    [user] = [agent for agent in event["agent"] if agent["requestor"]]
    assert user["name"] == "Anna Bianchi"
    assert user["purposeOfUse"][0]["coding"][0]["code"] == "second_opinion"


def test_patient_is_a_pseudonym_and_nothing_empty_is_said() -> None:
    event = write_event(Act.CHECK_IN_SAVED, ActorRole.PATIENT)

    patient, data = event["entity"]
    assert patient["what"]["identifier"]["value"] == PSEUDONYM
    assert {each["type"]: each["valueString"] for each in data["detail"]} == {
        "version": "2",
        "resent": "true",
        "way": "link",
    }


@pytest.mark.parametrize(
    ("act", "facts", "resource", "value"),
    [
        (Act.NOTE_OPENED, {}, "Composition", "visit1"),
        (Act.REPORT_SIGNED, {"report": "r1"}, "DocumentReference", "r1"),
        (Act.ATTACHMENT_OPENED, {"file": "f1"}, "DocumentReference", "f1"),
        (Act.CONTACT_OPENED, {}, "Patient", PSEUDONYM),
        (Act.ROOM_JOINED, {}, "Encounter", "visit1"),
    ],
)
def test_event_names_what_was_touched(
    act: Act, facts: dict[str, Fact], resource: str, value: str
) -> None:
    entry = Entry(AT, act, ActorRole.CLINICIAN, "user1", "visit1", facts)

    event = audit_event(7, parse_entry(entry.canonical()), PLACE, PSEUDONYM)

    what = event["entity"][1]["what"]
    assert (what["type"], what["identifier"]["value"]) == (resource, value)


def test_entry_of_before_the_tree_is_an_event_too() -> None:
    old = (
        '{"act":"room.dropped","actor":"","at":"2026-01-01T10:00:00.000+00:00","facts":{},'
        '"role":"patient","visit":"visit1"}'
    )

    event = audit_event(3, parse_entry(old), PLACE, PSEUDONYM)

    get_fhir_model_class("AuditEvent").model_validate_json(msgspec.json.encode(event))
    assert (event["id"], event["outcome"]) == ("entry-3", "8")


def test_erased_entry_is_no_event() -> None:
    with pytest.raises(msgspec.DecodeError):
        parse_entry("")


def test_outcomes_of_entries_are_told_apart() -> None:
    outcomes = {act.outcome: write_event(act)["outcome"] for act in Act}

    assert outcomes == {ActOutcome.DONE: "0", ActOutcome.REFUSED: "4", ActOutcome.FAILED: "8"}


# ---- the exports of a running application -----------------------------------------------

START = datetime(2026, 11, 26, 9, 0, tzinfo=UTC)
CALL: list[tuple[float, Act, ActorRole, dict[str, Fact]]] = [
    (-30, Act.LINK_CLAIMED, ActorRole.PATIENT, {"way": "link"}),
    (-20, Act.CONSENT_GIVEN, ActorRole.PATIENT, {"kind": "visit"}),
    (-10, Act.WAITING, ActorRole.PATIENT, {}),
    (-10, Act.ROOM_JOINED, ActorRole.PATIENT, {}),
    (-2, Act.ROOM_JOINED, ActorRole.CLINICIAN, {}),
    (1, Act.ADMITTED, ActorRole.CLINICIAN, {"participant": "patient"}),
    (2, Act.MEDIA_PROVEN, ActorRole.CLINICIAN, {"of": "patient", "audio": True, "video": True}),
    (5, Act.ROOM_DROPPED, ActorRole.PATIENT, {}),
    (6, Act.ROOM_REJOINED, ActorRole.PATIENT, {}),
    (8, Act.NOTE_OPENED, ActorRole.CLINICIAN, {"version": 1}),
    (12, Act.FINISHED, ActorRole.CLINICIAN, {"state": "in_visit"}),
    (12, Act.OUTCOME, ActorRole.CLINICIAN, {"outcome": "completed", "present": "patient"}),
]
HCW_COLUMNS = {
    "Invite sent at": "invited_at",
    "Consultation scheduled at": "scheduled_at",
    "Waiting queue": "clinic",
    "Patient joined consultation at": "patient_joined_at",
    "Consultation closed at": "closed_at",
    "Total call with answer": "calls_answered",
    "Total call without answer": "calls_unanswered",
    "Call average": "visit_seconds",
    "Satisfaction rate patient": "patient_visit_score",
    "Satisfaction rate caregiver": "clinician_visit_score",
    "Department": "clinic",
    "Function": "profession",
    "Caregiver name": "clinician",
    "Number of participant joined": "people_joined",
    "Number of participant expected": "people_expected",
    "Translator": "has_interpreter",
    "Handling estimated at": "scheduled_end_at",
    "First call at": "first_media_at",
}
"""What HCW@Home v5 gave (its sentences are on a page of their own, its translator has no name)."""


class Log:
    """The log of one organisation, told, numbered, signed and summed up."""

    def __init__(self, database: Database, keyring: Keyring, folder: Path, team: Team) -> None:
        self.database = database
        self.keyring = keyring
        self.organisation = team.organisation.id
        self.signer = SignerProcess(folder)

    async def tell(self, visit: Visit, start: datetime = START) -> None:
        entries = [
            Entry(start + timedelta(minutes=minutes), act, role, "", visit.id, facts)
            for minutes, act, role, facts in CALL
        ]
        async with self.database.begin(self.organisation) as session:
            await append(session, self.organisation, *entries)

    async def settle(self) -> None:
        settled = await settle_log(
            self.database, self.signer, "visite.example", self.organisation, AT
        )
        assert settled == []
        async with self.database.begin(self.organisation) as session:
            await follow_log(session, self.keyring, self.organisation)


@pytest.fixture
async def log(site: Site, keyring: Keyring, data_dir: Path, cast: Cast) -> AsyncIterator[Log]:
    log = Log(site.database, keyring, data_dir / "log-signer", cast.toscana)
    yield log
    await log.signer.stop()


NOVEMBER = "from=2026-11-01&to=2026-11-30"


def read_csv(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(text.removeprefix("\ufeff")), delimiter=";"))


async def test_table_has_a_line_for_each_visit_in_plain_words(
    site: Site, log: Log, cast: Cast, make_visit: MakeVisit
) -> None:
    visit = await make_visit(cast.toscana, start=START)
    await log.tell(visit)
    await log.settle()
    manager = await site.staff(cast.toscana.manager)

    answer = await manager.get(f"/sessions/export.csv?{NOVEMBER}")

    assert answer.status == 200
    assert answer.headers["Content-Type"] == "text/csv; charset=utf-8"
    assert "visite-2026-11-01-2026-11-30.csv" in answer.headers["Content-Disposition"]
    [row] = read_csv(answer.text)
    assert len(row) == len(COLUMNS)
    assert row["Visita"] == visit.id
    assert row["Codice prenotazione"] == visit.appointment.booking_code
    assert row["Inizio previsto"] == "2026-11-26 10:00:00"
    assert row["Ammesso"] == "2026-11-26 10:01:00"
    assert row["Attesa (secondi)"] == "660"
    assert row["Iniziata dopo l'ora prevista (secondi)"] == "60"
    assert row["Linee cadute, paziente"] == "1"
    assert row["Chiamate con risposta"] == "1"
    assert row["Persone presenti"] == "2"
    assert row["Interprete"] == "no"
    assert row["Professione"] == "Specialista"
    assert row["Problemi"] == "Linea caduta durante la visita"
    assert "Bertolucci" not in answer.text


async def test_program_reads_the_same_with_stable_names(
    site: Site, log: Log, cast: Cast, make_visit: MakeVisit
) -> None:
    visit = await make_visit(cast.toscana, start=START)
    async with site.database.begin(visit.organisation_id) as session:
        session.add(
            Rating(
                organisation_id=visit.organisation_id,
                visit_id=visit.id,
                seat="patient",
                visit_score=Score.GOOD,
                rated_at=AT,
            )
        )
    await log.tell(visit)
    await log.settle()
    manager = await site.staff(cast.toscana.manager)

    answer = await manager.get(f"/sessions/export.ndjson?{NOVEMBER}")

    [row] = [json.loads(line) for line in answer.text.splitlines()]
    assert list(row) == [column.name for column in COLUMNS]
    assert row["scheduled_at"] == "2026-11-26T09:00:00.000Z"
    assert (row["patient_visit_score"], row["patient_line_score"]) == ("good", None)
    assert row["problems"] == ["line_lost"]
    assert set(HCW_COLUMNS.values()) <= set(row)


async def test_auditor_gets_no_booking(
    site: Site, log: Log, cast: Cast, make_visit: MakeVisit
) -> None:
    visit = await make_visit(cast.toscana, start=START)
    await log.tell(visit)
    await log.settle()
    auditor = await site.staff(cast.toscana.auditor)

    answer = await auditor.get(f"/sessions/export.csv?{NOVEMBER}")

    assert answer.status == 200
    assert visit.id in answer.text
    assert visit.appointment.booking_code not in answer.text


async def test_other_organisation_is_not_in_it(
    site: Site, log: Log, cast: Cast, make_visit: MakeVisit
) -> None:
    await log.tell(await make_visit(cast.toscana, start=START))
    await log.settle()
    stranger = await site.staff(cast.emilia.manager)

    for name in ("export.csv", "export.ndjson", "export.fhir.ndjson"):
        answer = await stranger.get(f"/sessions/{name}?{NOVEMBER}")
        assert answer.status == 200
        assert "Cardiologia" not in answer.text


async def test_export_is_written_in_the_log_with_its_filter(
    site: Site, log: Log, cast: Cast, make_visit: MakeVisit
) -> None:
    await log.tell(await make_visit(cast.toscana, start=START))
    await log.settle()
    manager = await site.staff(cast.toscana.manager)

    await manager.get(f"/sessions/export.csv?{NOVEMBER}&problem=line_lost")

    async with site.database.read(log.organisation) as session:
        texts = await session.scalars(select(LogEntry.entry).order_by(LogEntry.id.desc()).limit(1))
    entry = json.loads(texts.one())
    assert entry["action"] == Act.LOG_EXPORTED
    assert entry["actor"] == cast.toscana.manager.id
    assert entry["facts"] == {
        "what": "csv",
        "first_day": "2026-11-01",
        "last_day": "2026-11-30",
        "only_problem": "line_lost",
        "visits": 1,
    }


async def test_long_table_comes_in_groups_without_a_gap(
    site: Site, log: Log, cast: Cast, make_visit: MakeVisit, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("server.sessionexport.table.rows._ROWS_AT_ONCE", 2)
    monkeypatch.setattr("server.sessionexport.entries._VISITS_AT_ONCE", 2)
    visits = [await make_visit(cast.toscana, start=START) for _ in range(5)]
    for visit in visits:
        await log.tell(visit)
    await log.settle()
    manager = await site.staff(cast.toscana.manager)

    table = await manager.get(f"/sessions/export.ndjson?{NOVEMBER}")
    events = await manager.get(f"/sessions/export.fhir.ndjson?{NOVEMBER}")

    told = [json.loads(line)["visit"] for line in table.text.splitlines()]
    assert sorted(told) == sorted(visit.id for visit in visits)
    found = [json.loads(line) for line in events.text.splitlines()]
    admissions = [each for each in found if each["subtype"][-1]["code"] == "visit.admitted"]
    assert len(admissions) == len(visits)


async def test_events_of_a_visit_are_audit_events(
    site: Site, log: Log, cast: Cast, make_visit: MakeVisit
) -> None:
    visit = await make_visit(cast.toscana, start=START)
    await log.tell(visit)
    await log.settle()
    auditor = await site.staff(cast.toscana.auditor)

    answer = await auditor.get(f"/sessions/{visit.id}/events.fhir.ndjson")

    events = [json.loads(line) for line in answer.text.splitlines()]
    model = get_fhir_model_class("AuditEvent")
    for event in events:
        model.model_validate(event)
    opened = [each for each in events if each["subtype"][-1]["code"] == "note.opened"]
    assert opened[0]["meta"]["profile"][0].endswith("IHE.BasicAudit.PatientRead")
    assert opened[0]["id"].startswith("entry-")


async def test_auditor_takes_out_what_belongs_to_no_visit_too(
    site: Site, log: Log, cast: Cast, make_visit: MakeVisit
) -> None:
    visit = await make_visit(cast.toscana, start=START)
    await log.tell(visit)
    acts = (Act.LOGGED_IN, Act.FIGURES_READ, Act.LOG_ERASED, Act.KEY_ROTATED)
    roles = (ActorRole.MANAGER, ActorRole.AUDITOR, ActorRole.SYSTEM, ActorRole.ADMINISTRATOR)
    async with site.database.begin(log.organisation) as session:
        for act, role in zip(acts, roles, strict=True):
            await append(session, log.organisation, Entry(START, act, role, "someone"))
        await append(session, log.organisation, Entry(AT.replace(year=2025), acts[0], roles[0]))
        garbled = '{"action":"nothing.ours","at":"2026-11-26T09:00:00.000+00:00","role":"patient"}'
        await store(session, log.organisation, [(None, garbled), (visit.id, "not an entry")])
    await log.settle()
    auditor = await site.staff(cast.toscana.auditor)

    answer = await auditor.get("/sessions/log.fhir.ndjson?from=2026-11-26&to=2026-11-26")

    events = [json.loads(line) for line in answer.text.splitlines()]
    told = [event["subtype"][-1]["code"] for event in events]
    assert answer.status == 200
    assert set(acts) <= set(told)
    assert told.count(Act.LOGGED_IN) == 1
    assert told.count(Act.ADMITTED) == 1
    assert all(event["recorded"].startswith("2026-11-26") for event in events)


# ---- no formula ------------------------------------------------------------------------


@pytest.mark.parametrize("start", ["=", "+", "-", "@", "\t", "\r", "\n", " =", "\u00a0@", "＝"])
def test_no_cell_is_a_formula(start: str) -> None:
    assert defuse(f"{start}cmd|' /C calc'!A0").startswith("'")


@pytest.mark.parametrize("text", ["", "-60", "12", "Cardiologia", "2026-11-26 10:00:00"])
def test_harmless_cell_stays_as_it_is(text: str) -> None:
    assert defuse(text) == text


async def test_clinic_that_is_named_like_a_formula_is_text(
    site: Site, log: Log, cast: Cast, make_visit: MakeVisit
) -> None:
    name = '=HYPERLINK("http://x";"y");+1'
    await log.tell(await make_visit(cast.toscana, start=START))
    async with site.database.begin(log.organisation) as session:
        await session.execute(update(Clinic).values(name=name))
    await log.settle()
    manager = await site.staff(cast.toscana.manager)

    answer = await manager.get(f"/sessions/export.csv?{NOVEMBER}")

    [row] = read_csv(answer.text)
    assert row["Ambulatorio"] == f"'{name}"


# ---- the proof of one visit ------------------------------------------------------------


async def save_proof(visitor: Any, path: str, folder: Path) -> Path:
    """The archive as the browser saves it."""
    cookies = "; ".join(f"{name}={value}" for name, value in visitor.cookies.items())
    async with visitor.session.get(visitor.origin + path, headers={"Cookie": cookies}) as answer:
        assert answer.status == 200, await answer.text()
        assert answer.headers["Content-Type"] == "application/zip"
        saved = folder / "proof.zip"
        saved.write_bytes(await answer.read())
    return saved


def verify(archive: Path, folder: Path) -> subprocess.CompletedProcess[str]:
    """As an outsider: what is in the archive, isolated from everything of ours."""
    with ZipFile(archive) as bundle:
        bundle.extract("verify.py", folder)
    return subprocess.run(
        [sys.executable, "-I", "-S", "verify.py", str(archive)],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )


async def test_outsider_verifies_the_proof_that_a_manager_took_out(
    site: Site, log: Log, cast: Cast, make_visit: MakeVisit, tmp_path: Path
) -> None:
    visit = await make_visit(cast.toscana, start=START)
    await log.tell(visit)
    await log.settle()
    manager = await site.staff(cast.toscana.manager)

    archive = await save_proof(manager, f"/sessions/{visit.id}/proof.zip", tmp_path)

    verdict = verify(archive, tmp_path)
    assert verdict.stdout.startswith("OK: "), verdict
    assert verdict.returncode == 0
    with ZipFile(archive) as bundle:
        summary = bundle.read("riepilogo.pdf")
        values = bundle.read("values.jsonl")
    assert values == b""
    told = " ".join(text_of(summary).split())
    assert count_pages(summary) == 1
    for words in ("dott.ssa Anna Bianchi", "python3 verify.py", "Linea caduta", "Nota aperta"):
        assert words.lower() in told.lower()
    assert "Bertolucci" not in told


async def test_altered_line_of_a_proof_is_found(
    site: Site, log: Log, cast: Cast, make_visit: MakeVisit, tmp_path: Path
) -> None:
    visit = await make_visit(cast.toscana, start=START)
    await log.tell(visit)
    await log.settle()
    changed = LogEntry.entry.contains(Act.ROOM_DROPPED.value)
    async with site.database.begin(log.organisation) as session:
        row = (await session.scalars(select(LogEntry).where(changed))).one()
        row.entry = row.entry.replace("patient", "clinician")
        seq = row.seq
    manager = await site.staff(cast.toscana.manager)

    archive = await save_proof(manager, f"/sessions/{visit.id}/proof.zip", tmp_path)

    verdict = verify(archive, tmp_path)
    assert verdict.stdout.strip() == f"entry {seq}: edited"
    assert verdict.returncode == 1


async def test_patient_takes_the_proof_of_the_own_visit_only(
    site: Site, log: Log, cast: Cast, make_visit: MakeVisit, tmp_path: Path
) -> None:
    visit, other = [await make_visit(cast.toscana, start=START) for _ in range(2)]
    for each in (visit, other):
        await log.tell(each)
    await log.settle()
    patient = await site.patient(visit)

    archive = await save_proof(patient, f"/v/{visit.locator}/proof.zip", tmp_path)
    refused = await patient.get(f"/v/{other.locator}/proof.zip")

    assert verify(archive, tmp_path).returncode == 0
    with ZipFile(archive) as bundle:
        entries = bundle.read("entries.jsonl").decode()
    assert visit.id in entries
    assert other.id not in entries
    assert refused.status in (303, 404)


async def test_visit_that_nothing_is_signed_of_says_when(
    site: Site, cast: Cast, make_visit: MakeVisit
) -> None:
    visit = await make_visit(cast.toscana, start=START)
    manager = await site.staff(cast.toscana.manager)

    answer = await manager.get(f"/sessions/{visit.id}/proof.zip")

    assert answer.status == 409
    assert "tra un minuto" in answer.text


# ---- a file that breaks off ------------------------------------------------------------


async def test_half_a_file_is_never_taken_for_a_whole_one() -> None:
    async def breaking() -> AsyncIterator[bytes]:
        yield b"first line\n"
        raise RuntimeError

    async def broken_at_once() -> AsyncIterator[bytes]:
        raise RuntimeError
        yield b""

    async def later(request: web.Request) -> web.StreamResponse:
        return await send_file(request, "a.csv", "text/csv", breaking())

    async def at_once(request: web.Request) -> web.StreamResponse:
        return await send_file(request, "a.csv", "text/csv", broken_at_once())

    app = web.Application()
    app.router.add_get("/later", later)
    app.router.add_get("/at-once", at_once)
    async with TestClient(TestServer(app)) as client:
        begun = await client.get("/later")
        with pytest.raises(ClientPayloadError):
            await begun.read()
        refused = await client.get("/at-once")

    assert refused.status == 500
