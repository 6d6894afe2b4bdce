"""Terms, legal holds and the job that ends records: keys, rows, files, and what proves it."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace
from sqlalchemy import func, select, update

from recordings.s3 import S3Objects
from recordings.store import SealedFolder, SealedStore
from recordings.tapes import tape_path, tracks_on_tape
from recordings.vault import SealBroken
from server.audit import Act
from server.auth import start_session
from server.db import EVERY_ORGANISATION, Base, Database
from server.errors import Conflict, InvalidInput, NotFound
from server.keyring import Keyring, Shredded
from server.keys.shredding import shred_again, shred_visit
from server.models import (
    ERASED_BYTES,
    Appointment,
    Attachment,
    CheckIn,
    DataKey,
    FhirResource,
    InboxMessage,
    Kept,
    LegalHold,
    LogEntry,
    MessageState,
    Note,
    Patient,
    Recording,
    RecordingTrack,
    Report,
    Source,
    Submission,
    UserSession,
    Visit,
    VisitState,
)
from server.retention.erasure import hash_tombstone
from server.retention.files import SealedFiles
from server.retention.holds import HoldReason, lift_hold, place_hold
from server.retention.job import Done, Shredder
from server.sealed import (
    ATTACHMENTS_FOLDER,
    Identity,
    content_place,
    open_details,
    open_identity,
    open_message,
    seal_message,
    seal_resource,
    track_place,
    write_attachment,
)
from server.settings import Settings
from server.terms import DEFAULT_DAYS, load_terms, set_term
from tests.bucket import S3Server, run_s3
from tests.commands import run_accanto
from tests.conftest import Cast, MakeVisit
from tests.sealground import ALL_OPENERS, _fill_visit
from tests.tracks import SEATS, add_recording, make_recording
from tests.visitors import Site, site

__all__ = ["site"]

NOW = datetime.now(UTC)
LONG_AGO = NOW - timedelta(days=DEFAULT_DAYS[Kept.RECORD] + 1)
ADA = Identity(family_name="Neri", given_name="Ada")


@pytest.fixture
def folder(data_dir: Path) -> SealedFolder:
    return SealedFolder(data_dir / ATTACHMENTS_FOLDER)


@pytest.fixture(scope="module")
def s3() -> Iterator[S3Server]:
    with run_s3() as server:
        yield server


@pytest.fixture
def files(data_dir: Path) -> SealedFiles:
    return SealedFiles.of(Settings(data_dir=data_dir))


@pytest.fixture
def shredder(database: Database, keyring: Keyring, files: SealedFiles) -> Shredder:
    return Shredder(database, keyring, files, lambda: NOW)


class Records:
    """Visits with everything that can be sealed in them."""

    def __init__(
        self,
        database: Database,
        keyring: Keyring,
        cast: Cast,
        make: MakeVisit,
        folder: SealedFolder,
    ) -> None:
        self._database = database
        self._keyring = keyring
        self._team = cast.toscana
        self._make = make
        self._folder = folder

    async def add(self, start: datetime, identity: Identity) -> Visit:
        visit = await self._make(self._team, start=start, identity=identity)
        async with self._database.begin(visit.organisation_id) as session:
            await _fill_visit(self._keyring, session, self._team, visit.id)
            of_it = select(Attachment).where(Attachment.visit_id == visit.id)
            attachment = (await session.scalars(of_it)).one()
            key = await self._keyring.data_key(session, content_place(attachment))
            await write_attachment(self._folder, attachment, key, b"una foto")
        return visit


@pytest.fixture
def records(
    database: Database, keyring: Keyring, cast: Cast, make_visit: MakeVisit, folder: SealedFolder
) -> Records:
    return Records(database, keyring, cast, make_visit, folder)


async def load_entries(database: Database, act: Act) -> list[dict[str, Any]]:
    async with database.read(EVERY_ORGANISATION) as session:
        texts = await session.scalars(select(LogEntry.entry).order_by(LogEntry.id))
        return [entry for entry in map(json.loads, texts) if entry["action"] == act]


async def count_rows(database: Database, visit: Visit) -> dict[str, int]:
    async with database.read(EVERY_ORGANISATION) as session:
        return {
            table.__tablename__: await session.scalar(
                select(func.count()).select_from(table).where(table.visit_id == visit.id)
            )
            or 0
            for table in (Note, CheckIn, Attachment, Report)
        }


# ---- the end of a visit ------------------------------------------------------------------


async def test_a_visit_ends_with_its_term_and_the_log_proves_it(
    database: Database, keyring: Keyring, records: Records, shredder: Shredder, folder: SealedFolder
) -> None:
    old, young = await records.add(LONG_AGO, ADA), await records.add(NOW, Identity(family_name="B"))
    assert len(folder.names()) == 2

    done = await shredder.run_once(NOW)

    assert done == Done(visits=1, files=1)
    assert set((await count_rows(database, old)).values()) == {0}
    assert (await count_rows(database, young)).items() >= {"note": 2, "report": 1}.items()
    assert len(folder.names()) == 1
    owner = f"visit:{old.id}"
    proofs = {
        entry["facts"]["owner"]: entry
        for entry in await load_entries(database, Act.KEY_SHREDDED)
        if "owner" in entry["facts"]
    }
    assert {name.split(":")[0] for name in proofs} == {"visit", "appointment", "patient"}
    proof = proofs[owner]
    async with database.read(EVERY_ORGANISATION) as session:
        stone = await session.scalar(select(DataKey).filter_by(owner=owner))
        assert stone is not None
        assert (stone.wrapped, stone.shredded_at) == (b"", NOW)
        assert proof["visit"] == old.id
        assert proof["facts"] == {
            "kept": "record", "owner": owner, "key": stone.id,
            "tombstone": hash_tombstone(stone), "notes": 2, "reports": 1, "attachments": 1,
            "files": 1, "patient": True,
        }  # fmt: skip
        assert (await session.scalar(select(func.count()).select_from(Submission))) == 1


async def test_nothing_of_an_ended_visit_opens_and_it_is_no_alarm(
    database: Database, keyring: Keyring, records: Records, shredder: Shredder
) -> None:
    old = await records.add(LONG_AGO, ADA)
    alarms: list[object] = []
    keyring.on_broken = alarms.append

    await shredder.run_once(NOW)

    async with database.read(EVERY_ORGANISATION) as session:
        appointment = await session.get_one(Appointment, old.appointment_id)
        patient = await session.get_one(Patient, appointment.patient_id)
        with pytest.raises(Shredded):
            await open_details(keyring, session, appointment)
        with pytest.raises(Shredded):
            await open_identity(keyring, session, patient)
        assert patient.codice_fiscale_index is None
        for column in ALL_OPENERS:
            rows = await session.scalars(select(column).where(column.is_not(None)))
            if column.class_ not in (InboxMessage, Source):
                assert all(len(sealed) <= ERASED_BYTES for sealed in rows), column
    assert alarms == []


async def test_a_patient_stays_while_another_visit_is_there(
    database: Database, keyring: Keyring, records: Records, shredder: Shredder
) -> None:
    identity = Identity(family_name="Neri", codice_fiscale="NREDAA50A41D612X")
    await records.add(LONG_AGO, identity)
    young = await records.add(NOW, identity)

    await shredder.run_once(NOW)

    async with database.read(EVERY_ORGANISATION) as session:
        appointment = await session.get_one(Appointment, young.appointment_id)
        patient = await session.get_one(Patient, appointment.patient_id)
        assert (await open_identity(keyring, session, patient)).family_name == "Neri"


async def test_a_second_turn_finds_nothing(
    database: Database, records: Records, shredder: Shredder
) -> None:
    await records.add(LONG_AGO, ADA)
    await shredder.run_once(NOW)
    before = len(await load_entries(database, Act.KEY_SHREDDED))

    assert await shredder.run_once(NOW) == Done()
    assert len(await load_entries(database, Act.KEY_SHREDDED)) == before


async def test_files_of_a_killed_turn_are_swept_at_the_next(
    database: Database,
    records: Records,
    shredder: Shredder,
    folder: SealedFolder,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The process ends between the commit and the deletion of the file."""
    await records.add(LONG_AGO, ADA)
    (name,) = folder.names()

    def die(self: SealedFolder, name: str) -> bool:
        raise KeyboardInterrupt

    monkeypatch.setattr(SealedFolder, "delete", die)
    with pytest.raises(KeyboardInterrupt):
        await shredder.run_once(NOW)
    monkeypatch.undo()
    assert folder.names() == [name]
    long_ago = (NOW - timedelta(days=2)).timestamp()
    os.utime(folder._path / name, (long_ago, long_ago))

    assert await shredder.run_once(NOW) == Done(files=1)
    assert folder.names() == []


async def test_a_visit_whose_key_was_shredded_by_hand_is_cleared(
    database: Database, keyring: Keyring, records: Records, shredder: Shredder
) -> None:
    young = await records.add(NOW - timedelta(days=1), ADA)
    async with database.begin(young.organisation_id) as session:
        await shred_visit(keyring, session, await session.get_one(Visit, young.id), NOW)

    assert (await shredder.run_once(NOW)).visits == 1
    assert set((await count_rows(database, young)).values()) == {0}


async def test_an_older_backup_of_the_keys_does_not_bring_an_ended_record_back(
    database: Database, keyring: Keyring, records: Records, shredder: Shredder
) -> None:
    """The rows of keys as that backup has them, and the log that came with the data."""
    old = await records.add(LONG_AGO, ADA)
    async with database.read(EVERY_ORGANISATION) as session:
        before = {row.id: row.wrapped for row in await session.scalars(select(DataKey))}
    await shredder.run_once(NOW)
    async with database.begin(EVERY_ORGANISATION) as session:
        for row in await session.scalars(select(DataKey).where(DataKey.shredded_at.is_not(None))):
            row.wrapped, row.shredded_at = before[row.id], None

    async with database.begin(EVERY_ORGANISATION) as session:
        assert await shred_again(keyring, session) == 3

    async with database.read(EVERY_ORGANISATION) as session:
        appointment = await session.get_one(Appointment, old.appointment_id)
        with pytest.raises(Shredded):
            await open_details(keyring, session, appointment)


# ---- the legal hold ----------------------------------------------------------------------


async def test_a_held_visit_stays_until_the_hold_is_lifted(
    database: Database, records: Records, shredder: Shredder
) -> None:
    old = await records.add(LONG_AGO, ADA)
    async with database.begin(old.organisation_id) as session:
        await place_hold(session, old.id, HoldReason.LITIGATION, NOW)

    assert await shredder.run_once(NOW) == Done(held=1)
    assert (await count_rows(database, old))["note"] == 2

    async with database.begin(old.organisation_id) as session:
        await lift_hold(session, old.id, NOW)
    assert (await shredder.run_once(NOW)).visits == 1
    placed, lifted = [
        (await load_entries(database, act))[0] for act in (Act.HOLD_PLACED, Act.HOLD_LIFTED)
    ]
    assert placed["facts"] == lifted["facts"] == {"reason": "litigation"}


async def test_one_hold_at_a_time_and_only_of_a_visit(
    database: Database, records: Records, cast: Cast
) -> None:
    visit = await records.add(NOW, ADA)
    async with database.begin(visit.organisation_id) as session:
        with pytest.raises(Conflict):
            await lift_hold(session, visit.id, NOW)
        await place_hold(session, visit.id, HoldReason.COMPLAINT, NOW)
        with pytest.raises(Conflict):
            await place_hold(session, visit.id, HoldReason.COMPLAINT, NOW)
    async with database.begin(cast.emilia.organisation.id) as session:
        with pytest.raises(NotFound):
            await place_hold(session, visit.id, HoldReason.COMPLAINT, NOW)


# ---- months of messages, log-ins ---------------------------------------------------------


async def _age_messages(database: Database, keyring: Keyring, by: timedelta) -> Sequence[str]:
    """Move all messages into the past, sealed with the key of that month."""
    async with database.begin(EVERY_ORGANISATION) as session:
        rows = (await session.scalars(select(InboxMessage))).all()
        for row in rows:
            raw = await open_message(keyring, session, row)
            row.received_at -= by
            await seal_message(keyring, session, row, raw)
        return [row.id for row in rows]


async def test_an_old_month_of_messages_ends(
    database: Database, keyring: Keyring, cast: Cast, make_visit: MakeVisit, shredder: Shredder
) -> None:
    await make_visit(cast.toscana, start=NOW - timedelta(days=150))
    (old,) = await _age_messages(database, keyring, timedelta(days=160))
    async with database.begin(EVERY_ORGANISATION) as session:
        source = (await session.scalars(select(Source))).one()
        resource = FhirResource(
            organisation_id=source.organisation_id, source_id=source.id, resource_index="a" * 32,
            kind="Patient", version=1, updated_at=NOW - timedelta(days=160),
        )  # fmt: skip
        await seal_resource(keyring, session, resource, b"{}")
        session.add(resource)

    done = await shredder.run_once(NOW)

    assert done == Done(months=1)
    async with database.read(EVERY_ORGANISATION) as session:
        assert await session.get(InboxMessage, old) is None
        assert (await session.scalars(select(FhirResource))).all() == []
    (proof,) = await load_entries(database, Act.KEY_SHREDDED)
    assert proof["facts"].items() >= {"kept": "messages", "messages": 1, "resources": 1}.items()
    assert await shredder.run_once(NOW) == Done()


@pytest.mark.parametrize("why", ["to come", "quarantined", "held"])
async def test_a_month_in_use_stays(
    database: Database, keyring: Keyring, cast: Cast, make_visit: MakeVisit, shredder: Shredder,
    why: str,
) -> None:  # fmt: skip
    start = NOW + timedelta(days=30) if why == "to come" else NOW - timedelta(days=150)
    visit = await make_visit(cast.toscana, start=start)
    await _age_messages(database, keyring, timedelta(days=160))
    async with database.begin(visit.organisation_id) as session:
        if why == "quarantined":
            await session.execute(update(InboxMessage).values(state=MessageState.QUARANTINED))
        if why == "held":
            await place_hold(session, visit.id, HoldReason.INSPECTION, NOW)

    assert (await shredder.run_once(NOW)).months == 0


# ---- recordings --------------------------------------------------------------------------

OVER = NOW - timedelta(days=DEFAULT_DAYS[Kept.RECORDING] + 1)


async def add_recorded(
    database: Database, keyring: Keyring, files: SealedFiles, visit: Visit, at: datetime
) -> tuple[Recording, list[str]]:
    """A recording with a track of each person in the store, and a tape that was left behind."""
    contents = dict.fromkeys(SEATS, b"voce e immagine")
    recording = await add_recording(database, keyring, files.recordings, visit, contents, at=at)
    async with database.read(visit.organisation_id) as session:
        of_it = RecordingTrack.recording_id == recording.id
        tracks = list(await session.scalars(select(RecordingTrack.id).where(of_it)))
    files.tapes.mkdir(exist_ok=True)
    tape_path(files.tapes, tracks[0]).write_bytes(b"sealed")
    return recording, tracks


async def test_a_recording_ends_at_its_own_term_and_the_visit_stays(
    database: Database, keyring: Keyring, records: Records, shredder: Shredder, files: SealedFiles
) -> None:
    visit = await records.add(OVER, ADA)
    recording, tracks = await add_recorded(database, keyring, files, visit, OVER)
    young, kept = await add_recorded(database, keyring, files, visit, NOW)

    done = await shredder.run_once(NOW)

    assert (done.recordings, done.visits, done.files) == (1, 0, 2)
    assert files.recordings.names() == sorted(kept)
    assert tracks_on_tape(files.tapes) == [kept[0]]
    async with database.read(visit.organisation_id) as session:
        for table in (Recording, RecordingTrack):
            assert {row.id for row in await session.scalars(select(table))} <= {young.id, *kept}
        place = track_place(recording, tracks[0], "content", 1)
        with pytest.raises(Shredded):
            await keyring.data_key(session, place)
        entries = [json.loads(row.entry) for row in await session.scalars(select(LogEntry))]
    (proof,) = [entry for entry in entries if entry["action"] == Act.KEY_SHREDDED]
    assert proof["facts"]["owner"] == f"recording:{recording.id}"
    assert (proof["facts"]["kept"], proof["facts"]["files"]) == ("recording", 2)
    assert proof["visit"] == visit.id
    assert await shredder.run_once(NOW) == Done()


async def test_a_held_recording_stays_until_the_hold_is_lifted(
    database: Database, keyring: Keyring, records: Records, shredder: Shredder, files: SealedFiles
) -> None:
    visit = await records.add(OVER, ADA)
    _, tracks = await add_recorded(database, keyring, files, visit, OVER)
    async with database.begin(visit.organisation_id) as session:
        await place_hold(session, visit.id, HoldReason.LITIGATION, NOW)

    assert (await shredder.run_once(NOW)).recordings == 0
    assert files.recordings.names() == sorted(tracks)

    async with database.begin(visit.organisation_id) as session:
        await lift_hold(session, visit.id, NOW)
    assert (await shredder.run_once(NOW)).recordings == 1
    assert files.recordings.names() == []


async def test_the_end_of_a_visit_is_the_end_of_its_recordings(
    database: Database, keyring: Keyring, records: Records, shredder: Shredder, files: SealedFiles
) -> None:
    visit = await records.add(LONG_AGO, ADA)
    recording, _ = await add_recorded(database, keyring, files, visit, NOW)

    done = await shredder.run_once(NOW)

    assert (done.visits, files.recordings.names(), tracks_on_tape(files.tapes)) == (1, [], [])
    async with database.read(visit.organisation_id) as session:
        assert await session.get(Recording, recording.id) is None
        with pytest.raises(Shredded):
            await keyring.data_key(session, track_place(recording, "0" * 16, "content", 1))


async def test_a_refused_ask_leaves_no_key(
    database: Database, records: Records, shredder: Shredder
) -> None:
    visit = await records.add(OVER, ADA)
    recording = make_recording(visit, OVER)
    async with database.begin(visit.organisation_id) as session:
        session.add(recording)

    assert (await shredder.run_once(NOW)).recordings == 1
    async with database.read(visit.organisation_id) as session:
        owners = select(DataKey.id).where(DataKey.owner == f"recording:{recording.id}")
        assert await session.scalar(owners) is None


async def test_tracks_and_tapes_without_a_row_are_swept_after_a_day(
    database: Database, keyring: Keyring, records: Records, shredder: Shredder, files: SealedFiles
) -> None:
    visit = await records.add(NOW, ADA)
    _, tracks = await add_recorded(database, keyring, files, visit, NOW)
    for name in ("lost", "new"):
        files.recordings.write(name, "0" * 16, bytes(32), b"", [b"content"])
        tape_path(files.tapes, name).write_bytes(b"sealed")
    yesterday = (NOW - timedelta(days=2)).timestamp()
    for path in files.tapes.parent.rglob("lost*"):
        os.utime(path, (yesterday, yesterday))

    await shredder.run_once(NOW)

    assert files.recordings.names() == sorted([*tracks, "new"])
    assert tracks_on_tape(files.tapes) == sorted([tracks[0], "new"])


async def test_a_store_that_does_not_answer_keeps_no_key_alive(
    database: Database, keyring: Keyring, records: Records, files: SealedFiles, s3: S3Server
) -> None:
    visit = await records.add(OVER, ADA)
    bucket = s3.make_bucket()
    away = replace(bucket, endpoint="http://127.0.0.1:9")
    there, gone = (
        SealedFiles(files.attachments, SealedStore(S3Objects(each)), files.tapes)
        for each in (bucket, away)
    )
    recording, tracks = await add_recorded(database, keyring, there, visit, OVER)

    done = Done()
    await Shredder(database, keyring, gone, lambda: NOW)._end_recordings(
        visit.organisation_id, NOW - timedelta(days=1), NOW, done
    )

    assert (done.recordings, done.files) == (1, 0)
    assert there.recordings.names() == sorted(tracks)
    async with database.read(visit.organisation_id) as session:
        with pytest.raises(Shredded):
            await keyring.data_key(session, track_place(recording, tracks[0], "content", 1))
        assert await there.sweep(session, -60) == 2
    assert there.recordings.names() == []


# ---- log-ins -----------------------------------------------------------------------------


async def test_old_logins_end(database: Database, cast: Cast, shredder: Shredder) -> None:
    async with database.begin(EVERY_ORGANISATION) as session:
        await start_session(session, cast.toscana.clinician, NOW - timedelta(days=366))
        await start_session(session, cast.toscana.clinician, NOW - timedelta(days=364))

    assert await shredder.run_once(NOW) == Done(logins=1)
    async with database.read(EVERY_ORGANISATION) as session:
        assert await session.scalar(select(func.count()).select_from(UserSession)) == 1


# ---- terms and pages ---------------------------------------------------------------------


async def test_an_organisation_has_its_own_terms(
    database: Database, cast: Cast, records: Records, shredder: Shredder
) -> None:
    organisation = cast.toscana.organisation.id
    await records.add(NOW - timedelta(days=800), ADA)
    async with database.begin(organisation) as session:
        assert await load_terms(session, organisation) == DEFAULT_DAYS
        assert await set_term(session, organisation, Kept.RECORD, 730, NOW)
        assert not await set_term(session, organisation, Kept.RECORD, 730, NOW)
        with pytest.raises(InvalidInput):
            await set_term(session, organisation, Kept.RECORD, 7, NOW)
    async with database.read(EVERY_ORGANISATION) as session:
        assert await load_terms(session, cast.emilia.organisation.id) == DEFAULT_DAYS

    assert (await shredder.run_once(NOW)).visits == 1
    (changed,) = await load_entries(database, Act.RETENTION_CHANGED)
    assert changed["facts"] == {"kept": "record", "term_days": 730, "before": 3650}


async def test_the_administrator_sets_terms_and_holds(
    site: Site, cast: Cast, make_visit: MakeVisit
) -> None:
    visit = await make_visit(cast.toscana)
    administrator = await site.staff(cast.toscana.administrator)
    terms = {
        "record": "1825", "messages": "60", "recording": "30", "access": "365", "log": "800",
        "log_access": "400",
    }  # fmt: skip

    assert (await administrator.post("/admin/retention", **terms)).status == 303
    wrong = await administrator.post("/admin/retention", **terms | {"record": "x"})
    held = await administrator.post("/admin/retention/holds", visit=visit.id, reason="complaint")
    again = await administrator.post("/admin/retention/holds", visit=visit.id, reason="complaint")
    unknown = await administrator.post("/admin/retention/holds", visit="nobody", reason="complaint")
    page = await administrator.get("/admin/retention")
    lifted = await administrator.post(f"/admin/retention/holds/{visit.id}/lift")

    assert (wrong.status, held.status, again.status, unknown.status) == (400, 303, 409, 404)
    assert "Questa visita è già bloccata." in again.text
    assert 'value="1825"' in page.text
    assert visit.id in page.text
    assert lifted.status == 303
    async with site.database.read(EVERY_ORGANISATION) as session:
        (row,) = (await session.scalars(select(LegalHold))).all()
    assert row.lifted_by == row.placed_by == cast.toscana.administrator.id


async def accanto(database_url: str, data_dir: Path, *arguments: str) -> tuple[int, str]:
    """Status and all words of a command over the data folder of the test."""
    environment = {"ACCANTO_DATABASE_URL": database_url, "ACCANTO_DATA_DIR": str(data_dir)}
    done = await asyncio.to_thread(run_accanto, arguments, os.environ | environment, is_merged=True)
    return done.returncode, done.stdout


@pytest.mark.timeout(600)
async def test_commands_do_what_the_page_does(
    database: Database, database_url: str, data_dir: Path, records: Records
) -> None:
    old = await records.add(LONG_AGO, ADA)

    async def run(*arguments: str) -> tuple[int, str]:
        return await accanto(database_url, data_dir, *arguments)

    assert await run("hold", "place", old.id, "--reason", "litigation") == (
        0, f"The visit {old.id} is held.\n",
    )  # fmt: skip
    assert (await run("hold", "place", "nobody", "--reason", "litigation"))[0] == 1
    held = json.loads((await run("hold", "list", "--json"))[1])
    assert (held["visit"], held["reason"]) == (old.id, "litigation")
    assert "Held: 1 visits." in (await run("retention", "run"))[1]
    assert (await run("hold", "lift", old.id))[0] == 0
    assert (await run("retention", "set", "ausl-toscana", "record", "10"))[0] == 1
    assert (await run("retention", "set", "ausl-toscana", "record", "1825"))[0] == 0
    lines = [
        json.loads(line) for line in (await run("retention", "show", "--json"))[1].split("\n")[:-1]
    ]
    assert {line["organisation"]: line["record"] for line in lines} == {
        "ausl-emilia": 3650, "ausl-toscana": 1825,
    }  # fmt: skip
    assert (await run("retention", "run"))[1].startswith("Ended: 1 visits, 0 recordings")
    assert (await count_rows(database, old))["note"] == 0


async def test_pages_of_an_ended_visit_say_so(
    site: Site, cast: Cast, records: Records, shredder: Shredder
) -> None:
    old = await records.add(LONG_AGO, ADA)
    clinician = await site.staff(cast.toscana.clinician)
    async with site.database.begin(old.organisation_id) as session:
        await session.execute(update(Visit).values(state=VisitState.WAITING))
    await shredder.run_once(NOW)

    pages = [
        await clinician.get(f"/visits/{old.id}{path}") for path in ("", "/note", "/note/print")
    ]
    agenda = await clinician.get("/agenda")

    assert [page.status for page in pages] == [410] * 3
    assert "cancellati per sempre" in pages[0].text
    assert agenda.status == 200
    assert old.id not in agenda.text


def test_no_organisation_is_left_out_of_the_terms() -> None:
    assert set(DEFAULT_DAYS) == set(Kept)
    assert issubclass(Shredded, SealBroken)
    assert "retention_term" in Base.metadata.tables
