"""The patient's reports: behind the link of the visit, the birth date and a one-time code.

``codes``: the second factor, ``views``: the pages. Nobody of the staff has a way in here; the
clinician's side is ``server.reporting``.
"""

from __future__ import annotations

from typing import Final

from server.audit import OWN_DATA, Act, leaves, may_leave
from server.auth import PATIENT, Route
from server.patientreport.views import (
    open_reports,
    send_code,
    send_pdf,
    show_report,
    show_reports,
)

_REPORTS: Final = "/v/{locator}/reports"

ROUTES: Final = (
    Route("GET", _REPORTS, show_reports, PATIENT, OWN_DATA),
    Route(
        "POST",
        f"{_REPORTS}/code",
        send_code,
        PATIENT,
        may_leave(Act.REPORT_CODE_SENT, why="a new one is not sent at once"),
    ),
    Route(
        "POST",
        f"{_REPORTS}/open",
        open_reports,
        PATIENT,
        may_leave(Act.REPORT_CODE_FAILED, why="the opened report is the act"),
    ),
    Route("GET", f"{_REPORTS}/{{report_id}}", show_report, PATIENT, leaves(Act.REPORT_OPENED)),
    Route("GET", f"{_REPORTS}/{{report_id}}/pdf", send_pdf, PATIENT, leaves(Act.REPORT_DOWNLOADED)),
)
