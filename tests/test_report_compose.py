"""What a report says is what the rows hold; what must be there and is not is named."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Any

import msgspec
import pytest
from sqlalchemy import delete
from sqlalchemy.ext.asyncio import AsyncSession

from server.audit import Act, ActorRole, Entry, append
from server.caseload import load_visit_of
from server.db import Database
from server.errors import InvalidInput
from server.keyring import Keyring
from server.line.verdict import Limits
from server.models import (
    CallInterval,
    CallOutage,
    CheckIn,
    Clinic,
    Direction,
    LogEntry,
    Organisation,
    Outcome,
    Suitability,
    User,
    Visit,
    VisitState,
)
from server.report.cda import render_cda
from server.report.compose import compose
from server.report.content import (
    Address,
    Document,
    Identifier,
    IdentifierKind,
    LineBand,
    Presence,
    ReportContent,
)
from server.report.persons import country_name, parse_address
from server.sealed import (
    AddressParts,
    Answers,
    Coding,
    Details,
    Identity,
    NoteContent,
    Section,
    seal_answers,
    seal_codice_fiscale,
)
from tests.conftest import ROSA, Cast, MakeVisit, Team
from tests.reports import Validator, open_validator

BEGAN = datetime(2026, 11, 20, 9, 3, tzinfo=UTC)
ENDED = BEGAN + timedelta(minutes=21)
NOTE = NoteContent(
    sections={Section.FINDINGS: "Compenso\x00 buono.\r\nStabile.", Section.FREE: "appunti"}
)
LIMITS = Limits(
    voice_gap_percent=10,
    delay_ms=800,
    frames_per_second=8,
    frozen_percent=20,
    bad_time_percent=20,
)
DOCUMENT = Document(id="a" * 32, set_id="a" * 32, version=1, created_at=ENDED)


@dataclass(frozen=True)
class Desk:
    """Composes the report of one visit whose rows are as a finished visit leaves them."""

    database: Database
    keyring: Keyring
    team: Team
    visit_id: str

    async def compose(self, *, note: NoteContent = NOTE, **changes: Any) -> ReportContent:
        async with self.database.begin(self.team.organisation.id) as session:
            visit = await load_visit_of(session, self.team.clinician.id, self.visit_id)
            author = await session.get_one(User, self.team.clinician.id)
            parts = {"document": DOCUMENT, "picture": None, "limits": LIMITS, **changes}
            return await compose(
                self.keyring,
                session,
                visit,
                author=author,
                note=note,
                now=ENDED,
                **parts,
            )

    async def change(self, row: type[Any], key: str, **values: Any) -> None:
        async with self.database.begin(self.team.organisation.id) as session:
            found = await session.get_one(row, key)
            for name, value in values.items():
                setattr(found, name, value)


async def finished(
    database: Database,
    keyring: Keyring,
    cast: Cast,
    make_visit: MakeVisit,
    *,
    present: str = "patient",
    **booked: Any,
) -> Desk:
    team = cast.toscana
    visit = await make_visit(team, start=BEGAN, **booked)
    organisation = team.organisation.id
    async with database.begin(organisation) as session:
        row = await session.get_one(Visit, visit.id)
        row.state, row.outcome = VisitState.ENDED, Outcome.COMPLETED
        row.admitted_at, row.ended_at = BEGAN, ENDED
        row.suitability = Suitability.SUITABLE
        body = await session.get_one(Organisation, organisation)
        body.region_code, body.ministry_code = "090", "090901"
        body.street, body.city, body.postal_code, body.province = (
            "Largo Brambilla 3", "Firenze", "50134", "FI",
        )  # fmt: skip
        clinic = await session.get_one(Clinic, team.clinic.id)
        clinic.discipline_code, clinic.branch_code, clinic.site_code = "08", "02", "09090100"
        author = await session.get_one(User, team.clinician.id)
        await seal_codice_fiscale(keyring, session, author, "BNCNNA75T50D612K")
        await _log_visit(session, team, visit.id, present)
        _measure(session, team, visit.id)
        check_in = CheckIn(
            visit_id=visit.id, organisation_id=organisation, version=1, updated_at=BEGAN
        )
        answers = Answers(address="Via Roma 1, 50053 Empoli", companions="la figlia\x07 Anna")
        await seal_answers(keyring, session, check_in, answers)
        session.add(check_in)
    return Desk(database, keyring, team, visit.id)


async def _log_visit(session: AsyncSession, team: Team, visit_id: str, present: str) -> None:
    def entry(seconds: int, act: Act, role: ActorRole, **facts: Any) -> Entry:
        return Entry(BEGAN + timedelta(seconds=seconds), act, role, "x", visit_id, facts)

    patient, clinician = ActorRole.PATIENT, ActorRole.CLINICIAN
    await append(
        session,
        team.organisation.id,
        entry(-300, Act.ROOM_JOINED, patient),
        entry(-60, Act.ROOM_JOINED, clinician),
        entry(0, Act.ADMITTED, clinician),
        entry(600, Act.ROOM_DROPPED, patient),
        entry(630, Act.ROOM_REJOINED, patient),
        entry(1260, Act.FINISHED, clinician),
        entry(1260, Act.OUTCOME, clinician, outcome="completed", present=present),
        entry(1260, Act.SUITABILITY_STATED, clinician, stated="suitable", proposed="voice_only"),
    )


def _measure(session: AsyncSession, team: Team, visit_id: str) -> None:
    owner = {"organisation_id": team.organisation.id, "visit_id": visit_id}
    for seat in ("patient", "clinician"):
        session.add_all(
            CallInterval(
                **owner, seat=seat, direction=Direction.INCOMING,
                began_at=BEGAN + timedelta(seconds=10 * number), seconds=10.0, loss_percent=0.0,
                rtt_ms=60, jitter_ms=5, kilobits_per_second=900, frames_per_second=24.0,
                frozen_ms=0, concealed_percent=0.0, path="direct", rung="hd",
            )
            for number in range(40)
        )  # fmt: skip
    session.add(
        CallOutage(
            **owner, seat="patient", began_at=BEGAN + timedelta(seconds=600), seconds=30.0,
            cause="network_down",
        )
    )  # fmt: skip


@pytest.fixture(scope="module")
def validator() -> Iterator[Validator]:
    yield from open_validator()


@pytest.fixture
async def desk(database: Database, keyring: Keyring, cast: Cast, make_visit: MakeVisit) -> Desk:
    return await finished(
        database, keyring, cast, make_visit, present="caregiver,patient,professional"
    )


async def test_a_report_says_what_the_rows_hold(desk: Desk) -> None:
    content = await desk.compose()

    assert content.patient.identifier == Identifier(
        kind=IdentifierKind.CODICE_FISCALE, value="BRTRSO48C52D612U"
    )
    assert content.patient.residence == Address(
        street="Via dei Serragli 12", city="Firenze", country="Italia"
    )
    assert content.author.codice_fiscale == "BNCNNA75T50D612K"
    assert (content.body.ministry_code, content.body.discipline_code) == ("090901", "08")
    assert content.order.nre == "090A04000000248"
    assert content.order.episode_code == f"ausl-toscana.{content.order.booking_code}"
    assert content.services == [
        Coding(system="services", code="89.01.3", display="VISITA CARDIOLOGICA DI CONTROLLO")
    ]
    assert content.sections == {
        Section.QUESTION: "Controllo dello scompenso cardiaco",
        Section.FINDINGS: "Compenso buono.\nStabile.",
    }
    assert content.picture.content.startswith(b"\x89PNG")


async def test_times_and_presence_are_those_of_the_log(desk: Desk) -> None:
    session = (await desk.compose()).session

    assert (session.began_at, session.ended_at) == (BEGAN, ENDED)
    times = {one.who: one.intervals for one in session.attendance}
    dropped, back = BEGAN + timedelta(seconds=600), BEGAN + timedelta(seconds=630)
    assert times == {
        Presence.PATIENT: [(BEGAN, dropped), (back, ENDED)],
        Presence.CLINICIAN: [(BEGAN, ENDED)],
        Presence.CAREGIVER: [],
        Presence.PROFESSIONAL: [],
    }
    words = {one.who: one.words for one in session.attendance}
    assert words[Presence.CAREGIVER] == "la figlia Anna"
    assert words[Presence.PROFESSIONAL] == ""


async def test_the_line_is_told_as_measured_and_as_stated(desk: Desk) -> None:
    session = (await desk.compose()).session
    assert session.suitability is Suitability.SUITABLE
    assert session.proposed is Suitability.SUITABLE
    assert session.breaks == [(BEGAN + timedelta(seconds=600), 30.0)]
    assert {one.sender for one in session.line} == {Presence.PATIENT, Presence.CLINICIAN}
    assert {one.band for one in session.line} == {LineBand.GOOD}


async def test_what_was_proposed_outlives_the_measurements(desk: Desk) -> None:
    async with desk.database.begin(desk.team.organisation.id) as session:
        await session.execute(delete(CallInterval))
        await session.execute(delete(CallOutage))

    happened = (await desk.compose()).session

    assert happened.proposed is Suitability.VOICE_ONLY
    assert (happened.line, happened.breaks) == ([], [])


async def test_a_line_that_nobody_judged_is_named(desk: Desk) -> None:
    async with desk.database.begin(desk.team.organisation.id) as session:
        for table in (CallInterval, CallOutage, LogEntry):
            await session.execute(delete(table))
    await desk.change(Visit, desk.visit_id, suitability=None)

    with pytest.raises(InvalidInput) as raised:
        await desk.compose()

    assert raised.value.field == "visit.suitability"


async def test_the_same_rows_make_the_same_document(desk: Desk) -> None:
    assert render_cda(await desk.compose()) == render_cda(await desk.compose())


@pytest.mark.parametrize(
    ("row", "values", "field"),
    [
        (User, {"sealed_codice_fiscale": None}, "author.codice_fiscale"),
        (User, {"family_name": " "}, "author.family_name"),
        (Visit, {"outcome": None}, "visit.outcome"),
        (Visit, {"outcome": Outcome.NO_SHOW_PATIENT}, "visit.outcome"),
        (Visit, {"admitted_at": None}, "visit.outcome"),
    ],
)
async def test_what_is_missing_in_the_rows_is_named(
    desk: Desk, row: type[Any], values: dict[str, Any], field: str
) -> None:
    key = desk.visit_id if row is Visit else desk.team.clinician.id
    await desk.change(row, key, **values)

    with pytest.raises(InvalidInput) as raised:
        await desk.compose()

    assert raised.value.field == field


async def test_a_report_without_findings_or_with_wrong_versions_is_refused(desk: Desk) -> None:
    for changes, field in (
        ({"note": NoteContent(sections={Section.FINDINGS: " \x00\n"})}, "findings"),
        ({"document": msgspec.structs.replace(DOCUMENT, set_id="b" * 32)}, "document.set_id"),
        ({"document": msgspec.structs.replace(DOCUMENT, version=2)}, "document.replaces_id"),
    ):
        with pytest.raises(InvalidInput) as raised:
            await desk.compose(**changes)
        assert raised.value.field == field


async def test_a_codice_fiscale_of_another_form_is_refused(desk: Desk) -> None:
    async with desk.database.begin(desk.team.organisation.id) as session:
        author = await session.get_one(User, desk.team.clinician.id)
        await seal_codice_fiscale(desk.keyring, session, author, "BNC-1")

    with pytest.raises(InvalidInput) as raised:
        await desk.compose()

    assert (raised.value.field, raised.value.reason) == (
        "author.codice_fiscale",
        "not_an_identifier",
    )


CODELESS = Identity(family_name="Okafor", given_name="Ada", birth_date=date(1990, 1, 2))


@pytest.mark.parametrize(
    ("identity", "kind"),
    [
        ({"codice_fiscale": "STP0900010000123"}, IdentifierKind.STP),
        ({"codice_fiscale": "ENI0900010000123"}, IdentifierKind.ENI),
        ({"team_card": "80380001500123456789", "team_number": "77"}, IdentifierKind.TEAM),
        ({"ana_code": "A9"}, IdentifierKind.ANA),
        ({"team_card": "80380001500123456789"}, IdentifierKind.REGIONAL),
        ({"codice_fiscale": "01234567897"}, IdentifierKind.REGIONAL),
        ({}, IdentifierKind.REGIONAL),
    ],
)
async def test_patients_are_known_by_what_they_have(
    database: Database,
    keyring: Keyring,
    cast: Cast,
    make_visit: MakeVisit,
    identity: dict[str, str],
    kind: IdentifierKind,
) -> None:
    who = msgspec.structs.replace(CODELESS, **identity)
    desk = await finished(database, keyring, cast, make_visit, identity=who)

    patient = (await desk.compose()).patient

    assert patient.identifier.kind is kind
    assert patient.residence == Address(
        street="Via Roma 1", postal_code="50053", city="Empoli", country="Italia"
    )
    assert patient.birth_place == Address()


@pytest.mark.parametrize("identity", [CODELESS, ROSA])
async def test_what_is_composed_passes_the_national_rules(
    database: Database,
    keyring: Keyring,
    cast: Cast,
    make_visit: MakeVisit,
    validator: Validator,
    identity: Identity,
) -> None:
    desk = await finished(database, keyring, cast, make_visit, identity=identity)

    assert validator.errors(render_cda(await desk.compose())) == []


async def test_our_own_number_needs_a_region(
    database: Database, keyring: Keyring, cast: Cast, make_visit: MakeVisit
) -> None:
    desk = await finished(database, keyring, cast, make_visit, identity=CODELESS)
    await desk.change(Organisation, desk.team.organisation.id, region_code="")

    with pytest.raises(InvalidInput) as raised:
        await desk.compose()

    assert raised.value.field == "organisation.region_code"


async def test_the_service_is_the_notes_then_the_bookings(
    database: Database, keyring: Keyring, cast: Cast, make_visit: MakeVisit
) -> None:
    done = [Coding(system="services", code="89.01", display="VISITA DI CONTROLLO")]
    desk = await finished(
        database, keyring, cast, make_visit, details=Details(service_name="Visita")
    )

    of_note = await desk.compose(note=msgspec.structs.replace(NOTE, services=done))
    booked = await desk.compose()

    assert of_note.services == done
    assert booked.services == [Coding(system="services", code="", display="Visita")]


async def test_no_service_at_all_is_named(
    database: Database, keyring: Keyring, cast: Cast, make_visit: MakeVisit
) -> None:
    desk = await finished(database, keyring, cast, make_visit, details=Details())

    with pytest.raises(InvalidInput) as raised:
        await desk.compose()

    assert raised.value.field == "services"


async def test_parts_of_an_address_count_while_its_text_is_the_same(
    database: Database, keyring: Keyring, cast: Cast, make_visit: MakeVisit
) -> None:
    parts = AddressParts(
        text="Rue 1, Nice", street="Rue 1", city="Nizza", postal_code="06000", country="FR"
    )
    born = AddressParts(city="Lima", country="PE")
    who = msgspec.structs.replace(ROSA, address=parts.text, residence=parts, birth_place=born)
    desk = await finished(database, keyring, cast, make_visit, identity=who)

    patient = (await desk.compose()).patient

    assert patient.residence == Address(
        street="Rue 1", city="Nizza", postal_code="06000", country="Francia"
    )
    assert patient.birth_place == Address(city="Lima", country="Perù")


async def test_a_corrected_address_forgets_the_parts_of_the_old_one(
    database: Database, keyring: Keyring, cast: Cast, make_visit: MakeVisit
) -> None:
    parts = AddressParts(text="Via Vecchia 1, Prato", street="Via Vecchia 1", city="Prato")
    who = msgspec.structs.replace(ROSA, address="Via Nuova 2, Empoli", residence=parts)
    desk = await finished(database, keyring, cast, make_visit, identity=who)

    assert (await desk.compose()).patient.residence == Address(
        street="Via Nuova 2", city="Empoli", country="Italia"
    )


async def test_the_birth_place_is_read_from_the_codice_fiscale(
    database: Database, keyring: Keyring, cast: Cast, make_visit: MakeVisit
) -> None:
    for code, place in (
        ("BRTRSO48C52D612A", Address(city="Firenze", province="FI", country="Italia")),
        ("RSSMRA80A41Z611T", Address(country="Perù")),
    ):
        who = msgspec.structs.replace(ROSA, codice_fiscale=code)
        desk = await finished(database, keyring, cast, make_visit, identity=who)
        assert (await desk.compose()).patient.birth_place == place


@pytest.mark.parametrize(
    ("text", "street", "postal_code", "city", "province", "country"),
    [
        ("Via X 1, 50124 Firenze FI", "Via X 1", "50124", "Firenze", "FI", "Italia"),
        ("Via X 1, 50124 Firenze (FI)", "Via X 1", "50124", "Firenze", "FI", "Italia"),
        ("Via X 1; Empoli", "Via X 1", "", "Empoli", "", "Italia"),
        ("Via X 1, int. 3, 00100 Roma, Italia", "Via X 1, int. 3", "00100", "Roma", "", "Italia"),
        ("Via X 1, scala B", "Via X 1, scala B", "", "", "", ""),
        ("Hauptstr. 1, 10115 Berlin", "Hauptstr. 1", "10115", "Berlin", "", ""),
        ("Hauptstr. 1, 10115 Berlin, DE", "Hauptstr. 1", "10115", "Berlin", "", "Germania"),
        ("Via X 1", "Via X 1", "", "", "", ""),
        ("", "", "", "", "", ""),
    ],
)
def test_an_italian_address_is_read_cautiously(
    text: str, street: str, postal_code: str, city: str, province: str, country: str
) -> None:
    assert parse_address(text) == Address(
        street=street, postal_code=postal_code, city=city, province=province, country=country
    )


def test_countries_have_their_italian_name() -> None:
    named = [country_name(text) for text in ("IT", "i", "100", "RO", "Marocco", "")]

    assert named == ["Italia", "Italia", "Italia", "Romania", "Marocco", ""]
