"""Contents of reports for the tests, and the national validator where it lies beside us."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from functools import cached_property, lru_cache
from pathlib import Path
from types import ModuleType
from typing import Any

import msgspec
import pytest

from server.models import Outcome, Suitability
from server.report.chart import draw_chart
from server.report.content import (
    Address,
    Attendance,
    Body,
    Document,
    Identifier,
    IdentifierKind,
    LineBand,
    LineStretch,
    Order,
    Patient,
    Picture,
    Presence,
    Professional,
    ReportContent,
    Session,
)
from server.sealed import NATIONAL_SECTIONS, Coding, Section

FSE = Path(__file__).resolve().parents[2] / "shared" / "fse"
BEGAN = datetime(2026, 11, 20, 9, 3, 12, tzinfo=UTC)
ENDED = BEGAN + timedelta(minutes=21, seconds=40)
SESSION = Session(
    began_at=BEGAN,
    ended_at=ENDED,
    outcome=Outcome.COMPLETED,
    attendance=[
        Attendance(
            who=Presence.PATIENT,
            intervals=[
                (BEGAN, BEGAN + timedelta(minutes=9)),
                (BEGAN + timedelta(minutes=9, seconds=40), ENDED),
            ],
        ),
        Attendance(who=Presence.CLINICIAN, intervals=[(BEGAN - timedelta(minutes=2), ENDED)]),
    ],
    suitability=Suitability.SUITABLE,
    proposed=Suitability.VOICE_ONLY,
    breaks=[(BEGAN + timedelta(minutes=9), 40.0)],
    line=[
        LineStretch(
            sender=sender,
            began_at=BEGAN + timedelta(minutes=7 * number),
            ended_at=BEGAN + timedelta(minutes=7 * number + 6),
            band=band,
        )
        for sender in (Presence.PATIENT, Presence.CLINICIAN)
        for number, band in enumerate(LineBand)
    ],
)
FLORENCE = Address(
    street="Via dei Serragli 12",
    postal_code="50124",
    city="Firenze",
    province="FI",
    country="Italia",
)
ROSA = Patient(
    identifier=Identifier(kind=IdentifierKind.CODICE_FISCALE, value="BRTRSO48C52D612U"),
    family_name="Bertolucci",
    given_name="Rosa",
    sex="F",
    birth_date=date(1948, 3, 12),
    birth_place=Address(city="Firenze", province="FI", country="Italia"),
    residence=FLORENCE,
    phone="+393331234567",
    email="rosa@example.it",
)
CAREGGI = Body(
    code="aou-careggi",
    name="AOU Careggi",
    ministry_code="090901",
    region_code="090",
    address=Address(street="Largo Brambilla 3", postal_code="50134", city="Firenze",
                    province="FI", country="Italia"),
    phone="+39055794111",
    clinic_code="CARD-1",
    clinic_name="Ambulatorio di cardiologia",
    site_code="09090100",
    site_name="Presidio Careggi",
    discipline_code="08",
    branch_code="02",
)  # fmt: skip
BASIC = ReportContent(
    document=Document(
        id="0123456789abcdef0123456789abcdef",
        set_id="0123456789abcdef0123456789abcdef",
        version=1,
        created_at=ENDED + timedelta(minutes=7),
    ),
    patient=ROSA,
    author=Professional(
        family_name="Bianchi", given_name="Anna", title="dott.ssa",
        codice_fiscale="BNCNNA75T50D612K",
    ),
    body=CAREGGI,
    order=Order(
        booking_code="PRE-2026-000123",
        nre="090A04000000248",
        priority="D",
        prescriber="dott. Luca Conti",
        prescribed_on=date(2026, 10, 2),
        exemption="048",
        episode_code="aou-careggi.PRE-2026-000123",
    ),
    session=SESSION,
    sections={Section.FINDINGS: "Compenso buono. Peso stabile."},
    services=[
        Coding(system="services", code="89.01.3", display="VISITA CARDIOLOGICA DI CONTROLLO")
    ],
    picture=Picture(
        media_type="image/png", content=draw_chart(SESSION), caption="Presenza e collegamento"
    ),
)  # fmt: skip


def changed(content: ReportContent = BASIC, **parts: Any) -> ReportContent:
    """A content with some of its parts changed: ``patient={"phone": ""}``, ``sections={…}``."""
    structs = {
        name: msgspec.structs.replace(getattr(content, name), **change)
        for name, change in parts.items()
        if isinstance(change, dict) and name != "sections"
    }
    return msgspec.structs.replace(content, **{**parts, **structs})


FULL = changed(
    sections={section: f"Testo di {section}.\n\nSeconda riga." for section in NATIONAL_SECTIONS},
    question_codes=[Coding(system="icd9_cm", code="428.0", display="Insufficienza cardiaca")],
    diagnosis_codes=[
        Coding(system="icd9_cm", code="428.0", display="Insufficienza cardiaca congestizia"),
        Coding(system="icd9_cm", code="4019", display="Ipertensione essenziale"),
    ],
)


@dataclass(frozen=True)
class Finding:
    severity: str
    rule: str
    message: str


@dataclass(frozen=True)
class _InMemory:
    content: bytes
    name: str = "cda.xml"

    def read_bytes(self) -> bytes:
        return self.content


class _OneCompiler:
    """A Saxon processor that compiles each stylesheet once: the rules are always the same."""

    def __init__(self, processor: Any) -> None:
        self._processor = processor
        self.parse_xml = processor.parse_xml

    def new_xslt30_processor(self) -> _OneCompiler:
        return self

    @lru_cache(maxsize=4)  # noqa: B019 lives as long as the session of tests
    def compile_stylesheet(self, *, stylesheet_text: str) -> Any:
        compiler = self._processor.new_xslt30_processor()
        return compiler.compile_stylesheet(stylesheet_text=stylesheet_text)


class Validator:
    """The offline validator of ``../shared/fse``, in this process."""

    def __init__(self, module: ModuleType, processor: Any) -> None:
        self._module = module
        self._processor = _OneCompiler(processor)
        vars(module)["compile_schematron"] = lru_cache(module.compile_schematron)

    def findings(self, document: bytes) -> list[Finding]:
        found = self._module.validate(self._processor, _InMemory(document))
        return [Finding(one.severity, one.rule, one.message) for one in found]

    def errors(self, document: bytes) -> list[Finding]:
        return [one for one in self.findings(document) if one.severity == "ERROR"]

    def errors_by_the_rules(self, document: bytes) -> list[Finding]:
        """By the rules of the report, also where a change hides what kind of document it is."""
        found = self._module.validate(self._processor, _InMemory(document), self.rule_file)
        findings = [Finding(one.severity, one.rule, one.message) for one in found]
        return [one for one in findings if one.severity == "ERROR"]

    @cached_property
    def rule_file(self) -> Path:
        return FSE / "schematron" / "schematron_Referto_Televisita_v1.0.sch"


def open_validator() -> Iterator[Validator]:
    """For a fixture; skips where the validator is not there."""
    path = FSE / "validate.py"
    if not path.is_file():
        pytest.skip("the national validator (../shared/fse) is not here")
    saxonche = pytest.importorskip("saxonche")
    spec = importlib.util.spec_from_file_location("fse_validate", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    with saxonche.PySaxonProcessor(license=False) as processor:
        yield Validator(module, processor)
