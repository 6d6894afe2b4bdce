"""Takes what the two pages measured of their call, and says what the line was good for so far.

Numbers only: no address and no device enters. The verdict itself is ``server.line``.
"""

from __future__ import annotations

from typing import Final

from server.audit import leaves_none
from server.auth import CLINICIAN, PATIENT, Route
from server.quality.views import show_verdict, take_from_clinician, take_from_patient

ROUTES: Final = (
    Route(
        "POST",
        "/v/{locator}/quality",
        take_from_patient,
        PATIENT,
        leaves_none("measures of the line, which are rows of their own"),
    ),
    Route(
        "POST",
        "/visits/{visit_id}/quality",
        take_from_clinician,
        CLINICIAN,
        leaves_none("measures of the line, which are rows of their own"),
    ),
    Route(
        "GET",
        "/visits/{visit_id}/quality",
        show_verdict,
        CLINICIAN,
        leaves_none("measures of the line of a visit whose card is open"),
    ),
)
