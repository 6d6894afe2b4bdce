"""The FHIR connector: the national guide's shape becomes a booking, caps come first."""

from __future__ import annotations

import json
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from fhir.resources.R4B.bundle import Bundle
from hypothesis import given
from hypothesis import strategies as st

from server.cup.booking import Booking, BookingEvent, Fault, Field, Message, Notice, Reason
from server.cup.fhir import document
from server.cup.fhir.document import parse_fhir
from server.demo.day import plan_day, render_bundle
from server.sources import Mapping, SourceSettings

VECTORS = Path(__file__).parent / "vectors" / "cup"
SAMPLES = Path(__file__).parent.parent.parent / "shared" / "samples" / "fhir"
NOW = datetime(2026, 11, 22, 9, 41, tzinfo=UTC)
PLAIN = SourceSettings()


def contained() -> dict[str, Any]:
    found: dict[str, Any] = json.loads((VECTORS / "appointment-contained.json").read_bytes())
    return found


def parse(document: object, settings: SourceSettings = PLAIN) -> list[Message]:
    return parse_fhir(json.dumps(document).encode(), settings, NOW)


def parse_good(document: object, settings: SourceSettings = PLAIN) -> Booking:
    (message,) = parse(document, settings)
    assert isinstance(message.body, Booking)
    return message.body


def parse_fault(content: bytes) -> Fault:
    (message,) = parse_fhir(content, PLAIN, NOW)
    assert isinstance(message.body, Fault)
    assert message.raw == content
    return message.body


def test_appointment_that_contains_everything_becomes_a_booking() -> None:
    booking = parse_good(contained())

    assert booking.booking_code == "TC-9001"
    assert booking.organisation_codes == ("12345678901", "ausl-toscana", "UO-7")
    assert booking.clinician_codes == ("clinician-ausl-toscana", "MRCLCU70A41D612X")
    assert (booking.clinic_code, booking.clinic_name) == ("UO-7", "U.O. Cardiologia")
    assert booking.start == datetime(2026, 12, 1, 8, 30, tzinfo=UTC)
    assert booking.start is not None
    assert booking.end == booking.start + timedelta(minutes=20)
    assert booking.priority == "D"
    assert booking.is_first_visit
    assert booking.identity.birth_date == date(1944, 5, 17)
    assert booking.identity.codice_fiscale == "BRTRSO44E57D612M"
    assert booking.details.nre == "090A04000000077"
    assert booking.details.question == "Dispnea da sforzo"
    assert booking.details.prescriber == "dott. Neri"


@pytest.mark.parametrize(
    ("system", "value"),
    [
        ("http://hl7.it/sid/codiceFiscale", "BRTRSO44E57D612M"),
        ("urn:oid:2.16.840.1.113883.2.9.4.3.2", "12345678903"),
        ("urn:oid:2.16.840.1.113883.2.9.4.3.17", "STP0900010000123"),
        ("urn:oid:2.16.840.1.113883.2.9.4.3.18", "ENI0900010000123"),
    ],
)
def test_identifiers_of_persons_are_recognised_by_system(system: str, value: str) -> None:
    document = contained()
    document["contained"][0]["identifier"] = [{"system": system, "value": value}]
    document["contained"][0]["birthDate"] = "1944-05-17"

    assert parse_good(document).identity.codice_fiscale == value


@pytest.mark.parametrize(
    ("system", "code", "expected"),
    [
        ("http://terminology.hl7.org/CodeSystem/v3-ActPriority", "S", "U"),
        ("http://terminology.hl7.org/CodeSystem/v3-ActPriority", "A", "B"),
        ("urn:oid:2.16.840.1.113883.5.7", "EL", "D"),
        ("urn:oid:2.16.840.1.113883.5.7", "R", "P"),
        ("urn:oid:2.16.840.1.113883.2.9.5.2.3", "U", "U"),
        ("urn:oid:2.16.840.1.113883.2.9.5.2.3", "P", "P"),
        ("http://example.it/altro", "X", "P"),
    ],
)
def test_priority_classes(system: str, code: str, expected: str) -> None:
    document = contained()
    request = document["contained"][5]
    request["extension"][0]["valueCoding"] = {"system": system, "code": code}

    assert parse_good(document).priority == expected


@pytest.mark.parametrize(
    ("change", "path", "reason"),
    [
        ({"identifier": []}, "Appointment.identifier", "missing"),
        ({"identifier": [{"value": "x" * 65}]}, "Appointment.identifier", "too_long"),
        ({"start": "2026-13-01T09:30:00Z"}, "Appointment.start", "not_a_date"),
        ({"start": 5}, "Appointment.start", "missing"),
        ({"status": "zzz"}, "Appointment.status", "not_known"),
        ({"participant": [], "basedOn": []}, "Patient.name", "missing"),
        ({"identifier": [{"value": "a\x00b"}]}, "Appointment.identifier", "control_character"),
    ],
)
def test_what_makes_a_booking_unusable_is_a_fault(
    change: dict[str, Any], path: str, reason: str
) -> None:
    bundle = {
        "resourceType": "Bundle",
        "entry": [{"resource": contained()}, {"resource": contained() | change}],
    }

    good, wrong = parse(bundle)

    assert isinstance(good.body, Booking)
    assert isinstance(wrong.body, Fault)
    assert (wrong.line, wrong.body.path, wrong.body.reason.value) == (2, path, reason)


def test_what_else_cannot_be_read_is_left_out_and_noted() -> None:
    (message,) = parse(contained() | {"end": "2026-12-01T09:00:00+01:00"})

    assert isinstance(message.body, Booking)
    assert Notice(Field.END, Reason.ENDS_BEFORE_START) in message.notices


@pytest.mark.parametrize(
    ("status", "event"),
    [
        ("booked", BookingEvent.BOOKED),
        ("pending", BookingEvent.BOOKED),
        ("arrived", BookingEvent.BOOKED),
        ("checked-in", BookingEvent.BOOKED),
        ("fulfilled", BookingEvent.BOOKED),
        ("cancelled", BookingEvent.CANCELLED),
        ("entered-in-error", BookingEvent.CANCELLED),
        ("noshow", BookingEvent.NO_SHOW),
    ],
)
def test_status_words(status: str, event: BookingEvent) -> None:
    (message,) = parse(contained() | {"status": status})

    assert isinstance(message.body, Booking)
    assert (message.body.event, message.event) == (event, status)


@pytest.mark.parametrize("status", ["proposed", "waitlist"])
def test_a_wish_is_no_booking(status: str) -> None:
    (message,) = parse(contained() | {"status": status})

    assert message.body == Fault(Field.MESSAGE, Reason.NOT_A_BOOKING, "Bundle")


def test_a_source_may_have_its_own_words() -> None:
    settings = SourceSettings(mapping=Mapping(words={"status": {"soppressa": "cancelled"}}))

    booking = parse_good(contained() | {"status": "soppressa"}, settings)

    assert booking.event is BookingEvent.CANCELLED


def test_everything_that_the_issue_carries_is_read() -> None:
    document = contained()
    patient, request = document["contained"][0], document["contained"][5]
    patient["identifier"] = [
        {"system": "urn:oid:2.16.840.1.113883.2.9.4.3.7", "value": "80380000900090000001"},
        {"system": "urn:oid:2.16.840.1.113883.2.9.4.3.15", "value": "ANA-1"},
        {"system": "http://cup.example.it/pazienti", "value": "4711"},
    ]
    patient["communication"] = [
        {"language": {"coding": [{"code": "it"}]}},
        {"language": {"coding": [{"code": "sq"}]}, "preferred": True},
    ]
    patient["extension"] = [
        {
            "url": "http://hl7.org/fhir/StructureDefinition/patient-interpreterRequired",
            "valueBoolean": True,
        }
    ]
    patient["telecom"] = [
        {"system": "email", "value": "rosa@example.it"},
        {"system": "phone", "value": "333 1234567"},
    ]
    request["code"]["coding"] = [
        {"system": "http://regione.example.it/catalogoRegionalePrestazioni", "code": "8901.TV"},
        {
            "system": "http://hl7.it/fhir/televisita/CodeSystem/CsCatalogoNazionalePrestazioni",
            "code": "89.01.3",
            "display": "VISITA CARDIOLOGICA DI CONTROLLO",
        },
    ]
    request["authoredOn"] = "2026-11-02T09:15:00+01:00"
    request["insurance"] = [{"display": "048"}]
    document["created"] = "2026-11-10T09:00:00+01:00"
    document["participant"].append(
        {"actor": {"type": "HealthcareService", "identifier": {"value": "AG-TV-7"}}}
    )

    booking = parse_good(document)

    details = booking.details
    assert (details.service_code, details.regional_code) == ("89.01.3", "8901.TV")
    assert (details.prescribed_on, details.booked_on) == (date(2026, 11, 2), date(2026, 11, 10))
    assert (details.exemption, details.interpreter, details.agenda) == ("048", "sq", "AG-TV-7")
    assert booking.identity.email == "rosa@example.it"
    assert booking.identity.team_card == "80380000900090000001"
    assert booking.patient_keys == (
        "urn:oid:2.16.840.1.113883.2.9.4.3.7||80380000900090000001",
        "urn:oid:2.16.840.1.113883.2.9.4.3.15||ANA-1",
        "http://cup.example.it/pazienti||4711",
    )


def test_what_the_profiles_ask_for_is_a_warning() -> None:
    (message,) = parse(contained())

    missing = {
        notice.field
        for notice in message.notices
        if notice.reason is Reason.PROFILE_ELEMENT_MISSING
    }
    assert missing == {Field.BIRTH_DATE, Field.SERVICE_NAME, Field.PRESCRIBED_ON}


def test_newest_by_last_updated_then_version_then_what_it_brings() -> None:
    def key(**meta: str) -> str:
        return parse(contained() | {"meta": meta})[0].order.key

    first = key(lastUpdated="2026-11-20T10:00:00+01:00", versionId="9")
    second = key(lastUpdated="2026-11-20T10:00:00+01:00", versionId="10")
    third = key(lastUpdated="2026-11-20T09:30:00Z", versionId="1")
    assert first < second < third < key()


def test_a_bundle_says_when_it_was_made() -> None:
    bundle = {
        "resourceType": "Bundle",
        "timestamp": "2026-11-01T08:00:00Z",
        "entry": [{"resource": contained()}],
    }

    (message,) = parse(bundle)
    (again,) = parse_fhir(message.raw, PLAIN, NOW + timedelta(days=1))

    assert message.order.sent_at == datetime(2026, 11, 1, 8, tzinfo=UTC)
    assert again.order == message.order


def test_raw_is_enough_to_map_an_entry_again_and_holds_nothing_else() -> None:
    slots, _ = plan_day(NOW)
    messages = parse_fhir(render_bundle(slots, NOW), PLAIN, NOW)

    for message in messages:
        (again,) = parse_fhir(message.raw, PLAIN, NOW)
        patients = [
            entry["resource"]["id"]
            for entry in json.loads(message.raw)["entry"]
            if entry["resource"]["resourceType"] == "Patient"
        ]
        assert (again.content, again.body) == (message.content, message.body)
        assert patients == [f"pat-{message.booking_code}"]


@pytest.mark.parametrize(
    "reference",
    [
        "Patient/1",
        "http://cup.example.it/fhir/Patient/1",
        "Patient/1/_history/3",
        "urn:uuid:7b2f",
        "Patient?identifier=http://hl7.it/sid/codiceFiscale|BRTRSO44E57D612M",
        "Patient?identifier=http%3A%2F%2Fhl7.it%2Fsid%2FcodiceFiscale%7CBRTRSO44E57D612M",
    ],
)
def test_every_way_to_refer_is_followed(reference: str) -> None:
    patient = contained()["contained"][0] | {"id": "1"}
    patient["identifier"] = [
        {"system": "http://hl7.it/sid/codiceFiscale", "value": "BRTRSO44E57D612M"}
    ]
    appointment = contained() | {"contained": [], "basedOn": []}
    appointment["participant"] = [{"actor": {"reference": reference}}]
    bundle = {
        "resourceType": "Bundle",
        "entry": [{"resource": appointment}, {"fullUrl": "urn:uuid:7b2f", "resource": patient}],
    }

    assert parse_good(bundle).identity.full_name == "Rosa Bartolini"


def test_a_reference_by_identifier_alone_says_who_it_is() -> None:
    appointment = contained() | {"contained": [], "basedOn": []}
    appointment["participant"] = [
        {
            "actor": {
                "type": "Patient",
                "identifier": {
                    "system": "urn:oid:2.16.840.1.113883.2.9.4.3.2",
                    "value": "BRTRSO44E57D612M",
                },
                "display": "Bartolini Rosa",
            }
        }
    ]

    identity = parse_good(appointment).identity

    assert (identity.family_name, identity.codice_fiscale) == ("Bartolini Rosa", "BRTRSO44E57D612M")
    assert identity.birth_date == date(1944, 5, 17)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"{", Reason.UNREADABLE),
        (b"", Reason.UNREADABLE),
        (b"\xff{}", Reason.UNREADABLE),
        (b'{"a":"\xff"}', Reason.NOT_UTF_8),
        (b'{"resourceType": NaN}', Reason.UNREADABLE),
        (b'{"a":1e999}', Reason.UNREADABLE),
        (b'{"a":' + b"9" * 4_000_000 + b"}", Reason.UNREADABLE),
        (b'{"a":"\\ud800"}', Reason.UNREADABLE),
        (b"[]", Reason.UNREADABLE),
        (b'{"resourceType":"Appointment","resourceType":"Patient"}', Reason.UNREADABLE),
        (b'{"resourceType":"Bundle","entry":[{"a":1,"a":1}]}', Reason.UNREADABLE),
        (b'{"resourceType":"Patient"}', Reason.NOT_A_BOOKING),
        (b'{"resourceType":"Bundle","entry":7}', Reason.NOT_A_BOOKING),
        (b'{"a":' * 40 + b"1" + b"}" * 40, Reason.NESTED_TOO_DEEP),
        (b"[" * 5_000_000, Reason.NESTED_TOO_DEEP),
        (b'{"a":"' + b'\\"' * 2_000_000, Reason.UNREADABLE),
        (b" " * (document.FILE_BYTES + 1), Reason.TOO_LARGE),
        (
            json.dumps({"resourceType": "Bundle", "entry": [{}] * 5001}).encode(),
            Reason.TOO_MANY_ROWS,
        ),
    ],
    ids=lambda value: str(value)[:24],
)
def test_caps_and_junk_are_faults_at_once(content: bytes, reason: Reason) -> None:
    fault = parse_fault(content)

    assert fault.reason is reason


def test_a_large_resource_that_all_refer_to_does_not_multiply() -> None:
    body = {"resourceType": "Organization", "id": "o", "name": "x" * 1_000_000}
    appointments = [
        contained()
        | {"id": f"a{number}", "contained": []}
        | {"participant": [{"actor": {"reference": "Organization/o"}}]}
        for number in range(200)
    ]
    entries = [{"resource": resource} for resource in [body, *appointments]]

    messages = parse({"resourceType": "Bundle", "entry": entries})

    assert sum(len(message.raw) for message in messages) < 5 * document.FILE_BYTES
    assert isinstance(messages[-1].body, Fault)
    assert messages[-1].body.reason is Reason.TOO_LARGE


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda children: (
        st.lists(children, max_size=3)
        | st.dictionaries(st.sampled_from(sorted(contained())), children, max_size=3)
    ),
    max_leaves=10,
)


@given(st.dictionaries(st.sampled_from(sorted(contained())), json_values, max_size=5))
def test_no_shape_of_an_appointment_crashes_the_mapping(change: dict[str, Any]) -> None:
    document = contained() | change | {"resourceType": "Appointment", "status": "booked"}

    assert len(parse(document)) == 1


@given(st.binary(max_size=500))
def test_no_bytes_crash_the_reader(content: bytes) -> None:
    assert parse_fault(content).field is Field.MESSAGE


def test_the_demo_bundle_is_valid_fhir_and_read_without_a_fault() -> None:
    slots, _ = plan_day(NOW)
    content = render_bundle(slots, NOW)

    Bundle.model_validate_json(content)
    messages = parse_fhir(content, PLAIN, NOW)

    bookings = [message.body for message in messages if isinstance(message.body, Booking)]
    assert [booking.booking_code for booking in bookings] == [slot.booking_code for slot in slots]
    assert [booking.start for booking in bookings] == [slot.start for slot in slots]
    assert {booking.priority for booking in bookings} == set("UBDP")


@pytest.mark.skipif(not SAMPLES.exists(), reason="the samples of the national guide are not here")
def test_sample_of_the_national_guide_is_read() -> None:
    content = (SAMPLES / "Bundle-RefertoDiTelevisitaTransaction.json").read_bytes()

    (message,) = parse_fhir(content, PLAIN, NOW)

    booking = message.body
    assert isinstance(booking, Booking)
    assert booking.booking_code == "TV-20250616-001"
    assert "120201" in booking.organisation_codes
    assert booking.clinician_codes == ("FRRMRC75T10H501K",)
    assert booking.identity.full_name == "Maria Rossi"
    assert booking.identity.birth_date == date(1971, 5, 1)
    assert booking.priority == "P"
    assert booking.details.nre == "REQ-20250616-0001"
    assert booking.details.prescriber == "Marco Ferrari"
    assert booking.details.question == "Televisita pneumologica per follow-up bronchite cronica"
    assert b"Composition" not in message.raw
