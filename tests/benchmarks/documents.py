"""What it takes to make all forms of one report: CDA2, PDF/A-3b, document and transaction bundle.

As the act of signing does it, one after the other in a thread, without the signature. The report
has every section filled and a photograph; no two are alike, so nothing that was made is found
again. Beside the times stands a PDF of one empty page: what typst costs on this machine.
"""

from __future__ import annotations

import asyncio
import io
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

import typst
from PIL import Image

from server.models import Outcome, Suitability
from server.report.cda import render_cda
from server.report.content import (
    Address,
    Attendance,
    Body,
    Document,
    Identifier,
    IdentifierKind,
    Order,
    Patient,
    Picture,
    Presence,
    Professional,
    ReportContent,
    Session,
)
from server.report.fhir import render_document, render_transaction
from server.report.pdf import render_pdf
from server.sealed import NATIONAL_SECTIONS, Coding
from tests.benchmarks.report import Goal, Report, Spread, percentile

LIMIT_MILLISECONDS: Final = 500
_EACH_ROUND: Final = 10
_BEGAN: Final = datetime(2026, 11, 20, 9, 3, tzinfo=UTC)
_ENDED: Final = _BEGAN + timedelta(minutes=21)
_ADDRESS: Final = Address(
    street="Via dei Serragli 12", postal_code="50124", city="Firenze", province="FI",
    country="Italia",
)  # fmt: skip
_WORDS: Final = "Il paziente riferisce benessere; dispnea per sforzi medi, Σ edemi assenti. "
_PHOTOGRAPH: Final = (1600, 1200)


async def measure(folder: Path, rounds: int) -> Report:
    report = Report(
        "report",
        f"report: all forms of one report, {rounds} rounds of {_EACH_ROUND}",
        ("form", "median, ms", "p95, ms", "kB"),
    )
    picture = _photograph()
    await asyncio.to_thread(_make, _content(-1, picture))
    cpu = time.process_time()
    made = [
        await asyncio.to_thread(_make, _content(number, picture))
        for number in range(rounds * _EACH_ROUND)
    ]
    cpu = 1000 * (time.process_time() - cpu) / len(made)
    for name in made[0]:
        times = [one[name][0] for one in made]
        report.rows.append(
            (name, Spread(times).text(1), f"{percentile(times, 95):.1f}", f"{made[0][name][1]:.0f}")
        )
    wholes = [sum(milliseconds for milliseconds, _ in one.values()) for one in made]
    p95 = percentile(wholes, 95)
    report.rows.append(("all", Spread(wholes).text(1), f"{p95:.1f}", ""))
    report.goals.append(Goal("all forms, p95 in ms", p95, LIMIT_MILLISECONDS))
    empty = Spread([_time(lambda: typst.compile(b" ", format="pdf"))[0] for _ in range(rounds)])
    report.notes.append(f"a PDF of one empty page by typst alone: {empty.text(1)} ms")
    report.notes.append(f"all forms of one report take {cpu:.0f} ms of CPU")
    report.figures = {"all": Spread(wholes).content(), "p95": p95, "cpu": cpu}
    return report


def _make(content: ReportContent) -> dict[str, tuple[float, float]]:
    """Milliseconds and kilobytes of each form."""
    took, cda = _time(lambda: render_cda(content))
    found = {"CDA2": (took, len(cda) / 1000)}
    for name, render in (
        ("PDF/A-3b", lambda: render_pdf(content, cda)),
        ("document bundle", lambda: render_document(content)),
        ("transaction bundle", lambda: render_transaction(content)),
    ):
        took, made = _time(render)
        found[name] = (took, len(made) / 1000)
    return found


def _time(work: Callable[[], bytes]) -> tuple[float, bytes]:
    started = time.perf_counter()
    made = work()
    return 1000 * (time.perf_counter() - started), made


def _photograph() -> Picture:
    image, written = Image.effect_noise(_PHOTOGRAPH, 40).convert("RGB"), io.BytesIO()
    image.save(written, "JPEG", quality=70)
    return Picture(
        media_type="image/jpeg", content=written.getvalue(), caption="Caviglia", is_clinical=True
    )


def _content(number: int, picture: Picture) -> ReportContent:
    return ReportContent(
        document=_document(number),
        patient=Patient(
            identifier=Identifier(kind=IdentifierKind.CODICE_FISCALE, value="BRTRSO48C52D612U"),
            family_name="Bertolucci", given_name=f"Rosa {number}", sex="F",
            birth_date=datetime(1948, 3, 12, tzinfo=UTC).date(),
            birth_place=_ADDRESS, residence=_ADDRESS, phone="+393331234567",
        ),
        author=Professional(
            family_name="Bianchi", given_name="Anna", title="dott.ssa",
            codice_fiscale="BNCNNA75T50D612K",
        ),
        body=Body(
            code="090299", name="Azienda USL Toscana Arno", ministry_code="090299",
            region_code="090", address=_ADDRESS, phone="+390550004400", clinic_code="CARD-1",
            clinic_name="Ambulatorio di cardiologia", site_code="09029901",
            site_name="Presidio Arno", discipline_code="08", branch_code="02",
        ),
        order=Order(booking_code=f"PRE-{number}", nre="090A04000000248", priority="D"),
        session=Session(
            began_at=_BEGAN, ended_at=_ENDED, outcome=Outcome.COMPLETED,
            attendance=[Attendance(who=Presence.PATIENT, intervals=[(_BEGAN, _ENDED)])],
            suitability=Suitability.SUITABLE,
        ),
        sections=dict.fromkeys(NATIONAL_SECTIONS, f"{number} {_WORDS * 8}"),
        services=[Coding(system="services", code="89.01.3", display="VISITA CARDIOLOGICA")],
        picture=picture,
    )  # fmt: skip


def _document(number: int) -> Document:
    key = f"{number & 0xFFFF:032x}"
    return Document(id=key, set_id=key, version=1, created_at=_ENDED)
