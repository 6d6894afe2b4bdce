"""The reports of a visit: their rows, and their content as what it is."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from server.keyring import Keyring
from server.models import Report, Submission
from server.report.content import ReportContent
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
