"""One word for where the reports of a visit are, and which of them count."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

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
from server.report.state import (
    current_reports,
    find_current,
    find_draft,
    may_report,
    state_of,
)

SIGNED = datetime(2026, 11, 22, 9, 0, tzinfo=UTC)


def report(
    version: int = 1,
    *,
    set_id: str = "a",
    is_signed: bool = True,
    kind: ReportKind = ReportKind.REPORT,
    is_delivered: bool = False,
) -> Report:
    at = SIGNED + timedelta(hours=version)
    return Report(
        id=f"{set_id}{version}",
        set_id=set_id,
        version=version,
        kind=kind,
        created_at=at,
        signed_at=at if is_signed else None,
        delivered_at=at if is_delivered else None,
    )


def submission(of: Report, state: SubmissionState) -> Submission:
    return Submission(report_id=of.id, state=state)


def test_without_a_document_there_is_no_state() -> None:
    assert state_of([], []) is ReportState.NONE


def test_states_follow_the_document_on_its_ways() -> None:
    draft, signed, told = report(is_signed=False), report(), report(is_delivered=True)

    assert state_of([draft], []) is ReportState.DRAFT
    assert state_of([signed], []) is ReportState.SIGNED
    assert state_of([told], []) is ReportState.DELIVERED
    for state, expected in (
        (SubmissionState.WAITING, ReportState.DELIVERED),
        (SubmissionState.VALIDATED, ReportState.DELIVERED),
        (SubmissionState.PUBLISHED, ReportState.PUBLISHED),
        (SubmissionState.REFUSED, ReportState.REFUSED),
    ):
        assert state_of([told], [submission(told, state)]) is expected


def test_a_draft_of_a_correction_changes_nothing() -> None:
    signed, draft = report(is_delivered=True), report(2, is_signed=False)

    assert state_of([signed, draft], []) is ReportState.DELIVERED
    assert find_draft([signed, draft]) is draft
    assert find_current([signed, draft]) is signed


def test_the_newest_version_counts_and_a_refused_old_one_does_not() -> None:
    old, new = report(), report(2, is_delivered=True)

    assert current_reports([old, new]) == [new]
    assert state_of([old, new], [submission(old, SubmissionState.REFUSED)]) is ReportState.DELIVERED


def test_an_addendum_stands_beside_the_report_and_its_refusal_is_seen() -> None:
    first = report(is_delivered=True)
    addendum = report(set_id="b", kind=ReportKind.ADDENDUM)

    assert current_reports([addendum, first]) == [first, addendum]
    assert find_current([addendum]) is None
    refused = submission(addendum, SubmissionState.REFUSED)
    published = submission(first, SubmissionState.PUBLISHED)
    assert state_of([first, addendum], [published]) is ReportState.PUBLISHED
    assert state_of([first, addendum], [published, refused]) is ReportState.REFUSED


@pytest.mark.parametrize(
    ("state", "outcome", "is_admitted", "expected"),
    [
        (VisitState.ENDED, Outcome.COMPLETED, True, True),
        (VisitState.ENDED, Outcome.COMPLETED, False, False),
        (VisitState.ENDED, Outcome.CONVERTED_TO_IN_PERSON, True, True),
        (VisitState.ENDED, Outcome.CONVERTED_TO_IN_PERSON, False, False),
        (VisitState.ENDED, Outcome.TECHNICAL_FAILURE, True, False),
        (VisitState.ENDED, Outcome.NO_SHOW_PATIENT, False, False),
        (VisitState.ENDED, Outcome.NO_SHOW_CLINICIAN, False, False),
        (VisitState.CANCELLED, None, False, False),
        (VisitState.IN_VISIT, None, True, False),
    ],
)
def test_only_a_visit_that_took_place_has_a_report(
    state: VisitState, outcome: Outcome | None, is_admitted: bool, expected: bool
) -> None:
    visit = Visit(state=state, outcome=outcome, admitted_at=SIGNED if is_admitted else None)

    assert may_report(visit) is expected
