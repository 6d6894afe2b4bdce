"""The clinician's report of a visit: looked at as the patient will see it, signed, corrected.

``drafts``: the one document that waits for a signature, ``signature``: the act, ``show``: the
page, ``acts``: what its buttons do. What a report says and its forms are ``server.report``, with
what a clinician signs is ``server.signing``; the patient's side is ``server.patientreport``.
"""

from __future__ import annotations

from typing import Final

from server.auth import CLINICIAN, Route
from server.reporting.acts import begin_addendum, begin_correction, give_up, sign_report
from server.reporting.show import send_pdf, show_report

_REPORT: Final = "/visits/{visit_id}/report"

ROUTES: Final = (
    Route("GET", _REPORT, show_report, CLINICIAN),
    Route("GET", f"{_REPORT}/{{report_id}}/pdf", send_pdf, CLINICIAN),
    Route("POST", f"{_REPORT}/sign", sign_report, CLINICIAN),
    Route("POST", f"{_REPORT}/correct", begin_correction, CLINICIAN),
    Route("POST", f"{_REPORT}/addendum", begin_addendum, CLINICIAN),
    Route("POST", f"{_REPORT}/give-up", give_up, CLINICIAN),
)
