"""The queue of the national record, its near end: a signed report gets its place in the
transaction of its signature.

Sending is :mod:`server.fse`. Nothing here opens a connection. Whether an organisation is connected
at all is :func:`server.report.gateways.is_connected`.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Final

from aiohttp import web
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import joinedload

from server.models import Organisation, Report, Submission, SubmissionState, Visit
from server.phases import load_may_leave
from server.report.content import ReportContent


class Standing(StrEnum):
    """What the gateway says of a document that is not signed yet."""

    GOOD = "good"
    PROBLEMS = "problems"
    """It would be refused: :attr:`Judgement.words` says why."""
    UNREACHABLE = "unreachable"
    """No answer in time, or none about the document: sign, the queue validates later."""
    NOT_CONNECTED = "not_connected"
    """No gateway is set, or the phase lets nothing leave."""


@dataclass(frozen=True, slots=True)
class Judgement:
    """``words`` are the gateway's own and may quote the document: for the clinician only."""

    standing: Standing
    problem: str = ""
    """The ``type`` of the RFC 7807 answer, or a word of ours."""
    words: str = ""
    workflow_instance_id: str = ""
    """To give to :func:`enqueue`, so that the same CDA is not validated twice."""


Validate = Callable[[Organisation, ReportContent, bytes], Awaitable[Judgement]]
"""Asks the gateway about an unsigned PDF with its ``cda.xml``; answers within three seconds and
never raises."""
VALIDATE_BEFORE_SIGNATURE: Final[web.AppKey[Validate]] = web.AppKey("validate_before_signature")


async def enqueue(
    session: AsyncSession, report: Report, now: datetime, *, workflow_instance_id: str = ""
) -> Submission | None:
    """Give a signed report of a connected organisation its place in the queue; once for ever.

    None where the phase lets nothing leave: a report of *collaudo* is never published.
    """
    known = await session.scalar(select(Submission).where(Submission.report_id == report.id))
    if known is not None:
        return known
    options = [joinedload(Visit.appointment)]
    visit = await session.get_one(Visit, report.visit_id, options=options)
    if not await load_may_leave(session, visit.appointment):
        return None
    is_validated = bool(workflow_instance_id)
    submission = Submission(
        organisation_id=report.organisation_id,
        report_id=report.id,
        state=SubmissionState.VALIDATED if is_validated else SubmissionState.WAITING,
        workflow_instance_id=workflow_instance_id,
        next_try_at=now,
        created_at=now,
        changed_at=now,
    )
    session.add(submission)
    await session.flush()
    return submission
