"""A correction at the person's wish: the rules of identities, and who hears of it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import select, update

from server.audit import Act
from server.cup.booking import Field
from server.cup.csvfile.out import render
from server.cup.fhir.events import render_rectification
from server.cup.hl7v2.out import render_event
from server.cup.outbox.outgoing import OutgoingEvent
from server.cup.rectify import Rectified, correct, rectify
from server.db import EVERY_ORGANISATION, Database
from server.errors import Conflict, InvalidInput
from server.keyring import Keyring
from server.models import (
    Connector,
    EventKind,
    EventState,
    MessageKind,
    OutboxEvent,
    Patient,
    PatientMessage,
    Visit,
)
from server.sealed import AddressParts, Identity, open_identity
from server.sources import Outgoing
from server.subjects.finding import find_patients
from tests.conftest import Cast, MakeVisit
from tests.test_subjects import accanto, load_acts
from tests.visitors import Site, site

__all__ = ["site"]

NOW = datetime.now(UTC)
CODE = "RSSRSO48C52D612H"
ROSA = Identity(
    family_name="Rossi", given_name="Rosa", birth_date=date(1948, 3, 12), sex="F",
    phone="+393331234567", email="rosa@example.it", address="Via Roma 1, Firenze",
    residence=AddressParts(text="Via Roma 1, Firenze", city="Firenze"),
)  # fmt: skip


async def change(
    database: Database, keyring: Keyring, visit: Visit, said: Mapping[Field, str]
) -> Rectified:
    async with database.begin(visit.organisation_id) as session:
        return await rectify(keyring, session, visit.appointment.patient_id, said, NOW)


async def load(database: Database, keyring: Keyring, visit: Visit) -> Identity:
    async with database.read(visit.organisation_id) as session:
        patient = await session.get_one(Patient, visit.appointment.patient_id)
        return await open_identity(keyring, session, patient)


async def load_events(database: Database) -> list[OutboxEvent]:
    async with database.read(EVERY_ORGANISATION) as session:
        return list(await session.scalars(select(OutboxEvent).order_by(OutboxEvent.number)))


async def load_invitations(database: Database) -> list[PatientMessage]:
    async with database.read(EVERY_ORGANISATION) as session:
        of_kind = PatientMessage.kind == MessageKind.INVITATION
        return list(await session.scalars(select(PatientMessage).where(of_kind)))


# ---- what can be right -------------------------------------------------------------------


def test_what_was_said_replaces_what_was_known_and_nothing_else() -> None:
    said = {Field.FAMILY_NAME: " Bianchi ", Field.ADDRESS: "Via Po 2", Field.PHONE: ""}
    corrected = correct(ROSA, said, NOW.date())

    assert (corrected.family_name, corrected.address, corrected.phone) == (
        "Bianchi",
        "Via Po 2",
        "",
    )
    assert corrected.residence is None
    assert (corrected.given_name, corrected.email) == (ROSA.given_name, ROSA.email)
    assert correct(ROSA, {Field.GIVEN_NAME: "Rosa"}, NOW.date()) == ROSA


@pytest.mark.parametrize(
    ("field", "text", "wrong"),
    [
        (Field.CODICE_FISCALE, "RSSRSO48C52D612X", "codice_fiscale"),
        (Field.CODICE_FISCALE, "rosa", "codice_fiscale"),
        (Field.CODICE_FISCALE, "RSSRSO48C12D612D", "sex"),
        (Field.BIRTH_DATE, "12 marzo", "birth_date"),
        (Field.BIRTH_DATE, "2148-03-12", "birth_date"),
        (Field.BIRTH_DATE, "", "birth_date"),
        (Field.SEX, "?", "sex"),
        (Field.PHONE, "12", "phone"),
        (Field.EMAIL, "rosa@", "email"),
    ],
)
def test_what_cannot_be_right_is_refused(field: Field, text: str, wrong: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        correct(ROSA, {field: text}, NOW.date())
    assert caught.value.field == wrong


def test_a_birth_date_must_agree_with_the_codice_fiscale() -> None:
    known = correct(ROSA, {Field.CODICE_FISCALE: CODE}, NOW.date())
    with pytest.raises(InvalidInput) as caught:
        correct(known, {Field.BIRTH_DATE: "1948-03-13"}, NOW.date())
    assert caught.value.reason == "birth_date_does_not_match"


# ---- who hears of it ---------------------------------------------------------------------


async def test_a_correction_is_logged_and_cup_and_the_patient_hear_of_it(
    database: Database, keyring: Keyring, cast: Cast, make_visit: MakeVisit
) -> None:
    past = await make_visit(cast.toscana, identity=ROSA, start=NOW - timedelta(days=3))
    async with database.begin(past.organisation_id) as session:
        await session.refresh(
            patient := await session.get_one(Patient, past.appointment.patient_id)
        )
        assert patient.identity_version == 1
    before = len(await load_invitations(database))

    done = await change(database, keyring, past, {Field.PHONE: "055 1234567"})
    again = await change(database, keyring, past, {Field.PHONE: "055 1234567"})

    assert (done, again) == (Rectified(("phone",), 1), Rectified())
    assert (await load(database, keyring, past)).phone == "055 1234567"
    (entry,) = await load_acts(database, Act.PATIENT_RECTIFIED)
    assert (entry["visit"], entry["facts"]) == (past.id, {"phone": True})
    assert entry["object"] == f"patient:{past.appointment.patient_id}"
    (event,) = await load_events(database)
    assert (event.kind, json.loads(event.facts)) == (EventKind.RECTIFIED, {"fields": "phone"})
    assert event.state is EventState.NO_ROUTE
    assert len(await load_invitations(database)) == before


async def test_a_visit_to_come_gets_a_new_invitation_when_the_way_to_her_has_changed(
    database: Database, keyring: Keyring, cast: Cast, make_visit: MakeVisit
) -> None:
    visit = await make_visit(cast.toscana, identity=ROSA, start=NOW + timedelta(days=3))
    before = len(await load_invitations(database))

    await change(database, keyring, visit, {Field.FAMILY_NAME: "Bianchi"})
    assert len(await load_invitations(database)) == before
    await change(database, keyring, visit, {Field.EMAIL: "rosa.bianchi@example.it"})
    assert len(await load_invitations(database)) == before + 1


async def test_a_new_codice_fiscale_finds_her_and_the_wrong_one_does_not(
    database: Database, keyring: Keyring, cast: Cast, make_visit: MakeVisit
) -> None:
    wrong = Identity(family_name="Rossi", given_name="Rosa", codice_fiscale="RSSRSO48C52D612H")
    visit = await make_visit(cast.toscana, identity=wrong)

    await change(database, keyring, visit, {Field.CODICE_FISCALE: "RSSRSO48C52F205G"})

    async with database.read(EVERY_ORGANISATION) as session:
        assert not await find_patients(keyring, session, CODE)
        (found,) = await find_patients(keyring, session, "RSSRSO48C52F205G")
    assert found.id == visit.appointment.patient_id


async def test_nobody_is_made_one_with_another_patient(
    database: Database, keyring: Keyring, cast: Cast, make_visit: MakeVisit
) -> None:
    visit = await make_visit(cast.toscana, identity=Identity(family_name="Rossi"))
    coded = Identity(family_name="Verdi", codice_fiscale=CODE, birth_date=date(1948, 3, 12))
    other = await make_visit(cast.toscana, identity=coded)

    with pytest.raises(Conflict):
        await change(database, keyring, visit, {Field.CODICE_FISCALE: CODE})

    assert not await load_acts(database, Act.PATIENT_RECTIFIED)
    assert (await load(database, keyring, visit)).codice_fiscale == ""
    assert (await load(database, keyring, other)).codice_fiscale == CODE


def test_cup_is_told_which_fields_and_no_value() -> None:
    event = OutgoingEvent(
        number=1, control_id="c1", kind=EventKind.RECTIFIED, facts={"fields": "phone email"},
        booking_code="CUP-1", start=NOW, end=NOW, sent_at=NOW,
    )  # fmt: skip

    row = render(event, Outgoing(connector=Connector.CSV, address="out"))
    assert row.splitlines()[1].startswith("CUP-1;dati_corretti;;phone email;")
    assert render_event(event, Outgoing(connector=Connector.HL7V2, address="a:1")) is None
    words = {"rectified": "Corrected"}
    told = render_event(event, Outgoing(connector=Connector.HL7V2, address="a:1", words=words))
    assert told is not None
    assert b"Corrected" in told
    assert render_rectification(event, {}) is None
    task = render_rectification(event, words)
    assert task is not None
    assert (task["code"], task["description"]) == ({"text": "Corrected"}, "phone email")


@pytest.mark.parametrize(
    ("state", "reason", "words"),
    [
        (EventState.NO_ROUTE, "", "Il CUP da qui non lo sa"),
        (EventState.DELIVERED, "not_wanted", "Il CUP da qui non lo sa"),
        (EventState.DELIVERED, "", "Il CUP è stato avvisato"),
    ],
)
async def test_the_desk_sees_what_was_corrected_and_whether_cup_knows(
    site: Site, keyring: Keyring, cast: Cast, make_visit: MakeVisit, state: EventState,
    reason: str, words: str,
) -> None:  # fmt: skip
    visit = await make_visit(cast.toscana, identity=ROSA)
    desk = await site.staff(cast.toscana.desk)
    before = await desk.get(f"/desk/visits/{visit.id}")
    await change(site.database, keyring, visit, {Field.PHONE: "055 1234567"})
    async with site.database.begin(visit.organisation_id) as session:
        await session.execute(update(OutboxEvent).values(state=state, reason=reason))

    page = await desk.get(f"/desk/visits/{visit.id}")

    assert "desk-corrected" not in before.text
    assert "Dati corretti su richiesta del paziente" in page.text
    assert words in page.text


# ---- the command -------------------------------------------------------------------------


@pytest.mark.timeout(300)
async def test_the_command_asks_for_each_field_or_reads_a_file(
    database: Database, keyring: Keyring, database_url: str, data_dir: Path, cast: Cast,
    make_visit: MakeVisit, tmp_path: Path,
) -> None:  # fmt: skip
    visit = await make_visit(cast.toscana, identity=ROSA)
    who = tmp_path / "who"
    who.write_text(visit.appointment.booking_code)
    start = ("patient", "rectify", "--who", str(who), "--yes")

    typed = "Bianchi\n\n\n\n\n-\n\n\n\n"
    status, words = await accanto(database_url, data_dir, *start, typed=typed)
    assert status == 0
    assert words.endswith("Corrected: family_name, phone. Events for CUP: 1.\n")
    changes = tmp_path / "changes.json"
    changes.write_text('{"phone": "12"}')
    refused = await accanto(database_url, data_dir, *start, "--changes", str(changes))
    assert refused == (1, "The phone is not one that can be reached\n")
    known = await load(database, keyring, visit)
    assert (known.family_name, known.given_name, known.phone) == ("Bianchi", "Rosa", "")
