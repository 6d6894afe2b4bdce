"""Visits full of canaries, made over HTTP and by the import of CUP, and everything that is left of
them on the disk and in the log."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any, Final

import aiohttp
from codicefiscale import codicefiscale
from sqlalchemy import select, text, update

from server.db import EVERY_ORGANISATION, Base, Database
from server.models import Outcome, Suitability, Visit, VisitState
from server.sealed import Details, Identity, Section
from tests.canaries import PER_VISIT, Canaries, find_all, find_in_folder
from tests.conftest import MakeVisit, Team
from tests.visitors import OWN_PAGE, Site, Visitor

_IN_A_SECTION: Final = 2
_JSON: Final = {"Accept": "application/json"}


class CanaryVisits:
    """Makes visits of one clinician; ``canaries`` are the words in them."""

    def __init__(self, site: Site, make_visit: MakeVisit, team: Team, seed: int) -> None:
        self._site = site
        self._make = make_visit
        self._team = team
        self.canaries = Canaries(seed)

    async def add(self, number: int) -> Visit:
        """One visit with everything that people write into one: 50 canaries."""
        before = len(self.canaries.words)
        visit = await self._make(
            self._team, identity=self._identity(number), details=self._details()
        )
        await self._check_in(visit)
        clinician = await self._site.staff(self._team.clinician)
        await self._write_note(clinician, visit)
        await self._finish(visit)
        await clinician.get(f"/visits/{visit.id}")
        await clinician.get(f"/visits/{visit.id}/report")
        assert len(self.canaries.words) - before == PER_VISIT
        return visit

    def _identity(self, number: int) -> Identity:
        word = self.canaries
        letters = "".join(chr(65 + number // 26**place % 26) for place in range(6))
        code = f"{letters}48C52D612"
        return Identity(
            family_name=word.next(),
            given_name=word.next(),
            birth_date=date(1948, 3, 12),
            sex="F",
            codice_fiscale=code + codicefiscale.encode_cin(code + "A"),
            phone=f"+39055{number:07}",
            email=f"{word.next()}@example.it",
            address=f"Via {word.next()} 12, 50122 Firenze",
        )

    def _details(self) -> Details:
        word = self.canaries
        return Details(
            nre="090A04000000248",
            question=f"Controllo: {word.next()}",
            service_code="89.01.3",
            service_name=f"VISITA {word.next()}",
            prescriber=f"dott. {word.next()}",
        )

    async def _check_in(self, visit: Visit) -> None:
        word, here = self.canaries, f"/v/{visit.locator}"
        patient = await self._site.patient(visit)
        steps = f"{here}/check-in"
        await patient.post(f"{steps}/who")
        await patient.post(f"{steps}/consents", visit="yes", tool="yes")
        await patient.post(f"{steps}/devices", camera="ok", microphone="ok", loudspeaker="ok")
        done = await patient.post(f"{steps}/place", address=word.next(), companions=word.next())
        assert done.location == f"{steps}/ready"
        form = aiohttp.FormData(quote_fields=False)
        content = f"%PDF-1.7\n1 0 obj\n<< /Title ({word.next()}) >>\nendobj\n%%EOF\n".encode()
        name = f"{word.next()}.pdf"
        form.add_field("file", content, filename=name, content_type="application/pdf")
        sent = await patient.ask("POST", f"{here}/files", {**OWN_PAGE, **_JSON}, data=form)
        assert sent.status in {200, 201}, sent.text

    async def _write_note(self, clinician: Visitor, visit: Visit) -> None:
        """Saved twice, and once more in a way that is refused."""
        sections = {section.value: self.canaries.some(_IN_A_SECTION) for section in Section}
        free = {"free": sections["free"] + " " + self.canaries.next()}
        for version, content in enumerate((sections, sections | free)):
            saved = await self._put(clinician, visit, content, f'"{version}"')
            assert saved == 200
        assert await self._put(clinician, visit, sections, '"junk"') == 400
        assert await self._put(clinician, visit, sections, '"0"') == 412

    async def _put(
        self, clinician: Visitor, visit: Visit, sections: dict[str, str], version: str
    ) -> int:
        path, headers = f"/visits/{visit.id}/note", {"If-Match": version}
        answer = await clinician.send("PUT", path, {"sections": sections}, **headers)
        return answer.status

    async def _finish(self, visit: Visit) -> None:
        now = datetime.now(UTC)
        async with self._site.database.begin(visit.organisation_id) as session:
            await session.execute(
                update(Visit)
                .where(Visit.id == visit.id)
                .values(
                    state=VisitState.ENDED,
                    outcome=Outcome.COMPLETED,
                    waiting_since=now - timedelta(minutes=22),
                    admitted_at=now - timedelta(minutes=20),
                    ended_at=now,
                    suitability=Suitability.SUITABLE,
                    suitability_stated_at=now,
                    suitability_stated_by=self._team.clinician.id,
                )
            )


@contextmanager
def logging_into(path: Path) -> Iterator[None]:
    """Every line of every logger, as it would stand in the log of a server that tells all."""
    handler = logging.FileHandler(path, encoding="utf-8")
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s %(message)s"))
    root = logging.getLogger()
    level = root.level
    root.addHandler(handler)
    root.setLevel(logging.DEBUG)
    try:
        yield
    finally:
        root.setLevel(level)
        root.removeHandler(handler)
        handler.close()


async def search_database(database: Database) -> list[str]:
    """Every value of every row as the database gives it, and the files that it keeps itself."""
    found = []
    async with database.read(EVERY_ORGANISATION) as session:
        for table in Base.metadata.sorted_tables:
            rows = [tuple(row) for row in await session.execute(select(table))]
            for row in rows:
                content = b"\0".join(_bytes_of(value) for value in row)
                found += find_all(table.name, content)
    if database.engine.dialect.name == "postgresql":
        async with database.engine.connect() as connection:
            await connection.execution_options(isolation_level="AUTOCOMMIT")
            await connection.execute(text("CHECKPOINT"))
            folder = (await connection.execute(text("SHOW data_directory"))).scalar_one()
        found += await asyncio.to_thread(find_in_folder, Path(folder))
    return found


def _bytes_of(value: Any) -> bytes:
    return value if isinstance(value, bytes) else str(value).encode()
