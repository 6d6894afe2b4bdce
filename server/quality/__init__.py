"""Takes what the two pages measured of their call, and says what the line was good for so far.

Numbers only: no address and no device enters. The verdict itself is ``server.line``.
"""

from __future__ import annotations

from typing import Final

from server.auth import CLINICIAN, PATIENT, Route
from server.quality.views import show_verdict, take_from_clinician, take_from_patient

ROUTES: Final = (
    Route("POST", "/v/{locator}/quality", take_from_patient, PATIENT),
    Route("POST", "/visits/{visit_id}/quality", take_from_clinician, CLINICIAN),
    Route("GET", "/visits/{visit_id}/quality", show_verdict, CLINICIAN),
)
