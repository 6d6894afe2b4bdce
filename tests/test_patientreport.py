"""The patient's report: link, birth date, a code that is sent; nobody else, and every reading in
the log."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import select, update

from server.db import Database
from server.joinlink import REPORT_TERM
from server.keyring import Keyring
from server.models import (
    Appointment,
    MessageKind,
    PatientMessage,
    ReportCode,
    ReportKind,
    Visit,
)
from server.sealed import Identity, NoteContent, Section
from server.services import CLOCK
from tests.conftest import ROSA, Cast, MakeVisit
from tests.reportvisits import (
    acts_of,
    code_of,
    give_signature,
    make_finished,
    reports_of,
    save_note,
    sign,
    url_of,
)
from tests.visitors import Answer, Site, Visitor, site

__all__ = ["site"]


@pytest.fixture
async def visit(
    site: Site, make_visit: MakeVisit, database: Database, keyring: Keyring, cast: Cast
) -> Visit:
    """Over, its report signed."""
    await give_signature(database, keyring, cast.toscana.clinician)
    visit = await make_finished(make_visit, database, keyring, cast.toscana)
    assert (await sign(await site.staff(cast.toscana.clinician), visit)).status == 303
    return visit


@pytest.fixture
async def patient(site: Site, visit: Visit) -> Visitor:
    """With the claimed link, and no code yet."""
    return await site.patient(visit)


def list_of(visit: Visit) -> str:
    return f"/v/{visit.locator}/reports"


async def ask_code(patient: Visitor, visit: Visit) -> Answer:
    """Ask for a code and keep the cookie that it is bound to."""
    answer = await patient.post(f"{list_of(visit)}/code")
    name, _, rest = answer.headers.get("Set-Cookie", "").partition("=")
    if name:
        patient.cookies[name] = rest.partition(";")[0]
    return answer


async def let_in(patient: Visitor, visit: Visit, database: Database, keyring: Keyring) -> None:
    assert (await ask_code(patient, visit)).status == 303
    code = await code_of(database, keyring, visit)
    answer = await patient.post(f"{list_of(visit)}/open", code=code)
    assert (answer.status, answer.location) == (303, list_of(visit))


def set_clock(site: Site, later: timedelta) -> None:
    site.app._state[CLOCK] = lambda: datetime.now(UTC) + later


async def test_link_leads_to_the_report_and_says_until_when(patient: Visitor, visit: Visit) -> None:
    start = await patient.get(f"/v/{visit.locator}/check-in")
    end = await patient.get(f"/v/{visit.locator}/end")
    page = await patient.get(list_of(visit))

    assert (start.status, start.location) == (303, list_of(visit))
    assert f'href="{list_of(visit)}"' in end.text
    assert "Il suo referto è pronto" in page.text
    until = visit.appointment.end + REPORT_TERM
    assert str(until.day) in page.text
    assert 'data-testid="report-code-send"' in page.text
    assert "Compenso" not in page.text
    assert "/pdf" not in page.text


async def test_without_the_code_nothing_of_the_report_opens(
    patient: Visitor, visit: Visit, database: Database
) -> None:
    [report] = await reports_of(database, visit)

    for path in (f"{list_of(visit)}/{report.id}", f"{list_of(visit)}/{report.id}/pdf"):
        answer = await patient.get(path)
        assert (answer.status, answer.location) == (303, list_of(visit))
    assert report.first_read_at is None
    assert "report.downloaded" not in await acts_of(database, visit)


async def test_code_opens_reading_and_download_and_each_is_logged(
    patient: Visitor, visit: Visit, database: Database, keyring: Keyring
) -> None:
    await let_in(patient, visit, database, keyring)
    [report] = await reports_of(database, visit)

    listed = await patient.get(list_of(visit))
    read = await patient.get(f"{list_of(visit)}/{report.id}")
    pdf = await patient.get(f"{list_of(visit)}/{report.id}/pdf")
    await patient.get(f"{list_of(visit)}/{report.id}/pdf")

    assert 'data-testid="report-download"' in listed.text
    assert "Compenso emodinamico" in read.text
    assert pdf.text.startswith("%PDF")
    assert pdf.headers["Cache-Control"] == "no-store"
    assert pdf.headers["Content-Disposition"].startswith("attachment;")
    acts = await acts_of(database, visit)
    assert acts[-4:] == [
        "report.code_sent", "report.opened", "report.downloaded", "report.downloaded",
    ]  # fmt: skip
    [report] = await reports_of(database, visit)
    assert report.first_read_at is not None


async def test_the_code_is_sent_and_stored_nowhere(
    patient: Visitor, visit: Visit, database: Database, keyring: Keyring
) -> None:
    await ask_code(patient, visit)
    code = await code_of(database, keyring, visit)

    async with database.read(visit.organisation_id) as session:
        message = await session.scalar(
            select(PatientMessage).where(PatientMessage.kind == MessageKind.REPORT_CODE)
        )
        row = await session.get_one(ReportCode, visit.id)
    assert message is not None
    assert code not in message.parameters
    assert code not in str(vars(row))


async def test_three_wrong_codes_end_it(
    patient: Visitor, visit: Visit, database: Database, keyring: Keyring
) -> None:
    await ask_code(patient, visit)
    code = await code_of(database, keyring, visit)
    wrong = f"{(int(code) + 1) % 10**6:06}"

    problems = [
        (await patient.post(f"{list_of(visit)}/open", code=typed)).text.partition(
            'data-problem="'
        )[2].partition('"')[0]
        for typed in ("12", wrong, wrong, wrong, code)
    ]  # fmt: skip

    assert problems == ["incomplete", "wrong", "wrong", "wrong", "over"]
    assert (await acts_of(database, visit)).count("report.code_failed") == 3
    assert 'data-testid="report-download"' not in (await patient.get(list_of(visit))).text


async def test_a_code_works_once_ten_minutes_and_in_its_own_browser(
    site: Site, patient: Visitor, visit: Visit, database: Database, keyring: Keyring
) -> None:
    await ask_code(patient, visit)
    code = await code_of(database, keyring, visit)
    device = {name: value for name, value in patient.cookies.items() if "visit-" in name}
    other = Visitor(site.session, site.origin, device)

    elsewhere = await other.post(f"{list_of(visit)}/open", code=code)
    set_clock(site, timedelta(minutes=11))
    late = await patient.post(f"{list_of(visit)}/open", code=code)
    set_clock(site, timedelta())
    right = await patient.post(f"{list_of(visit)}/open", code=code)
    again = await patient.post(f"{list_of(visit)}/open", code=code)

    assert [answer.status for answer in (elsewhere, late, right, again)] == [403, 403, 303, 403]
    assert 'data-testid="report-download"' in (await patient.get(list_of(visit))).text
    assert 'data-testid="report-download"' not in (await other.get(list_of(visit))).text
    set_clock(site, timedelta(minutes=31))
    assert 'data-testid="report-download"' not in (await patient.get(list_of(visit))).text


async def test_codes_are_few(site: Site, patient: Visitor, visit: Visit) -> None:
    statuses = []
    for number in range(7):
        set_clock(site, timedelta(minutes=number))
        statuses.append((await ask_code(patient, visit)).status)
    soon = await ask_code(patient, visit)
    set_clock(site, timedelta(hours=25))
    tomorrow = await ask_code(patient, visit)

    assert statuses == [303] * 5 + [409] * 2
    assert 'data-problem="too_many"' in soon.text
    assert tomorrow.status == 303
    assert 'data-problem="too_soon"' in (await ask_code(patient, visit)).text


async def test_who_has_no_contact_is_sent_to_the_desk(
    site: Site, cast: Cast, make_visit: MakeVisit, database: Database, keyring: Keyring
) -> None:
    await give_signature(database, keyring, cast.toscana.clinician)
    nobody = Identity(
        family_name=ROSA.family_name,
        given_name=ROSA.given_name,
        birth_date=ROSA.birth_date,
        codice_fiscale=ROSA.codice_fiscale,
    )
    visit = await make_finished(make_visit, database, keyring, cast.toscana, identity=nobody)
    await sign(await site.staff(cast.toscana.clinician), visit)

    answer = await ask_code(await site.patient(visit), visit)

    assert answer.status == 409
    assert 'data-problem="no_contact"' in answer.text
    assert "055" in answer.text


async def test_newest_version_is_first_and_the_replaced_one_is_marked(
    site: Site, patient: Visitor, visit: Visit, cast: Cast, database: Database, keyring: Keyring
) -> None:
    clinician = await site.staff(cast.toscana.clinician)
    corrected = NoteContent(sections={Section.FINDINGS: "Compenso buono."})
    await save_note(database, keyring, visit, cast.toscana, corrected)
    await clinician.post(f"{url_of(visit)}/correct", reason="clinical")
    await let_in(patient, visit, database, keyring)
    assert 'data-version="2"' not in (await patient.get(list_of(visit))).text
    await sign(clinician, visit)
    await clinician.post(f"{url_of(visit)}/addendum", text="Esame arrivato.")
    await sign(clinician, visit, pin="")

    page = await patient.get(list_of(visit))

    first, second, addendum = await reports_of(database, visit)
    assert addendum.kind is ReportKind.ADDENDUM
    assert page.text.count('data-testid="report-download"') == 2
    assert f"{list_of(visit)}/{first.id}/pdf" not in page.text
    assert f"{list_of(visit)}/{second.id}/pdf" in page.text
    old = await patient.get(f"{list_of(visit)}/{first.id}")
    assert 'data-testid="report-not-valid"' in old.text
    new = await patient.get(f"{list_of(visit)}/{second.id}")
    assert 'data-testid="report-not-valid"' not in new.text


async def test_a_draft_is_not_the_patients(
    site: Site, cast: Cast, make_visit: MakeVisit, database: Database, keyring: Keyring
) -> None:
    await give_signature(database, keyring, cast.toscana.clinician)
    visit = await make_finished(make_visit, database, keyring, cast.toscana)
    clinician = await site.staff(cast.toscana.clinician)
    await clinician.get(url_of(visit))
    [draft] = await reports_of(database, visit)
    patient = await site.patient(visit)

    for path in (list_of(visit), f"{list_of(visit)}/{draft.id}/pdf"):
        assert (await patient.get(path)).status == 303
    assert (await ask_code(patient, visit)).location == f"/v/{visit.locator}/end"
    await sign(clinician, visit)
    await clinician.post(f"{url_of(visit)}/correct", reason="clinical")
    await let_in(patient, visit, database, keyring)
    [_, second] = await reports_of(database, visit)
    assert (await patient.get(f"{list_of(visit)}/{second.id}/pdf")).status == 404


async def test_report_of_another_visit_is_not_found(
    site: Site,
    patient: Visitor,
    visit: Visit,
    cast: Cast,
    make_visit: MakeVisit,
    database: Database,
    keyring: Keyring,
) -> None:
    other = await make_finished(make_visit, database, keyring, cast.toscana)
    await sign(await site.staff(cast.toscana.clinician), other)
    [foreign] = await reports_of(database, other)
    await let_in(patient, visit, database, keyring)

    for path in (f"{list_of(visit)}/{foreign.id}", f"{list_of(visit)}/{foreign.id}/pdf"):
        assert (await patient.get(path)).status == 404
    taken = Visitor(site.session, site.origin, patient.cookies)
    assert (await taken.get(f"{list_of(other)}/{foreign.id}/pdf")).location == f"/v/{other.locator}"


async def test_link_opens_reports_for_its_term_and_no_longer(
    patient: Visitor, visit: Visit, site: Site, database: Database, keyring: Keyring
) -> None:
    await let_in(patient, visit, database, keyring)
    [report] = await reports_of(database, visit)
    set_clock(site, REPORT_TERM + timedelta(hours=1))

    for path in (list_of(visit), f"{list_of(visit)}/{report.id}/pdf"):
        answer = await patient.get(path)
        assert (answer.status, answer.location) == (303, f"/v/{visit.locator}")
    assert (await patient.get(f"/v/{visit.locator}")).status == 200


async def test_a_visit_that_is_not_over_has_no_reports_page(
    site: Site, cast: Cast, make_visit: MakeVisit, database: Database
) -> None:
    visit = await make_visit(cast.toscana)

    answer = await (await site.patient(visit)).get(list_of(visit))

    assert (answer.status, answer.location) == (303, f"/v/{visit.locator}/check-in")


async def test_staff_of_every_role_stay_outside(
    site: Site, visit: Visit, cast: Cast, database: Database
) -> None:
    [report] = await reports_of(database, visit)

    for role in ("clinician", "colleague", "desk", "manager", "auditor", "administrator"):
        visitor = await site.staff(getattr(cast.toscana, role))
        for path in (list_of(visit), f"{list_of(visit)}/{report.id}/pdf"):
            assert (await visitor.get(path)).location == f"/v/{visit.locator}", role


async def test_an_old_link_opens_nothing(
    patient: Visitor, visit: Visit, database: Database, keyring: Keyring
) -> None:
    await let_in(patient, visit, database, keyring)
    async with database.begin(visit.organisation_id) as session:
        await session.execute(update(Visit).where(Visit.id == visit.id).values(link_version=2))
        assert await session.get(Appointment, visit.appointment_id) is not None

    assert (await patient.get(list_of(visit))).location == f"/v/{visit.locator}"
