"""What a person may ask for: the copy of her data, and who may see the history of consents."""

from __future__ import annotations

import asyncio
import json
import os
import re
import stat
import zipfile
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest
from sqlalchemy import select

from recordings.store import SealedFolder, SealedStore
from server.assets import Assets
from server.audit import Act
from server.db import EVERY_ORGANISATION, Database
from server.errors import CommandFailed
from server.keyring import Keyring
from server.keys.shredding import shred_visit
from server.models import (
    Attachment,
    Connector,
    Consent,
    ConsentKind,
    InboxMessage,
    Kept,
    LogEntry,
    Note,
    Patient,
    RecordingTrack,
    Source,
    Visit,
)
from server.pages import Pages
from server.sealed import (
    ATTACHMENTS_FOLDER,
    AttachmentWords,
    Eligibility,
    Identity,
    NoteContent,
    Section,
    content_place,
    open_recordings,
    seal_attachment_words,
    seal_eligibility,
    seal_message,
    seal_note,
    write_attachment,
)
from server.settings import Settings, SmtpSecurity
from server.sources import Listener, Outgoing, SourceSettings
from server.subjects.bundle import DATA_NAME, PAGE_NAME, CopyWriter
from server.subjects.finding import find_patients
from server.subjects.flows import Flow, Protection, Recipient, flows_of
from server.terms import set_term
from tests.commands import run_accanto
from tests.conftest import Cast, MakeVisit, Team
from tests.sealground import _fill_visit
from tests.tracks import add_recording
from tests.visitors import Site, site

__all__ = ["site"]

NOW = datetime.now(UTC)
ADA = Identity(
    family_name="Della Gherardesca-Sforza", given_name="Ada", codice_fiscale="RSSRSO48C52D612H",
    phone="+393331234567", address="Via <b>Roma</b> 1",
)  # fmt: skip


@pytest.fixture
def store(data_dir: Path) -> SealedFolder:
    return SealedFolder(data_dir / ATTACHMENTS_FOLDER)


@pytest.fixture
def recordings(data_dir: Path) -> SealedStore:
    return open_recordings(Settings(data_dir=data_dir))


@pytest.fixture
def writer(
    database: Database, keyring: Keyring, store: SealedFolder, recordings: SealedStore
) -> CopyWriter:
    return CopyWriter(database, keyring, store, recordings, Pages(Assets()))


class Ada:
    """A person with a visit in which everything was kept that can be."""

    def __init__(self, database: Database, keyring: Keyring, store: SealedFolder) -> None:
        self._database = database
        self._keyring = keyring
        self._store = store

    async def fill(self, team: Team, visit: Visit) -> None:
        keyring = self._keyring
        async with self._database.begin(visit.organisation_id) as session:
            await _fill_visit(keyring, session, team, visit.id)
            row = await session.get_one(Visit, visit.id)
            await seal_eligibility(keyring, session, row, Eligibility(ground="known_disease"))
            note = Note(
                organisation_id=visit.organisation_id, visit_id=visit.id, version=3,
                author_id=team.clinician.id, saved_at=NOW,
            )  # fmt: skip
            words = NoteContent(sections={Section.FINDINGS: "Polso <regolare>, 72 al minuto."})
            await seal_note(keyring, session, note, words)
            session.add(note)
            session.add(
                Consent(
                    organisation_id=visit.organisation_id, visit_id=visit.id,
                    kind=ConsentKind.VISIT, is_given=True, text_version="1", text_hash="ab" * 32,
                    language="it", answered_at=NOW,
                )
            )  # fmt: skip
            of_it = select(Attachment).where(Attachment.visit_id == visit.id)
            attachment = (await session.scalars(of_it)).one()
            await seal_attachment_words(
                keyring, session, attachment, AttachmentWords(file_name="neo.jpg", caption="Neo")
            )
            key = await keyring.data_key(session, content_place(attachment))
            await write_attachment(self._store, attachment, key, b"una foto")
            of_it = select(InboxMessage).where(InboxMessage.visit_id == visit.id)
            message = (await session.scalars(of_it)).one()
            await seal_message(keyring, session, message, b"codice;nome\n1;Ada")


@pytest.fixture
def ada(database: Database, keyring: Keyring, store: SealedFolder) -> Ada:
    return Ada(database, keyring, store)


async def load_patient(database: Database, visit: Visit) -> Patient:
    async with database.read(EVERY_ORGANISATION) as session:
        return await session.get_one(Patient, visit.appointment.patient_id)


async def load_acts(database: Database, act: Act) -> list[dict[str, Any]]:
    async with database.read(EVERY_ORGANISATION) as session:
        texts = await session.scalars(select(LogEntry.entry).order_by(LogEntry.id))
        return [entry for entry in map(json.loads, texts) if entry["action"] == act]


# ---- the copy ----------------------------------------------------------------------------


async def test_a_copy_holds_everything_and_the_log_keeps_that_it_was_made(
    database: Database, cast: Cast, make_visit: MakeVisit, ada: Ada, writer: CopyWriter,
    tmp_path: Path,
) -> None:  # fmt: skip
    visit = await make_visit(cast.toscana, identity=ADA, start=NOW - timedelta(days=1))
    await ada.fill(cast.toscana, visit)
    other = await make_visit(cast.toscana, identity=Identity(family_name="Neri", given_name="Ugo"))
    later = await make_visit(cast.toscana, identity=ADA)
    path = tmp_path / "copia.zip"

    copy = await writer.write(await load_patient(database, visit), path, NOW)

    assert [each.id for each in copy.visits] == [visit.id, later.id]
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    with zipfile.ZipFile(path) as archive:
        names = set(archive.namelist())
        data = json.loads(archive.read(DATA_NAME))
        page = archive.read(PAGE_NAME).decode()
        everything = b"".join(archive.read(name) for name in names)
        assert archive.read("visita-1/file-1.jpg") == b"una foto"
        assert archive.read("visita-1/cup-1.csv") == b"codice;nome\n1;Ada"
        assert archive.read("visita-1/report-1.pdf") == b"%PDF"
    first = data["visits"][0]
    assert {file for document in first["documents"] for file in document["files"]} < names
    assert first["notes"][-1]["content"]["sections"]["findings"].startswith("Polso")
    assert first["answers"]["companions"] == "la figlia"
    assert first["consents"][0]["is_given"] is True
    assert first["ratings"][0]["words"] == "Tutto bene."
    assert data["identity"]["codice_fiscale"] == "RSSRSO48C52D612H"
    assert "booking.imported" in {line["action"] for line in first["log"]}
    assert "Polso &lt;regolare&gt;" in page
    assert "Via &lt;b&gt;Roma" in page
    assert "Prenotazione ricevuta dal CUP" in page
    assert 'href="visita-1/file-1.jpg"' in page
    assert "://" not in page
    assert b"Neri" not in everything
    entries = await load_acts(database, Act.PATIENT_EXPORTED)
    about = f"patient:{visit.appointment.patient_id}"
    assert [(each["visit"], each["object"], each["reason"]) for each in entries] == [
        (visit.id, about, "request"), (later.id, about, "request"),
    ]  # fmt: skip
    assert other.id not in {each["visit"] for each in entries}


async def test_a_copy_has_her_own_side_of_a_recording_and_not_the_other(
    database: Database, keyring: Keyring, cast: Cast, make_visit: MakeVisit, writer: CopyWriter,
    recordings: SealedStore, data_dir: Path, tmp_path: Path,
) -> None:  # fmt: skip
    visit = await make_visit(cast.toscana, identity=ADA)
    contents = {"patient": os.urandom(40_000), "clinician": os.urandom(40_000)}
    await add_recording(database, keyring, recordings, visit, contents, at=NOW)
    lost = await add_recording(
        database, keyring, recordings, visit, {"patient": b"lost"}, at=NOW + timedelta(minutes=1)
    )
    async with database.read(visit.organisation_id) as session:
        rows = select(RecordingTrack.id).where(RecordingTrack.recording_id == lost.id)
        assert recordings.delete(str(await session.scalar(rows)))

    copy = await writer.write(await load_patient(database, visit), tmp_path / "a.zip", NOW)

    first, second = copy.visits[0].recordings
    assert (first.purpose, first.state) == ("care", "ended")
    assert [part.file for part in first.parts] == ["visita-1/registrazione-1-0.webm"]
    assert [part.file for part in second.parts] == [""]
    with zipfile.ZipFile(tmp_path / "a.zip") as archive:
        assert archive.read("visita-1/registrazione-1-0.webm") == contents["patient"]
        everything = b"".join(archive.read(name) for name in archive.namelist())
        page = archive.read(PAGE_NAME).decode()
    assert contents["clinician"] not in everything
    assert 'href="visita-1/registrazione-1-0.webm"' in page


async def test_a_copy_of_an_ended_visit_says_so_and_holds_the_rest(
    database: Database, keyring: Keyring, cast: Cast, make_visit: MakeVisit, ada: Ada,
    writer: CopyWriter, tmp_path: Path,
) -> None:  # fmt: skip
    visit = await make_visit(cast.toscana, identity=ADA)
    await ada.fill(cast.toscana, visit)
    async with database.begin(visit.organisation_id) as session:
        await shred_visit(keyring, session, visit, NOW)

    copy = await writer.write(await load_patient(database, visit), tmp_path / "a.zip", NOW)

    assert copy.visits[0].is_erased
    assert copy.visits[0].notes == []
    assert copy.visits[0].consents
    with zipfile.ZipFile(tmp_path / "a.zip") as archive:
        assert "cancellati per sempre" in archive.read(PAGE_NAME).decode()


async def test_no_copy_without_its_line_in_the_log(
    database: Database, cast: Cast, make_visit: MakeVisit, writer: CopyWriter, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    visit = await make_visit(cast.toscana, identity=ADA)
    patient = await load_patient(database, visit)
    there = tmp_path / "there.zip"
    there.write_bytes(b"mine")

    async def fail(*_: object) -> None:
        raise OSError

    with pytest.raises(CommandFailed):
        await writer.write(patient, there, NOW)
    monkeypatch.setattr("server.subjects.bundle.append", fail)
    with pytest.raises(OSError):  # noqa: PT011 - any of the database's
        await writer.write(patient, tmp_path / "new.zip", NOW)

    assert there.read_bytes() == b"mine"
    assert os.listdir(tmp_path).count("new.zip") == 0
    assert not [name for name in os.listdir(tmp_path) if name.startswith(".new")]


# ---- who is meant ------------------------------------------------------------------------


async def test_a_person_is_found_by_code_booking_or_id_and_only_in_her_organisation(
    database: Database, keyring: Keyring, cast: Cast, make_visit: MakeVisit
) -> None:
    here = await make_visit(cast.toscana, identity=ADA)
    there = await make_visit(cast.emilia, identity=ADA)
    patients = [here.appointment.patient_id, there.appointment.patient_id]

    async def find(text: str, organisation: str = "") -> list[str]:
        async with database.read(EVERY_ORGANISATION) as session:
            found = await find_patients(keyring, session, text, organisation)
        return sorted(patient.id for patient in found)

    assert await find(" rssrso48c52d612h\n") == sorted(patients)
    assert await find("RSSRSO48C52D612H", "ausl-emilia") == [patients[1]]
    assert await find(here.appointment.booking_code) == [patients[0]]
    assert await find(patients[0]) == [patients[0]]
    assert await find("RSSRSO48C52D612H", "nowhere") == []
    assert await find("nobody") == []


async def accanto(
    database_url: str, data_dir: Path, *arguments: str, typed: str = ""
) -> tuple[int, str]:
    """Status and all words of a command that is told ``typed``."""
    environment = {"ACCANTO_DATABASE_URL": database_url, "ACCANTO_DATA_DIR": str(data_dir)}
    done = await asyncio.to_thread(
        run_accanto, arguments, os.environ | environment, stdin=typed, is_merged=True
    )
    return done.returncode, done.stdout


@pytest.mark.timeout(300)
async def test_the_command_asks_who_and_whether_it_is_the_person(
    database: Database, database_url: str, data_dir: Path, cast: Cast, make_visit: MakeVisit,
    tmp_path: Path,
) -> None:  # fmt: skip
    visit = await make_visit(cast.toscana, identity=ADA)
    path = tmp_path / "copia.zip"
    export = ("patient", "export", "--to", str(path))

    refused = await accanto(database_url, data_dir, *export, typed="RSSRSO48C52D612H\nn\n")
    assert refused[0] == 1
    assert "Ada Della Gherardesca-Sforza: is it this person?" in refused[1]
    assert not path.exists()
    (opened,) = await load_acts(database, Act.CONTACT_OPENED)
    assert opened["object"] == f"patient:{visit.appointment.patient_id}"
    who = tmp_path / "who"
    who.write_text(f"{visit.appointment.booking_code}\n")
    done = await accanto(database_url, data_dir, *export, "--who", str(who), "--yes")
    assert done == (0, f"Wrote {path}: 1 visits.\n")
    unknown = await accanto(database_url, data_dir, *export, "--who", "-", typed="nobody\n")
    assert unknown == (1, "Nobody is known by that here\n")


# ---- consents ----------------------------------------------------------------------------


async def answer(database: Database, visit: Visit, *, is_given: bool, minute: int) -> None:
    async with database.begin(visit.organisation_id) as session:
        session.add(
            Consent(
                organisation_id=visit.organisation_id, visit_id=visit.id, kind=ConsentKind.TOOL,
                is_given=is_given, text_version="2", text_hash="cd" * 32, language="it",
                answered_at=NOW + timedelta(minutes=minute),
            )
        )  # fmt: skip


def answers_of(text: str) -> list[str]:
    return re.findall(r'data-testid="consent" data-answer="(\w+)"', text)


async def test_clinician_and_desk_see_the_history_of_consents(
    site: Site, cast: Cast, make_visit: MakeVisit
) -> None:
    team, database = cast.toscana, site.database
    visit = await make_visit(team, identity=ADA)
    colleagues = await make_visit(team, identity=ADA, clinician=team.colleague)
    for minute, is_given in enumerate((False, True, False, True)):
        await answer(database, visit, is_given=is_given, minute=minute)
    await answer(database, colleagues, is_given=True, minute=9)
    clinician, desk = await site.staff(team.clinician), await site.staff(team.desk)

    own = await clinician.get(f"/visits/{visit.id}/consents")
    every = await desk.get(f"/visits/{visit.id}/consents")
    strange = await clinician.get(f"/visits/{colleagues.id}/consents")
    nobody = await desk.get("/visits/nobody/consents")

    assert (own.status, every.status, strange.status, nobody.status) == (200, 200, 404, 404)
    assert answers_of(own.text) == ["given", "withdrawn", "given", "refused"]
    assert len(answers_of(every.text)) == 5
    opened = [
        entry["facts"]
        for act in (Act.CARD_OPENED, Act.CONTACT_OPENED)
        for entry in await load_acts(database, act)
        if entry["visit"] == visit.id
    ]
    assert opened == [{"kind": "consents"}] * 2


# ---- the facts ---------------------------------------------------------------------------


async def test_facts_are_those_of_the_installation_and_name_nobody(
    site: Site, cast: Cast, make_visit: MakeVisit
) -> None:
    await make_visit(cast.toscana, identity=ADA)
    async with site.database.begin(cast.toscana.organisation.id) as session:
        await set_term(session, cast.toscana.organisation.id, Kept.RECORD, 1234, NOW)
    administrator = await site.staff(cast.toscana.administrator)

    page = await administrator.get("/admin/privacy")

    assert page.status == 200
    assert "1234 giorni, come ha deciso l&#39;ente" in page.text
    assert "731 giorni" in page.text
    assert "argon2id (m=65536 KiB, t=3, p=4)" in page.text
    assert 'data-recipient="cup_in"' in page.text
    assert 'data-recipient="sms"' not in page.text
    assert cast.toscana.organisation.name in page.text
    assert "Gherardesca" not in page.text


def test_flows_are_those_that_are_switched_on() -> None:
    settings = Settings(
        data_dir=Path("x"), base_url="https://visite.example.it", smtp_host="mail.example.it",
        smtp_security=SmtpSecurity.NONE, sms_url="https://sms.example.it/send?key=secret",
        database_url="postgresql+asyncpg://accanto:secret@db.example.it/accanto",
        turn_urls=["turns:turn.example.it:5349?transport=tcp"], backup_dir="/backup",
        signing_tsa_url="http://tsa.example.it/tsr",
    )  # fmt: skip
    hl7 = Outgoing(connector=Connector.HL7V2, address="cup.example.it:6661")
    listener = Listener(host="0.0.0.0", port=6661)  # noqa: S104 - nothing listens
    source = Source(code="cup", name="CUP", settings="{}")
    source.settings = msgspec.json.encode(SourceSettings(listener=listener, outgoing=hl7)).decode()

    flows = flows_of(settings, [source], "https://fse.example.it/gateway")

    assert [(flow.recipient.value, flow.place, flow.protection.value) for flow in flows] == [
        ("patients", "visite.example.it", "tls"),
        ("cup_in", "CUP, 0.0.0.0:6661", "none"),
        ("cup_out", "CUP, cup.example.it:6661", "none"),
        ("mail", "mail.example.it", "none"),
        ("sms", "sms.example.it", "tls"),
        ("fse", "fse.example.it", "tls"),
        ("database", "db.example.it", "none"),
        ("time_stamp", "tsa.example.it", "sealed"),
        ("turn", "turn.example.it:5349", "media"),
        ("backup", "/backup", "sealed"),
    ]
    assert flows_of(Settings(data_dir=Path("x")), []) == [
        Flow(Recipient.PATIENTS, "127.0.0.1", Protection.LOCAL),
        Flow(Recipient.DATABASE, "", Protection.LOCAL),
    ]
