"""The FHIR connector: the national guide's shape becomes a booking, caps come first."""

from __future__ import annotations

import io
import json
import time
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from fhir.resources.R4B.bundle import Bundle
from hypothesis import given
from hypothesis import strategies as st

from server.cup import fhir
from server.cup.booking import FileRejected, ParsedRow, RowError
from server.cup.fhir import parse_fhir
from server.demo.day import plan_day, render_bundle
from server.models import AppointmentStatus

VECTORS = Path(__file__).parent / "vectors" / "cup"
SAMPLES = Path(__file__).parent.parent.parent / "shared" / "samples" / "fhir"
NOW = datetime(2026, 11, 22, 9, 41, tzinfo=UTC)


def contained() -> dict[str, Any]:
    found: dict[str, Any] = json.loads((VECTORS / "appointment-contained.json").read_bytes())
    return found


def parse(document: object) -> list[ParsedRow | RowError]:
    return list(parse_fhir(io.BytesIO(json.dumps(document).encode())))


def parse_good(document: object) -> ParsedRow:
    (row,) = parse(document)
    assert isinstance(row, ParsedRow)
    return row


def test_appointment_that_contains_everything_becomes_a_booking() -> None:
    booking = parse_good(contained()).booking

    assert booking.booking_code == "TC-9001"
    assert booking.organisation_codes == ("12345678901", "ausl-toscana", "UO-7")
    assert booking.clinician_codes == ("clinician-ausl-toscana", "MRCLCU70A41D612X")
    assert (booking.clinic_code, booking.clinic_name) == ("UO-7", "U.O. Cardiologia")
    assert booking.start == datetime(2026, 12, 1, 8, 30, tzinfo=UTC)
    assert booking.end - booking.start == timedelta(minutes=20)
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

    assert parse_good(document).booking.identity.codice_fiscale == value


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

    assert parse_good(document).booking.priority == expected


@pytest.mark.parametrize(
    ("change", "field", "reason"),
    [
        ({"identifier": []}, "Appointment.identifier", "missing"),
        ({"identifier": [{"value": "x" * 65}]}, "Appointment.identifier", "too_long"),
        ({"start": "2026-13-01T09:30:00Z"}, "Appointment.start", "not_a_date"),
        ({"start": 5}, "Appointment.start", "missing"),
        ({"end": "2026-12-01T09:00:00+01:00"}, "Appointment.end", "ends_before_start"),
        ({"status": "zzz"}, "Appointment.status", "not_known"),
        ({"participant": [], "basedOn": []}, "Patient.birthDate", "missing"),
        ({"identifier": [{"value": "a\x00b"}]}, "Appointment.identifier", "control_character"),
    ],
)
def test_wrong_entries_are_named(change: dict[str, Any], field: str, reason: str) -> None:
    bundle = {
        "resourceType": "Bundle",
        "entry": [{"resource": contained()}, {"resource": contained() | change}],
    }

    good, wrong = parse(bundle)

    assert isinstance(good, ParsedRow)
    assert isinstance(wrong, RowError)
    assert (wrong.line, wrong.field, wrong.reason.value) == (2, field, reason)


def test_cancelled_appointment_is_cancelled() -> None:
    booking = parse_good(contained() | {"status": "cancelled"}).booking

    assert booking.status is AppointmentStatus.CANCELLED


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"{", "not JSON"),
        (b'{"resourceType": NaN}', "not JSON"),
        (b"[]", "not a resource"),
        (b'{"resourceType":"Patient"}', "no booked or cancelled"),
        (b'{"a":' * 40 + b"1" + b"}" * 40, "32 levels"),
        (b'{"a":"' + b'\\"' * 2_000_000, "not JSON"),
        (b" " * (fhir.FILE_BYTES + 1), "5 MiB"),
        (json.dumps({"resourceType": "Bundle", "entry": [{}] * 5001}).encode(), "5000 entries"),
    ],
)
def test_caps_and_junk_are_rejected_at_once(content: bytes, words: str) -> None:
    started = time.perf_counter()

    with pytest.raises(FileRejected, match=words):
        list(parse_fhir(io.BytesIO(content)))

    assert time.perf_counter() - started < 2


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
    content = json.dumps(document).encode()

    try:
        rows = list(parse_fhir(io.BytesIO(content)))
    except FileRejected:
        return
    assert len(rows) == 1


@given(st.binary(max_size=500))
def test_no_bytes_crash_the_reader(content: bytes) -> None:
    with pytest.raises(FileRejected):
        list(parse_fhir(io.BytesIO(content)))


def test_the_demo_bundle_is_valid_fhir_and_read_without_a_wrong_row() -> None:
    slots, _ = plan_day(NOW)
    content = render_bundle(slots, NOW)

    Bundle.model_validate_json(content)
    rows = list(parse_fhir(io.BytesIO(content)))

    bookings = [row.booking for row in rows if isinstance(row, ParsedRow)]
    assert [booking.booking_code for booking in bookings] == [slot.booking_code for slot in slots]
    assert [booking.start for booking in bookings] == [slot.start for slot in slots]
    assert {booking.priority for booking in bookings} == set("UBDP")


@pytest.mark.skipif(not SAMPLES.exists(), reason="the samples of the national guide are not here")
def test_sample_of_the_national_guide_is_read() -> None:
    content = (SAMPLES / "Bundle-RefertoDiTelevisitaTransaction.json").read_bytes()

    (row,) = parse_fhir(io.BytesIO(content))

    assert isinstance(row, ParsedRow)
    booking = row.booking
    assert booking.booking_code == "TV-20250616-001"
    assert "120201" in booking.organisation_codes
    assert booking.clinician_codes == ("FRRMRC75T10H501K",)
    assert booking.identity.full_name == "Maria Rossi"
    assert booking.identity.birth_date == date(1971, 5, 1)
    assert booking.priority == "P"
    assert booking.details.question == "Televisita pneumologica per follow-up bronchite cronica"
