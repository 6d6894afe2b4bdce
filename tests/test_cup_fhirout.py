"""Events over FHIR to a real server: what is sent, once, and what each answer means."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any

import aiohttp
import pytest
from aiohttp import web

from server.cup.fhir.out import send
from server.cup.fhir.outward import AddressRefused, AnswerRefused
from server.cup.outbox.outgoing import OutgoingEvent, Verdict
from server.models import Connector, EventKind
from server.sources import Outgoing
from tests.fhirserver import FhirServer, serve_fhir

START = datetime(2026, 12, 1, 8, 30, tzinfo=UTC)
BEGAN, ENDED = "2026-12-01T08:34:10+00:00", "2026-12-01T08:51:00+00:00"


@pytest.fixture
async def fhir_server() -> AsyncIterator[FhirServer]:
    async with serve_fhir() as server:
        yield server


def event(kind: EventKind, **facts: str | int | bool) -> OutgoingEvent:
    return OutgoingEvent(
        number=7,
        control_id="tr2gwe2eptdwzd70",
        kind=kind,
        facts=facts,
        booking_code="TC-9001",
        start=START,
        end=START + timedelta(minutes=20),
        sent_at=START + timedelta(hours=1),
        organisation_code="ausl-toscana",
        clinician_code="BNCNNA70A41D612K",
        service_code="89.01.3",
    )


def ended(outcome: str, reason: str = "") -> OutgoingEvent:
    return event(
        EventKind.ENDED, outcome=outcome, reason=reason, began_at=BEGAN, ended_at=ENDED, waited=True
    )


def outgoing(server: FhirServer, **words: str) -> Outgoing:
    return Outgoing(connector=Connector.FHIR, address=server.url, words=words)


async def tell(server: FhirServer, told: OutgoingEvent, **words: str) -> list[dict[str, Any]]:
    """What was written at the server."""
    assert await send(told, outgoing(server, **words), "geheim") is Verdict.DELIVERED
    return [asked.body for asked in server.asked if asked.body]


@pytest.mark.parametrize(
    ("kind", "facts", "status"),
    [
        (EventKind.CONFIRMED, {}, "accepted"),
        (EventKind.CANCEL_ASKED, {"late": False}, "declined"),
        (EventKind.CANCEL_ASKED, {"late": True}, "declined"),
    ],
)
async def test_what_the_patient_answers(
    fhir_server: FhirServer, kind: EventKind, facts: dict[str, bool], status: str
) -> None:
    (response,) = await tell(fhir_server, event(kind, **facts))

    (asked,) = fhir_server.asked
    assert (asked.method, asked.path) == ("POST", "/fhir/AppointmentResponse")
    assert asked.headers["Authorization"] == "Bearer geheim"
    assert asked.headers["If-None-Exist"] == "identifier=urn:accanto:event%7Ctr2gwe2eptdwzd70"
    assert response["participantStatus"] == status
    assert response["appointment"]["identifier"] == {"value": "TC-9001"}
    assert response.get("comment") == ("late" if facts.get("late") else None)


@pytest.mark.parametrize(
    ("told", "status", "code"),
    [
        (event(EventKind.CHECKED_IN), "checked-in", None),
        (event(EventKind.BEGUN), "arrived", None),
        (ended("no_show_patient"), "noshow", None),
        (ended("technical_failure", "weak_line"), "cancelled", "maint"),
        (ended("no_show_clinician"), "cancelled", "prov"),
        (ended("converted_to_in_person", "exam_needed"), "cancelled", "other"),
    ],
    ids=lambda value: str(getattr(value, "facts", value)),
)
async def test_states_and_outcomes(
    fhir_server: FhirServer, told: OutgoingEvent, status: str, code: str | None
) -> None:
    (appointment,) = await tell(fhir_server, told)

    asked = fhir_server.asked[-1]
    assert (asked.method, asked.path) == ("PUT", "/fhir/Appointment")
    assert asked.query == [("identifier", "TC-9001")]
    assert appointment["status"] == status
    reason = appointment.get("cancelationReason", {"coding": [{"code": None}]})
    assert reason["coding"][0]["code"] == code
    if told.facts.get("reason"):
        assert str(told.facts["reason"]).replace("_", " ") in reason["text"]


async def test_a_completed_visit_is_an_encounter_and_a_fulfilled_appointment(
    fhir_server: FhirServer,
) -> None:
    encounter, appointment = await tell(fhir_server, ended("completed"))

    assert appointment["status"] == "fulfilled"
    assert (encounter["status"], encounter["class"]["code"]) == ("finished", "VR")
    assert encounter["identifier"] == [
        {
            "system": "http://hl7.it/fhir/televisita/sid/codiceNosologico",
            "value": "ausl-toscana.TC-9001",
        }
    ]
    assert encounter["period"] == {"start": BEGAN, "end": ENDED}
    (participant,) = encounter["participant"]
    assert participant["individual"]["type"] == "Practitioner"
    assert fhir_server.asked[0].query == [
        (
            "identifier",
            "http://hl7.it/fhir/televisita/sid/codiceNosologico|ausl-toscana.TC-9001",
        )
    ]


async def test_of_the_appointment_of_cup_only_the_status_changes(fhir_server: FhirServer) -> None:
    theirs = {
        "resourceType": "Appointment",
        "id": "9",
        "meta": {"versionId": "4"},
        "identifier": [{"value": "TC-9001"}],
        "status": "booked",
        "start": "2026-12-01T09:30:00+01:00",
        "end": "2026-12-01T09:50:00+01:00",
        "comment": "portare gli esami",
        "participant": [{"actor": {"reference": "Patient/1"}, "status": "accepted"}],
    }
    fhir_server.put(theirs)

    (appointment,) = await tell(fhir_server, ended("no_show_patient"))

    assert appointment == {**theirs, "status": "noshow"}
    assert fhir_server.asked[-1].headers["If-Match"] == 'W/"4"'


async def test_a_source_may_have_its_own_words(fhir_server: FhirServer) -> None:
    (appointment,) = await tell(
        fhir_server, ended("technical_failure"), technical_failure="entered-in-error"
    )

    assert appointment["status"] == "entered-in-error"


async def test_a_new_booking_is_asked_for_with_its_reason(fhir_server: FhirServer) -> None:
    told = event(EventKind.REBOOKING_ASKED, outcome="converted_to_in_person", reason="exam_needed")

    (appointment,) = await tell(fhir_server, told)

    assert appointment["status"] == "proposed"
    assert appointment["reasonCode"] == [{"text": "converted to in person exam needed"}]
    assert appointment["identifier"][0]["value"] == told.control_id
    assert appointment["supportingInformation"][0]["identifier"] == {"value": "TC-9001"}


async def test_a_repeat_makes_nothing_twice(fhir_server: FhirServer) -> None:
    for _ in range(3):
        await tell(fhir_server, ended("completed"))

    assert len(fhir_server.resources) == 2


@pytest.mark.parametrize(
    ("status", "verdict"),
    [
        (200, Verdict.DELIVERED),
        (204, Verdict.DELIVERED),
        (302, Verdict.REFUSED),
        (400, Verdict.REFUSED),
        (401, Verdict.REFUSED),
        (404, Verdict.REFUSED),
        (422, Verdict.REFUSED),
        (408, Verdict.RETRY),
        (409, Verdict.RETRY),
        (412, Verdict.RETRY),
        (429, Verdict.RETRY),
        (500, Verdict.RETRY),
        (503, Verdict.RETRY),
    ],
)
async def test_what_each_answer_means(
    fhir_server: FhirServer, status: int, verdict: Verdict
) -> None:
    async def answer(request: web.Request) -> web.Response:
        return web.Response(status=status, headers={"Location": "/fhir/elsewhere"})

    fhir_server.answer = answer

    assert await send(event(EventKind.CONFIRMED), outgoing(fhir_server), "") is verdict
    assert [asked.path for asked in fhir_server.asked] == ["/fhir/AppointmentResponse"]


async def test_a_busy_server_is_not_written_to_blindly(fhir_server: FhirServer) -> None:
    async def answer(request: web.Request) -> web.Response:
        return web.Response(status=503)

    fhir_server.answer = answer

    with pytest.raises(AnswerRefused):
        await send(ended("no_show_patient"), outgoing(fhir_server), "")
    assert [asked.method for asked in fhir_server.asked] == ["GET"]


async def test_nobody_there_is_no_answer() -> None:
    async with serve_fhir() as server:
        gone = outgoing(server)

    with pytest.raises(aiohttp.ClientConnectionError):
        await send(event(EventKind.CONFIRMED), gone, "")


@pytest.mark.parametrize(
    "address",
    [
        "http://cup.example.it/fhir",
        "ftp://127.0.0.1/fhir",
        "https://user:word@cup.example.it/fhir",
        "https://169.254.169.254/fhir",
        "https://[fe80::1]/fhir",
        "https://[::ffff:169.254.169.254]/fhir",
        "https://[64:ff9b::a9fe:a9fe]/fhir",
        "https://[::]/fhir",
        "https://0.0.0.0/fhir",
        "https://127.0.0.2/fhir",
        "https://100.100.100.200/fhir",
        "",
    ],
)
async def test_addresses_that_nobody_asks(address: str) -> None:
    told = Outgoing(connector=Connector.FHIR, address=address)

    with pytest.raises(AddressRefused):
        await send(event(EventKind.CONFIRMED), told, "geheim")
