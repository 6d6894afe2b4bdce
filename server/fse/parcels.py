"""One document on its way: taken from the queue, and what became of an attempt written down.

The time of the next attempt is written before an attempt begins, and ``problem`` says
:attr:`Sign.SENDING` before a publication leaves: whatever dies in between, the gateway is asked
first what became of it. Nothing is held in the database while the gateway thinks.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final

import msgspec
from sqlalchemy import select, update
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import joinedload

from server.audit import Act, ActorRole, Entry, append
from server.db import Database, OrganisationId, count_changed
from server.fse.answers import Answer
from server.fse.client import CALL_SECONDS, Paper
from server.keyring import Keyring
from server.models import Report, ReportKind, Submission, SubmissionState, Visit
from server.phases import load_may_leave
from server.report.content import ReportContent
from server.sealed import report as sealed_report

logger = logging.getLogger(__name__)

LEASE: Final = timedelta(seconds=2 * CALL_SECONDS)
"""Longer than a call takes: who still calls still holds the document."""
OPEN_STATES: Final = (SubmissionState.WAITING, SubmissionState.VALIDATED)
_FIRST_WAIT: Final = timedelta(seconds=10)
_LONGEST_WAIT: Final = timedelta(minutes=15)
_LOOK_AGAIN: Final = timedelta(seconds=15)


class Sign(StrEnum):
    """Words of ours in ``submission.problem``."""

    SENDING = "sending"
    """A publication left; whether it arrived is to be asked."""
    ACCEPTED = "accepted"
    """The gateway has it and has not yet said that it is findable."""
    WITHHELD = "withheld"
    """The phase lets nothing leave now."""
    EARLIER_FIRST = "earlier_first"
    """The version before, or the report that it completes, is not published yet."""
    NO_TRACE = "no_trace"
    """Accepted, and the gateway knows nothing of it for too long."""
    INDEX_REFUSED = "index_refused"
    """The national index (INI) did not take it over from the gateway."""
    UNREADABLE = "unreadable"
    """Its seal is broken here."""


IN_FLIGHT: Final = (Sign.SENDING, Sign.ACCEPTED)


@dataclass(frozen=True, slots=True)
class Parcel:
    """One attempt of one document, ready to go."""

    organisation: OrganisationId
    submission_id: str
    state: SubmissionState
    sign: str
    attempts: int
    workflow_instance_id: str
    paper: Paper
    replaced_id: str
    """The published report in whose place this one goes; empty: it is created."""


@dataclass(frozen=True, slots=True)
class Change:
    """What an attempt makes of a document. ``wait``: until the next attempt, None for at once."""

    state: SubmissionState
    problem: str = ""
    answer: Answer | None = None
    wait: timedelta | None = None
    act: Act | None = None
    workflow_instance_id: str | None = None
    is_progress: bool = True
    """The count of attempts begins anew."""


def wait_after(attempts: int) -> timedelta:
    """How long a document rests after so many attempts: 10 s, doubled each time, to 15 min."""
    doublings = min(max(attempts - 1, 0), 10)
    return min(_FIRST_WAIT * (1 << doublings), _LONGEST_WAIT)


async def take(
    database: Database,
    keyring: Keyring,
    organisation: OrganisationId,
    submission_id: str,
    now: datetime,
) -> Parcel | None:
    """Hold a document and write down the attempt; None when it is not to go now."""
    async with database.begin(organisation) as session:
        row = await session.get(Submission, submission_id)
        if row is None or row.state not in OPEN_STATES or row.next_try_at > now:
            return None
        report = await session.get_one(Report, row.report_id)
        replaced_id, is_earlier_waiting = await _look_before(session, report)
        obstacle = await _find_obstacle(session, report, is_earlier_waiting=is_earlier_waiting)
        if obstacle is not None:
            row.problem = row.problem if row.problem in IN_FLIGHT else obstacle
            is_long = obstacle is Sign.WITHHELD
            row.next_try_at = now + (_LONGEST_WAIT if is_long else _LOOK_AGAIN)
            return None
        if not await _hold(session, row, now):
            return None
        content = await sealed_report.open_report_content(keyring, session, report)
        pdf = await sealed_report.open_report_pdf(keyring, session, report)
    return Parcel(
        organisation=organisation,
        submission_id=row.id,
        state=row.state,
        sign=row.problem,
        attempts=row.attempts + 1,
        workflow_instance_id=row.workflow_instance_id,
        paper=Paper(msgspec.json.decode(content, type=ReportContent), pdf),
        replaced_id=replaced_id,
    )


async def _hold(session: AsyncSession, row: Submission, now: datetime) -> bool:
    """Write the attempt down; False when somebody else has done so since the row was read."""
    hold = (
        update(Submission)
        .where(Submission.id == row.id)
        .where(Submission.attempts == row.attempts)
        .where(Submission.state == row.state)
        .values(attempts=row.attempts + 1, next_try_at=now + LEASE)
    )
    return bool(await count_changed(session, hold))


async def settle(
    database: Database, keyring: Keyring, parcel: Parcel, change: Change, now: datetime
) -> bool:
    """Write what became of an attempt; False when somebody else has acted since."""
    async with database.begin(parcel.organisation) as session:
        row = await session.get_one(Submission, parcel.submission_id, with_for_update=True)
        if row.state is not parcel.state or row.attempts != parcel.attempts:
            return False
        row.state, row.problem, row.changed_at = change.state, change.problem, now
        row.attempts = 0 if change.is_progress else row.attempts
        row.next_try_at = now + (change.wait or timedelta())
        if change.workflow_instance_id is not None:
            row.workflow_instance_id = change.workflow_instance_id
        if change.answer is not None:
            await _keep_answer(keyring, session, row, change.answer)
        if change.act is not None:
            await _log(session, row, change.act, now)
    logger.info("fse: document %s is %s %s", row.id, row.state.value, row.problem)
    return True


async def put_off(
    database: Database, organisation: OrganisationId, submission_id: str, now: datetime
) -> None:
    """A document that cannot be opened here waits for its key, or for a person."""
    async with database.begin(organisation) as session:
        row = await session.get_one(Submission, submission_id)
        row.problem = row.problem if row.problem in IN_FLIGHT else Sign.UNREADABLE
        row.next_try_at = now + _LONGEST_WAIT


async def mark_sending(database: Database, parcel: Parcel, now: datetime) -> bool:
    """Say that a publication leaves now; False when somebody else has acted since."""
    mark = (
        update(Submission)
        .where(Submission.id == parcel.submission_id)
        .where(Submission.state == SubmissionState.VALIDATED)
        .where(Submission.attempts == parcel.attempts)
        .values(problem=Sign.SENDING.value, changed_at=now, next_try_at=now + LEASE)
    )
    async with database.begin(parcel.organisation) as session:
        return bool(await count_changed(session, mark))


async def _find_obstacle(
    session: AsyncSession, report: Report, *, is_earlier_waiting: bool
) -> Sign | None:
    options = [joinedload(Visit.appointment)]
    visit = await session.get_one(Visit, report.visit_id, options=options)
    if not await load_may_leave(session, visit.appointment):
        return Sign.WITHHELD
    return Sign.EARLIER_FIRST if is_earlier_waiting else None


async def _look_before(session: AsyncSession, report: Report) -> tuple[str, bool]:
    """The report in whose place this one goes, and whether one before it is still on its way.

    A refused version was never published: the one that corrects it is created in its stead. An
    addendum waits for its report and is a document of its own.
    """
    if report.kind is ReportKind.ADDENDUM and report.version == 1:
        main = await _load_state(session, report.replaces_id)
        return "", main not in {None, SubmissionState.PUBLISHED}
    earlier = await session.execute(
        select(Report.id, Submission.state)
        .join(Submission, Submission.report_id == Report.id)
        .where(Report.set_id == report.set_id)
        .where(Report.version < report.version)
        .order_by(Report.version.desc())
    )
    rows = [(row[0], row[1]) for row in earlier]
    published = [id_ for id_, state in rows if state is SubmissionState.PUBLISHED]
    is_waiting = any(state in OPEN_STATES for _id, state in rows)
    return (published[0] if published else ""), is_waiting


async def _load_state(session: AsyncSession, report_id: str | None) -> SubmissionState | None:
    statement = select(Submission.state).where(Submission.report_id == report_id)
    state: SubmissionState | None = await session.scalar(statement)
    return state


async def _keep_answer(
    keyring: Keyring, session: AsyncSession, row: Submission, answer: Answer
) -> None:
    row.trace_id = answer.trace_id or row.trace_id
    if answer.words:
        row.detail_version += 1
        await sealed_report.seal_submission_detail(keyring, session, row, answer.words.encode())


async def _log(session: AsyncSession, row: Submission, act: Act, now: datetime) -> None:
    report = await session.get_one(Report, row.report_id)
    facts: dict[str, str | int | bool | None] = {"report": report.id, "version": report.version}
    if row.problem:
        facts["problem"] = row.problem
    entry = Entry(now, act, ActorRole.SYSTEM, visit=report.visit_id, facts=facts)
    await append(session, row.organisation_id, entry)
