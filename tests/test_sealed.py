"""Each sealed column opens as what it is, and no column holds a person's words in clear."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from sqlalchemy import JSON, LargeBinary, String, select
from sqlalchemy.orm import joinedload

from recordings.vault import SealBroken
from server.db import EVERY_ORGANISATION, Base, Database
from server.keyring import Keyring
from server.models import Appointment, CheckIn, DataKey, Note, Patient, Visit
from server.sealed import (
    Answers,
    Eligibility,
    Identity,
    NoteContent,
    Section,
    open_answers,
    open_details,
    open_eligibility,
    open_identity,
    open_note,
    seal_answers,
    seal_eligibility,
    seal_identity,
    seal_note,
    warm_keys,
)
from tests.conftest import CARDIOLOGY, ROSA, Cast, MakeVisit

NOW = datetime(2026, 11, 26, 9, 40, tzinfo=UTC)
NOTE = NoteContent(
    sections={Section.CONCLUSIONS: "Segreto clinico quarantadue: continua la terapia."}
)
ANSWERS = Answers(address="Via dei Serragli 12", companions="mia figlia", camera="ok")
OTHER = Identity(family_name="Neri", given_name="Ada", codice_fiscale="NREDAA50A41D612X")
ELIGIBILITY = Eligibility(ground="known_disease", reason="paziente già nota")


async def test_every_sealed_column_opens_as_it_was(
    database: Database, keyring: Keyring, cast: Cast, make_visit: MakeVisit
) -> None:
    visit = await make_visit(cast.toscana)
    organisation = cast.toscana.organisation.id
    async with database.begin(organisation) as session:
        stored = await session.get_one(Visit, visit.id)
        note = Note(
            organisation_id=organisation,
            visit_id=visit.id,
            version=1,
            author_id=cast.toscana.clinician.id,
            saved_at=NOW,
        )
        check_in = CheckIn(
            organisation_id=organisation, visit_id=visit.id, version=1, updated_at=NOW
        )
        await seal_note(keyring, session, note, NOTE)
        await seal_answers(keyring, session, check_in, ANSWERS)
        await seal_eligibility(keyring, session, stored, ELIGIBILITY)
        session.add_all([note, check_in])

    async with database.read(organisation) as session:
        appointment = await session.get_one(
            Appointment, visit.appointment_id, options=[joinedload(Appointment.patient)]
        )
        kept = await session.get_one(Visit, visit.id)
        assert await open_identity(keyring, session, appointment.patient) == ROSA
        assert await open_details(keyring, session, appointment) == CARDIOLOGY
        assert await open_note(keyring, session, await session.get_one(Note, (visit.id, 1))) == NOTE
        check_in = await session.get_one(CheckIn, visit.id)
        assert await open_answers(keyring, session, check_in) == ANSWERS
        assert await open_eligibility(keyring, session, kept) == ELIGIBILITY


async def test_nothing_answered_yet_opens_as_not_answered(
    database: Database, keyring: Keyring, cast: Cast, make_visit: MakeVisit
) -> None:
    visit = await make_visit(cast.toscana)

    async with database.read(cast.toscana.organisation.id) as session:
        assert await open_answers(keyring, session, None) == Answers()
        assert await open_eligibility(keyring, session, visit) is None


async def test_identity_put_into_another_patient_is_refused(
    database: Database, keyring: Keyring, cast: Cast, make_visit: MakeVisit
) -> None:
    await make_visit(cast.toscana)
    await make_visit(cast.toscana, identity=OTHER)

    async with database.begin(cast.toscana.organisation.id) as session:
        one, other = await session.scalars(select(Patient))
        one.sealed_identity, other.sealed_identity = other.sealed_identity, one.sealed_identity
        for patient in (one, other):
            with pytest.raises(SealBroken):
                await open_identity(keyring, session, patient)


async def test_old_version_put_back_is_refused(
    database: Database, keyring: Keyring, cast: Cast, make_visit: MakeVisit
) -> None:
    await make_visit(cast.toscana)

    async with database.begin(cast.toscana.organisation.id) as session:
        patient = (await session.scalars(select(Patient))).one()
        before = patient.sealed_identity
        patient.identity_version += 1
        await seal_identity(keyring, session, patient, ROSA)
        patient.sealed_identity = before
        with pytest.raises(SealBroken):
            await open_identity(keyring, session, patient)


async def test_note_of_one_visit_does_not_open_in_another(
    database: Database, keyring: Keyring, cast: Cast, make_visit: MakeVisit
) -> None:
    first, second = await make_visit(cast.toscana), await make_visit(cast.toscana)

    async with database.begin(cast.toscana.organisation.id) as session:
        note = Note(organisation_id=first.organisation_id, visit_id=first.id, version=1)
        await seal_note(keyring, session, note, NOTE)
        moved = Note(
            organisation_id=first.organisation_id,
            visit_id=second.id,
            version=1,
            sealed_text=note.sealed_text,
        )
        with pytest.raises(SealBroken):
            await open_note(keyring, session, moved)


async def test_warmed_keys_open_a_list_without_another_query(
    database: Database, keyring: Keyring, cast: Cast, make_visit: MakeVisit
) -> None:
    for _ in range(3):
        await make_visit(cast.toscana)
    fresh = Keyring(keyring.roots, keyring.installation)

    async with database.read(cast.toscana.organisation.id) as session:
        wanted = select(Visit).options(
            joinedload(Visit.appointment).joinedload(Appointment.patient)
        )
        visits = list(await session.scalars(wanted))
        await warm_keys(fresh, session, visits)
    async with database.begin(EVERY_ORGANISATION) as session:
        for key in await session.scalars(select(DataKey)):
            key.wrapped = b""
    async with database.read(cast.toscana.organisation.id) as session:
        names = [
            (await open_identity(fresh, session, visit.appointment.patient)).full_name
            for visit in visits
        ]

    assert names == ["Rosa Bertolucci"] * 3


def test_bytes_are_sealed_or_wrapped_and_say_so() -> None:
    columns = [
        column.name
        for table in Base.metadata.tables.values()
        for column in table.columns
        if isinstance(column.type, LargeBinary)
    ]

    hashes = {"frontier", "hashes", "salt"}
    bare = {name for name in columns if not name.startswith("sealed_")}
    assert bare == {"wrapped"} | hashes


CLEAR = {
    "of the organisation": {
        "organisation.name", "organisation.pilot_clinics", "organisation.street",
        "organisation.city", "phase_change.pilot_clinics", "clinic.name", "clinic.site_name",
        "organisation.recording_purposes", "source.name", "source.settings",
    },
    "names of staff, as patients read them": {"user.given_name", "user.family_name"},
    "a hash": {"user.password_hash"},
    "ids, numbers and stable words": {
        "patient.identity_orders", "appointment.message_order", "inbox_message.control_id",
        "inbox_message.message_order", "inbox_message.warnings", "difference.fields",
        "outbox_event.facts", "patient_message.parameters", "line_test.steps",
        "line_test.problems", "log_entry.entry", "submission.workflow_instance_id",
        "recording_track.gaps", "visit_summary.problems", "log_checkpoint.note", "saved_view.query",
    },
    "texts for many patients, written before any of them": {
        "note_template.title", "note_template.specialty", "note_template.content", "phrase.text",
    },
    "invented patients, to practise with": {
        "training_scenario.title", "training_scenario.content", "practice.scenario",
    },
    "a published list": {"code_list_entry.display", "code_list_entry.search_text"},
}  # fmt: skip
"""Every column with room for a sentence that is not sealed, and what it holds."""


def test_columns_of_persons_words_are_not_in_clear() -> None:
    """A new column of free text is sealed, or has its reason in ``CLEAR``."""
    roomy = {
        f"{table.name}.{column.name}"
        for table in Base.metadata.tables.values()
        for column in table.columns
        if isinstance(column.type, JSON)
        or (isinstance(column.type, String) and (column.type.length or 1_000) >= 100)
    }

    assert roomy == set().union(*CLEAR.values())


def test_no_column_in_clear_is_named_like_what_identifies_a_patient() -> None:
    telling = {
        "birth_date", "birth_place", "phone", "email", "address", "codice_fiscale", "nre",
        "question", "caption", "file_name", "diagnosis", "conclusions",
    }  # fmt: skip
    clear = {
        f"{table.name}.{column.name}"
        for table in Base.metadata.tables.values()
        for column in table.columns
        if not column.name.startswith("sealed_") and column.name in telling
    }

    assert clear == set()
