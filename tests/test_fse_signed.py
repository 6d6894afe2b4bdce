"""From the clinician's click to the national record: the served application and its own workers."""

from __future__ import annotations

import asyncio
import hashlib
import io
import json
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from pyhanko.pdf_utils.reader import PdfFileReader
from sqlalchemy import select

from server.db import Database
from server.keyring import Keyring
from server.models import LogEntry, Organisation, Phase, ReportState, Visit
from server.services import SETTINGS
from tests.conftest import Cast, MakeVisit
from tests.fsegateway import Problem, connect, judge_by_national_rules, serve_gateway
from tests.reportvisits import (
    give_signature,
    make_finished,
    reports_of,
    sign,
    state_of_visit,
)
from tests.visitors import Site, site

__all__ = ["site"]


async def entries_of(database: Database, visit: Visit, act: str) -> int:
    async with database.read(visit.organisation_id) as session:
        found = await session.scalars(select(LogEntry.entry).where(LogEntry.visit_id == visit.id))
        return [json.loads(entry)["action"] for entry in found].count(act)


@pytest.fixture(scope="module")
def judge() -> Iterator[Callable[[bytes], list[str]]]:
    yield from judge_by_national_rules()


async def test_a_report_that_is_signed_in_the_page_reaches_the_record(
    site: Site,
    cast: Cast,
    make_visit: MakeVisit,
    database: Database,
    keyring: Keyring,
    tmp_path: Path,
    judge: Callable[[bytes], list[str]],
) -> None:
    team = cast.toscana
    visit = await make_finished(make_visit, database, keyring, team)
    await give_signature(database, keyring, team.clinician)
    clinician = await site.staff(team.clinician)
    async with database.begin(team.organisation.id) as session:
        row = await session.get_one(Organisation, team.organisation.id)
        row.phase, row.region_code = Phase.ATTIVO, "090"

    async with serve_gateway(tmp_path, lambda: datetime.now(UTC), judge) as gateway:
        connect(site.app[SETTINGS].fse_folder / team.organisation.code, gateway)
        gateway.problems = [None, Problem(503, "about:blank", **{"Retry-After": "1"})]
        answer = await sign(clinician, visit)
        async with asyncio.timeout(60):
            while await state_of_visit(database, visit) is not ReportState.PUBLISHED:
                await asyncio.sleep(0.2)

    assert answer.status == 303
    [report] = await reports_of(database, visit)
    [stored] = gateway.documents.values()
    assert hashlib.sha256(stored.pdf).hexdigest() == report.pdf_sha256
    assert stored.claims["attachment_hash"] == report.pdf_sha256
    assert gateway.calls.count("POST /documents/validation") >= 1
    assert len(PdfFileReader(io.BytesIO(stored.pdf)).embedded_signatures) == 1
    assert await entries_of(database, visit, "fse.published") == 1
    assert visit.id not in (await clinician.get("/fse")).text
