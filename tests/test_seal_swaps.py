"""A sealed value opens in its own place only: moved by SQL it is refused, and an alarm stands."""

from __future__ import annotations

import json
import random

import pytest
from sqlalchemy import LargeBinary, select, update

from server.audit import Act
from server.db import EVERY_ORGANISATION, Base, Database
from server.keyring import Keyring
from server.models import DataKey, LogEntry, Note, Patient, Visit
from server.sealed import Identity, NoteContent, Section, seal_note
from tests.conftest import Cast, MakeVisit
from tests.sealground import ALL_OPENERS, NOW, choose, collect, count_refused, fill
from tests.visitors import Site, site

__all__ = ["site"]

ROWS = 200
DISTANCES = random.Random(20).sample(range(1, ROWS), 20)
"""A tenth of all ordered pairs; ``make chaos`` moves all of them."""


@pytest.mark.timeout(300)
async def test_a_tenth_of_all_swaps_is_refused(
    database: Database, keyring: Keyring, cast: Cast, make_visit: MakeVisit
) -> None:
    await fill(database, keyring, cast, make_visit)
    values = choose(await collect(database), ROWS)
    assert len(values) == ROWS
    assert {value.column for value in values} == set(ALL_OPENERS)
    assert await count_refused(database, keyring, values, 0) == 0

    refused = [await count_refused(database, keyring, values, step) for step in DISTANCES]

    assert refused == [ROWS] * len(DISTANCES)


def test_every_sealed_column_is_among_the_swapped() -> None:
    columns = {
        f"{table.name}.{column.name}"
        for table in Base.metadata.sorted_tables
        for column in table.columns
        if column.name.startswith("sealed_") and isinstance(column.type, LargeBinary)
    }

    assert {f"{column.class_.__tablename__}.{column.key}" for column in ALL_OPENERS} == columns


async def swap_notes(site: Site, one: Visit, other: Visit) -> None:
    """By SQL, past every check of the server."""
    async with site.database.begin(EVERY_ORGANISATION) as session:
        first, second = (
            await session.get_one(Note, (one.id, 1)),
            await session.get_one(Note, (other.id, 1)),
        )
        moved = {one.id: second.sealed_text, other.id: first.sealed_text}
        for visit_id, sealed in moved.items():
            of_it = update(Note).where(Note.visit_id == visit_id)
            await session.execute(of_it.values(sealed_text=sealed))


async def load_alarms(site: Site) -> list[dict[str, object]]:
    async with site.database.read(EVERY_ORGANISATION) as session:
        entries = [json.loads(text) for text in await session.scalars(select(LogEntry.entry))]
    return [entry for entry in entries if entry["action"] == Act.SEAL_BROKEN]


@pytest.fixture
async def visits(
    site: Site, cast: Cast, make_visit: MakeVisit, keyring: Keyring
) -> tuple[Visit, Visit]:
    """Two visits of one doctor, each with a note."""
    one, other = await make_visit(cast.toscana), await make_visit(cast.toscana)
    async with site.database.begin(EVERY_ORGANISATION) as session:
        for visit in (one, other):
            note = Note(
                organisation_id=visit.organisation_id, visit_id=visit.id, version=1,
                author_id=cast.toscana.clinician.id, saved_at=NOW,
            )  # fmt: skip
            content = NoteContent(sections={Section.FREE: f"segreto di {visit.id}"})
            await seal_note(keyring, session, note, content)
            session.add(note)
    return one, other


@pytest.mark.parametrize("path", ["note", "note/print"])
async def test_a_moved_note_is_an_opaque_page_and_an_alarm(
    site: Site, cast: Cast, visits: tuple[Visit, Visit], path: str
) -> None:
    one, other = visits
    await swap_notes(site, one, other)
    clinician = await site.staff(cast.toscana.clinician)

    answer = await clinician.get(f"/visits/{one.id}/{path}")

    assert answer.status == 500
    assert "Un dato non si può leggere in modo sicuro" in answer.text
    assert "segreto" not in answer.text
    (alarm,) = await load_alarms(site)
    assert alarm["visit"] == one.id
    assert alarm["facts"] == {"table": "note", "object": one.id, "field": "text", "version": 1}
    figures = await site.stranger.get("/metrics")
    assert "accanto_broken_seals 1.0" in figures.text


async def test_a_page_of_our_own_script_gets_a_code_and_an_id(
    site: Site, cast: Cast, visits: tuple[Visit, Visit]
) -> None:
    await swap_notes(site, *visits)
    clinician = await site.staff(cast.toscana.clinician)

    answer = await clinician.get(f"/visits/{visits[0].id}/note", Accept="application/json")

    content = json.loads(answer.text)
    assert (answer.status, content["code"], len(content["id"])) == (500, "unreadable", 16)
    assert set(content) == {"code", "id"}


async def test_an_agenda_with_a_moved_identity_is_no_blank_agenda(
    site: Site, cast: Cast, make_visit: MakeVisit
) -> None:
    await make_visit(cast.toscana)
    await make_visit(cast.toscana, identity=Identity(family_name="Neri", given_name="Ada"))
    async with site.database.begin(EVERY_ORGANISATION) as session:
        one, other = (await session.scalars(select(Patient))).all()
        moved = one.sealed_identity
        await session.execute(
            update(Patient).where(Patient.id == other.id).values(sealed_identity=moved)
        )
    clinician = await site.staff(cast.toscana.clinician)

    answer = await clinician.get("/agenda")

    assert answer.status == 500
    (alarm,) = await load_alarms(site)
    assert alarm["facts"]["object"] == other.id


async def test_an_altered_key_is_an_alarm_of_what_it_seals(
    site: Site, cast: Cast, make_visit: MakeVisit
) -> None:
    visit = await make_visit(cast.toscana)
    async with site.database.begin(EVERY_ORGANISATION) as session:
        of_it = DataKey.owner == f"patient:{visit.appointment.patient_id}"
        key = (await session.scalars(select(DataKey).where(of_it))).one()
        key.wrapped = key.wrapped[:-1] + bytes([key.wrapped[-1] ^ 1])
    clinician = await site.staff(cast.toscana.clinician)

    answer = await clinician.get("/agenda")

    assert answer.status == 500
    alarm = (await load_alarms(site))[0]
    assert alarm["facts"]["object"] == visit.appointment.patient_id
