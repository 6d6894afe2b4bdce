"""A refused document put back into the queue by a person."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import select, update
from sqlalchemy.ext.asyncio import AsyncSession

from server.audit import Act, ActorRole, Entry, Fact, append
from server.db import OrganisationId, count_changed
from server.errors import Conflict, NotFound
from server.models import Appointment, Report, Submission, SubmissionState, Visit
from server.report.watch import has_later_version


async def retry_submission(
    session: AsyncSession,
    submission_id: str,
    *,
    by: str,
    role: ActorRole,
    now: datetime,
    clinician_id: str = "",
) -> None:
    """Validate and publish it again, from the start. ``clinician_id``: only if the visit is theirs.

    :raises NotFound: there is none, or the visit is not theirs.
    :raises Conflict: it is not refused, or a later version stands for it.
    """
    organisation, report = await _load(session, submission_id, clinician_id)
    change = (
        update(Submission)
        .where(Submission.id == submission_id)
        .where(Submission.state == SubmissionState.REFUSED)
        .values(
            state=SubmissionState.WAITING,
            problem="",
            attempts=0,
            workflow_instance_id="",
            next_try_at=now,
            changed_at=now,
        )
    )
    is_outdated = await session.scalar(
        select(Report.id).where(Report.id == report.id).where(has_later_version())
    )
    if is_outdated or not await count_changed(session, change):
        raise Conflict("the document is not refused, or a later version stands for it")
    facts: dict[str, Fact] = {"report": report.id, "version": report.version}
    entry = Entry(now, Act.FSE_RETRIED, role, by, report.visit_id, facts)
    await append(session, organisation, entry)


async def _load(
    session: AsyncSession, submission_id: str, clinician_id: str
) -> tuple[OrganisationId, Report]:
    wanted = (
        select(Submission.organisation_id, Report)
        .join(Report, Report.id == Submission.report_id)
        .join(Visit, Visit.id == Report.visit_id)
        .join(Appointment, Appointment.id == Visit.appointment_id)
        .where(Submission.id == submission_id)
    )
    if clinician_id:
        wanted = wanted.where(Appointment.clinician_id == clinician_id)
    found = (await session.execute(wanted)).one_or_none()
    if found is None:
        raise NotFound
    return found[0], found[1]
