"""Who sees what of the way to the national record, and what an installation without it says."""

from __future__ import annotations

import logging
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import select

from server.db import Database
from server.findings import Level
from server.keyring import Keyring
from server.models import (
    Organisation,
    Outcome,
    Phase,
    Report,
    Submission,
    SubmissionState,
    Visit,
    VisitState,
    new_id,
)
from server.reach import check_gateways
from server.report.watch import FEED_WITHIN, Owing, count_owed, load_owed
from server.sealed.report import seal_report_content, seal_submission_detail
from server.settings import Settings
from tests.conftest import Cast, MakeVisit, Team
from tests.fsegateway import check_structure, connect, serve_gateway
from tests.visitors import Site, site

__all__ = ["site"]

WORDS = "Il campo diagnosi di Rosa non è valido"


class Shelf:
    """Finished visits with their documents, made without a gateway."""

    def __init__(self, database: Database, keyring: Keyring, make_visit: MakeVisit) -> None:
        self.database, self.keyring, self.make_visit = database, keyring, make_visit

    async def end(self, team: Team, days_ago: float, **parts: object) -> Visit:
        visit = await self.make_visit(team, state=VisitState.ENDED)
        ended_at = datetime.now(UTC) - timedelta(days=days_ago)
        values = {"outcome": Outcome.COMPLETED, "ended_at": ended_at, "admitted_at": ended_at}
        async with self.database.begin(team.organisation.id) as session:
            row = await session.get_one(Visit, visit.id)
            for name, value in {**values, **parts}.items():
                setattr(row, name, value)
        return visit

    async def file(
        self,
        visit: Visit,
        state: SubmissionState | None,
        *,
        earlier: Report | None = None,
        problem: str = "",
    ) -> Report:
        """A signed report of a visit; ``state`` of its way, None without one."""
        now, id_ = datetime.now(UTC), new_id()
        async with self.database.begin(visit.organisation_id) as session:
            report = Report(
                id=id_,
                organisation_id=visit.organisation_id,
                visit_id=visit.id,
                set_id=earlier.set_id if earlier else id_,
                version=earlier.version + 1 if earlier else 1,
                content_version=1,
                author_id=visit.appointment.clinician_id,
                created_at=now,
                signed_at=now,
            )
            await seal_report_content(self.keyring, session, report, b"{}")
            session.add(report)
            await session.flush()
            if state is not None:
                row = Submission(
                    id=new_id(),
                    organisation_id=visit.organisation_id,
                    report_id=id_,
                    state=state,
                    problem=problem,
                    detail_version=1,
                    next_try_at=now,
                    created_at=now,
                    changed_at=now,
                )
                await seal_submission_detail(self.keyring, session, row, WORDS.encode())
                session.add(row)
        return report


@pytest.fixture
def shelf(database: Database, keyring: Keyring, make_visit: MakeVisit) -> Shelf:
    return Shelf(database, keyring, make_visit)


async def test_the_list_holds_what_is_owed_and_nothing_else(
    shelf: Shelf, cast: Cast, database: Database
) -> None:
    team, now = cast.toscana, datetime.now(UTC)
    late = await shelf.end(team, 6.5)
    unsigned = await shelf.end(team, 1.5)
    refused = await shelf.end(team, 2.5)
    await shelf.file(refused, SubmissionState.REFUSED)
    waiting = await shelf.end(team, 3.5)
    await shelf.file(waiting, SubmissionState.VALIDATED)
    published = await shelf.end(team, 1)
    await shelf.file(published, SubmissionState.PUBLISHED)
    corrected = await shelf.end(team, 1)
    first = await shelf.file(corrected, SubmissionState.REFUSED)
    await shelf.file(corrected, SubmissionState.PUBLISHED, earlier=first)
    await shelf.file(await shelf.end(team, 1), None)
    await shelf.end(team, 1, outcome=Outcome.NO_SHOW_PATIENT)
    await shelf.end(team, 1, outcome=Outcome.CONVERTED_TO_IN_PERSON, admitted_at=None)
    await shelf.end(team, 70)
    await shelf.end(cast.emilia, 1)

    async with database.read(team.organisation.id) as session:
        owed = await load_owed(session, now, team.clinician.id)
        of_colleague = await load_owed(session, now, team.colleague.id)
        counts = await count_owed(session, now, team.clinician.id)

    assert [(one.visit.id, one.owing) for one in owed] == [
        (late.id, Owing.UNSIGNED),
        (waiting.id, Owing.ON_ITS_WAY),
        (refused.id, Owing.REFUSED),
        (unsigned.id, Owing.UNSIGNED),
    ]
    assert [one.days_left for one in owed] == [-2, 1, 2, 3]
    assert owed[0].due_at == late_end(owed[0].visit) + FEED_WITHIN
    assert of_colleague == []
    assert counts == (4, 3)


def late_end(visit: Visit) -> datetime:
    assert visit.ended_at is not None
    return visit.ended_at


async def test_the_clinician_reads_the_gateways_words_and_sends_again(
    site: Site, shelf: Shelf, cast: Cast, database: Database
) -> None:
    team = cast.toscana
    visit = await shelf.end(team, 1)
    report = await shelf.file(visit, SubmissionState.REFUSED, problem="/msg/semantic")
    clinician = await site.staff(team.clinician)

    agenda = await clinician.get("/agenda")
    page = await clinician.get("/fse")
    colleague = await (await site.staff(team.colleague)).get("/fse")
    manager = await (await site.staff(team.manager)).get("/fse")
    async with database.read(team.organisation.id) as session:
        row = (await session.scalars(select(Submission))).one()
    reply = await clinician.post(f"/fse/{row.id}/retry")

    assert "1 referto deve ancora arrivare nel Fascicolo" in agenda.text
    assert WORDS in page.text
    assert "Bertolucci" in page.text
    assert visit.id not in colleague.text
    assert visit.id in manager.text
    assert WORDS not in manager.text
    assert "Bertolucci" not in manager.text
    assert (reply.status, reply.location) == (303, "/fse")
    async with database.read(team.organisation.id) as session:
        row = (await session.scalars(select(Submission))).one()
    assert (row.report_id, row.state, row.problem) == (report.id, SubmissionState.WAITING, "")


async def test_the_administrator_sees_types_and_ids_only(
    site: Site, shelf: Shelf, cast: Cast
) -> None:
    team = cast.toscana
    visit = await shelf.end(team, 1)
    report = await shelf.file(visit, SubmissionState.REFUSED, problem="/msg/semantic")
    administrator = await site.staff(team.administrator)

    page = await administrator.get("/admin/fse")
    overview = await administrator.get("/admin")

    assert report.id in page.text
    assert "/msg/semantic" in page.text
    assert "non rispetta una regola del documento" in page.text
    for text in (WORDS, "Bertolucci", visit.appointment.booking_code):
        assert text not in page.text
    assert "Referti rifiutati dal Fascicolo" in overview.text


async def test_without_a_gateway_the_pages_say_so(site: Site, cast: Cast) -> None:
    clinician = await (await site.staff(cast.toscana.clinician)).get("/fse")
    administrator = await (await site.staff(cast.toscana.administrator)).get("/admin/fse")

    for page in (clinician, administrator):
        assert "Non collegato al FSE." in page.text


async def test_check_looks_at_the_certificates_and_knocks(
    database: Database, cast: Cast, data_dir: Path, tmp_path: Path
) -> None:
    settings, now = Settings(data_dir=data_dir), datetime.now(UTC)
    async with database.begin(cast.toscana.organisation.id) as session:
        row = await session.get_one(Organisation, cast.toscana.organisation.id)
        row.phase = Phase.ATTIVO
    organisations = [cast.toscana.organisation, cast.emilia.organisation]

    assert await check_gateways(settings, organisations, now) == []
    folder = settings.fse_folder / cast.toscana.organisation.code
    async with serve_gateway(tmp_path, lambda: datetime.now(UTC), check_structure) as gateway:
        connect(folder, gateway, ends_at=now + timedelta(days=90))
        (good,) = await check_gateways(settings, organisations, now)
        connect(folder, gateway, ends_at=now + timedelta(days=20, hours=1))
        (soon,) = await check_gateways(settings, organisations, now)
        (folder / "signature.key").chmod(0o644)
        loose = await check_gateways(settings, organisations, now)
        connect(folder, gateway, ends_at=now - timedelta(minutes=1))
        (ended,) = await check_gateways(settings, organisations, now)
        connect(folder, gateway, ends_at=now + timedelta(days=90))
        calls = list(gateway.calls)
    (away,) = await check_gateways(settings, organisations, now)

    assert (good.level, soon.level) == (Level.GOOD, Level.WARNING)
    assert "20 days" in soon.text
    assert [finding.level for finding in loose] == [Level.WARNING, Level.BAD]
    assert (ended.level, away.level) == (Level.BAD, Level.BAD)
    assert "authentication.pem has ended" in ended.text
    assert calls == []


async def test_metrics_count_the_queue(
    site: Site, shelf: Shelf, cast: Cast, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    visit = await shelf.end(cast.toscana, 1)
    await shelf.file(visit, SubmissionState.REFUSED, problem="/msg/semantic")

    page = await site.stranger.get("/metrics")

    assert 'accanto_fse_documents{organisation="ausl-toscana",state="refused"} 1.0' in page.text
    assert 'accanto_fse_oldest_age_seconds{organisation="ausl-toscana"} 0.0' in page.text
    assert WORDS not in caplog.text
