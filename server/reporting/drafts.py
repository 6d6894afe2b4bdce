"""The one document of a visit that waits for a signature: begun, made anew from the note, given
up.

A draft is composed each time its page is opened, so it says what the note says now. Its
``content_version`` goes up when the content changes: only what was on the screen can be signed.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

import msgspec
from sqlalchemy.ext.asyncio import AsyncSession

from server.audit import Act, ActorRole, Entry, Fact, append
from server.keyring import Keyring
from server.line.verdict import Limits
from server.models import Profession, Report, ReportKind, User, Visit, new_id
from server.report.compose import compose
from server.report.content import Document, Picture, ReportContent
from server.report.keep import load_reports, open_content, seal_content
from server.report.state import find_current, find_draft
from server.sealed import NoteContent, Section, load_last_note, open_note


class CorrectionReason(StrEnum):
    """Why a signed report is replaced; the session log keeps the word."""

    CLINICAL = "clinical"
    INCOMPLETE = "incomplete"
    CLERICAL = "clerical"
    PERSONAL_DATA = "personal_data"


@dataclass(frozen=True, slots=True)
class Desk:
    """What the acts on the reports of one visit need."""

    keyring: Keyring
    session: AsyncSession
    visit: Visit
    author: User
    now: datetime
    limits: Limits
    """Of the line, from the settings."""

    async def write(self, act: Act, report: Report, **facts: Fact) -> None:
        """A line in the session log about one document."""
        known: dict[str, Fact] = {
            "report": report.id,
            "is_addendum": report.kind is ReportKind.ADDENDUM,
            "version": report.version,
        }
        entry = Entry(
            self.now, act, ActorRole.CLINICIAN, self.author.id, self.visit.id, known | facts
        )
        await append(self.session, self.visit.organisation_id, entry)


@dataclass(frozen=True, slots=True)
class Draft:
    """A document to sign, and what it says."""

    report: Report
    content: ReportContent


async def open_draft(desk: Desk, picture: Picture | None) -> Draft | None:
    """The draft of a visit, renewed; the first one is begun here. ``None``: all is signed.

    :raises InvalidInput: what is missing before there can be a report.
    """
    reports = await load_reports(desk.session, desk.visit.id)
    draft = find_draft(reports)
    if draft is not None:
        return await _renew(desk, draft, picture)
    if find_current(reports) is not None:
        return None
    return await _begin(desk, _first_document(desk), await _load_note(desk), picture)


async def begin_new_version(
    desk: Desk, current: Report, reason: CorrectionReason, picture: Picture | None
) -> Draft:
    """A version that will replace the signed one, from the note as it is now."""
    document = msgspec.structs.replace(
        _first_document(desk),
        set_id=current.set_id,
        version=current.version + 1,
        replaces_id=current.id,
        replaces_version=current.version,
        is_obscured=current.is_obscured,
    )
    return await _begin(desk, document, await _load_note(desk), picture, reason=reason.value)


async def begin_completion(
    desk: Desk, current: Report, text: str, picture: Picture | None
) -> Draft:
    """An addendum: a document of its own with one text, that refers to the report."""
    document = msgspec.structs.replace(
        _first_document(desk),
        kind=ReportKind.ADDENDUM,
        replaces_id=current.id,
        replaces_version=current.version,
        is_obscured=current.is_obscured,
    )
    about = await open_content(desk.keyring, desk.session, current)
    note = NoteContent(sections={Section.FINDINGS: text}, services=about.services)
    return await _begin(desk, document, note, picture)


async def discard(desk: Desk) -> bool:
    """Give up a correction or an addendum; the first draft of a report owed is never given up."""
    reports = await load_reports(desk.session, desk.visit.id)
    draft = find_draft(reports)
    if draft is None or find_current(reports) is None:
        return False
    await desk.session.delete(draft)
    await desk.write(Act.REPORT_DRAFTED, draft, given_up=True)
    return True


def _first_document(desk: Desk) -> Document:
    id_ = new_id()
    return Document(
        id=id_,
        set_id=id_,
        version=1,
        created_at=desk.now,
        is_annotation=desk.author.profession is Profession.GENERAL_PRACTITIONER,
    )


async def _load_note(desk: Desk) -> NoteContent:
    note = await load_last_note(desk.session, desk.visit.id)
    return NoteContent() if note is None else await open_note(desk.keyring, desk.session, note)


async def _begin(
    desk: Desk, document: Document, note: NoteContent, picture: Picture | None, **facts: Fact
) -> Draft:
    content = await _compose(desk, document, note, picture)
    report = Report(
        id=document.id,
        organisation_id=desk.visit.organisation_id,
        visit_id=desk.visit.id,
        set_id=document.set_id,
        version=document.version,
        kind=document.kind,
        replaces_id=document.replaces_id or None,
        is_obscured=document.is_obscured,
        content_version=1,
        author_id=desk.author.id,
        created_at=desk.now,
    )
    await seal_content(desk.keyring, desk.session, report, content)
    desk.session.add(report)
    await desk.session.flush()
    await desk.write(Act.REPORT_DRAFTED, report, **facts)
    return Draft(report, content)


async def _renew(desk: Desk, report: Report, picture: Picture | None) -> Draft:
    known = await open_content(desk.keyring, desk.session, report)
    is_addendum = report.kind is ReportKind.ADDENDUM
    note = _note_of(known) if is_addendum else await _load_note(desk)
    content = await _compose(desk, known.document, note, picture)
    if content != known:
        report.author_id = desk.author.id
        report.content_version += 1
        await seal_content(desk.keyring, desk.session, report, content)
    return Draft(report, content)


async def _compose(
    desk: Desk, document: Document, note: NoteContent, picture: Picture | None
) -> ReportContent:
    return await compose(
        desk.keyring,
        desk.session,
        desk.visit,
        author=desk.author,
        document=document,
        note=note,
        picture=picture,
        now=desk.now,
        limits=desk.limits,
    )


def _note_of(content: ReportContent) -> NoteContent:
    """An addendum has no note of its own: it says what it was begun with."""
    return NoteContent(sections=content.sections, services=content.services)
