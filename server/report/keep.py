"""The reports of a visit: their rows, and their content as what it is."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import defer

from server.keyring import Keyring
from server.models import Report, ReportState, Submission
from server.report.content import ReportContent
from server.report.state import state_of
from server.sealed import open_report_content, seal_report_content


async def load_reports(session: AsyncSession, visit_id: str) -> Sequence[Report]:
    """All versions of all documents of a visit, drafts too, the oldest first."""
    found = await session.scalars(
        select(Report)
        .where(Report.visit_id == visit_id)
        .order_by(Report.created_at, Report.version, Report.id)
    )
    return found.all()


async def load_submissions(session: AsyncSession, reports: Sequence[Report]) -> list[Submission]:
    """Where these reports are on their way to the national record."""
    ids = [report.id for report in reports]
    if not ids:
        return []
    return list(await session.scalars(select(Submission).where(Submission.report_id.in_(ids))))


async def seal_content(
    keyring: Keyring, session: AsyncSession, report: Report, content: ReportContent
) -> None:
    """Set what a report says; call with ``id`` set and after raising ``content_version``."""
    await seal_report_content(keyring, session, report, msgspec.json.encode(content))


async def open_content(keyring: Keyring, session: AsyncSession, report: Report) -> ReportContent:
    plaintext = await open_report_content(keyring, session, report)
    return msgspec.json.decode(plaintext, type=ReportContent)


async def load_states(session: AsyncSession) -> dict[str, ReportState]:
    """By visit, where its reports are; a visit without one is not in it."""
    of_visit: dict[str, list[Report]] = {}
    without_words = defer(Report.sealed_content), defer(Report.sealed_pdf), defer(Report.sealed_cda)
    for report in await session.scalars(select(Report).options(*without_words)):
        of_visit.setdefault(report.visit_id, []).append(report)
    submissions = {one.report_id: one for one in await session.scalars(select(Submission))}
    return {
        visit: state_of(reports, [submissions[one.id] for one in reports if one.id in submissions])
        for visit, reports in of_visit.items()
    }
