"""Which documents of a visit count now, which are owed, and the one word for where they are.

Pure.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

from server.models import (
    Outcome,
    Report,
    ReportKind,
    ReportState,
    Submission,
    SubmissionState,
    Visit,
    VisitState,
)

TOOK_PLACE: Final = (Outcome.COMPLETED, Outcome.CONVERTED_TO_IN_PERSON)


def may_report(visit: Visit) -> bool:
    """Whether a report of this visit is owed (TV-11): doctor and patient met in it, whether it was
    completed or goes on in person. Where nobody was admitted there is nothing to report."""
    if visit.state is not VisitState.ENDED or visit.admitted_at is None:
        return False
    return visit.outcome in TOOK_PLACE


def find_draft(reports: Iterable[Report]) -> Report | None:
    """The document that waits for a signature; a visit has one at most."""
    return next((report for report in reports if report.signed_at is None), None)


def current_reports(reports: Iterable[Report]) -> list[Report]:
    """The newest signed version of each document, the report first, then its addenda."""
    newest: dict[str, Report] = {}
    for report in reports:
        known = newest.get(report.set_id)
        if report.signed_at and (known is None or known.version < report.version):
            newest[report.set_id] = report
    return sorted(
        newest.values(), key=lambda report: (report.kind is not ReportKind.REPORT, report.signed_at)
    )


def find_current(reports: Iterable[Report]) -> Report | None:
    """The signed report that counts, without its addenda."""
    current = current_reports(reports)
    return current[0] if current and current[0].kind is ReportKind.REPORT else None


def state_of(reports: Sequence[Report], submissions: Iterable[Submission]) -> ReportState:
    """Where the reports of one visit are. A refusal by the national record hides everything else
    until somebody has looked; a correction that is not signed yet changes nothing."""
    current = current_reports(reports)
    if not current:
        return ReportState.DRAFT if reports else ReportState.NONE
    states = {submission.report_id: submission.state for submission in submissions}
    if any(states.get(report.id) is SubmissionState.REFUSED for report in current):
        return ReportState.REFUSED
    first = current[0]
    if states.get(first.id) is SubmissionState.PUBLISHED:
        return ReportState.PUBLISHED
    return ReportState.DELIVERED if first.delivered_at else ReportState.SIGNED
