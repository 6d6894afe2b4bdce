"""How the way to the national record is: figures and stable words, nothing clinical."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final

from sqlalchemy import Select, func, select
from sqlalchemy.ext.asyncio import AsyncSession

from server.fse.answers import TOKEN_TYPES
from server.fse.parcels import OPEN_STATES, Sign
from server.models import Organisation, Report, Submission, SubmissionState
from server.report.gateways import GatewayUnusable, find_loose_keys, load_gateway
from server.report.watch import has_later_version
from server.settings import Settings

LATE_AFTER: Final = timedelta(hours=4)
RENEW_WITHIN: Final = timedelta(days=30)
_QUIET: Final = (Sign.SENDING, Sign.ACCEPTED, Sign.WITHHELD, Sign.EARLIER_FIRST, "")


class Link(StrEnum):
    """Whether the organisation is connected."""

    NOT_CONNECTED = "not_connected"
    UNUSABLE = "unusable"
    ENDING = "ending"
    GOOD = "good"


@dataclass(frozen=True, slots=True)
class GatewayState:
    """``detail`` says which file is wrong; ``ends_at`` when the first certificate ends."""

    link: Link
    url: str = ""
    ends_at: datetime | None = None
    detail: str = ""
    loose_keys: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class Status:
    """``problems``: what stands in the way now, how many documents each."""

    counts: dict[SubmissionState, int]
    oldest_at: datetime | None
    problems: list[tuple[str, int]]

    def count(self, state: str) -> int:
        return self.counts.get(SubmissionState(state), 0)

    @property
    def open(self) -> int:
        return sum(self.counts.get(state, 0) for state in OPEN_STATES)

    @property
    def is_token_refused(self) -> bool:
        """The gateway does not accept our certificates or claims: all documents wait for that."""
        return any(word in TOKEN_TYPES for word, _count in self.problems)

    def is_late(self, now: datetime) -> bool:
        return self.oldest_at is not None and now - self.oldest_at > LATE_AFTER


def look_at_gateway(settings: Settings, organisation: Organisation, now: datetime) -> GatewayState:
    """What the files of an organisation say."""
    try:
        gateway = load_gateway(settings, organisation.code, now)
    except GatewayUnusable as unusable:
        return GatewayState(Link.UNUSABLE, detail=unusable.text)
    if gateway is None:
        return GatewayState(Link.NOT_CONNECTED)
    link = Link.ENDING if gateway.ends_at - now < RENEW_WITHIN else Link.GOOD
    loose = find_loose_keys(settings, organisation.code)
    return GatewayState(link, gateway.url, gateway.ends_at, loose_keys=loose)


async def load_status(session: AsyncSession) -> Status:
    """The queue of the organisation; a refusal that a later version has settled is left out."""
    counted = (
        select(Submission.state, func.count(), func.min(Submission.created_at))
        .join(Report, Report.id == Submission.report_id)
        .where((Submission.state != SubmissionState.REFUSED) | ~has_later_version())
        .group_by(Submission.state)
    )
    counts: dict[SubmissionState, int] = {}
    oldest: list[datetime] = []
    for state, count, first in await session.execute(counted):
        counts[state] = count
        oldest += [first] if state in OPEN_STATES else []
    troubles = (
        select(Submission.problem, func.count())
        .join(Report, Report.id == Submission.report_id)
        .where(Submission.state != SubmissionState.PUBLISHED)
        .where((Submission.state != SubmissionState.REFUSED) | ~has_later_version())
        .where(Submission.problem.not_in(_QUIET))
        .group_by(Submission.problem)
        .order_by(func.count().desc(), Submission.problem)
    )
    problems = [(row[0], row[1]) for row in await session.execute(troubles)]
    return Status(counts, min(oldest, default=None), problems)


def list_submissions(state: SubmissionState | None) -> Select[Submission, str, int, bool]:
    """The documents, the last changed first: row, visit, version, whether a later one stands."""
    wanted = (
        select(Submission, Report.visit_id, Report.version, has_later_version())
        .join(Report, Report.id == Submission.report_id)
        .order_by(Submission.changed_at.desc(), Submission.id)
    )
    return wanted if state is None else wanted.where(Submission.state == state)
