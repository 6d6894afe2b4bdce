"""The FHIR entrance: bookings one by one and in bundles, in any order, and every way to be wrong.

The real application over HTTP, on both databases; every answer is read by fhir.resources R4B.
"""

from __future__ import annotations

import asyncio
import gzip
import io
import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from fhir.resources.R4B import get_fhir_model_class
from sqlalchemy import select
from sqlalchemy.orm import joinedload

from server.auth import hash_token
from server.cup.fhir.document import FILE_BYTES
from server.cup.tokens import find_source, issue_token
from server.db import EVERY_ORGANISATION, Database
from server.keyring import Keyring
from server.models import (
    Appointment,
    AppointmentStatus,
    FhirResource,
    InboxMessage,
    MessageState,
    Source,
    Visit,
)
from server.sealed import Details, Identity, open_details, open_identity
from tests.conftest import Cast
from tests.visitors import Answer, Site, Visitor, site

__all__ = ["site"]

VECTORS = Path(__file__).parent / "vectors" / "cup"
SAMPLES = Path(__file__).parent.parent.parent / "shared" / "samples" / "fhir"
FHIR = {"Content-Type": "application/fhir+json"}
needs_samples = pytest.mark.skipif(not SAMPLES.exists(), reason="the samples are not here")

PATIENT = {
    "resourceType": "Patient",
    "id": "p1",
    "identifier": [{"system": "http://hl7.it/sid/codiceFiscale", "value": "BRTRSO44E57D612M"}],
    "name": [{"family": "Bartolini", "given": ["Rosa"]}],
    "gender": "female",
    "birthDate": "1944-05-17",
}
REQUEST = {
    "resourceType": "ServiceRequest",
    "id": "r1",
    "status": "active",
    "intent": "order",
    "identifier": [{"value": "AAZ1"}],
    "requisition": {"value": "090A04000000077"},
    "category": [{"text": "Cardiologia"}],
    "subject": {"reference": "Patient/p1"},
    "authoredOn": "2026-11-02T09:15:00+01:00",
    "requester": {"display": "dott. Neri"},
}
APPOINTMENT = {
    "resourceType": "Appointment",
    "id": "a1",
    "identifier": [{"system": "http://cup.example.it/prenotazioni", "value": "TC-9001"}],
    "status": "booked",
    "start": "2026-12-01T09:30:00+01:00",
    "end": "2026-12-01T09:50:00+01:00",
    "basedOn": [{"reference": "ServiceRequest/r1"}],
    "participant": [{"actor": {"reference": "Patient/p1"}, "status": "accepted"}],
}


def contained() -> dict[str, Any]:
    found: dict[str, Any] = json.loads((VECTORS / "appointment-contained.json").read_bytes())
    return found


def sample(kind: str) -> dict[str, Any]:
    (path,) = SAMPLES.glob(f"{kind}-*.json")
    found: dict[str, Any] = json.loads(path.read_bytes())
    return found


def bundle(kind: str, *resources: dict[str, Any], **more: Any) -> dict[str, Any]:
    entries = [
        {
            "fullUrl": f"http://cup.example.it/fhir/{each['resourceType']}/{each.get('id', '')}",
            "resource": each,
            "request": {"method": "POST", "url": each["resourceType"]},
        }
        for each in resources
    ]
    return {"resourceType": "Bundle", "type": kind, "entry": entries, **more}


@dataclass(frozen=True, slots=True)
class Cup:
    """A booking centre that speaks FHIR with the token of one source."""

    visitor: Visitor
    source: Source
    token: str

    async def send(
        self, method: str, path: str, content: object = None, **headers: str
    ) -> tuple[Answer, dict[str, Any]]:
        """The answer and its resource, which is always one of R4B."""
        given = {**FHIR, "Authorization": f"Bearer {self.token}"}
        given |= {name.replace("_", "-"): value for name, value in headers.items()}
        data = None
        if content is not None:
            raw = content if isinstance(content, bytes) else json.dumps(content).encode()
            data = io.BytesIO(raw)
        answer = await self.visitor.ask(method, f"/fhir{path}", given, data=data)
        if not answer.text:
            return answer, {}
        assert answer.headers["Content-Type"] == "application/fhir+json; charset=utf-8"
        resource = json.loads(answer.text)
        get_fhir_model_class(resource["resourceType"]).model_validate(resource)
        return answer, resource


async def open_cup(site: Site, database: Database, organisation_id: str) -> Cup:
    async with database.begin(EVERY_ORGANISATION) as session:
        source = Source(organisation_id=organisation_id, code="cup-fhir")
        session.add(source)
        token = issue_token(source)
    return Cup(site.stranger, source, token)


@pytest.fixture
async def cup(site: Site, cast: Cast, database: Database) -> Cup:
    return await open_cup(site, database, cast.toscana.organisation.id)


@dataclass(frozen=True, slots=True)
class Books:
    """What the database holds."""

    database: Database
    keyring: Keyring

    async def booking(self, code: str) -> tuple[Visit, Identity, Details]:
        async with self.database.read(EVERY_ORGANISATION) as session:
            visit = await session.scalar(
                select(Visit)
                .join(Visit.appointment)
                .where(Appointment.booking_code == code)
                .options(joinedload(Visit.appointment).joinedload(Appointment.patient))
            )
            assert visit is not None
            identity = await open_identity(self.keyring, session, visit.appointment.patient)
            return visit, identity, await open_details(self.keyring, session, visit.appointment)

    async def messages(self, *states: MessageState) -> list[InboxMessage]:
        async with self.database.read(EVERY_ORGANISATION) as session:
            found = await session.scalars(select(InboxMessage))
            return [message for message in found if not states or message.state in states]


@pytest.fixture
def books(database: Database, keyring: Keyring) -> Books:
    return Books(database, keyring)


def severities(outcome: dict[str, Any]) -> set[str]:
    assert outcome["resourceType"] == "OperationOutcome"
    return {issue["severity"] for issue in outcome["issue"]}


def diagnostics(outcome: dict[str, Any]) -> str:
    assert outcome["resourceType"] == "OperationOutcome"
    words: str = outcome["issue"][0]["diagnostics"]
    return words


# ---- bookings ----------------------------------------------------------------------------


async def test_an_appointment_that_contains_everything_makes_a_visit(
    cup: Cup, books: Books
) -> None:
    answer, resource = await cup.send("POST", "/Appointment", contained())

    visit, identity, details = await books.booking("TC-9001")
    assert answer.status == 201
    assert answer.location.endswith(
        f"/fhir/Appointment/a1/_history/{resource['meta']['versionId']}"
    )
    assert answer.headers["ETag"] == f'W/"{resource["meta"]["versionId"]}"'
    assert resource["identifier"] == [{"value": "TC-9001"}]
    assert (resource["status"], resource["start"]) == ("booked", "2026-12-01T08:30:00.000Z")
    assert identity.full_name == "Rosa Bartolini"
    assert details.nre == "090A04000000077"
    assert "Bartolini" not in answer.text
    assert "Dispnea" not in answer.text
    assert visit.appointment.source_id == cup.source.id


@pytest.mark.parametrize(
    "order",
    [
        (PATIENT, REQUEST, APPOINTMENT),
        (APPOINTMENT, PATIENT, REQUEST),
        (APPOINTMENT, REQUEST, PATIENT),
    ],
    ids=["in order", "appointment first", "patient last"],
)
async def test_resources_one_by_one_in_any_order_make_one_visit(
    cup: Cup, books: Books, order: Iterable[dict[str, Any]]
) -> None:
    for resource in order:
        await cup.send("POST", f"/{resource['resourceType']}", resource)

    _, identity, details = await books.booking("TC-9001")
    assert identity.full_name == "Rosa Bartolini"
    assert (details.nre, details.prescriber) == ("090A04000000077", "dott. Neri")
    assert await books.messages(MessageState.QUARANTINED) == []


async def test_an_appointment_waits_in_quarantine_for_its_patient(cup: Cup, books: Books) -> None:
    answer, outcome = await cup.send("POST", "/Appointment", APPOINTMENT)
    (waiting,) = await books.messages()

    assert answer.status == 422
    assert diagnostics(outcome) == f"family_name: missing; quarantine {waiting.id}"
    assert outcome["issue"][0]["expression"] == ["Patient.name"]

    await cup.send("POST", "/Appointment", APPOINTMENT)
    assert len(await books.messages(MessageState.QUARANTINED)) == 1
    await cup.send("PUT", "/Patient/p1", PATIENT)
    assert await books.messages(MessageState.QUARANTINED) == []
    read, _ = await cup.send("GET", "/Appointment/a1")
    assert read.status == 200


async def test_a_prescription_that_comes_late_completes_its_booking(cup: Cup, books: Books) -> None:
    """Also of an appointment that says when it was changed: then it is as new, and says more."""
    await cup.send("POST", "/Patient", PATIENT)
    stamped = {**APPOINTMENT, "meta": {"lastUpdated": "2026-11-20T10:00:00Z", "versionId": "3"}}
    created, _ = await cup.send("POST", "/Appointment", stamped)
    _, _, before = await books.booking("TC-9001")
    await cup.send("POST", "/ServiceRequest", REQUEST)

    visit, _, after = await books.booking("TC-9001")
    assert created.status == 201
    assert (before.nre, after.nre) == ("", "090A04000000077")
    assert visit.link_version == 1


async def test_all_at_once_is_as_good_as_one_by_one(cup: Cup, books: Books) -> None:
    body = {"resourceType": "Organization", "id": "o1", "name": "AUSL"}

    await asyncio.gather(
        cup.send("POST", "/Appointment", APPOINTMENT),
        cup.send("PUT", "/Patient/p1", PATIENT),
        cup.send("PUT", "/Organization/o1", body),
        cup.send("PUT", "/Organization/o1", body),
        cup.send("POST", "/Appointment", APPOINTMENT),
        cup.send("POST", "/ServiceRequest", REQUEST),
    )

    _, _, details = await books.booking("TC-9001")
    assert details.nre == "090A04000000077"
    assert await books.messages(MessageState.QUARANTINED) == []


async def test_what_is_kept_is_sealed_and_its_ids_are_hashed(cup: Cup, database: Database) -> None:
    await cup.send("PUT", "/Patient/BRTRSO44E57D612M", {**PATIENT, "id": "BRTRSO44E57D612M"})

    async with database.read(EVERY_ORGANISATION) as session:
        row = (await session.scalars(select(FhirResource))).one()
    assert row.sealed_content is not None
    assert b"Bartolini" not in row.sealed_content
    assert "BRTRSO44E57D612M" not in f"{row.resource_index} {row.logical_id} {row.booking_code}"


async def test_what_is_sent_again_is_an_update(cup: Cup) -> None:
    first, _ = await cup.send("PUT", "/Patient/p1", PATIENT)
    same, _ = await cup.send("PUT", "/Patient/p1", PATIENT)
    changed, _ = await cup.send("PUT", "/Patient/p1", {**PATIENT, "gender": "other"})

    assert [first.status, same.status, changed.status] == [201, 200, 200]
    assert [each.headers["ETag"] for each in (first, same, changed)] == ['W/"1"', 'W/"1"', 'W/"2"']


async def test_a_resource_without_an_id_is_named_by_its_identifier(cup: Cup) -> None:
    nameless = {key: value for key, value in PATIENT.items() if key != "id"}

    first, resource = await cup.send("POST", "/Patient", nameless)
    again, _ = await cup.send("POST", "/Patient", nameless)

    assert (first.status, again.status) == (201, 200)
    assert first.location == again.location
    assert resource["id"] in first.location
    assert "BRTRSO44E57D612M" not in first.location


async def test_a_booking_moves_ends_and_comes_back(cup: Cup, books: Books) -> None:
    await cup.send("POST", "/Patient", PATIENT)
    created, _ = await cup.send("PUT", "/Appointment/a1", APPOINTMENT)
    moved, resource = await cup.send(
        "PUT",
        "/Appointment?identifier=http://cup.example.it/prenotazioni|TC-9001",
        {**APPOINTMENT, "start": "2026-12-02T10:00:00+01:00", "end": "2026-12-02T10:20:00+01:00"},
    )
    cancelled, _ = await cup.send("PUT", "/Appointment/a1", {**APPOINTMENT, "status": "cancelled"})
    visit, _, _ = await books.booking("TC-9001")

    assert [created.status, moved.status, cancelled.status] == [201, 200, 200]
    assert resource["start"] == "2026-12-02T09:00:00.000Z"
    assert created.headers["ETag"] != moved.headers["ETag"]
    assert visit.appointment.status is AppointmentStatus.CANCELLED
    _, read = await cup.send("GET", "/Appointment/a1")
    assert read["status"] == "cancelled"


async def test_older_news_do_not_undo_newer(cup: Cup, books: Books) -> None:
    def at(moment: str, status: str) -> dict[str, Any]:
        return contained() | {"status": status, "meta": {"lastUpdated": moment}}

    await cup.send("POST", "/Appointment", at("2026-11-20T12:00:00Z", "cancelled"))
    late, _ = await cup.send("POST", "/Appointment", at("2026-11-20T10:00:00Z", "booked"))

    visit, _, _ = await books.booking("TC-9001")
    assert late.status == 200
    assert visit.appointment.status is AppointmentStatus.CANCELLED


async def test_a_repeat_changes_nothing(cup: Cup, books: Books) -> None:
    for _ in range(3):
        await cup.send("POST", "/Appointment", contained())
    held, _ = await cup.send(
        "POST", "/Appointment", APPOINTMENT, If_None_Exist="identifier=http://x|TC-9001"
    )

    visit, identity, _ = await books.booking("TC-9001")
    assert held.status == 200
    assert (visit.link_version, identity.full_name) == (1, "Rosa Bartolini")
    assert {message.state for message in await books.messages()} == {
        MessageState.APPLIED,
        MessageState.UNCHANGED,
    }


@pytest.mark.parametrize(
    ("preference", "kind"),
    [
        ("", "Appointment"),
        ("return=representation", "Appointment"),
        ("return=OperationOutcome", "OperationOutcome"),
        ("return=minimal", None),
    ],
)
async def test_the_client_says_what_it_wants_back(
    cup: Cup, preference: str, kind: str | None
) -> None:
    answer, resource = await cup.send("POST", "/Appointment", contained(), Prefer=preference)

    assert answer.status == 201
    assert resource.get("resourceType") == kind
    if kind == "OperationOutcome":
        assert severities(resource) == {"warning"}
        assert "profile element missing" in answer.text


async def test_reading_back_by_id_and_by_booking_code(cup: Cup) -> None:
    await cup.send("POST", "/Appointment", contained() | {"id": None})

    _, found = await cup.send("GET", "/Appointment?identifier=http://x|TC-9001")
    (entry,) = found["entry"]
    read, resource = await cup.send("GET", f"/Appointment/{entry['resource']['id']}")
    missing, nothing = await cup.send("GET", "/Appointment?identifier=TC-1")

    assert (found["total"], found["type"]) == (1, "searchset")
    assert (read.status, resource) == (200, entry["resource"])
    assert read.headers["ETag"] == f'W/"{resource["meta"]["versionId"]}"'
    assert (missing.status, nothing["total"]) == (200, 0)


async def test_a_source_meets_only_its_own_bookings(
    cup: Cup, site: Site, cast: Cast, database: Database
) -> None:
    await cup.send("POST", "/Appointment", contained())
    await cup.send("POST", "/Patient", PATIENT)
    other = await open_cup(site, database, cast.emilia.organisation.id)

    by_id, _ = await other.send("GET", "/Appointment/a1")
    _, by_code = await other.send("GET", "/Appointment?identifier=TC-9001")
    borrowed, _ = await other.send("POST", "/Appointment", {**APPOINTMENT, "basedOn": []})

    assert by_id.status == 404
    assert by_code["total"] == 0
    assert borrowed.status == 422


# ---- bundles -----------------------------------------------------------------------------


async def test_a_transaction_makes_a_visit_and_says_what_became_of_each_entry(
    cup: Cup, books: Books
) -> None:
    report = {"resourceType": "Observation", "id": "o", "status": "final", "code": {"text": "x"}}

    answer, response = await cup.send(
        "POST", "", bundle("transaction", APPOINTMENT, PATIENT, REQUEST, report)
    )

    _, identity, details = await books.booking("TC-9001")
    statuses = [entry["response"]["status"] for entry in response["entry"]]
    assert (answer.status, response["type"]) == (200, "transaction-response")
    assert statuses == ["201 Created", "201 Created", "201 Created", "202 Accepted"]
    assert response["entry"][0]["response"]["location"].startswith("Appointment/a1/_history/")
    assert (identity.full_name, details.nre) == ("Rosa Bartolini", "090A04000000077")

    _, again = await cup.send("POST", "/", bundle("transaction", APPOINTMENT, PATIENT, REQUEST))
    assert {entry["response"]["status"] for entry in again["entry"]} == {"200 OK"}


async def test_a_transaction_with_a_fault_takes_nothing_else(cup: Cup, books: Books) -> None:
    wrong = {**APPOINTMENT, "id": "a2", "identifier": []}

    answer, outcome = await cup.send("POST", "", bundle("transaction", APPOINTMENT, PATIENT, wrong))

    (kept,) = await books.messages()
    assert answer.status == 422
    assert diagnostics(outcome) == f"booking_code: missing; quarantine {kept.id}"
    assert (kept.state, kept.line) == (MessageState.QUARANTINED, 3)
    assert (await cup.send("GET", "/Appointment/a1"))[0].status == 404


async def test_a_batch_takes_what_it_can(cup: Cup, books: Books) -> None:
    wrong = {**APPOINTMENT, "id": "a2", "identifier": []}
    asked = bundle("batch", APPOINTMENT, PATIENT, wrong, {**PATIENT, "id": "p2"})
    asked["entry"][3]["request"] = {"method": "DELETE", "url": "Patient/p2"}

    answer, response = await cup.send("POST", "", asked)

    statuses = [entry["response"]["status"][:3] for entry in response["entry"]]
    assert (answer.status, statuses) == (200, ["201", "201", "422", "405"])
    assert len(await books.messages(MessageState.QUARANTINED)) == 1
    assert severities(response["entry"][2]["response"]["outcome"]) == {"error"}


async def test_a_conditional_create_in_a_bundle_leaves_what_is_there(
    cup: Cup, books: Books
) -> None:
    await cup.send("POST", "/Appointment", contained())
    asked = bundle("transaction", {**APPOINTMENT, "status": "cancelled"}, PATIENT)
    asked["entry"][0]["request"]["ifNoneExist"] = "identifier=TC-9001"

    _, response = await cup.send("POST", "", asked)

    visit, _, _ = await books.booking("TC-9001")
    assert response["entry"][0]["response"]["status"] == "200 OK"
    assert visit.appointment.status is AppointmentStatus.BOOKED


async def test_a_hundred_bookings_in_one_bundle(cup: Cup) -> None:
    resources: list[dict[str, Any]] = []
    for number in range(100):
        patient = {
            **PATIENT,
            "id": f"p{number}",
            "identifier": [],
            "name": [{"family": f"N{number}"}],
        }
        appointment = {
            **APPOINTMENT,
            "id": f"a{number}",
            "identifier": [{"value": f"TC-{number}"}],
            "basedOn": [],
            "participant": [{"actor": {"reference": f"Patient/p{number}"}, "status": "accepted"}],
        }
        resources += [appointment, patient]

    answer, response = await cup.send("POST", "", bundle("transaction", *resources))

    assert answer.status == 200
    assert {entry["response"]["status"] for entry in response["entry"]} == {"201 Created"}


# ---- the national guide ------------------------------------------------------------------


@needs_samples
@pytest.mark.parametrize(
    "order",
    [("Patient", "ServiceRequest", "Appointment"), ("Appointment", "Patient", "ServiceRequest")],
    ids=["in order", "appointment first"],
)
@pytest.mark.parametrize("method", ["POST", "PUT"])
async def test_samples_one_by_one_make_a_visit(
    cup: Cup, books: Books, order: tuple[str, ...], method: str
) -> None:
    for kind in order:
        resource = sample(kind)
        path = f"/{kind}" if method == "POST" else f"/{kind}/{resource['id']}"
        await cup.send(method, path, resource)

    visit, identity, details = await books.booking("TV-20250616-001")
    assert identity.full_name == "Maria Rossi"
    assert details.nre == "REQ-20250616-0001"
    assert visit.appointment.status is AppointmentStatus.BOOKED


@needs_samples
async def test_sample_transaction_of_the_guide_makes_a_visit(cup: Cup, books: Books) -> None:
    content = (SAMPLES / "Bundle-RefertoDiTelevisitaTransaction.json").read_bytes()

    answer, response = await cup.send("POST", "", content)

    _, identity, details = await books.booking("TV-20250616-001")
    assert answer.status == 200
    assert len(response["entry"]) == len(json.loads(content)["entry"])
    assert (identity.full_name, details.nre) == ("Maria Rossi", "REQ-20250616-0001")


@needs_samples
async def test_samples_in_a_bundle_make_a_visit(cup: Cup, books: Books) -> None:
    resources = [sample(kind) for kind in ("Appointment", "ServiceRequest", "Patient")]

    answer, _ = await cup.send("POST", "", bundle("transaction", *resources))

    _, _, details = await books.booking("TV-20250616-001")
    assert (answer.status, details.nre) == (200, "REQ-20250616-0001")


# ---- the door ----------------------------------------------------------------------------


async def test_metadata_is_public_and_valid(site: Site) -> None:
    answer = await site.stranger.get("/fhir/metadata", Accept="application/fhir+json")

    get_fhir_model_class("CapabilityStatement").model_validate_json(answer.text)
    statement = json.loads(answer.text)
    assert (answer.status, statement["fhirVersion"]) == (200, "4.0.1")
    types = {resource["type"] for resource in statement["rest"][0]["resource"]}
    assert {"Appointment", "Patient", "ServiceRequest"} <= types


@pytest.mark.parametrize("header", ["", "Bearer", "Bearer nobody", "Basic YTpi"])
@pytest.mark.parametrize("method", ["GET", "POST"])
async def test_without_a_token_nobody_gets_in(cup: Cup, method: str, header: str) -> None:
    answer, outcome = await cup.send(
        method, "/Appointment?identifier=1", contained(), Authorization=header
    )

    assert answer.status == 401
    assert answer.headers["WWW-Authenticate"].startswith("Bearer")
    assert outcome["issue"][0]["code"] == "login"


async def test_a_new_token_ends_the_old_one(cup: Cup, database: Database) -> None:
    async with database.begin(EVERY_ORGANISATION) as session:
        source = await session.get_one(Source, cup.source.id)
        token = issue_token(source)

    async with database.read(EVERY_ORGANISATION) as session:
        assert await find_source(session, cup.token) is None
        found = await find_source(session, token)
    assert found is not None
    assert (found.id, found.token_hash) == (cup.source.id, hash_token(token))


async def test_a_paused_source_is_told_to_come_later(cup: Cup, database: Database) -> None:
    async with database.begin(EVERY_ORGANISATION) as session:
        (await session.get_one(Source, cup.source.id)).is_paused = True

    answer, _ = await cup.send("POST", "/Appointment", contained())

    assert answer.status == 503
    assert answer.headers["Retry-After"]


@pytest.mark.parametrize(
    ("method", "path", "content", "status"),
    [
        ("POST", "/Appointment", b"", 400),
        ("POST", "/Appointment", b"{", 400),
        ("POST", "/Appointment", b'{"resourceType":"Appointment","status":NaN}', 400),
        ("POST", "/Appointment", b'{"a":1,"a":1}', 400),
        ("POST", "/Appointment", b'{"a":"\xff"}', 400),
        ("POST", "/Appointment", b'{"a":' * 33 + b"1" + b"}" * 33, 400),
        ("POST", "/Appointment", b" " * (FILE_BYTES + 1), 413),
        ("POST", "/Appointment", PATIENT, 422),
        ("POST", "/Appointment", contained() | {"status": "proposed"}, 422),
        ("POST", "/Appointment", contained() | {"identifier": []}, 422),
        ("POST", "/Appointment", contained() | {"start": "domani"}, 422),
        ("POST", "/Patient", contained(), 400),
        ("POST", "", contained(), 422),
        ("POST", "", bundle("collection", APPOINTMENT), 422),
        ("POST", "", {"resourceType": "Bundle", "type": "batch", "entry": [{}] * 5001}, 413),
        ("POST", "/Observation", {"resourceType": "Observation"}, 404),
        ("PUT", "/Appointment", contained(), 400),
        ("PUT", "/Appointment/a2", contained(), 400),
        ("PUT", "/Appointment?identifier=TC-1", contained(), 400),
        ("PUT", "/Appointment?status=booked", contained(), 412),
        ("PUT", "/Appointment?identifier=1&identifier=2", contained(), 412),
        ("GET", "/Appointment", None, 400),
        ("GET", "/Appointment/none", None, 404),
        ("GET", "/Patient/p1", None, 404),
        ("GET", "/Patient?identifier=1", None, 404),
        ("GET", "/", None, 404),
        ("DELETE", "/Appointment/a1", None, 405),
        ("PATCH", "/Appointment/a1", b"[]", 405),
    ],
    ids=lambda value: str(value)[:28],
)
async def test_whatever_is_wrong_is_answered_with_an_outcome(
    cup: Cup, method: str, path: str, content: object, status: int
) -> None:
    answer, outcome = await cup.send(method, path, content)

    assert answer.status == status
    assert severities(outcome) == {"error"}


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Content-Type": "application/fhir+xml"}, 415),
        ({"Content-Type": "application/fhir+json; charset=latin-1"}, 415),
        ({"Content-Encoding": "gzip"}, 415),
        ({"Accept": "application/fhir+xml"}, 406),
        ({"Accept": "application/fhir+xml, application/fhir+json;q=0.5"}, 201),
        ({"Content-Type": "application/json; charset=UTF-8", "Accept": "*/*"}, 201),
        ({"Sec-Fetch-Site": "cross-site", "Origin": "https://evil.example"}, 201),
    ],
)
async def test_formats(cup: Cup, headers: dict[str, str], status: int) -> None:
    content = json.dumps(contained()).encode()
    if "Content-Encoding" in headers:
        content = gzip.compress(content)

    answer, _ = await cup.send(
        "POST",
        "/Appointment",
        content,
        **{name.replace("-", "_"): value for name, value in headers.items()},
    )

    assert answer.status == status


async def test_the_cap_of_forms_is_not_the_cap_of_bundles(cup: Cup) -> None:
    narrative = {"status": "generated", "div": f"<div xmlns='x'>{'a' * 3_000_000}</div>"}

    answer, _ = await cup.send("POST", "/Appointment", contained() | {"text": narrative})

    assert answer.status == 201


async def test_a_bad_body_is_kept_and_can_be_replayed_by_sending_it_right(
    cup: Cup, books: Books
) -> None:
    answer, outcome = await cup.send("POST", "/Appointment", contained() | {"start": "domani"})
    (kept,) = await books.messages()

    assert answer.status == 422
    assert kept.id in diagnostics(outcome)
    assert outcome["issue"][0]["expression"] == ["Appointment.start"]
    right, _ = await cup.send("POST", "/Appointment", contained())
    assert right.status == 201
    assert await books.messages(MessageState.QUARANTINED) == []


async def test_a_session_cookie_opens_no_door(cup: Cup, site: Site, cast: Cast) -> None:
    desk = await site.staff(cast.toscana.desk)

    answer = await desk.ask("POST", "/fhir/Appointment", FHIR, json=contained())

    assert answer.status == 401
