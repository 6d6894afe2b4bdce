"""Single calls to the gateway: what travels, what each answer means, and that the double of the
tests believes nobody."""

from __future__ import annotations

import dataclasses
import ssl
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import aiohttp
import msgspec
import pytest

from server.fse.answers import Fate, Meaning, parse_wait, read_answer, read_fate
from server.fse.client import Client, Paper
from server.fse.metadata import Action, describe_person, describe_subjects, practice_setting
from server.fse.tokens import make_headers
from server.report.cda import render_cda
from server.report.content import Identifier, IdentifierKind
from server.report.gateways import Gateway, GatewayUnusable, is_connected, load_gateway
from server.report.pdf import render_pdf
from server.settings import Settings
from tests.fsegateway import FseGateway, check_structure, connect, serve_gateway
from tests.reports import BASIC, CAREGGI, changed

NOW = datetime(2026, 11, 23, 9, 0, tzinfo=UTC)
CODE = "aou-careggi"


def clock() -> datetime:
    return datetime.now(UTC)


@pytest.fixture
async def double(tmp_path: Path) -> AsyncIterator[FseGateway]:
    async with serve_gateway(tmp_path, clock, check_structure) as gateway:
        connect(tmp_path / "fse" / CODE, gateway)
        yield gateway


@pytest.fixture
def gateway(double: FseGateway, tmp_path: Path) -> Gateway:
    found = load_gateway(Settings(data_dir=tmp_path), CODE, clock())
    assert found is not None
    return found


@pytest.fixture(scope="module")
def paper() -> Paper:
    began = clock() - timedelta(hours=1)
    content = changed(session={"began_at": began, "ended_at": began + timedelta(minutes=20)})
    return Paper(content, render_pdf(content, render_cda(content)))


async def send(gateway: Gateway, paper: Paper, headers: dict[str, str]) -> tuple[int, str]:
    form = aiohttp.FormData()
    form.add_field("requestBody", '{"activity": "VALIDATION", "mode": "ATTACHMENT"}')
    form.add_field("file", paper.pdf, filename="a.pdf", content_type="application/pdf")
    async with (
        aiohttp.ClientSession() as session,
        session.post(
            f"{gateway.url}/documents/validation", data=form, headers=headers, ssl=gateway.tls
        ) as response,
    ):
        return response.status, str((await response.json()).get("type", ""))


def subjects_of(gateway: Gateway, paper: Paper) -> dict[str, str | bool]:
    return describe_subjects(paper.content, gateway.settings, Action.CREATE, "1")


async def test_a_pair_of_tokens_is_for_one_call_and_one_file(
    gateway: Gateway, paper: Paper
) -> None:
    headers = make_headers(gateway, subjects_of(gateway, paper), paper.pdf, clock())

    first = await send(gateway, paper, headers)
    again = await send(gateway, paper, headers)
    other = make_headers(gateway, subjects_of(gateway, paper), b"%PDF-other", clock())
    wrong_file = await send(gateway, paper, other)

    assert first == (201, "")
    assert again == (403, "/msg/jwt-validation")
    assert wrong_file == (400, "/msg/document-hash")


async def test_every_claim_is_asked_for(gateway: Gateway, paper: Paper) -> None:
    subjects = subjects_of(gateway, paper)
    for name in subjects.keys() - {"sub"}:
        kept = {key: value for key, value in subjects.items() if key != name}
        headers = make_headers(gateway, kept, paper.pdf, clock())
        assert await send(gateway, paper, headers) == (403, "/msg/mandatory-element-token"), name


async def test_old_tokens_and_another_patient_are_refused(gateway: Gateway, paper: Paper) -> None:
    old = clock() - timedelta(minutes=6)
    headers = make_headers(gateway, subjects_of(gateway, paper), paper.pdf, old)
    status, _type = await send(gateway, paper, headers)
    other = subjects_of(gateway, paper) | {
        "person_id": "VRDMRC67T20I257E^^^&2.16.840.1.113883.2.9.4.3.2&ISO"
    }
    headers = make_headers(gateway, other, paper.pdf, clock())

    assert status == 401
    assert await send(gateway, paper, headers) == (403, "/msg/jwt-validation")


async def test_without_a_client_certificate_there_is_no_connection(
    double: FseGateway, gateway: Gateway, paper: Paper
) -> None:
    bare = ssl.create_default_context(cafile=double.authority.path)
    headers = make_headers(gateway, subjects_of(gateway, paper), paper.pdf, clock())
    nobody = dataclasses.replace(gateway, tls=bare)

    with pytest.raises((aiohttp.ClientError, OSError)):
        await send(nobody, paper, headers)
    assert double.calls == []


async def test_a_warning_travels_with_the_answer(
    double: FseGateway, gateway: Gateway, paper: Paper
) -> None:
    double.warning = "[W001| displayName]"

    answer = await Client(gateway, clock).validate(paper)

    assert answer.meaning is Meaning.TAKEN
    assert answer.words == "[W001| displayName]"
    assert answer.workflow_instance_id.endswith("^^^^urn:ihe:iti:xdw:2013:workflowInstanceId")


def test_an_answer_that_is_no_problem_document_is_sorted_by_its_status() -> None:
    assert read_answer(503, {}, "", NOW).problem == "http-503"
    assert read_answer(503, {}, "", NOW).meaning is Meaning.BUSY


def test_retry_after_is_seconds_or_a_date_and_an_hour_at_most() -> None:
    assert parse_wait("90", NOW) == timedelta(seconds=90)
    assert parse_wait("Mon, 23 Nov 2026 09:02:00 GMT", NOW) == timedelta(minutes=2)
    assert parse_wait("Mon, 23 Nov 2026 08:00:00 GMT", NOW) == timedelta()
    assert parse_wait("999999", NOW) == timedelta(hours=1)
    assert parse_wait("soon", NOW) is None
    assert parse_wait("", NOW) is None


def test_a_type_of_a_stranger_is_cut_to_a_word() -> None:
    long = "https://govway.org/handling-errors/400/" + "Ü<script>" * 20

    answer = read_answer(400, {"type": long}, "", NOW)

    assert answer.problem.isascii()
    assert len(answer.problem) <= 64
    assert "<" not in answer.problem


def test_the_newest_event_of_a_kind_decides() -> None:
    def event(kind: str, status: str = "SUCCESS") -> dict[str, str]:
        return {"eventType": kind, "eventStatus": status, "message": "no"}

    validated, sent = event("VALIDATION"), event("PUBLICATION")
    failed, indexed = event("SEND_TO_INI", "BLOCKING_ERROR"), event("SEND_TO_INI")

    def fate(*events: dict[str, str]) -> Fate:
        return read_fate({"transactionData": list(events)})[0]

    assert fate(validated) is Fate.UNKNOWN
    assert fate(validated, sent) is Fate.IN_PROGRESS
    assert fate(validated, sent, failed) is Fate.FAILED
    assert fate(validated, sent, failed, indexed) is Fate.DONE
    assert read_fate({"transactionData": "none"})[0] is Fate.UNKNOWN


def test_every_kind_of_patient_has_an_identifier() -> None:
    roots = {
        IdentifierKind.CODICE_FISCALE: "2.16.840.1.113883.2.9.4.3.2",
        IdentifierKind.STP: "2.16.840.1.113883.2.9.4.3.17",
        IdentifierKind.ENI: "2.16.840.1.113883.2.9.4.3.18",
        IdentifierKind.TEAM: "2.16.840.1.113883.2.9.4.3.3",
        IdentifierKind.ANA: "2.16.840.1.113883.2.9.4.3.15",
        IdentifierKind.REGIONAL: "2.16.840.1.113883.2.9.2.90.4.1",
    }
    for kind in IdentifierKind:
        identifier = Identifier(kind=kind, value="A1^&2", card="9")
        assert describe_person(identifier, CAREGGI) == f"A12^^^&{roots[kind]}&ISO"


def test_a_discipline_that_the_table_lacks_takes_the_usual_one(gateway: Gateway) -> None:
    for code, wanted in (("08", "AD_PSC008"), ("44", "AD_PSC131"), ("", "AD_PSC131")):
        body = msgspec.structs.replace(CAREGGI, discipline_code=code)
        assert practice_setting(body, gateway.settings) == wanted


def test_a_body_without_a_region_publishes_nothing(gateway: Gateway) -> None:
    content = changed(body={"region_code": ""})
    with pytest.raises(GatewayUnusable) as unusable:
        describe_subjects(content, gateway.settings, Action.CREATE, "1")
    assert unusable.value.reason == "region_missing"


def test_a_practitioner_signs_as_one(gateway: Gateway) -> None:
    content = changed(document={"is_annotation": True})
    assert describe_subjects(content, gateway.settings, Action.CREATE, "1")["subject_role"] == "APR"
    assert describe_subjects(BASIC, gateway.settings, Action.CREATE, "1")["subject_role"] == "AAS"


@pytest.mark.parametrize("code", ["../x", "", "a/b", ".hidden"])
def test_an_organisation_never_names_a_folder_elsewhere(tmp_path: Path, code: str) -> None:
    assert not is_connected(Settings(data_dir=tmp_path), code)


@pytest.mark.parametrize(
    ("name", "content", "reason"),
    [
        ("gateway.json", "{}", "wrong_settings"),
        ("gateway.json", '{"url": "http://fse.example", "repository": "2.16"}', "wrong_settings"),
        ("gateway.json", '{"url": "https://a.example", "repository": "x"}', "wrong_settings"),
        ("signature.pem", "nothing", "certificate_unreadable"),
        ("authentication.key", "nothing", "certificate_unreadable"),
        ("signature.key", None, "file_missing"),
    ],
)
def test_a_broken_file_is_named(
    double: FseGateway, tmp_path: Path, name: str, content: str | None, reason: str
) -> None:
    path = tmp_path / "fse" / CODE / name
    path.unlink()
    if content is not None:
        path.write_text(content)

    with pytest.raises(GatewayUnusable) as unusable:
        load_gateway(Settings(data_dir=tmp_path), CODE, clock())

    assert unusable.value.reason == reason
    assert name in unusable.value.text or reason == "certificate_unreadable"
