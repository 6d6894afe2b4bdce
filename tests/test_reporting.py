"""The clinician's report: shown as the patient will see it, signed once, then only replaced."""

from __future__ import annotations

import asyncio
import hashlib
import json
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import select

from server.db import Database
from server.keyring import Keyring
from server.models import (
    DispatchState,
    LogEntry,
    MessageKind,
    Organisation,
    Outcome,
    PatientMessage,
    Phase,
    Profession,
    Report,
    ReportKind,
    ReportState,
    Signer,
    Submission,
    SubmissionState,
    User,
    UserSession,
    Visit,
)
from server.report.keep import open_content
from server.report.queue import VALIDATE_BEFORE_SIGNATURE, Judgement, Standing
from server.sealed import (
    Identity,
    NoteContent,
    Section,
    open_report_cda,
    open_report_pdf,
    open_signing_pin,
)
from server.services import SETTINGS
from tests.conftest import ROSA, Cast, MakeVisit
from tests.reportvisits import (
    FINDINGS,
    NOTE,
    acts_of,
    authority,
    give_signature,
    hidden_fields,
    make_finished,
    reports_of,
    save_note,
    sign,
    state_of_visit,
    url_of,
)
from tests.signers import PIN, verdict
from tests.visitors import Site, Visitor, site

__all__ = ["site"]


@pytest.fixture
async def clinician(site: Site, cast: Cast, database: Database, keyring: Keyring) -> Visitor:
    """Logged in, with a signature."""
    await give_signature(database, keyring, cast.toscana.clinician)
    return await site.staff(cast.toscana.clinician)


@pytest.fixture
async def visit(make_visit: MakeVisit, database: Database, keyring: Keyring, cast: Cast) -> Visit:
    return await make_finished(make_visit, database, keyring, cast.toscana)


async def test_what_is_shown_is_what_is_signed_and_sent_on_its_ways(
    clinician: Visitor, visit: Visit, database: Database, keyring: Keyring
) -> None:
    page = await clinician.get(url_of(visit))
    assert page.status == 200
    assert "Σ = 3 &amp; &lt;peso&gt; stabile" in page.text
    assert "pensiero mio" not in page.text
    assert await state_of_visit(database, visit) is ReportState.DRAFT

    answer = await sign(clinician, visit)

    assert (answer.status, answer.location) == (303, url_of(visit))
    [report] = await reports_of(database, visit)
    assert await state_of_visit(database, visit) is ReportState.DELIVERED
    async with database.read(visit.organisation_id) as session:
        pdf = await open_report_pdf(keyring, session, report)
        cda = await open_report_cda(keyring, session, report)
        content = await open_content(keyring, session, report)
    [message] = await messages_of(database, visit)
    assert hashlib.sha256(pdf).hexdigest() == report.pdf_sha256
    assert b"Compenso emodinamico" in cda
    assert content.sections[Section.FINDINGS] == FINDINGS
    assert content.document.created_at == report.signed_at
    assert (await verdict(pdf, authority().certificate, report.signed_at)).bottom_line
    assert (message.kind, message.state) == (MessageKind.REPORT, DispatchState.QUEUED)
    assert message.parameters == "{}"
    assert await acts_of(database, visit) == [
        "report.drafted", "report.opened", "report.opened", "report.signed", "report.delivered",
    ]  # fmt: skip


async def messages_of(database: Database, visit: Visit) -> list[PatientMessage]:
    """Those that say that a report is ready."""
    async with database.read(visit.organisation_id) as session:
        found = await session.scalars(
            select(PatientMessage)
            .where(PatientMessage.visit_id == visit.id)
            .where(PatientMessage.kind == MessageKind.REPORT)
        )
        return list(found)


async def test_signed_pdf_is_given_as_it_was_signed(
    clinician: Visitor, visit: Visit, database: Database
) -> None:
    await clinician.get(url_of(visit))
    [draft] = await reports_of(database, visit)
    before = await clinician.get(f"{url_of(visit)}/{draft.id}/pdf")
    await sign(clinician, visit)

    after = await clinician.get(f"{url_of(visit)}/{draft.id}/pdf")

    assert before.text.startswith("%PDF")
    assert "/ByteRange" in after.text
    assert "/ByteRange" not in before.text
    assert after.headers["Content-Type"] == "application/pdf"
    assert after.headers["Cache-Control"] == "no-store"
    assert "Bertolucci" not in after.headers["Content-Disposition"]


async def test_a_changed_note_is_shown_again_before_it_is_signed(
    clinician: Visitor, visit: Visit, cast: Cast, database: Database, keyring: Keyring
) -> None:
    seen = hidden_fields((await clinician.get(url_of(visit))).text)
    changed = NoteContent(sections={Section.FINDINGS: "Peggiorato."})
    await save_note(database, keyring, visit, cast.toscana, changed)
    renewed = await clinician.get(url_of(visit))

    refused = await clinician.post(f"{url_of(visit)}/sign", pin=PIN, **seen)
    accepted = await clinician.post(f"{url_of(visit)}/sign", pin=PIN, **hidden_fields(renewed.text))

    assert refused.status == 409
    assert 'data-problem="changed"' in refused.text
    assert "Peggiorato." in renewed.text
    assert accepted.status == 303


async def test_signing_twice_at_once_makes_one_document_and_one_message(
    clinician: Visitor, visit: Visit, database: Database
) -> None:
    seen = hidden_fields((await clinician.get(url_of(visit))).text)

    answers = await asyncio.gather(
        *(clinician.post(f"{url_of(visit)}/sign", pin=PIN, **seen) for _ in range(3))
    )

    assert [(answer.status, answer.location) for answer in answers] == [(303, url_of(visit))] * 3
    assert len(await reports_of(database, visit)) == 1
    assert len(await messages_of(database, visit)) == 1
    assert (await acts_of(database, visit)).count("report.signed") == 1


async def test_two_tabs_begin_one_draft(
    clinician: Visitor, visit: Visit, database: Database
) -> None:
    pages = await asyncio.gather(*(clinician.get(url_of(visit)) for _ in range(5)))

    assert {page.status for page in pages} == {200}
    assert len(await reports_of(database, visit)) == 1


async def test_the_pin_is_asked_once_and_kept_sealed_for_this_login(
    clinician: Visitor,
    visit: Visit,
    site: Site,
    cast: Cast,
    make_visit: MakeVisit,
    database: Database,
    keyring: Keyring,
) -> None:
    await sign(clinician, visit)
    second = await make_finished(make_visit, database, keyring, cast.toscana)
    elsewhere = await site.staff(cast.toscana.clinician)

    page = await clinician.get(url_of(second))
    other = await sign(elsewhere, second, pin="")
    answer = await sign(clinician, second, pin="")

    assert 'data-testid="sign-pin"' not in page.text
    assert (other.status, 'data-problem="pin_missing"' in other.text) == (409, True)
    assert answer.status == 303
    async with database.read(visit.organisation_id) as session:
        logins = await session.scalars(
            select(UserSession).where(UserSession.sealed_signing_pin.is_not(None))
        )
        [login] = logins
        assert PIN.encode() not in (login.sealed_signing_pin or b"")
        assert await open_signing_pin(keyring, session, login) == PIN


async def test_a_wrong_pin_signs_nothing_and_is_forgotten(
    clinician: Visitor, visit: Visit, database: Database
) -> None:
    answer = await sign(clinician, visit, pin="sbagliato")

    assert answer.status == 409
    assert 'data-problem="wrong_pin"' in answer.text
    assert "sbagliato" not in answer.text
    assert await state_of_visit(database, visit) is ReportState.DRAFT
    async with database.read(visit.organisation_id) as session:
        kept = await session.scalars(select(UserSession.sealed_signing_pin))
        assert set(kept) == {None}
    assert await messages_of(database, visit) == []
    assert (await sign(clinician, visit)).status == 303


async def test_without_a_signature_the_page_says_so(
    site: Site, visit: Visit, cast: Cast, database: Database, keyring: Keyring
) -> None:
    await give_signature(database, keyring, cast.toscana.clinician)
    async with database.begin(visit.organisation_id) as session:
        await session.delete(await session.get_one(Signer, cast.toscana.clinician.id))
    clinician = await site.staff(cast.toscana.clinician)

    page = await clinician.get(url_of(visit))
    [draft] = await reports_of(database, visit)
    wish = {"report_id": draft.id, "seen": str(draft.content_version), "pin": PIN}
    answer = await clinician.post(f"{url_of(visit)}/sign", **wish)

    assert 'data-testid="no-signer"' in page.text
    assert 'data-testid="sign"' not in page.text
    assert (answer.status, 'data-problem="no_signer"' in answer.text) == (409, True)


@pytest.mark.parametrize(
    ("note", "identity", "field"),
    [
        (None, ROSA, "findings"),
        (NoteContent(sections={Section.FREE: "solo per me"}), ROSA, "findings"),
        (NOTE, Identity(birth_date=ROSA.birth_date, phone=ROSA.phone), "patient.family_name"),
    ],
)
async def test_what_is_missing_is_named_and_nothing_is_drafted(
    clinician: Visitor,
    cast: Cast,
    make_visit: MakeVisit,
    database: Database,
    keyring: Keyring,
    note: NoteContent | None,
    identity: Identity,
    field: str,
) -> None:
    async with database.begin(cast.toscana.organisation.id) as session:
        stored = await session.get_one(Organisation, cast.toscana.organisation.id)
        stored.region_code = "090"
    visit = await make_finished(
        make_visit, database, keyring, cast.toscana, note=note, identity=identity
    )

    page = await clinician.get(url_of(visit))

    assert page.status == 200
    assert f'data-field="{field}"' in page.text
    assert 'data-testid="sign-form"' not in page.text
    assert await reports_of(database, visit) == []


async def test_author_without_codice_fiscale_is_told(site: Site, visit: Visit, cast: Cast) -> None:
    clinician = await site.staff(cast.toscana.clinician)

    assert 'data-field="author.codice_fiscale"' in (await clinician.get(url_of(visit))).text


@pytest.mark.parametrize(
    ("outcome", "is_admitted"),
    [
        (Outcome.TECHNICAL_FAILURE, True),
        (Outcome.NO_SHOW_PATIENT, False),
        (Outcome.CONVERTED_TO_IN_PERSON, False),
    ],
)
async def test_a_visit_that_did_not_take_place_has_no_report(
    clinician: Visitor,
    cast: Cast,
    make_visit: MakeVisit,
    database: Database,
    keyring: Keyring,
    outcome: Outcome,
    is_admitted: bool,
) -> None:
    visit = await make_finished(
        make_visit, database, keyring, cast.toscana, outcome=outcome, is_admitted=is_admitted
    )

    answer = await clinician.get(url_of(visit))

    assert (answer.status, answer.location) == (303, f"/visits/{visit.id}")
    assert "open-report" not in (await clinician.get(f"/visits/{visit.id}")).text
    assert "unsigned-report" not in (await clinician.get("/agenda")).text


async def test_unsigned_reports_wait_in_the_agenda(clinician: Visitor, visit: Visit) -> None:
    over = await clinician.get(f"/visits/{visit.id}")
    before = await clinician.get("/agenda")
    await sign(clinician, visit)
    after = await clinician.get("/agenda")

    assert 'data-testid="open-report"' in over.text
    assert before.text.count('data-testid="unsigned-report"') == 1
    assert f'href="{url_of(visit)}"' in before.text
    assert "unsigned-report" not in after.text


# ---- correction and addendum -----------------------------------------------------------


async def test_a_correction_replaces_and_the_first_version_stays_as_it_was(
    clinician: Visitor, visit: Visit, cast: Cast, database: Database, keyring: Keyring
) -> None:
    await sign(clinician, visit)
    [first] = await reports_of(database, visit)
    corrected = NoteContent(sections={Section.FINDINGS: "Compenso buono."})
    await save_note(database, keyring, visit, cast.toscana, corrected)

    begun = await clinician.post(f"{url_of(visit)}/correct", reason="clinical")
    waiting = await clinician.get("/agenda")
    signed = await sign(clinician, visit, pin="")

    assert (begun.status, signed.status) == (303, 303)
    assert 'data-testid="unsigned-report"' in waiting.text
    old, new = await reports_of(database, visit)
    assert (old.id, old.pdf_sha256, old.signed_at) == (
        first.id, first.pdf_sha256, first.signed_at,
    )  # fmt: skip
    assert old.sealed_pdf == first.sealed_pdf
    assert (new.set_id, new.version, new.replaces_id) == (old.set_id, 2, old.id)
    async with database.read(visit.organisation_id) as session:
        content = await open_content(keyring, session, new)
        log = await session.scalars(select(LogEntry.entry).where(LogEntry.visit_id == visit.id))
        drafted = [json.loads(entry) for entry in log if '"action":"report.drafted"' in entry]
    assert content.document.replaces_id == old.id
    assert content.sections[Section.FINDINGS] == "Compenso buono."
    messages = await messages_of(database, visit)
    assert {message.occasion for message in messages} == {old.id, new.id}
    assert [entry["facts"].get("reason") for entry in drafted] == [None, "clinical"]
    page = (await clinician.get(url_of(visit))).text
    assert 'data-version="1" data-current="no"' in page
    assert 'data-version="2" data-current="yes"' in page


async def test_a_correction_can_be_given_up(
    clinician: Visitor, visit: Visit, database: Database
) -> None:
    await clinician.get(url_of(visit))
    too_early = await clinician.post(f"{url_of(visit)}/give-up")
    await sign(clinician, visit)
    await clinician.post(f"{url_of(visit)}/correct", reason="clerical")
    twice = await clinician.post(f"{url_of(visit)}/correct", reason="clerical")

    given_up = await clinician.post(f"{url_of(visit)}/give-up")

    assert (too_early.status, twice.status, given_up.status) == (409, 409, 303)
    assert len(await reports_of(database, visit)) == 1
    assert await state_of_visit(database, visit) is ReportState.DELIVERED
    assert (await clinician.post(f"{url_of(visit)}/correct", reason="noia")).status == 400


async def test_an_addendum_is_a_document_of_its_own(
    clinician: Visitor, visit: Visit, database: Database, keyring: Keyring
) -> None:
    await sign(clinician, visit)

    empty = await clinician.post(f"{url_of(visit)}/addendum", text="   ")
    await clinician.post(f"{url_of(visit)}/addendum", text="Esami arrivati: creatinina 1,0.")
    await clinician.get(url_of(visit))
    signed = await sign(clinician, visit, pin="")

    assert (empty.status, signed.status) == (400, 303)
    report, addendum = await reports_of(database, visit)
    assert (addendum.kind, addendum.version) == (ReportKind.ADDENDUM, 1)
    assert addendum.set_id != report.set_id
    assert addendum.replaces_id == report.id
    async with database.read(visit.organisation_id) as session:
        content = await open_content(keyring, session, addendum)
    assert content.sections[Section.FINDINGS] == "Esami arrivati: creatinina 1,0."
    assert FINDINGS not in content.sections.values()


async def test_the_patients_wish_to_hide_it_is_signed_and_written_down(
    clinician: Visitor, visit: Visit, database: Database, keyring: Keyring
) -> None:
    await sign(clinician, visit, obscured="yes")

    [report] = await reports_of(database, visit)
    async with database.read(visit.organisation_id) as session:
        content = await open_content(keyring, session, report)
    assert report.is_obscured
    assert content.document.is_obscured
    assert "report.obscured" in await acts_of(database, visit)


async def test_a_general_practitioner_signs_an_annotation(
    clinician: Visitor, visit: Visit, cast: Cast, database: Database, keyring: Keyring
) -> None:
    async with database.begin(visit.organisation_id) as session:
        author = await session.get_one(User, cast.toscana.clinician.id)
        author.profession = Profession.GENERAL_PRACTITIONER

    page = await clinician.get(url_of(visit))
    await sign(clinician, visit)

    assert "Annotazione digitale" in page.text
    [report] = await reports_of(database, visit)
    async with database.read(visit.organisation_id) as session:
        assert (await open_content(keyring, session, report)).document.is_annotation


# ---- who is told, and the national record ----------------------------------------------


async def test_who_cannot_be_told_has_a_signed_report_that_is_not_delivered(
    clinician: Visitor, cast: Cast, make_visit: MakeVisit, database: Database, keyring: Keyring
) -> None:
    nobody = Identity(**{field: getattr(ROSA, field) for field in (
        "family_name", "given_name", "birth_date", "sex", "codice_fiscale", "address",
    )})  # fmt: skip
    alone = await make_finished(make_visit, database, keyring, cast.toscana, identity=nobody)
    await sign(clinician, alone)
    async with database.begin(alone.organisation_id) as session:
        organisation = await session.get_one(Organisation, alone.organisation_id)
        organisation.phase = Phase.COLLAUDO
    tried = await make_finished(make_visit, database, keyring, cast.toscana)
    await sign(clinician, tried)

    assert await state_of_visit(database, alone) is ReportState.SIGNED
    assert await state_of_visit(database, tried) is ReportState.SIGNED
    assert [message.state for message in await messages_of(database, tried)] == [
        DispatchState.WITHHELD
    ]


def connect(site: Site, code: str) -> None:
    """The folder of files that makes an organisation one that publishes."""
    folder = site.app[SETTINGS].fse_folder / code
    folder.mkdir(parents=True)
    gateway = {"url": "https://gateway.example.it/v1", "repository": "2.16.840.1.113883.2.9"}
    (folder / "gateway.json").write_text(json.dumps(gateway))


async def submissions_of(database: Database, visit: Visit) -> list[Submission]:
    async with database.read(visit.organisation_id) as session:
        return list(await session.scalars(select(Submission)))


async def test_a_refusal_before_the_signature_is_shown_and_can_be_signed_over(
    site: Site, clinician: Visitor, visit: Visit, cast: Cast, database: Database
) -> None:
    connect(site, cast.toscana.organisation.code)
    asked: list[bytes] = []

    async def refuse(organisation: Organisation, content: object, pdf: bytes) -> Judgement:
        asked.append(pdf)
        return Judgement(Standing.PROBLEMS, "/msg/syntax", "ERRORE-42 <manca>")

    site.app._state[VALIDATE_BEFORE_SIGNATURE] = refuse
    refused = await sign(clinician, visit)
    assert refused.status == 409
    assert "ERRORE-42 &lt;manca&gt;" in refused.text
    assert await state_of_visit(database, visit) is ReportState.DRAFT
    assert hidden_fields(refused.text)["forced"] == "yes"

    fields = hidden_fields(refused.text)
    accepted = await clinician.post(f"{url_of(visit)}/sign", pin=PIN, **fields)

    assert accepted.status == 303
    assert asked[0].startswith(b"%PDF")
    [submission] = await submissions_of(database, visit)
    assert submission.state is SubmissionState.WAITING


@pytest.mark.parametrize(
    ("judgement", "state"),
    [
        (Judgement(Standing.UNREACHABLE), SubmissionState.WAITING),
        (Judgement(Standing.GOOD, workflow_instance_id="abc^^^^urn"), SubmissionState.VALIDATED),
    ],
)
async def test_signing_goes_on_without_the_gateway_and_gives_its_place_in_the_queue(
    site: Site,
    clinician: Visitor,
    visit: Visit,
    cast: Cast,
    database: Database,
    judgement: Judgement,
    state: SubmissionState,
) -> None:
    connect(site, cast.toscana.organisation.code)

    async def answer(organisation: Organisation, content: object, pdf: bytes) -> Judgement:
        return judgement

    site.app._state[VALIDATE_BEFORE_SIGNATURE] = answer

    assert (await sign(clinician, visit)).status == 303
    [submission] = await submissions_of(database, visit)
    assert submission.state is state
    assert submission.workflow_instance_id == judgement.workflow_instance_id


async def test_without_a_gateway_nothing_is_queued(
    clinician: Visitor, visit: Visit, database: Database
) -> None:
    await sign(clinician, visit)

    assert await submissions_of(database, visit) == []


# ---- whose it is -----------------------------------------------------------------------


async def test_reports_are_for_their_clinician_alone(
    site: Site, clinician: Visitor, visit: Visit, cast: Cast, database: Database
) -> None:
    await sign(clinician, visit)
    [report] = await reports_of(database, visit)
    before = await acts_of(database, visit)

    for team in (cast.toscana, cast.emilia):
        for role in ("colleague", "desk", "manager", "auditor", "administrator"):
            visitor = await site.staff(getattr(team, role))
            for path in (url_of(visit), f"{url_of(visit)}/{report.id}/pdf"):
                assert (await visitor.get(path)).status == 404, (role, path)
            for act in ("sign", "correct", "addendum", "give-up"):
                answer = await visitor.post(f"{url_of(visit)}/{act}", text="x", reason="clinical")
                assert answer.status == 404, (role, act)

    assert await acts_of(database, visit) == before


async def test_a_report_of_another_visit_is_not_found_under_mine(
    clinician: Visitor,
    visit: Visit,
    cast: Cast,
    make_visit: MakeVisit,
    database: Database,
    keyring: Keyring,
) -> None:
    await sign(clinician, visit)
    [report] = await reports_of(database, visit)
    other = await make_finished(make_visit, database, keyring, cast.toscana)

    assert (await clinician.get(f"{url_of(other)}/{report.id}/pdf")).status == 404


async def test_desk_and_log_say_states_and_no_word_of_the_report(
    site: Site, clinician: Visitor, visit: Visit, cast: Cast, data_dir: Path
) -> None:
    await sign(clinician, visit)
    pages = {
        "desk": ("/desk", f"/desk/visits/{visit.id}"),
        "manager": ("/sessions", f"/sessions/{visit.id}"),
        "auditor": ("/sessions", f"/sessions/{visit.id}"),
        "administrator": ("/admin",),
    }

    for role, paths in pages.items():
        visitor = await site.staff(getattr(cast.toscana, role))
        for path in paths:
            answer = await visitor.get(path)
            assert answer.status == 200, (role, path)
            assert "Compenso" not in answer.text
    manager = await site.staff(cast.toscana.manager)
    timeline = await manager.get(f"/sessions/{visit.id}")
    assert "Report signed" in timeline.text or "Referto firmato" in timeline.text


async def test_old_unsigned_visits_are_no_work_of_today(
    clinician: Visitor, cast: Cast, make_visit: MakeVisit, database: Database, keyring: Keyring
) -> None:
    late = await make_finished(
        make_visit, database, keyring, cast.toscana, ended_ago=timedelta(days=6)
    )
    await make_finished(make_visit, database, keyring, cast.toscana, ended_ago=timedelta(days=90))

    page = await clinician.get("/agenda")

    assert page.text.count('data-testid="unsigned-report"') == 1
    assert f'href="{url_of(late)}"' in page.text


def test_a_report_row_has_no_words_in_clear() -> None:
    columns = {column.name for column in Report.__table__.columns}

    assert {name for name in columns if "text" in name or "title" in name} == set()
