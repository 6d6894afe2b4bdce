"""The clinician's report of a visit: looked at as the patient will see it, signed, corrected.

``drafts``: the one document that waits for a signature, ``signature``: the act, ``show``: the
page, ``acts``: what its buttons do. What a report says and its forms are ``server.report``, with
what a clinician signs is ``server.signing``; the patient's side is ``server.patientreport``.
"""

from __future__ import annotations

from typing import Final

from server.audit import Act, leaves, may_leave
from server.auth import CLINICIAN, Route
from server.reporting.acts import begin_addendum, begin_correction, give_up, sign_report
from server.reporting.show import send_pdf, show_report

_REPORT: Final = "/visits/{visit_id}/report"

_SHOWN: Final = (Act.REPORT_OPENED, Act.REPORT_DRAFTED, Act.CARD_OPENED)
"""When the page is shown again, with what was wrong."""

ROUTES: Final = (
    Route(
        "GET",
        _REPORT,
        show_report,
        CLINICIAN,
        leaves(Act.REPORT_OPENED, Act.CARD_OPENED, at_times=[Act.REPORT_DRAFTED]),
    ),
    Route("GET", f"{_REPORT}/{{report_id}}/pdf", send_pdf, CLINICIAN, leaves(Act.REPORT_OPENED)),
    Route(
        "POST",
        f"{_REPORT}/sign",
        sign_report,
        CLINICIAN,
        may_leave(
            Act.REPORT_SIGNED,
            Act.REPORT_DELIVERED,
            Act.REPORT_OBSCURED,
            Act.REPORT_UNOBSCURED,
            *_SHOWN,
            why="what is signed is not signed again",
            opens={"report.content", "signer.content", "user.codice_fiscale"},
        ),
    ),
    Route(
        "POST",
        f"{_REPORT}/correct",
        begin_correction,
        CLINICIAN,
        may_leave(Act.REPORT_DRAFTED, why="a draft that is there is gone on with"),
    ),
    Route(
        "POST",
        f"{_REPORT}/addendum",
        begin_addendum,
        CLINICIAN,
        may_leave(
            *_SHOWN,
            why="a draft that is there is gone on with",
            opens={"appointment.details", "patient.identity", "report.content"},
        ),
    ),
    Route(
        "POST",
        f"{_REPORT}/give-up",
        give_up,
        CLINICIAN,
        may_leave(Act.REPORT_DRAFTED, why="there may be no draft"),
    ),
)
