"""Visits that are over and want a report, their clinician's signature, and what follows."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from functools import cache

from sqlalchemy import select

from server.db import Database
from server.joinlink import derive_report_code
from server.keyring import Keyring
from server.models import (
    LogEntry,
    Note,
    Outcome,
    Report,
    ReportCode,
    ReportState,
    Suitability,
    User,
    Visit,
    VisitState,
    new_id,
)
from server.report.keep import load_reports, load_submissions, seal_content
from server.report.state import state_of
from server.sealed import (
    NoteContent,
    Section,
    seal_codice_fiscale,
    seal_note,
    seal_report_forms,
)
from server.signing import Pkcs12File, SignerMeans, inspect_means, put_signer
from tests.conftest import MakeVisit, Team
from tests.reports import FULL
from tests.signers import CODICE_FISCALE, PIN, SigningAuthority
from tests.visitors import Answer, Visitor

FINDINGS = "Compenso emodinamico discreto, Σ = 3 & <peso> stabile 👩‍⚕️."
NOTE = NoteContent(sections={Section.FINDINGS: FINDINGS, Section.FREE: "pensiero mio"})


@cache
def authority() -> SigningAuthority:
    return SigningAuthority()


@cache
def _signature_file(codice_fiscale: str) -> bytes:
    now = datetime.now(UTC)
    return authority().issue_file(
        codice_fiscale=codice_fiscale,
        begins_at=now - timedelta(days=1),
        ends_at=now + timedelta(days=300),
    )


async def give_signature(
    database: Database, keyring: Keyring, user: User, codice_fiscale: str = CODICE_FISCALE
) -> None:
    """The clinician's codice fiscale and a PKCS#12 file; its PIN is ``tests.signers.PIN``."""
    now = datetime.now(UTC)
    means = SignerMeans(
        organisation=user.organisation_id,
        user_id=user.id,
        key=Pkcs12File(_signature_file(codice_fiscale)),
        codice_fiscale=codice_fiscale,
    )
    facts = await inspect_means(means, PIN, now)
    async with database.begin(user.organisation.id) as session:
        stored = await session.get_one(User, user.id)
        await seal_codice_fiscale(keyring, session, stored, codice_fiscale)
        await put_signer(keyring, session, means, facts, now)


async def make_finished(
    make_visit: MakeVisit,
    database: Database,
    keyring: Keyring,
    team: Team,
    *,
    note: NoteContent | None = NOTE,
    outcome: Outcome = Outcome.COMPLETED,
    is_admitted: bool = True,
    ended_ago: timedelta = timedelta(minutes=5),
    **wishes: object,
) -> Visit:
    """A visit that is over, with a note."""
    now = datetime.now(UTC)
    start = now - ended_ago - timedelta(minutes=20)
    visit = await make_visit(team, start=start, **wishes)  # type: ignore[arg-type]
    async with database.begin(team.organisation.id) as session:
        stored = await session.get_one(Visit, visit.id)
        stored.state, stored.outcome = VisitState.ENDED, outcome
        stored.waiting_since = start
        stored.admitted_at = start + timedelta(minutes=1) if is_admitted else None
        stored.ended_at = now - ended_ago
        stored.suitability = Suitability.SUITABLE
        stored.suitability_stated_at = stored.ended_at
        stored.suitability_stated_by = team.clinician.id
    if note is not None:
        await save_note(database, keyring, visit, team, note)
    return visit


async def save_note(
    database: Database, keyring: Keyring, visit: Visit, team: Team, content: NoteContent
) -> None:
    async with database.begin(team.organisation.id) as session:
        versions = await session.scalars(select(Note.version).where(Note.visit_id == visit.id))
        note = Note(
            organisation_id=team.organisation.id,
            visit_id=visit.id,
            version=max(versions, default=0) + 1,
            author_id=team.clinician.id,
            saved_at=datetime.now(UTC),
        )
        await seal_note(keyring, session, note, content)
        session.add(note)


def url_of(visit: Visit) -> str:
    return f"/visits/{visit.id}/report"


def hidden_fields(page: str) -> dict[str, str]:
    """What the form of the signature carries along."""
    pattern = r'<input type="hidden" name="(report_id|seen|forced)" value="([^"]*)">'
    return dict(re.findall(pattern, page))


async def sign(clinician: Visitor, visit: Visit, **fields: str) -> Answer:
    """Open the page and sign what it shows."""
    page = await clinician.get(url_of(visit))
    assert page.status == 200, page.text
    given = {"pin": PIN, **hidden_fields(page.text), **fields}
    return await clinician.post(f"{url_of(visit)}/sign", **given)


async def reports_of(database: Database, visit: Visit) -> list[Report]:
    async with database.read(visit.organisation_id) as session:
        return list(await load_reports(session, visit.id))


async def state_of_visit(database: Database, visit: Visit) -> ReportState:
    async with database.read(visit.organisation_id) as session:
        reports = await load_reports(session, visit.id)
        return state_of(reports, await load_submissions(session, reports))


async def code_of(database: Database, keyring: Keyring, visit: Visit) -> str:
    """The code that was sent last, derived as the message does it."""
    async with database.read(visit.organisation_id) as session:
        row = await session.get_one(ReportCode, visit.id)
        key = await keyring.load_secret(session, visit.organisation_id, "join")
        return derive_report_code(key, visit.id, row.issued_at)


async def acts_of(database: Database, visit: Visit) -> list[str]:
    """The acts about reports in the log of a visit, in order."""
    async with database.read(visit.organisation_id) as session:
        entries = await session.scalars(
            select(LogEntry.entry).where(LogEntry.visit_id == visit.id).order_by(LogEntry.id)
        )
        found = [re.match(r'\{"action":"([^"]+)"', entry) for entry in entries]
        acts = [match.group(1) for match in found if match]
        return [act for act in acts if act.startswith("report.")]


async def add_signed_report(database: Database, keyring: Keyring, visit: Visit) -> str:
    """A signed document of a visit, made without its acts; returns its id."""
    now, id_ = datetime.now(UTC), new_id()
    async with database.begin(visit.organisation_id) as session:
        report = Report(
            id=id_,
            organisation_id=visit.organisation_id,
            visit_id=visit.id,
            set_id=id_,
            version=1,
            content_version=1,
            author_id=visit.appointment.clinician_id,
            created_at=now,
            signed_at=now,
        )
        await seal_content(keyring, session, report, FULL)
        await seal_report_forms(keyring, session, report, pdf=b"%PDF-1.7", cda=b"<a/>")
        session.add(report)
    return id_
