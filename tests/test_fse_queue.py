"""The way of signed reports to the national record: a real render, a real gateway on a real port,
on both databases."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path

import msgspec
import pytest
from sqlalchemy import select

from server.audit import ActorRole
from server.db import Database
from server.errors import Conflict, NotFound
from server.fse.before import Validator
from server.fse.delivery import Deliverer
from server.fse.parcels import LEASE, Sign
from server.fse.retry import retry_submission
from server.keyring import Keyring
from server.models import (
    LogEntry,
    Organisation,
    Outcome,
    Phase,
    Report,
    ReportKind,
    Submission,
    SubmissionState,
    Visit,
    VisitState,
    new_id,
)
from server.report.cda import render_cda
from server.report.content import Identifier, IdentifierKind, ReportContent
from server.report.pdf import render_pdf
from server.report.queue import Standing, enqueue
from server.sealed.report import (
    open_submission_detail,
    seal_report_content,
    seal_report_forms,
)
from server.settings import Settings
from tests.conftest import Cast, MakeVisit, Team
from tests.fsegateway import (
    FseGateway,
    Problem,
    check_structure,
    connect,
    judge_by_national_rules,
    serve_gateway,
)
from tests.reports import changed

ROOT = "2.16.840.1.113883.2.9.2.90.4.4"
DAY = timedelta(days=1)


@dataclass
class Clock:
    now: datetime = field(default_factory=lambda: datetime.now(UTC))

    def __call__(self) -> datetime:
        return self.now

    def pass_(self, **lapse: float) -> None:
        self.now += timedelta(**lapse)


@cache
def paint(content_json: bytes) -> tuple[bytes, bytes]:
    content = msgspec.json.decode(content_json, type=ReportContent)
    cda = render_cda(content)
    return render_pdf(content, cda), cda


@dataclass
class Ground:
    """An organisation that is live and connected, and what a test does with it."""

    database: Database
    keyring: Keyring
    settings: Settings
    clock: Clock
    gateway: FseGateway
    team: Team
    make_visit: MakeVisit

    def deliverer(self) -> Deliverer:
        """Of a process that has just begun to lead."""
        return Deliverer(self.database, self.keyring, self.settings, self.clock)

    async def deliver(self) -> None:
        await self.deliverer().deliver(self.team.organisation.id)

    def describe(self, report: Report, **parts: object) -> ReportContent:
        """What the report says; its visit ended half an hour ago."""
        document = {
            "id": report.id,
            "set_id": report.set_id,
            "version": report.version,
            "kind": report.kind,
            "replaces_id": report.replaces_id or "",
            "replaces_version": report.version - 1 if report.version > 1 else 0,
            "is_obscured": report.is_obscured,
        }
        began = self.clock() - timedelta(minutes=30)
        session = {"began_at": began, "ended_at": began + timedelta(minutes=20)}
        return changed(**{"document": document, "session": session, **parts})

    async def sign(
        self,
        earlier: Report | None = None,
        *,
        is_addendum: bool = False,
        is_obscured: bool = False,
        visit: Visit | None = None,
        **parts: object,
    ) -> Report:
        """A signed report of an ended visit, queued in the same transaction."""
        if earlier is None and visit is None:
            visit = await self.end_visit()
        async with self.database.begin(self.team.organisation.id) as session:
            id_ = new_id()
            report = Report(
                id=id_,
                organisation_id=self.team.organisation.id,
                visit_id=earlier.visit_id if earlier else visit.id if visit else "",
                set_id=earlier.set_id if earlier and not is_addendum else id_,
                version=earlier.version + 1 if earlier and not is_addendum else 1,
                kind=ReportKind.ADDENDUM if is_addendum else ReportKind.REPORT,
                replaces_id=earlier.id if earlier else None,
                author_id=self.team.clinician.id,
                is_obscured=is_obscured,
                content_version=1,
                created_at=self.clock(),
                signed_at=self.clock(),
            )
            content = msgspec.json.encode(self.describe(report, **parts))
            await seal_report_content(self.keyring, session, report, content)
            pdf, cda = paint(content)
            await seal_report_forms(self.keyring, session, report, pdf=pdf, cda=cda)
            session.add(report)
            await session.flush()
            await enqueue(session, report, self.clock())
        return report

    async def end_visit(self) -> Visit:
        visit = await self.make_visit(self.team, state=VisitState.ENDED)
        async with self.database.begin(self.team.organisation.id) as session:
            row = await session.get_one(Visit, visit.id)
            row.outcome, row.ended_at = Outcome.COMPLETED, self.clock()
        return visit

    async def row(self, report: Report) -> Submission:
        async with self.database.read(self.team.organisation.id) as session:
            wanted = select(Submission).where(Submission.report_id == report.id)
            return (await session.scalars(wanted)).one()

    async def words(self, report: Report) -> str:
        async with self.database.read(self.team.organisation.id) as session:
            row = await self.row(report)
            return (await open_submission_detail(self.keyring, session, row)).decode()

    async def acts(self) -> list[str]:
        async with self.database.read(self.team.organisation.id) as session:
            entries = await session.scalars(select(LogEntry.entry).order_by(LogEntry.id))
            found = [json.loads(entry)["action"] for entry in entries]
        return [act for act in found if act.startswith("fse.")]

    async def set_phase(self, phase: Phase, *pilots: str) -> None:
        async with self.database.begin(self.team.organisation.id) as session:
            row = await session.get_one(Organisation, self.team.organisation.id)
            row.phase, row.pilot_clinics = phase, list(pilots)

    def number(self, report: Report) -> str:
        return f"{ROOT}^{report.id}"


@pytest.fixture(scope="module")
def judge() -> Iterator[Callable[[bytes], list[str]]]:
    yield from judge_by_national_rules()


@pytest.fixture
async def ground(
    database: Database,
    keyring: Keyring,
    cast: Cast,
    make_visit: MakeVisit,
    data_dir: Path,
    tmp_path: Path,
    judge: Callable[[bytes], list[str]],
) -> AsyncIterator[Ground]:
    clock, settings = Clock(), Settings(data_dir=data_dir)
    async with serve_gateway(tmp_path, clock, judge) as gateway:
        folder = settings.fse_folder / cast.toscana.organisation.code
        connect(folder, gateway, ends_at=clock() + 90 * DAY)
        ground = Ground(database, keyring, settings, clock, gateway, cast.toscana, make_visit)
        await ground.set_phase(Phase.ATTIVO)
        yield ground


# ---- the happy path ----------------------------------------------------------------------


async def test_a_signed_report_is_validated_published_and_logged(ground: Ground) -> None:
    report = await ground.sign()

    await ground.deliver()

    row = await ground.row(report)
    assert (row.state, row.problem) == (SubmissionState.PUBLISHED, ""), await ground.words(report)
    assert [call.split(" ")[0] for call in ground.gateway.calls] == ["POST", "POST", "GET"]
    stored = ground.gateway.documents[ground.number(report)]
    assert stored.request["tipologiaStruttura"] == "Territorio"
    assert stored.request["assettoOrganizzativo"] == "AD_PSC008"
    assert stored.request["administrativeRequest"] == ["SSN"]
    assert "attiCliniciRegoleAccesso" not in stored.request
    claims = stored.claims
    assert claims["person_id"] == "BRTRSO48C52D612U^^^&2.16.840.1.113883.2.9.4.3.2&ISO"
    assert claims["sub"] == "BNCNNA75T50D612K^^^&2.16.840.1.113883.2.9.4.3.2&ISO"
    assert claims["subject_organization"] == "Regione Toscana"
    assert claims["locality"] == (
        "Presidio Careggi^^^^^&2.16.840.1.113883.2.9.4.1.2&ISO^^^^09090100"
    )
    assert claims["subject_role"] == "AAS"
    assert await ground.acts() == ["fse.validated", "fse.published"]


async def test_an_obscured_report_of_a_practitioner_says_so(ground: Ground) -> None:
    stp = Identifier(kind=IdentifierKind.STP, value="STP0900000000123")
    report = await ground.sign(
        is_obscured=True,
        patient={"identifier": stp},
        order={"nre": ""},
        body={"site_code": "", "discipline_code": ""},
    )

    await ground.deliver()

    stored = ground.gateway.documents[ground.number(report)]
    assert stored.request["attiCliniciRegoleAccesso"] == ["P99"]
    assert stored.request["assettoOrganizzativo"] == "AD_PSC131"
    assert "administrativeRequest" not in stored.request
    assert stored.claims["person_id"] == "STP0900000000123^^^&2.16.840.1.113883.2.9.4.3.17&ISO"
    assert stored.claims["locality"] == (
        "AOU Careggi^^^^^&2.16.840.1.113883.2.9.4.1.1&ISO^^^^090901"
    )


async def test_a_correction_replaces_and_an_addendum_follows(ground: Ground) -> None:
    first = await ground.sign()
    second = await ground.sign(first)
    addendum = await ground.sign(second, is_addendum=True)

    for _ in range(4):
        await ground.deliver()
        ground.clock.pass_(seconds=20)

    assert ground.gateway.order == [ground.number(each) for each in (first, second, addendum)]
    assert f"PUT /documents/{ground.number(first)}" in ground.gateway.calls
    assert ground.gateway.documents[ground.number(second)].claims["action_id"] == "UPDATE"
    assert ground.gateway.documents[ground.number(addendum)].claims["action_id"] == "CREATE"
    assert not ground.gateway.documents[ground.number(second)].is_replaced_by


async def test_a_report_is_queued_once(ground: Ground) -> None:
    report = await ground.sign()

    async with ground.database.begin(ground.team.organisation.id) as session:
        again = await enqueue(session, report, ground.clock())

    assert again is not None
    assert again.id == (await ground.row(report)).id


async def test_what_was_validated_before_the_signature_is_not_validated_again(
    ground: Ground,
) -> None:
    report = await ground.sign()
    row = await ground.row(report)
    pdf, _cda = paint(msgspec.json.encode(ground.describe(report)))
    validate = Validator(ground.settings, ground.clock)
    async with ground.database.begin(ground.team.organisation.id) as session:
        organisation = await session.get_one(Organisation, ground.team.organisation.id)
        judged = await validate(organisation, ground.describe(report), pdf)
        row = await session.get_one(Submission, row.id)
        row.state = SubmissionState.VALIDATED
        row.workflow_instance_id = judged.workflow_instance_id

    await ground.deliver()

    assert judged.standing is Standing.GOOD
    assert (await ground.row(report)).state is SubmissionState.PUBLISHED
    assert ground.gateway.calls.count("POST /documents/validation") == 1


async def test_a_validation_that_the_gateway_forgot_is_made_again(ground: Ground) -> None:
    report = await ground.sign()
    async with ground.database.begin(ground.team.organisation.id) as session:
        row = await session.get_one(Submission, (await ground.row(report)).id)
        row.state, row.workflow_instance_id = SubmissionState.VALIDATED, "forgotten"

    await ground.deliver()

    assert (await ground.row(report)).state is SubmissionState.PUBLISHED
    assert ground.gateway.calls.count("POST /documents/validation") == 1
    assert ground.gateway.calls.count("POST /documents") == 2


# ---- refusals ----------------------------------------------------------------------------

REFUSALS = (
    (400, "/msg/cda-element"),
    (400, "/msg/syntax"),
    (422, "/msg/semantic"),
    (400, "/msg/vocabulary"),
    (400, "/msg/empty-file"),
    (415, "/msg/document-type"),
    (400, "/msg/document-hash"),
    (400, "/msg/mandatory-element"),
    (400, "/msg/invalid-format"),
    (400, "/msg/fhir-mapping-type"),
    (400, "/msg/workflow-id-error-extraction"),
    (400, "/msg/max-day-limit-exceed"),
    (400, "/msg/ini-error"),
    (404, "/msg/eds-error"),
    (404, "/msg/record-not-found"),
    (413, "about:blank"),
)


async def test_every_refusal_waits_for_a_person_with_the_gateways_words(
    ground: Ground, caplog: pytest.LogCaptureFixture
) -> None:
    report = await ground.sign()
    for status, type_ in REFUSALS:
        ground.gateway.problems.append(Problem(status, type_, f"Diagnosi di Bertolucci {type_}"))

        await ground.deliver()

        row = await ground.row(report)
        assert row.state is SubmissionState.REFUSED, type_
        assert row.problem == (type_ if type_.startswith("/msg/") else f"http-{status}")
        assert f"Diagnosi di Bertolucci {type_}" in await ground.words(report)
        await retry(ground, row)
    await ground.deliver()

    assert (await ground.row(report)).state is SubmissionState.PUBLISHED
    acts = await ground.acts()
    assert acts.count("fse.refused") == acts.count("fse.retried") == len(REFUSALS)
    assert "Bertolucci" not in caplog.text


async def retry(ground: Ground, row: Submission) -> None:
    async with ground.database.begin(row.organisation_id) as session:
        await retry_submission(
            session,
            row.id,
            by=ground.team.administrator.id,
            role=ActorRole.ADMINISTRATOR,
            now=ground.clock(),
        )


async def test_a_document_that_breaks_the_rules_is_refused_by_them(ground: Ground) -> None:
    """Rule 41 wants the author's codice fiscale; the real validator says so, where it is."""
    report = await ground.sign(author={"codice_fiscale": "bncnna75t50d612k"})
    if ground.gateway.judge is check_structure:
        pytest.skip("the national validator (../shared/fse) is not here")

    await ground.deliver()

    row = await ground.row(report)
    assert (row.state, row.problem) == (SubmissionState.REFUSED, "/msg/semantic")
    assert "ERRORE" in await ground.words(report)
    assert ground.gateway.documents == {}


async def test_a_correction_of_a_refused_report_is_created(ground: Ground) -> None:
    first = await ground.sign()
    ground.gateway.problems.append(Problem(422, "/msg/semantic"))
    await ground.deliver()
    second = await ground.sign(first)

    await ground.deliver()

    assert (await ground.row(second)).state is SubmissionState.PUBLISHED
    assert ground.gateway.calls.count("POST /documents") == 1
    with pytest.raises(Conflict):
        await retry(ground, await ground.row(first))


async def test_only_what_is_refused_can_be_tried_again_and_by_its_clinician(
    ground: Ground,
) -> None:
    report = await ground.sign()
    row = await ground.row(report)
    with pytest.raises(Conflict):
        await retry(ground, row)
    async with ground.database.begin(row.organisation_id) as session:
        with pytest.raises(NotFound):
            await retry_submission(
                session,
                row.id,
                by=ground.team.colleague.id,
                role=ActorRole.CLINICIAN,
                now=ground.clock(),
                clinician_id=ground.team.colleague.id,
            )


async def test_an_index_that_refuses_is_told(ground: Ground) -> None:
    report = await ground.sign()
    ground.gateway.is_index_refusing = True

    await ground.deliver()

    row = await ground.row(report)
    assert (row.state, row.problem) == (SubmissionState.REFUSED, Sign.INDEX_REFUSED)
    assert await ground.words(report) == "INI rifiuta"


# ---- later -------------------------------------------------------------------------------

PASSING = (
    (429, "https://govway.org/handling-errors/429/TooManyRequests.html"),
    (500, "/msg/generic-error"),
    (502, "https://govway.org/handling-errors/502/InvalidResponse.html"),
    (503, "https://govway.org/handling-errors/503/APIUnavailable.html"),
    (504, "/msg/generic-timeout"),
    (401, "https://govway.org/handling-errors/401/TokenExpired.html"),
    (403, "/msg/jwt-validation"),
    (403, "/msg/missing-token"),
    (403, "/msg/mandatory-element-token"),
)


async def test_what_passes_is_tried_again_at_both_steps(ground: Ground) -> None:
    report = await ground.sign()
    for status, type_ in PASSING:
        ground.gateway.problems.append(Problem(status, type_))

        await ground.deliver()

        row = await ground.row(report)
        assert row.state is SubmissionState.WAITING, type_
        assert row.problem == (type_ if type_.startswith("/msg/") else type_.rsplit("/", 1)[-1])
        assert row.next_try_at > ground.clock()
        ground.clock.pass_(minutes=16)
    for number, (status, type_) in enumerate(PASSING):
        first_calls = [None] if number == 0 else [None] * (row.problem == Sign.SENDING)
        ground.gateway.problems = [*first_calls, Problem(status, type_)]

        await ground.deliver()

        row = await ground.row(report)
        assert row.state is SubmissionState.VALIDATED, type_
        is_token = status in {401, 403}
        assert (row.problem == Sign.SENDING) is not is_token
        ground.clock.pass_(minutes=16)
    await ground.deliver()

    assert (await ground.row(report)).state is SubmissionState.PUBLISHED
    assert ground.gateway.order == [ground.number(report)]


async def test_a_fault_during_publication_is_asked_about_first(ground: Ground) -> None:
    report = await ground.sign()
    deliverer = ground.deliverer()
    ground.gateway.is_indexing = False
    await deliverer.deliver(ground.team.organisation.id)
    assert (await ground.row(report)).problem == Sign.ACCEPTED

    row = await ground.row(report)
    ground.gateway.index(row.workflow_instance_id)
    ground.clock.pass_(minutes=1)
    await deliverer.deliver(ground.team.organisation.id)

    assert (await ground.row(report)).state is SubmissionState.PUBLISHED
    assert ground.gateway.calls.count("POST /documents") == 1


async def test_the_gateways_own_wish_for_a_pause_is_kept(ground: Ground) -> None:
    reports = [await ground.sign() for _ in range(3)]
    wish = {"Retry-After": "120"}
    ground.gateway.problems.append(Problem(429, "about:blank", **wish))
    deliverer = ground.deliverer()

    await deliverer.deliver(ground.team.organisation.id)
    ground.clock.pass_(seconds=110)
    resting = await deliverer.load_due()
    calls = len(ground.gateway.calls)
    ground.clock.pass_(seconds=15)
    await deliverer.deliver(ground.team.organisation.id)

    assert resting == []
    assert calls == 1
    states = [(await ground.row(report)).state for report in reports]
    assert states == [SubmissionState.PUBLISHED] * 3


async def test_a_gateway_that_is_away_for_a_day_loses_nothing(ground: Ground) -> None:
    ground.gateway.is_down = True
    reports = [await ground.sign() for _ in range(3)]
    deliverer, began = ground.deliverer(), ground.clock()
    corrected = None
    while ground.clock() - began < DAY:
        if ground.team.organisation.id in await deliverer.load_due():
            await deliverer.deliver(ground.team.organisation.id)
        if corrected is None and ground.clock() - began > DAY / 2:
            corrected = await ground.sign(reports[0])
        ground.clock.pass_(minutes=30)
    knocks = len(ground.gateway.calls)
    ground.gateway.is_down = False
    for _ in range(20):
        await deliverer.deliver(ground.team.organisation.id)
        ground.clock.pass_(minutes=5)

    assert corrected is not None
    assert 24 < knocks < 60
    order = ground.gateway.order
    assert sorted(order) == sorted(ground.number(each) for each in [*reports, corrected])
    assert order.index(ground.number(reports[0])) < order.index(ground.number(corrected))
    assert f"PUT /documents/{ground.number(reports[0])}" in ground.gateway.calls
    for report in [*reports, corrected]:
        assert (await ground.row(report)).state is SubmissionState.PUBLISHED


async def test_a_broken_document_does_not_stop_the_others(ground: Ground) -> None:
    first = await ground.sign()
    ground.clock.pass_(seconds=1)
    second = await ground.sign()
    ground.gateway.problems.append(Problem(500, "/msg/generic-error"))

    await ground.deliver()

    assert (await ground.row(first)).state is SubmissionState.WAITING
    assert (await ground.row(second)).state is SubmissionState.PUBLISHED


# ---- what dies in between ------------------------------------------------------------------


async def test_an_answer_that_is_lost_is_asked_for(ground: Ground) -> None:
    report = await ground.sign()
    ground.gateway.loses_answers = 1

    await ground.deliver()
    row = await ground.row(report)
    assert (row.state, row.problem) == (SubmissionState.VALIDATED, Sign.SENDING)
    ground.clock.pass_(minutes=2)
    await ground.deliver()

    assert (await ground.row(report)).state is SubmissionState.PUBLISHED
    assert ground.gateway.order == [ground.number(report)]
    assert ground.gateway.calls.count("POST /documents") == 1


@pytest.mark.parametrize("is_stored", [True, False])
async def test_a_process_that_dies_while_it_publishes_publishes_once(
    ground: Ground, is_stored: bool
) -> None:
    report = await ground.sign()
    ground.gateway.stalls = "after" if is_stored else "before"
    runner = asyncio.create_task(ground.deliver())
    await asyncio.wait_for(ground.gateway.is_stalled.wait(), 20)
    runner.cancel()
    with suppress(asyncio.CancelledError):
        await runner
    ground.gateway.stalls = ""
    row = await ground.row(report)
    assert (row.state, row.problem) == (SubmissionState.VALIDATED, Sign.SENDING)

    ground.clock.pass_(seconds=LEASE.total_seconds() + 1)
    await ground.deliver()

    assert (await ground.row(report)).state is SubmissionState.PUBLISHED
    assert ground.gateway.order == [ground.number(report)]


async def test_two_leaders_publish_once(ground: Ground) -> None:
    report = await ground.sign()
    ground.gateway.seconds = 0.2

    await asyncio.gather(ground.deliver(), ground.deliver())

    assert (await ground.row(report)).state is SubmissionState.PUBLISHED
    assert ground.gateway.order == [ground.number(report)]
    assert ground.gateway.calls.count("POST /documents/validation") == 1


# ---- certificates and phases ---------------------------------------------------------------


async def test_an_expired_certificate_sends_nothing_until_it_is_renewed(ground: Ground) -> None:
    folder = ground.settings.fse_folder / ground.team.organisation.code
    connect(folder, ground.gateway, ends_at=datetime.now(UTC) - timedelta(minutes=1))
    report = await ground.sign()

    await ground.deliver()
    row = await ground.row(report)
    assert (row.state, row.problem) == (SubmissionState.WAITING, "certificate_expired")
    assert ground.gateway.calls == []
    connect(folder, ground.gateway, ends_at=ground.clock() + 90 * DAY)
    ground.clock.pass_(minutes=6)
    await ground.deliver()

    assert (await ground.row(report)).state is SubmissionState.PUBLISHED


async def test_a_certificate_that_the_gateway_does_not_know_gets_nowhere(
    ground: Ground, tmp_path: Path
) -> None:
    (tmp_path / "other").mkdir()
    async with serve_gateway(tmp_path / "other", ground.clock, check_structure) as other:
        stranger = other.authority.issue("stranger")
    folder = ground.settings.fse_folder / ground.team.organisation.code
    connect(folder, ground.gateway, client=stranger)
    report = await ground.sign()

    await ground.deliver()

    row = await ground.row(report)
    assert (row.state, row.problem) == (SubmissionState.WAITING, "unreachable")
    assert ground.gateway.calls == []


async def test_in_collaudo_nothing_is_queued_and_nothing_leaves(ground: Ground) -> None:
    waiting = await ground.sign()
    await ground.set_phase(Phase.COLLAUDO)
    visit = await ground.end_visit()
    report = await ground.sign(visit=visit)

    await ground.deliver()

    row = await ground.row(waiting)
    assert (row.state, row.problem) == (SubmissionState.WAITING, Sign.WITHHELD)
    async with ground.database.read(ground.team.organisation.id) as session:
        wanted = select(Submission).where(Submission.report_id == report.id)
        assert (await session.scalars(wanted)).all() == []
    assert ground.gateway.calls == []
    await ground.set_phase(Phase.SPERIMENTALE, ground.team.clinic.code)
    ground.clock.pass_(minutes=16)
    await ground.deliver()
    assert (await ground.row(waiting)).state is SubmissionState.PUBLISHED


# ---- before the signature ------------------------------------------------------------------


async def test_the_word_before_the_signature(ground: Ground) -> None:
    report = await ground.sign()
    content = ground.describe(report)
    pdf, _cda = paint(msgspec.json.encode(content))
    validate = Validator(ground.settings, ground.clock)
    async with ground.database.read(ground.team.organisation.id) as session:
        organisation = await session.get_one(Organisation, ground.team.organisation.id)
    ground.gateway.problems.append(Problem(422, "/msg/semantic", "[ERRORE-b1] manca"))

    refused = await validate(organisation, content, pdf)
    ground.gateway.seconds = 10
    began = asyncio.get_running_loop().time()
    slow = await validate(organisation, content, pdf)
    lapse = asyncio.get_running_loop().time() - began
    ground.gateway.seconds = 0
    ground.gateway.is_down = True
    away = await validate(organisation, content, pdf)
    organisation.phase = Phase.COLLAUDO
    calls = len(ground.gateway.calls)
    withheld = await validate(organisation, content, pdf)

    assert (refused.standing, refused.problem) == (Standing.PROBLEMS, "/msg/semantic")
    assert "[ERRORE-b1] manca" in refused.words
    assert slow.standing is away.standing is Standing.UNREACHABLE
    assert lapse < 4
    assert withheld.standing is Standing.NOT_CONNECTED
    assert len(ground.gateway.calls) == calls
