"""Addresses and birth places: parts where a source has them, one text to show always."""

from __future__ import annotations

import io
from datetime import UTC, datetime
from pathlib import Path

import msgspec
import pytest

from server.cup.booking import Booking, Field
from server.cup.csvfile.mapping import parse_csv
from server.cup.fhir.patient import patient_texts
from server.cup.hl7v2.mapping import parse_hl7
from server.cup.places import read_birth_place, read_residence
from server.sealed import AddressParts, Identity
from server.sources import SourceSettings

NOW = datetime(2026, 11, 22, 9, 0, tzinfo=UTC)
VECTORS = Path(__file__).parent / "vectors" / "cup"
SERRAGLI = AddressParts(
    text="Via dei Serragli 12, 50124 Firenze FI",
    street="Via dei Serragli 12",
    postal_code="50124",
    city="Firenze",
    province="FI",
)


def residence_of(**texts: str) -> AddressParts:
    by_field = {Field(name): text for name, text in texts.items()}
    return read_residence(lambda field: by_field.get(field, ""))


@pytest.mark.parametrize(
    "texts",
    [
        {"address": "Via dei Serragli 12"},
        {"street": "Via dei Serragli 12"},
        {"street": "Via dei Serragli 12", "address": "Via dei Serragli 12, 50124 Firenze FI"},
    ],
)
def test_the_address_shown_is_whole_whatever_parts_are_sent(texts: dict[str, str]) -> None:
    found = residence_of(**texts, postal_code="50124", city="Firenze", province="FI")

    assert found == SERRAGLI


def test_a_text_alone_stays_as_it_is_and_has_no_parts() -> None:
    assert residence_of(address="Via Roma 1, Empoli") == AddressParts(text="Via Roma 1, Empoli")
    assert residence_of() == AddressParts()


def test_no_birth_place_is_none() -> None:
    assert read_birth_place(lambda field: "") is None


def test_csv_names_the_parts_in_columns() -> None:
    rows = (
        "codice_prenotazione;data;ora;cognome;indirizzo;cap;comune;provincia;comune_nascita;"
        "stato_nascita;tessera_team;numero_personale_team;codice_ana\n"
        "P-1;01/12/2026;09:30;Rossi;Via dei Serragli 12;50124;Firenze;FI;Lima;Perù;"
        "80380001500123456789;12345678;ana 1\n"
    )

    [message] = parse_csv(io.BytesIO(rows.encode()), SourceSettings(), NOW)

    identity = identity_of(message.body)
    assert identity.address == SERRAGLI.text
    assert identity.residence == SERRAGLI
    assert identity.birth_place == AddressParts(city="Lima", country="Perù")
    assert (identity.team_number, identity.ana_code) == ("12345678", "ANA1")


def test_hl7_v2_says_them_in_pid_11_and_pid_23() -> None:
    raw = (VECTORS / "siu-s12-2.5.hl7").read_bytes()
    lines = raw.replace(b"\r\n", b"\r").replace(b"\n", b"\r").split(b"\r")
    at = next(number for number, line in enumerate(lines) if line.startswith(b"PID|"))
    fields = lines[at].split(b"|")
    fields += [b""] * (24 - len(fields))
    fields[23] = b"Lima"
    fields[3] += b"~77^^^&2.16.840.1.113883.2.9.4.3.3&ISO~A9^^^&2.16.840.1.113883.2.9.4.3.15&ISO"
    lines[at] = b"|".join(fields)

    message = parse_hl7(b"\r".join(lines), SourceSettings(), NOW)

    identity = identity_of(message.body)
    assert identity.residence == msgspec.structs.replace(SERRAGLI, country="I")
    assert identity.birth_place == AddressParts(city="Lima")
    assert (identity.team_number, identity.ana_code) == ("77", "A9")


def test_fhir_says_them_in_the_address_and_the_birth_place_of_the_guide() -> None:
    patient = {
        "resourceType": "Patient",
        "identifier": [
            {"system": "urn:oid:2.16.840.1.113883.2.9.4.3.3", "value": "77"},
            {"system": "urn:oid:2.16.840.1.113883.2.9.4.3.15", "value": "A9"},
        ],
        "address": [
            {
                "line": ["Via dei Serragli 12"],
                "postalCode": "50124",
                "city": "Firenze",
                "district": "FI",
                "country": "IT",
            }
        ],
        "extension": [
            {
                "url": "http://hl7.it/fhir/televisita/StructureDefinition/birth-place-ita",
                "valueAddress": {"city": "Lima", "country": "PE"},
            }
        ],
    }

    texts = patient_texts(patient)

    assert residence_of(**{field.value: text for field, text in texts.items()}) == AddressParts(
        text="Via dei Serragli 12, 50124 Firenze",
        street="Via dei Serragli 12",
        postal_code="50124",
        city="Firenze",
        province="FI",
        country="IT",
    )
    assert (texts[Field.BIRTH_CITY], texts[Field.BIRTH_COUNTRY]) == ("Lima", "PE")
    assert (texts[Field.TEAM_NUMBER], texts[Field.ANA_CODE]) == ("77", "A9")


def identity_of(body: object) -> Identity:
    assert isinstance(body, Booking), body
    return body.identity
