"""The past visits of the demonstration: held by the real pages, told by the session log, reported,
fit for the national record. One demonstration for all tests here: it takes a while to make."""

from __future__ import annotations

import asyncio
import io
import json
from collections import defaultdict
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any, Final

import pytest
from lxml import etree
from pyhanko.pdf_utils.reader import PdfFileReader
from sqlalchemy import select

from server.audit import Act
from server.db import EVERY_ORGANISATION, Database
from server.demo.cases import CASES, SPACING, plan_past
from server.demo.month import Ending, plan_month
from server.i18n import ROME
from server.models import Appointment, LogEntry, Visit
from server.sealed import NATIONAL_SECTIONS
from server.settings import load_settings
from tests.reports import Validator, open_validator
from tests.test_cli import Installation
from tests.test_demo import running_demo

pytestmark = pytest.mark.timeout(400)

_HL7: Final = {"h": "urn:hl7-org:v3"}
DELIVERED: Final = ("completed", "delivered")
CONVERTED: Final = ("converted_to_in_person", "delivered")
FAILED: Final = ("technical_failure", "none")
RESULTS: Final = {
    Ending.PLAIN: DELIVERED, Ending.LATE: DELIVERED, Ending.DROPPED: DELIVERED,
    Ending.ASLEEP: DELIVERED, Ending.VOICE: DELIVERED, Ending.WEAK_LINE: CONVERTED,
    Ending.EXAM_NEEDED: CONVERTED, Ending.PATIENT_CHOICE: CONVERTED,
    Ending.PATIENT_DEVICE: FAILED, Ending.LINE_LOST: FAILED,
    Ending.PATIENT_ABSENT: ("no_show_patient", "none"),
    Ending.CLINICIAN_ABSENT: ("no_show_clinician", "none"), Ending.CANCELLED: ("", "none"),
}  # fmt: skip
NOT_HELD: Final = {Ending.PATIENT_ABSENT, Ending.CLINICIAN_ABSENT, Ending.CANCELLED}
DROPS: Final = {
    Ending.DROPPED: 2, Ending.ASLEEP: 1, Ending.WEAK_LINE: 3, Ending.LINE_LOST: 2,
}  # fmt: skip
NOW: Final = datetime.now(UTC)
CODES: Final = [f"TA26-4{number:05}" for number in range(1, len(CASES) + 1)]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The data folder of a demonstration that was made and stopped."""
    folder = tmp_path_factory.mktemp("demo") / "data"
    with running_demo(folder, "--port", "0"):
        pass
    return folder


@pytest.fixture(scope="module")
def exported(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """By booking code, the folder of the four files."""
    to = tmp_path_factory.mktemp("exported")
    for code in CODES:
        Installation(folder).succeed("report", "export", code, "--to", to / code)
    return {code: to / code for code in CODES}


@pytest.fixture(scope="module")
def validator() -> Iterator[Validator]:
    yield from open_validator()


def test_all_of_them_are_signed_and_told_and_nobody_of_today_is_finished(folder: Path) -> None:
    lines = Installation(folder).succeed("visits", "--json").splitlines()
    visits = [json.loads(line) for line in lines]

    assert {tuple(visit) for visit in visits} == {("id", "booking_code", "outcome", "report_state")}
    states = {visit["booking_code"]: (visit["outcome"], visit["report_state"]) for visit in visits}
    month = [visit for session in plan_month(NOW) for visit in session.visits]
    told = {visit.slot.booking_code: RESULTS[visit.ending] for visit in month}
    assert {code: states[code] for code in told} == told
    assert {states[code] for code in CODES} == {("completed", "delivered")}
    assert {state for code, state in states.items() if code not in {*CODES, *told}} == {
        ("", "none")
    }


def test_the_log_of_the_month_says_what_happened(folder: Path) -> None:
    entries = asyncio.run(load_entries(folder))

    month = [visit for session in plan_month(NOW) for visit in session.visits]
    for visit in month:
        acts = [entry["action"] for entry in entries[visit.slot.booking_code]]
        assert acts.count(Act.ROOM_DROPPED) == DROPS.get(visit.ending, 0), visit.ending
        assert (Act.ADMITTED in acts) is (visit.ending not in NOT_HELD), visit.ending
        assert (Act.BOOKING_CANCELLED in acts) is (visit.ending is Ending.CANCELLED)
        assert (Act.LATE_ANNOUNCED in acts) is (visit.ending is Ending.LATE)
    for told in entries.values():
        assert all(one["at"] <= other["at"] for one, other in pairwise(told))


async def load_entries(folder: Path) -> dict[str, list[dict[str, Any]]]:
    """The session log of each visit, by booking code."""
    found: dict[str, list[dict[str, Any]]] = defaultdict(list)
    database = Database(load_settings(folder).database)
    async with database.read(EVERY_ORGANISATION) as session:
        rows = await session.execute(
            select(Appointment.booking_code, LogEntry.entry)
            .join(Visit, Visit.id == LogEntry.visit_id)
            .join(Appointment, Appointment.id == Visit.appointment_id)
            .order_by(LogEntry.id)
        )
        for code, text in rows:
            found[code].append(json.loads(text))
    await database.close()
    return found


def test_every_exported_document_passes_the_national_rules(
    exported: dict[str, Path], validator: Validator
) -> None:
    for code, place in exported.items():
        assert validator.errors((place / "cda.xml").read_bytes()) == [], code


def test_the_exported_pdf_carries_the_exported_document(exported: dict[str, Path]) -> None:
    for place in exported.values():
        pdf = (place / "report.pdf").read_bytes()
        reader = PdfFileReader(io.BytesIO(pdf))
        assert len(reader.embedded_signatures) == 1
        assert sorted(path.name for path in place.iterdir()) == [
            "cda.xml", "document.json", "report.pdf", "transaction.json",
        ]  # fmt: skip
        for name, kind in (("document.json", "document"), ("transaction.json", "transaction")):
            assert json.loads((place / name).read_bytes())["type"] == kind


def test_they_cover_what_a_report_has_to_bear(exported: dict[str, Path]) -> None:
    documents = {code: etree.parse(place / "cda.xml") for code, place in exported.items()}
    patients = {
        value.rpartition(".")[2]
        for document in documents.values()
        for value in document.xpath("//h:patientRole/h:id/@root", namespaces=_HL7)
    }
    texts = {code: "".join(document.getroot().itertext()) for code, document in documents.items()}
    versions = [
        (
            document.xpath("string(/*/h:versionNumber/@value)", namespaces=_HL7),
            document.xpath("string(/*/h:relatedDocument/@typeCode)", namespaces=_HL7),
        )
        for document in documents.values()
    ]

    assert {"2", "17", "18", "3", "7"} <= patients
    assert ("2", "RPLC") in versions
    assert any("Σ dei punteggi < 3 & > 1" in text and "🙂" in text for text in texts.values())
    assert any("<![CDATA[ non è codice ]]> &amp; neppure" in text for text in texts.values())
    assert max(map(len, texts.values())) > 20_000
    assert any(set(case.sections) == set(NATIONAL_SECTIONS) for case in CASES)
    assert any(len(case.sections) == 1 and not case.question for case in CASES)
    assert {bool(case.companions) for case in CASES} == {True, False}
    assert {case.is_first_visit for case in CASES} == {True, False}


def test_an_export_is_logged_and_does_not_write_over_files(
    folder: Path, exported: dict[str, Path]
) -> None:
    place = exported[CODES[0]]
    before = (place / "report.pdf").read_bytes()
    (place / "cda.xml").write_text("altro")

    said = Installation(folder).fail("report", "export", CODES[0], "--to", place)
    assert "--force" in said
    assert (place / "cda.xml").read_text() == "altro"
    Installation(folder).succeed("report", "export", CODES[0], "--to", place, "--force")

    assert (place / "report.pdf").read_bytes() == before
    assert (place / "cda.xml").read_text() != "altro"
    assert (place / "cda.xml").stat().st_mode & 0o077 == 0
    assert "no signed report" in Installation(folder).fail(
        "report", "export", "TA26-100005", "--to", place / "x"
    )
    assert "There is no visit" in Installation(folder).fail(
        "report", "export", "NIENTE", "--to", place / "x"
    )
    assert not (place / "x").exists()


@pytest.mark.parametrize(
    "now",
    [
        datetime(2026, 11, 22, 12, 0, tzinfo=UTC),
        datetime(2026, 3, 29, 0, 30, tzinfo=UTC),
        datetime(2026, 10, 25, 23, 30, tzinfo=UTC),
        datetime(2026, 1, 1, 0, 10, tzinfo=UTC),
    ],
)
def test_the_month_is_over_before_yesterdays_bookings_come(now: datetime) -> None:
    month = plan_month(now)
    first, visits = plan_past(now)[0][0], [visit for one in month for visit in one.visits]

    starts = [visit.slot.start for visit in visits]
    assert starts == sorted(starts)
    assert starts[-1] + timedelta(hours=1) < first.start - timedelta(days=3)
    assert starts[0] > now - timedelta(days=32)
    assert {start.astimezone(ROME).weekday() for start in starts} <= set(range(5))
    assert {visit.ending for visit in visits} == set(Ending)
    assert sorted(slot.booking_code for one in month for slot in one.imported) == [
        visit.slot.booking_code for visit in visits
    ]
    for session in month:
        for slot in session.imported:
            assert slot.booked_at is not None
            assert slot.booked_at <= session.evening_before < slot.start


@pytest.mark.parametrize(
    "now",
    [
        datetime(2026, 11, 22, 12, 0, tzinfo=UTC),
        datetime(2026, 3, 29, 0, 30, tzinfo=UTC),
        datetime(2026, 10, 25, 23, 30, tzinfo=UTC),
        datetime(2026, 1, 1, 0, 10, tzinfo=UTC),
    ],
)
def test_yesterday_is_one_visit_after_the_other(now: datetime) -> None:
    slots: list[Any] = [slot for slot, _ in plan_past(now)]

    yesterday = now.astimezone(ROME).date() - timedelta(days=1)
    assert {slot.start.astimezone(ROME).date() for slot in slots} == {yesterday}
    assert all(later.start - earlier.start == SPACING for earlier, later in pairwise(slots))
    assert slots[-1].end + timedelta(minutes=10) < now
