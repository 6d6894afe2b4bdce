"""The inbox: each booking has one effect however often and in whatever order it comes."""

from __future__ import annotations

import csv
import io
import json
import random
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select
from sqlalchemy.orm import joinedload

from server.cup.booking import Booking, FileRejected, Merge, Message
from server.cup.csvfile.mapping import parse_row
from server.cup.inbox.intake import ImportReport, import_file
from server.cup.inbox.intake import Inbox as CupInbox
from server.cup.inbox.replay import discard, replay
from server.db import EVERY_ORGANISATION, Base, Database
from server.errors import Conflict
from server.keyring import Keyring
from server.models import (
    Appointment,
    AppointmentStatus,
    DataKey,
    InboxMessage,
    LogEntry,
    MessageState,
    Outcome,
    Patient,
    PatientMessage,
    Source,
    User,
    UserRole,
    Visit,
    VisitChange,
    VisitState,
)
from server.sealed import Identity, open_details, open_identity, open_message, seal_identity
from server.sources import Mapping, SourceSettings, write_settings
from tests.conftest import Cast

VECTORS = Path(__file__).parent / "vectors" / "cup"
NOW = datetime(2026, 11, 22, 9, 0, tzinfo=UTC)
DAY = VECTORS / "giornata.csv"


class Inbox:
    """Imports files and looks at what they left."""

    def __init__(self, database: Database, keyring: Keyring, folder: Path) -> None:
        self.database = database
        self.keyring = keyring
        self.path = folder / "file"
        self.now = NOW

    async def load(self, content: bytes | Path, organisation: str | None = None) -> ImportReport:
        path = content if isinstance(content, Path) else self.path
        if isinstance(content, bytes):
            self.path.write_bytes(content)
        self.now += timedelta(minutes=1)
        return await import_file(
            self.database, self.keyring, path, organisation_code=organisation, now=self.now
        )

    async def visit(self, booking_code: str) -> Visit:
        async with self.database.read(EVERY_ORGANISATION) as session:
            visits = await session.scalars(
                select(Visit)
                .join(Visit.appointment)
                .where(Appointment.booking_code == booking_code)
                .options(
                    joinedload(Visit.appointment).joinedload(Appointment.patient),
                    joinedload(Visit.appointment).joinedload(Appointment.clinic),
                )
            )
            return visits.one()

    async def identity(self, booking_code: str) -> Identity:
        patient = (await self.visit(booking_code)).appointment.patient
        async with self.database.read(EVERY_ORGANISATION) as session:
            return await open_identity(self.keyring, session, patient)

    async def acts(self, visit_id: str) -> list[str]:
        async with self.database.read(EVERY_ORGANISATION) as session:
            statement = select(LogEntry.entry).where(LogEntry.visit_id == visit_id)
            entries = await session.scalars(statement.order_by(LogEntry.id))
            return [json.loads(entry)["action"] for entry in entries]

    async def changes(self) -> list[tuple[str, str]]:
        """What open pages are told: visit and kind."""
        async with self.database.read(EVERY_ORGANISATION) as session:
            rows = await session.scalars(select(VisitChange).order_by(VisitChange.number))
            return [(row.visit_id, row.kind.value) for row in rows]

    async def queued(self, visit_id: str) -> list[tuple[str, str]]:
        """Kind and occasion of what the patient is told."""
        async with self.database.read(EVERY_ORGANISATION) as session:
            statement = select(PatientMessage).where(PatientMessage.visit_id == visit_id)
            rows = list(await session.scalars(statement))
            return sorted((row.kind.value, row.occasion) for row in rows)

    async def messages(self, state: MessageState) -> list[InboxMessage]:
        async with self.database.read(EVERY_ORGANISATION) as session:
            statement = select(InboxMessage).where(InboxMessage.state == state)
            return list(await session.scalars(statement.order_by(InboxMessage.line)))

    async def bookings(self) -> dict[str, list[tuple[object, ...]]]:
        """Every row that people and pages go by; not which message said it last."""
        rows = await self.everything()
        return {
            name: rows[name]
            for name in ("visit", "patient", "clinic", "log_entry", "patient_message")
        }

    async def everything(self) -> dict[str, list[tuple[object, ...]]]:
        """Every row of every table that an import could touch."""
        async with self.database.engine.connect() as connection:
            found = {}
            for table in Base.metadata.sorted_tables:
                columns = [column for column in table.c if column.name != "identity_orders"]
                rows = await connection.execute(select(*columns))
                found[table.name] = sorted(map(tuple, rows), key=repr)
            return found


@pytest.fixture
def inbox(database: Database, keyring: Keyring, cast: Cast, tmp_path: Path) -> Inbox:
    return Inbox(database, keyring, tmp_path)


def edited(**changes: str) -> bytes:
    """The first row of the day with other cells."""
    rows = list(csv.DictReader(DAY.read_text().splitlines(), delimiter=";"))
    text = io.StringIO()
    writer = csv.DictWriter(text, rows[0].keys(), delimiter=";")
    writer.writeheader()
    writer.writerow(rows[0] | changes)
    return text.getvalue().encode()


async def test_day_becomes_patients_appointments_and_visits(inbox: Inbox, cast: Cast) -> None:
    report = await inbox.load(DAY)

    assert (report.imported, report.errors) == (5, [])
    assert list(report.to_assign) == ["TC-0003"]
    rosa = await inbox.visit("TC-0001")
    assert rosa.organisation_id == cast.toscana.organisation.id
    assert rosa.appointment.clinician_id == cast.toscana.clinician.id
    assert rosa.appointment.clinic_id == cast.toscana.clinic.id
    assert rosa.state is VisitState.BOOKED
    assert await inbox.acts(rosa.id) == ["booking.imported", "link.issued"]
    fatima = await inbox.visit("TC-0003")
    assert fatima.appointment.clinician_id is None
    assert fatima.appointment.clinician_code == "sconosciuto-1"
    dino = await inbox.visit("TC-0004")
    assert dino.state is VisitState.CANCELLED
    assert await inbox.acts(dino.id) == ["booking.imported", "booking.cancelled"]
    loredana = await inbox.visit("EM-0001")
    assert loredana.organisation_id == cast.emilia.organisation.id
    assert loredana.appointment.clinic is not None
    assert loredana.appointment.clinic.name == "Pneumologia"


async def test_repeats_in_any_order_change_nothing(inbox: Inbox) -> None:
    header, *rows = DAY.read_bytes().splitlines(keepends=True)
    await inbox.load(DAY)
    before = await inbox.bookings()

    for seed in range(3):
        random.Random(seed).shuffle(rows)
        report = await inbox.load(header + b"".join(rows))
        assert (report.unchanged, report.errors) == (5, [])

    assert await inbox.bookings() == before
    assert await inbox.changes() == []


async def test_same_file_again_is_counted_and_no_more(inbox: Inbox) -> None:
    await inbox.load(DAY)
    before = await inbox.bookings()

    assert (await inbox.load(DAY)).unchanged == 5

    assert await inbox.bookings() == before
    kept = await inbox.messages(MessageState.APPLIED)
    assert [message.repeats for message in kept] == [1] * 5


async def test_moved_booking_moves_and_keeps_its_link(inbox: Inbox) -> None:
    await inbox.load(DAY)
    before = await inbox.visit("TC-0001")

    report = await inbox.load(edited(ora="15:00"))

    after = await inbox.visit("TC-0001")
    assert report.moved == 1
    assert await inbox.changes() == [(before.id, "moved")]
    assert after.appointment.start == before.appointment.start + timedelta(hours=5, minutes=30)
    assert (after.locator, after.link_version) == (before.locator, before.link_version)
    assert (await inbox.acts(after.id))[-1] == "booking.moved"
    assert await inbox.queued(after.id) == [("invitation", "1"), ("moved", "2026-12-01T14:00")]


async def test_cancelled_booking_kills_the_link_and_a_newer_one_revives_it(inbox: Inbox) -> None:
    await inbox.load(DAY)

    report = await inbox.load(edited(stato="annullata"))
    again = await inbox.load(edited(stato="annullata"))

    visit = await inbox.visit("TC-0001")
    assert (report.cancelled, again.unchanged) == (1, 1)
    assert visit.state is VisitState.CANCELLED
    assert visit.appointment.status is AppointmentStatus.CANCELLED
    assert visit.link_version == 2
    assert (await inbox.acts(visit.id))[-1] == "booking.cancelled"
    assert await inbox.changes() == [(visit.id, "cancelled")]

    await inbox.load(edited(stato="prenotata", quesito="Di nuovo"))

    revived = await inbox.visit("TC-0001")
    assert revived.state is VisitState.BOOKED
    assert revived.appointment.status is AppointmentStatus.BOOKED
    assert await inbox.queued(visit.id) == [
        ("cancelled", "2"),
        ("invitation", "1"),
        ("invitation", "2"),
    ]


@pytest.mark.parametrize("state", [VisitState.IN_VISIT, VisitState.ENDED])
async def test_visit_that_has_begun_is_neither_moved_nor_cancelled(
    inbox: Inbox, state: VisitState
) -> None:
    await inbox.load(DAY)
    before = await inbox.visit("TC-0001")
    async with inbox.database.begin(EVERY_ORGANISATION) as session:
        (await session.get_one(Visit, before.id)).state = state

    for changed in (edited(ora="15:00"), edited(stato="disdetta"), edited(stato="assente")):
        report = await inbox.load(changed)
        assert report.errors == []

    after = await inbox.visit("TC-0001")
    assert (after.state, after.outcome, after.link_version) == (state, None, 1)
    assert after.appointment.start == before.appointment.start
    assert after.appointment.status is AppointmentStatus.BOOKED
    kept = await inbox.messages(MessageState.APPLIED)
    assert {message.warnings for message in kept} == {
        "", "start:visit_already_begun", "status:visit_already_begun",
    }  # fmt: skip
    assert await inbox.changes() == []


async def test_no_show_ends_the_visit_and_can_be_taken_back(inbox: Inbox) -> None:
    await inbox.load(DAY)

    report = await inbox.load(edited(stato="assente"))
    visit = await inbox.visit("TC-0001")
    assert report.ended == 1
    assert (visit.state, visit.outcome) == (VisitState.ENDED, Outcome.NO_SHOW_PATIENT)
    assert (await inbox.acts(visit.id))[-1] == "booking.ended"

    await inbox.load(edited(stato="prenotata", ora="16:00"))
    visit = await inbox.visit("TC-0001")
    assert (visit.state, visit.outcome, visit.ended_at) == (VisitState.BOOKED, None, None)


async def test_patient_who_waited_is_no_no_show(inbox: Inbox) -> None:
    await inbox.load(DAY)
    visit = await inbox.visit("TC-0001")
    async with inbox.database.begin(EVERY_ORGANISATION) as session:
        row = await session.get_one(Visit, visit.id)
        row.state, row.waiting_since = VisitState.WAITING, NOW

    await inbox.load(edited(stato="assente"))

    assert (await inbox.visit("TC-0001")).state is VisitState.WAITING
    kept = await inbox.messages(MessageState.APPLIED)
    assert "status:patient_was_present" in {message.warnings for message in kept}


async def test_cancellation_without_a_time_waits_for_its_booking(inbox: Inbox) -> None:
    early = await inbox.load(edited(stato="annullata", data="", ora=""), "ausl-toscana")
    assert [(error.field, error.reason) for error in early.errors] == [("data", "missing")]

    inbox.now = NOW - timedelta(days=1)
    await inbox.load(DAY)

    visit = await inbox.visit("TC-0001")
    assert visit.state is VisitState.CANCELLED
    assert await inbox.messages(MessageState.QUARANTINED) == []
    assert await inbox.queued(visit.id) == []


async def test_clinician_added_later_gets_the_booking_at_the_next_import(
    inbox: Inbox, cast: Cast
) -> None:
    await inbox.load(DAY)
    async with inbox.database.begin(EVERY_ORGANISATION) as session:
        user = User(
            organisation_id=cast.toscana.organisation.id,
            username="nuova",
            password_hash="",
            role=UserRole.CLINICIAN,
            code="sconosciuto-1",
        )
        session.add(user)

    report = await inbox.load(DAY)

    visit = await inbox.visit("TC-0003")
    assert (report.updated, report.unchanged, report.to_assign) == (1, 4, {})
    assert visit.appointment.clinician_id == user.id
    assert (await inbox.acts(visit.id))[-1] == "booking.assigned"


async def test_clinician_of_another_organisation_is_unknown_here(inbox: Inbox, cast: Cast) -> None:
    report = await inbox.load(edited(codice_medico=cast.emilia.clinician.code or ""))

    assert list(report.to_assign) == ["TC-0001"]


async def test_one_person_is_one_patient_and_a_repeat_keeps_the_desks_correction(
    inbox: Inbox,
) -> None:
    await inbox.load(DAY)
    await inbox.load(edited(codice_prenotazione="TC-0099", telefono="", indirizzo=""))
    first, second = await inbox.visit("TC-0001"), await inbox.visit("TC-0099")
    assert first.appointment.patient_id == second.appointment.patient_id
    assert (await inbox.identity("TC-0001")).phone == "055 000 1111"

    async with inbox.database.begin(EVERY_ORGANISATION) as session:
        patient = await session.get_one(Patient, first.appointment.patient_id)
        identity = await open_identity(inbox.keyring, session, patient)
        patient.identity_version += 1
        corrected = Identity(
            family_name=identity.family_name, birth_date=identity.birth_date, phone="055 999"
        )
        await seal_identity(inbox.keyring, session, patient, corrected)
    await inbox.load(DAY)

    assert (await inbox.identity("TC-0001")).phone == "055 999"


async def test_another_persons_code_is_another_patient_and_another_link(inbox: Inbox) -> None:
    await inbox.load(DAY)
    before = await inbox.visit("TC-0001")

    await inbox.load(edited(codice_fiscale="NNCRNZ39A28G999N", nome="Renzo", cognome="Innocenti"))

    after = await inbox.visit("TC-0001")
    assert after.appointment.patient_id != before.appointment.patient_id
    assert after.link_version == before.link_version + 1
    assert (await inbox.identity("TC-0001")).full_name == "Renzo Innocenti"


async def test_person_without_a_code_gets_one_later_and_stays_the_same_patient(
    inbox: Inbox,
) -> None:
    await inbox.load(edited(codice_fiscale=""))
    before = await inbox.visit("TC-0001")

    await inbox.load(DAY)

    after = await inbox.visit("TC-0001")
    assert after.appointment.patient_id == before.appointment.patient_id
    assert after.appointment.patient.codice_fiscale_index is not None
    assert after.link_version == before.link_version


async def test_changed_question_is_an_update(inbox: Inbox) -> None:
    await inbox.load(DAY)

    report = await inbox.load(edited(quesito="Altro quesito"))

    visit = await inbox.visit("TC-0001")
    assert report.updated == 1
    async with inbox.database.read(EVERY_ORGANISATION) as session:
        details = await open_details(inbox.keyring, session, visit.appointment)
    assert details.question == "Altro quesito"


async def test_wrong_rows_are_kept_sealed_once(inbox: Inbox, cast: Cast) -> None:
    wrong = (VECTORS / "righe-sbagliate.csv").read_bytes()

    for _ in range(2):
        report = await inbox.load(wrong, "ausl-toscana")
        assert len(report.errors) == 6

    rows = await inbox.messages(MessageState.QUARANTINED)
    assert [row.line for row in rows] == [3, 4, 5, 6, 7, 8]
    assert (rows[0].reason, rows[0].field) == ("missing", "booking_code")
    assert {row.repeats for row in rows} == {1}
    assert all(b"Latin" not in row.sealed_raw for row in rows)
    async with inbox.database.read(cast.toscana.organisation.id) as session:
        raw = await open_message(inbox.keyring, session, rows[2])
    assert b"Latin" in raw
    assert {row.organisation_id for row in rows} == {cast.toscana.organisation.id}


async def test_wrong_row_of_an_organisation_is_kept_under_its_keys(
    inbox: Inbox, cast: Cast
) -> None:
    await inbox.load(edited(ente="ausl-emilia", data="31/02/2026"), "ausl-toscana")

    (row,) = await inbox.messages(MessageState.QUARANTINED)
    assert row.organisation_id == cast.emilia.organisation.id
    assert (row.line, row.field, row.reason) == (2, "data", "not_a_date")


async def test_row_needs_an_organisation_and_a_known_one(inbox: Inbox) -> None:
    unknown = await inbox.load(edited(ente="ausl-lazio"))
    unsaid = await inbox.load(edited(ente=""))
    chosen = await inbox.load(edited(ente=""), "ausl-emilia")

    assert [(error.field, error.reason) for error in unknown.errors + unsaid.errors] == [
        ("ente", "not_known"),
        ("ente", "organisation_needed"),
    ]
    assert chosen.imported == 1


async def test_file_or_organisation_that_is_not_there_is_rejected(inbox: Inbox) -> None:
    with pytest.raises(FileRejected, match="No such file"):
        await inbox.load(VECTORS / "niente.csv")
    with pytest.raises(FileRejected, match="ausl-emilia, ausl-toscana"):
        await inbox.load(DAY, "ausl-lazio")


async def test_fhir_and_csv_of_one_booking_are_one_visit(inbox: Inbox) -> None:
    await inbox.load(VECTORS / "appointment-contained.json")

    report = await inbox.load(edited(codice_prenotazione="TC-9001"))

    assert (report.imported, report.updated) == (0, 1)


async def test_every_sealed_field_has_a_key_that_is_stored(inbox: Inbox) -> None:
    await inbox.load(DAY)
    await inbox.load((VECTORS / "righe-sbagliate.csv").read_bytes(), "ausl-toscana")

    everything = await inbox.everything()

    keys = {row[0] for row in everything[DataKey.__tablename__]}
    sealed = [
        bytes(cell)
        for name, rows in everything.items()
        if name not in {"data_key", "organisation_key", "log_head"}
        for row in rows
        for cell in row
        if isinstance(cell, bytes)
    ]
    assert len(sealed) > 10
    assert {field[4:20].decode() for field in sealed} <= keys


# ---- messages of a source --------------------------------------------------------------


@pytest.fixture
async def source(database: Database, cast: Cast) -> Source:
    async with database.begin(EVERY_ORGANISATION) as session:
        source = Source(organisation_id=cast.toscana.organisation.id, code="prova")
        session.add(source)
    return source


def message(cells: str, control_id: str, minute: int = 0, **changes: Any) -> Message:
    """A row ``codice;inizio;cognome;cf;paziente;telefono;ente`` as one message."""
    header = "codice_prenotazione;inizio;cognome;codice_fiscale;codice_paziente;telefono;ente"
    found = parse_row(f"{header}\n{cells}".encode(), SourceSettings(), NOW)
    order = replace(found.order, sent_at=NOW + timedelta(minutes=minute))
    return replace(found, control_id=control_id, order=order, **changes)


START = "2026-12-01T09:30:00+01:00"


async def test_control_id_is_used_once(inbox: Inbox, source: Source) -> None:
    door = CupInbox(inbox.database, inbox.keyring)
    good, other = message(f"A;{START};Rossi", "1"), message(f"B;{START};Verdi", "1")
    bad, mended = message(";;Rossi", "2"), message(f"C;{START};Rossi", "2")

    receipts = [
        (await door.receive(source, [each], NOW))[0]
        for each in (good, good, other, bad, bad, mended, bad)
    ]

    faults = [receipt.fault.reason.value if receipt.fault else "" for receipt in receipts]
    reused = "control_id_reused"
    assert faults == ["", "", reused, "missing", "missing", "", reused]
    assert [receipt.is_repeat for receipt in receipts] == [
        False,
        True,
        *[False] * 2,
        True,
        *[False] * 2,
    ]
    assert len(await inbox.messages(MessageState.DISCARDED)) == 1


async def test_message_that_breaks_us_is_kept_and_takes_no_other_along(
    inbox: Inbox, source: Source, caplog: pytest.LogCaptureFixture
) -> None:
    door = CupInbox(inbox.database, inbox.keyring)
    poison = message(f"P;{START};Veleno", "2")
    assert isinstance(poison.body, Booking)
    poison = replace(poison, body=replace(poison.body, start=datetime(2026, 12, 1)))  # noqa: DTZ001
    messages = [message(f"A;{START};Rossi", "1"), poison, message(f"B;{START};Verdi", "3")]

    receipts = await door.receive(source, messages, NOW)
    again = await door.receive(source, messages, NOW)

    assert [receipt.is_taken for receipt in receipts] == [True, False, True]
    assert [receipt.is_taken for receipt in again] == [True, False, True]
    assert (await inbox.visit("B")).state is VisitState.BOOKED
    (row,) = await inbox.messages(MessageState.QUARANTINED)
    assert (row.booking_code, row.reason) == ("P", "unreadable")
    assert "Veleno" not in caplog.text


async def test_booking_of_another_organisation_is_refused(inbox: Inbox, source: Source) -> None:
    door = CupInbox(inbox.database, inbox.keyring)
    rows = [f"A;{START};Rossi;;;;{code}" for code in ("ausl-emilia", "ausl-toscana", "120201")]

    receipts = await door.receive(
        source, [message(row, str(number)) for number, row in enumerate(rows)], NOW
    )

    assert receipts[0].fault is not None
    assert receipts[0].fault.reason.value == "other_organisation"
    assert [receipt.is_taken for receipt in receipts] == [False, True, True]


async def test_replay_reads_with_the_settings_of_now(inbox: Inbox, source: Source) -> None:
    door = CupInbox(inbox.database, inbox.keyring)
    wrong = message("A;domani;Rossi;;;;", "1")
    (receipt,) = await door.receive(source, [wrong], NOW)
    organisation = source.organisation_id
    try_again = partial(replay, inbox.database, inbox.keyring, organisation, receipt.message_id)

    assert not (await try_again(NOW)).is_taken
    async with inbox.database.begin(EVERY_ORGANISATION) as session:
        row = await session.get_one(Source, source.id)
        words = {"start": {"domani": START}}
        write_settings(row, SourceSettings(mapping=Mapping(words=words)))
    assert (await try_again(NOW)).is_taken

    assert (await inbox.visit("A")).state is VisitState.BOOKED
    with pytest.raises(Conflict):
        await try_again(NOW)
    async with inbox.database.read(EVERY_ORGANISATION) as session:
        entries = await session.scalars(select(LogEntry.entry))
        assert sum("cup.message_replayed" in entry for entry in entries) == 2


async def test_discarded_message_stays_and_is_not_tried_again(inbox: Inbox, source: Source) -> None:
    door = CupInbox(inbox.database, inbox.keyring)
    (receipt,) = await door.receive(source, [message(";;Rossi", "1")], NOW)

    await discard(inbox.database, source.organisation_id, receipt.message_id, NOW, by="x")

    (again,) = await door.receive(source, [message(";;Rossi", "1")], NOW)
    assert (again.state, again.is_taken) == (MessageState.DISCARDED, True)


async def test_merge_keeps_links_and_invites_again_only_when_the_contact_is_new(
    inbox: Inbox, source: Source
) -> None:
    door = CupInbox(inbox.database, inbox.keyring)
    first = message(f"A;{START};Rossi;;P1;055 1", "1")
    second = message(f"B;{START};Rossi;RSSMRA80A01H501U;P2;055 1", "2", 1)
    third = message(f"C;{START};Rossi;;P3;055 3", "3", 2)
    await door.receive(source, [first, second, third], NOW)
    before = {code: await inbox.visit(code) for code in "ABC"}

    for number, (old, new) in enumerate([("P1", "P2"), ("P3", "P2"), ("P3", "P2")]):
        merge = replace(
            first,
            control_id=f"m{number}",
            event="A40",
            content=f"{old}{new}".encode(),
            order=replace(first.order, sent_at=NOW + timedelta(minutes=5 + number)),
            body=Merge(patient_keys=(f"||{new}",), retired_keys=(f"||{old}",), identity=Identity()),
            booking_code="",
        )
        (receipt,) = await door.receive(source, [merge], NOW)
        assert receipt.state is (MessageState.UNCHANGED if number == 2 else MessageState.APPLIED)

    after = {code: await inbox.visit(code) for code in "ABC"}
    assert len({visit.appointment.patient_id for visit in after.values()}) == 1
    for code in "ABC":
        assert (after[code].locator, after[code].link_version) == (before[code].locator, 1)
        assert "patient.merged" in await inbox.acts(after["A"].id)
    assert (await inbox.identity("A")).phone == "055 3"
    assert (await inbox.identity("A")).birth_date == date(1980, 1, 1)
    kinds = {code: len(await inbox.queued(after[code].id)) for code in "ABC"}
    assert kinds == {"A": 3, "B": 2, "C": 2}
    await door.receive(source, [message(f"D;{START};Rossi;;P1;", "9", 9)], NOW)
    assert (await inbox.visit("D")).appointment.patient_id == after["A"].appointment.patient_id
