"""What CUP says it holds beside what is held here; on both databases."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from sqlalchemy import func, select

from server.cup.booking import (
    Booking,
    BookingEvent,
    Fault,
    Field,
    FileRejected,
    Merge,
    Message,
    Order,
    Reason,
)
from server.cup.cuplist import Nightly, next_night, read_file, read_url
from server.cup.reconcile import Reconciled, export_csv, load_differences, reconcile
from server.db import Database
from server.errors import CommandFailed
from server.keyring import Keyring
from server.models import (
    AppointmentStatus,
    Connector,
    Difference,
    DifferenceKind,
    LogEntry,
    Outcome,
    Reconciliation,
    Source,
    Visit,
    VisitState,
)
from server.sealed import Details, Identity, seal_outgoing_token
from server.sources import Poller, SourceSettings, write_settings
from tests.conftest import CARDIOLOGY, ROSA, Cast, MakeVisit

NOW = datetime(2026, 11, 23, 1, 30, tzinfo=UTC)
START = datetime(2026, 12, 1, 9, 0, tzinfo=UTC)
HERE, THERE = DifferenceKind.MISSING_HERE, DifferenceKind.MISSING_IN_CUP
DIFFERENT = DifferenceKind.DIFFERENT


def booking_of(visit: Visit, **changes: Any) -> Booking:
    """The booking as CUP would list it."""
    appointment = visit.appointment
    booking = Booking(
        booking_code=appointment.booking_code,
        event=BookingEvent.BOOKED,
        clinician_codes=(appointment.clinician_code,),
        clinic_code="CARD-01",
        start=appointment.start,
        end=appointment.end,
        priority="B",
        is_first_visit=False,
        identity=ROSA,
        details=CARDIOLOGY,
    )
    return replace(booking, **changes)


def message_of(body: Booking | Merge | Fault, code: str = "", minute: int = 0) -> Message:
    return Message(
        connector=Connector.CSV,
        control_id=None,
        event="booked",
        order=Order(sent_at=NOW + timedelta(minutes=minute)),
        content=b"",
        raw=b"",
        body=body,
        booking_code=body.booking_code if isinstance(body, Booking) else code,
        paths={},
    )


async def listed(*messages: Message) -> AsyncIterator[Message]:
    for message in messages:
        yield message


class Ledger:
    """Compares the source of a visit with what CUP lists."""

    def __init__(self, database: Database, keyring: Keyring) -> None:
        self.database = database
        self.keyring = keyring

    async def compare(self, visit: Visit, *messages: Message) -> Reconciled:
        return await self.compare_with(visit, listed(*messages))

    async def compare_with(self, visit: Visit, messages: AsyncIterator[Message]) -> Reconciled:
        async with self.database.read(visit.organisation_id) as session:
            source = await session.get_one(Source, visit.appointment.source_id)
        return await reconcile(self.database, self.keyring, source, messages, NOW)


def found_in(result: Reconciled) -> list[tuple[str, DifferenceKind, str]]:
    return [(row.booking_code, row.kind, row.fields) for row in result.differences]


@pytest.fixture
def ledger(database: Database, keyring: Keyring) -> Ledger:
    return Ledger(database, keyring)


@pytest.fixture
async def visit(cast: Cast, make_visit: MakeVisit) -> Visit:
    return await make_visit(cast.toscana, start=START)


async def test_the_same_on_both_sides_is_no_difference(ledger: Ledger, visit: Visit) -> None:
    result = await ledger.compare(visit, message_of(booking_of(visit)))

    assert result.is_same
    assert result.reconciliation.compared == 1


CHANGES: tuple[tuple[dict[str, Any], str], ...] = (
    ({"start": START + timedelta(hours=1)}, "start"),
    ({"end": START + timedelta(hours=1)}, "end"),
    ({"event": BookingEvent.CANCELLED}, "status"),
    ({"event": BookingEvent.NO_SHOW}, "status"),
    ({"clinician_codes": ("SOMEBODY", "ELSE")}, "clinician_code"),
    ({"clinic_code": "NEUR-02"}, "clinic_code"),
    ({"priority": "U"}, "priority"),
    ({"is_first_visit": True}, "first_visit"),
    ({"identity": Identity(family_name="Bianchi", given_name="Rosa")}, "family_name"),
    ({"identity": Identity(codice_fiscale="BNCRSO48C52D612U")}, "codice_fiscale"),
    ({"identity": Identity(birth_date=date(1948, 3, 13))}, "birth_date"),
    ({"details": Details(nre="090A04000000999")}, "nre"),
    ({"details": Details(service_code="89.7", exemption="048")}, "service_code exemption"),
)


@pytest.mark.parametrize(("changes", "fields"), CHANGES, ids=lambda value: str(value)[:30])
async def test_a_difference_names_its_field(
    ledger: Ledger, visit: Visit, changes: dict[str, Any], fields: str
) -> None:
    result = await ledger.compare(visit, message_of(booking_of(visit, **changes)))

    assert found_in(result) == [(visit.appointment.booking_code, DIFFERENT, fields)]
    assert not result.is_same


async def test_what_cup_leaves_out_is_no_difference(ledger: Ledger, visit: Visit) -> None:
    said = Booking(
        booking_code=visit.appointment.booking_code,
        event=BookingEvent.BOOKED,
        start=START,
        identity=Identity(family_name="BERTOLUCCI ", phone="1"),
        details=Details(),
    )

    assert (await ledger.compare(visit, message_of(said))).is_same


async def test_each_side_may_miss_a_booking(
    ledger: Ledger, visit: Visit, cast: Cast, make_visit: MakeVisit
) -> None:
    same_day = await make_visit(cast.toscana, start=START - timedelta(hours=9, minutes=30))
    day_before = await make_visit(cast.toscana, start=START - timedelta(hours=10, minutes=30))
    unknown = booking_of(visit, booking_code="CUP-NEW")
    cancelled = booking_of(visit, booking_code="CUP-OLD", event=BookingEvent.CANCELLED)

    result = await ledger.compare(visit, *map(message_of, (booking_of(visit), unknown, cancelled)))

    missing = same_day.appointment.booking_code
    assert found_in(result) == [(missing, THERE, ""), ("CUP-NEW", HERE, "")]
    assert day_before.appointment.booking_code not in export_csv(result.differences)
    assert result.reconciliation.compared == 1


async def test_cancelled_here_and_not_listed_there_is_the_same(
    ledger: Ledger, visit: Visit, database: Database, cast: Cast, make_visit: MakeVisit
) -> None:
    other = await make_visit(cast.toscana, start=START)
    async with database.begin(visit.organisation_id) as session:
        row = await session.merge(other.appointment)
        row.status = AppointmentStatus.CANCELLED

    assert (await ledger.compare(visit, message_of(booking_of(visit)))).is_same


async def test_an_absence_that_both_know_is_the_same(
    ledger: Ledger, visit: Visit, database: Database
) -> None:
    async with database.begin(visit.organisation_id) as session:
        row = await session.get_one(Visit, visit.id)
        row.state, row.outcome = VisitState.ENDED, Outcome.NO_SHOW_PATIENT

    for event in (BookingEvent.NO_SHOW, BookingEvent.BOOKED):
        assert (await ledger.compare(visit, message_of(booking_of(visit, event=event)))).is_same


async def test_the_newest_of_several_messages_counts(ledger: Ledger, visit: Visit) -> None:
    old = message_of(booking_of(visit, priority="U"), minute=1)
    new = message_of(booking_of(visit), minute=2)

    assert (await ledger.compare(visit, old, new)).is_same
    assert (await ledger.compare(visit, new, old)).is_same


async def test_what_cannot_be_read_is_a_difference(ledger: Ledger, visit: Visit) -> None:
    code = visit.appointment.booking_code
    faulty = message_of(Fault(Field.START, Reason.NOT_A_DATE), code)
    nameless = message_of(Fault(Field.BOOKING_CODE, Reason.MISSING))
    merge = message_of(Merge(patient_keys=(), retired_keys=(), identity=Identity()))

    result = await ledger.compare(visit, faulty, nameless, merge)

    assert found_in(result) == [("", HERE, "booking_code"), (code, DIFFERENT, "start")]


async def test_nothing_is_changed_and_another_organisation_is_not_seen(
    ledger: Ledger, visit: Visit, database: Database, cast: Cast, make_visit: MakeVisit
) -> None:
    await make_visit(cast.emilia, start=START)

    async def rows() -> list[object]:
        async with database.read(visit.organisation_id) as session:
            entries = await session.scalar(select(func.count()).select_from(LogEntry))
            stored = await session.get_one(Visit, visit.id)
            return [entries, stored.state, stored.link_version]

    before = await rows()
    moved = booking_of(visit, start=START + timedelta(days=1))
    result = await ledger.compare(visit, message_of(moved))

    assert await rows() == before
    assert found_in(result) == [(visit.appointment.booking_code, DIFFERENT, "start")]
    async with database.read(visit.organisation_id) as session:
        kept = await load_differences(session, result.reconciliation.id)
    assert [row.id for row in kept] == [row.id for row in result.differences]
    async with database.read(cast.emilia.organisation.id) as session:
        assert await session.scalar(select(func.count(Reconciliation.id))) == 0
        assert await load_differences(session, result.reconciliation.id) == []


def test_the_list_is_safe_from_formulas_and_from_values() -> None:
    row = Difference(booking_code="=1+1", kind=DIFFERENT, fields="start nre")

    assert export_csv([row]).splitlines() == [
        "codice_prenotazione;differenza;campi",
        "'=1+1;different;start nre",
    ]


async def test_a_long_list_is_compared_in_parts(ledger: Ledger, visit: Visit) -> None:
    async def many() -> AsyncIterator[Message]:
        for number in range(1_203):
            yield message_of(booking_of(visit, booking_code=f"X{number:05}"))
        yield message_of(booking_of(visit))

    result = await ledger.compare_with(visit, many())

    assert len(result.differences) == 1_203
    assert result.reconciliation.compared == 1


# ---- files -----------------------------------------------------------------------------

HEADER = "codice_prenotazione;ente;codice_medico;data;ora;cognome;nome;data_nascita;nre\n"


async def test_a_csv_file_is_a_list(ledger: Ledger, visit: Visit, tmp_path: Path) -> None:
    code = visit.appointment.booking_code
    path = tmp_path / "cup.csv"
    path.write_text(
        HEADER
        + f"{code};;;01/12/2026;10:00;Bertolucci;Rosa;12/03/1948;090A04000000248\n"
        + "CUP-NEW;;;01/12/2026;11:00;Neri;Ugo;01/02/1950;\n"
    )

    result = await ledger.compare_with(visit, read_file(path, SourceSettings(), NOW))

    assert found_in(result) == [("CUP-NEW", HERE, "")]
    assert result.reconciliation.compared == 1


async def test_a_fhir_file_is_a_list(ledger: Ledger, visit: Visit, tmp_path: Path) -> None:
    code = visit.appointment.booking_code
    appointment = appointment_of(code) | {"start": "2026-12-01T10:30:00+01:00"}
    path = tmp_path / "cup.json"
    path.write_bytes(msgspec.json.encode(appointment))

    result = await ledger.compare_with(visit, read_file(path, SourceSettings(), NOW))

    assert found_in(result) == [(code, DIFFERENT, "start")]


async def test_a_file_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(FileRejected):
        _ = [message async for message in read_file(tmp_path / "no", SourceSettings(), NOW)]


# ---- CUP's server ----------------------------------------------------------------------


@dataclass
class FhirServer:
    """A CUP with two pages of appointments."""

    codes: list[str]
    base: str = ""
    queries: list[dict[str, str]] = field(default_factory=list)
    tokens: list[str] = field(default_factory=list)
    status: int = 200

    async def search(self, request: web.Request) -> web.Response:
        self.queries.append(dict(request.query))
        self.tokens.append(request.headers.get("Authorization", ""))
        page = int(request.query.get("page", "0"))
        bundle: dict[str, Any] = {"resourceType": "Bundle", "type": "searchset"}
        bundle["entry"] = [{"resource": appointment_of(self.codes[page])}]
        if page + 1 < len(self.codes):
            url = f"{self.base}/Appointment?page={page + 1}"
            bundle["link"] = [{"relation": "next", "url": url}]
        return web.json_response(bundle, status=self.status)


def appointment_of(code: str) -> dict[str, Any]:
    patient = {"resourceType": "Patient", "id": "p", "name": [{"family": "Bertolucci"}]}
    return {
        "resourceType": "Appointment",
        "status": "booked",
        "identifier": [{"system": "urn:x", "value": code}],
        "start": "2026-12-01T10:00:00+01:00",
        "contained": [patient],
        "participant": [{"actor": {"reference": "#p"}, "status": "accepted"}],
    }


@asynccontextmanager
async def open_fhir(*codes: str) -> AsyncIterator[FhirServer]:
    fhir = FhirServer(list(codes))
    app = web.Application()
    app.router.add_get("/fhir/Appointment", fhir.search)
    server = TestServer(app)
    await server.start_server(access_log=None)
    fhir.base = f"http://127.0.0.1:{server.port}/fhir"
    yield fhir
    await server.close()


async def poll_from(ledger: Ledger, visit: Visit, url: str) -> Source:
    """Give the visit's source a poller and the token of its server."""
    async with ledger.database.begin(visit.organisation_id) as session:
        source = await session.get_one(Source, visit.appointment.source_id)
        write_settings(source, SourceSettings(poller=Poller(url=url)))
        await seal_outgoing_token(ledger.keyring, session, source, "secret")
    return source


async def test_a_server_is_asked_page_by_page(ledger: Ledger, visit: Visit) -> None:
    async with open_fhir(visit.appointment.booking_code, "CUP-NEW") as fhir:
        source = await poll_from(ledger, visit, fhir.base)
        bookings = read_url(ledger.database, ledger.keyring, source, fhir.base, NOW)
        result = await ledger.compare_with(visit, bookings)

    assert found_in(result) == [("CUP-NEW", HERE, "")]
    assert fhir.queries[0]["date"] == "ge2026-11-22"
    assert fhir.tokens == ["Bearer secret", "Bearer secret"]


async def test_a_search_is_asked_as_it_is_and_only_its_own_server_gets_the_token(
    ledger: Ledger, visit: Visit
) -> None:
    async with open_fhir(visit.appointment.booking_code) as fhir:
        source = await poll_from(ledger, visit, "https://cup.example.it/fhir")
        url = f"{fhir.base}/Appointment?date=2026-12-01"
        bookings = read_url(ledger.database, ledger.keyring, source, url, NOW)
        result = await ledger.compare_with(visit, bookings)

    assert result.is_same
    assert fhir.queries[0]["date"] == "2026-12-01"
    assert fhir.tokens == [""]


async def test_a_server_that_gives_no_list_is_a_sentence(ledger: Ledger, visit: Visit) -> None:
    async with open_fhir("X") as fhir:
        fhir.status = 500
        source = await poll_from(ledger, visit, fhir.base)
        bookings = read_url(ledger.database, ledger.keyring, source, fhir.base, NOW)
        with pytest.raises(CommandFailed, match="status_500"):
            await ledger.compare_with(visit, bookings)


async def test_each_polled_source_is_compared_once_a_night(
    ledger: Ledger, visit: Visit, cast: Cast, make_visit: MakeVisit
) -> None:
    other = await make_visit(cast.emilia, start=START)
    async with open_fhir("CUP-NEW") as fhir:
        await poll_from(ledger, visit, fhir.base)
        await poll_from(ledger, other, "http://127.0.0.1:1/fhir")
        servers = [Nightly(ledger.database, ledger.keyring, lambda: NOW) for _ in range(2)]
        found = [await server.run_once(NOW) for server in servers]

    (result,) = found[0]
    assert found[1] == []
    assert result.reconciliation.source_id == visit.appointment.source_id
    assert [row.booking_code for row in result.differences] == [
        visit.appointment.booking_code,
        "CUP-NEW",
    ]


@pytest.mark.parametrize(
    ("now", "night"),
    [
        ("2026-11-23T00:00+00:00", "2026-11-23T01:30+00:00"),
        ("2026-11-23T01:30+00:00", "2026-11-24T01:30+00:00"),
        ("2026-11-23T12:00+00:00", "2026-11-24T01:30+00:00"),
        ("2026-07-01T00:00+00:00", "2026-07-01T00:30+00:00"),
        ("2026-03-28T23:30+00:00", "2026-03-29T01:30+00:00"),
        ("2026-10-24T23:30+00:00", "2026-10-25T00:30+00:00"),
        ("2026-10-25T00:45+00:00", "2026-10-26T01:30+00:00"),
    ],
)
def test_the_night_comes_once_across_both_clock_changes(now: str, night: str) -> None:
    assert next_night(datetime.fromisoformat(now)) == datetime.fromisoformat(night)
