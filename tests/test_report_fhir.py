"""The bundles of a report parse as FHIR R4 and keep what the national guide wants of a visit."""

from __future__ import annotations

import json
from typing import Any

import pytest
from fhir.resources.R4B.bundle import Bundle
from hypothesis import given, settings
from hypothesis import strategies as st

from server.models import ReportKind
from server.report.content import (
    Address,
    Attendance,
    Identifier,
    IdentifierKind,
    Presence,
    ReportContent,
)
from server.report.fhir import render_document, render_transaction
from server.report.texts import clean, paragraphs
from server.sealed import Coding, Section
from tests.reports import BASIC, BEGAN, ENDED, FULL, SESSION, changed

CARETAKEN = changed(
    session={
        "attendance": [
            *SESSION.attendance,
            Attendance(who=Presence.CAREGIVER, words="la figlia Anna"),
        ]
    }
)
BARE = changed(
    patient={
        "identifier": Identifier(kind=IdentifierKind.STP, value="STP0900010000123"),
        "given_name": "", "sex": "", "birth_date": None, "birth_place": Address(),
        "residence": Address(), "phone": "", "email": "",
    },
    order={"nre": "", "priority": "", "prescriber": "", "prescribed_on": None, "exemption": ""},
    body={
        "ministry_code": "", "region_code": "", "address": Address(), "phone": "",
        "clinic_code": "", "clinic_name": "", "discipline_code": "", "branch_code": "",
    },
    services=[Coding(system="services", code="", display="Visita")],
)  # fmt: skip
EVERY_CASE = {
    "basic": BASIC,
    "full": FULL,
    "caregiver": CARETAKEN,
    "bare": BARE,
    "version 2": changed(document={"version": 2, "id": "f" * 32, "replaces_id": "0" * 32}),
    "two services": changed(services=[*BASIC.services, *BASIC.services]),
}


def resources(bundle: bytes, kind: str) -> list[dict[str, Any]]:
    entries = json.loads(bundle)["entry"]
    found = [entry["resource"] for entry in entries]
    return [resource for resource in found if resource["resourceType"] == kind]


def only(bundle: bytes, kind: str) -> dict[str, Any]:
    [resource] = resources(bundle, kind)
    return resource


@pytest.mark.parametrize("case", EVERY_CASE)
@pytest.mark.parametrize("render", [render_document, render_transaction])
def test_bundles_parse_as_r4_and_every_reference_is_in_them(case: str, render: Any) -> None:
    content = EVERY_CASE[case]

    bundle = render(content)

    Bundle.model_validate_json(bundle)
    urls = [entry["fullUrl"] for entry in json.loads(bundle)["entry"]]
    assert len(urls) == len(set(urls))
    assert set(_references(json.loads(bundle))) <= set(urls)


def _references(node: Any) -> list[str]:
    if isinstance(node, dict):
        own = [node["reference"]] if isinstance(node.get("reference"), str) else []
        return own + [found for value in node.values() for found in _references(value)]
    if isinstance(node, list):
        return [found for value in node for found in _references(value)]
    return []


@pytest.mark.parametrize("render", [render_document, render_transaction])
def test_bundles_keep_what_the_guide_wants_of_a_visit(render: Any) -> None:
    bundle = render(FULL)

    request = only(bundle, "ServiceRequest")
    assert request["requisition"] == {"value": "090A04000000248"}
    assert request["code"]["coding"][0]["code"] == "89.01.3"
    assert request["insurance"] == [{"type": "Coverage", "display": "048"}]
    assert only(bundle, "Appointment")["identifier"] == [{"value": "PRE-2026-000123"}]
    encounter = only(bundle, "Encounter")
    assert encounter["identifier"] == [
        {
            "system": "http://hl7.it/fhir/televisita/sid/codiceNosologico",
            "value": "aou-careggi.PRE-2026-000123",
        }
    ]
    assert encounter["class"]["code"] == "VR"
    assert encounter["period"] == {
        "start": "2026-11-20T10:03:12+01:00",
        "end": "2026-11-20T10:24:52+01:00",
    }
    assert encounter["participant"][0]["period"]["start"] == "2026-11-20T10:01:12+01:00"
    composition = only(bundle, "Composition")
    assert composition["type"]["coding"][0]["code"] == "75496-0"
    [attester] = composition["attester"]
    assert (attester["mode"], attester["time"]) == ("legal", "2026-11-20T10:31:52+01:00")
    assert only(bundle, "Patient")["identifier"] == [
        {"system": "http://hl7.it/sid/codiceFiscale", "value": "BRTRSO48C52D612U"}
    ]


def test_the_sections_are_those_of_the_guide_in_its_order() -> None:
    codes = [
        section["code"]["coding"][0]["code"]
        for section in only(render_document(FULL), "Composition")["section"]
    ]

    assert codes == [
        "29299-5", "10164-2", "30954-2", "93126-1", "47045-0", "29548-5", "55110-1", "62385-0",
        "80615-8", "93341-6", "62387-6", "77599-9",
    ]  # fmt: skip


def test_a_caregiver_is_in_the_words_and_never_a_participant() -> None:
    bundle = render_document(CARETAKEN)

    assert resources(bundle, "RelatedPerson") == []
    assert len(only(bundle, "Encounter")["participant"]) == 1
    assert "la figlia Anna" in only(bundle, "Procedure")["note"][0]["text"]


def test_without_a_prescription_the_booking_stands_for_the_order() -> None:
    request = only(render_document(BARE), "ServiceRequest")

    assert "requisition" not in request
    assert request["identifier"] == [{"value": "PRE-2026-000123"}]


@pytest.mark.parametrize(
    ("identifier", "systems"),
    [
        (Identifier(kind=IdentifierKind.STP, value="S1"), ["urn:oid:2.16.840.1.113883.2.9.4.3.17"]),
        (Identifier(kind=IdentifierKind.ENI, value="ENI1"), ["http://hl7.it/sid/eni"]),
        (Identifier(kind=IdentifierKind.ANA, value="A1"), ["urn:oid:2.16.840.1.113883.2.9.4.3.15"]),
        (
            Identifier(kind=IdentifierKind.TEAM, value="7", card="8038"),
            ["urn:oid:2.16.840.1.113883.2.9.4.3.7", "urn:oid:2.16.840.1.113883.2.9.4.3.3"],
        ),
        (
            Identifier(kind=IdentifierKind.REGIONAL, value="R1"),
            ["urn:oid:2.16.840.1.113883.2.9.2.90.4.1"],
        ),
    ],
)  # fmt: skip
def test_patients_are_named_by_the_system_of_their_number(
    identifier: Identifier, systems: list[str]
) -> None:
    bundle = render_document(changed(patient={"identifier": identifier}))

    assert [one["system"] for one in only(bundle, "Patient")["identifier"]] == systems


def test_people_and_bodies_come_first_and_once() -> None:
    entries = json.loads(render_transaction(FULL))["entry"]

    assert [entry["request"]["method"] for entry in entries[:4]] == ["PUT"] * 4
    assert {entry["request"]["method"] for entry in entries[4:]} == {"POST"}
    assert entries[0]["request"]["url"] == (
        "Patient?identifier=http://hl7.it/sid/codiceFiscale|BRTRSO48C52D612U"
    )


def test_a_version_replaces_and_an_addendum_appends() -> None:
    first = json.loads(render_document(BASIC))["identifier"]["value"]
    second = changed(document={"version": 2, "id": "f" * 32, "replaces_id": BASIC.document.id})
    added = changed(
        document={"id": "e" * 32, "set_id": "e" * 32, "replaces_id": BASIC.document.id,
                  "kind": ReportKind.ADDENDUM}
    )  # fmt: skip

    [replaces] = only(render_document(second), "Composition")["relatesTo"]
    [appends] = only(render_document(added), "Composition")["relatesTo"]

    assert (replaces["code"], appends["code"]) == ("replaces", "appends")
    assert replaces["targetIdentifier"]["value"] == appends["targetIdentifier"]["value"] == first
    identifiers = [
        only(render_document(one), "Composition")["identifier"] for one in (BASIC, second)
    ]
    assert identifiers[0] == identifiers[1]


def test_the_same_content_makes_the_same_bytes() -> None:
    assert render_document(FULL) == render_document(changed(FULL))
    assert render_transaction(FULL) == render_transaction(changed(FULL))
    assert (FULL.session.began_at, FULL.session.ended_at) == (BEGAN, ENDED)


@settings(max_examples=60)
@given(text=st.text(max_size=300))
def test_any_text_parses_and_comes_back_cleaned(text: str) -> None:
    content: ReportContent = changed(sections={Section.FINDINGS: f"Esito: {text}"})

    bundle = render_document(content)

    Bundle.model_validate_json(bundle)
    [finding] = resources(bundle, "Observation")
    assert finding["valueString"] == "\n".join(paragraphs(f"Esito: {text}"))
    assert clean(finding["valueString"]) == finding["valueString"]
