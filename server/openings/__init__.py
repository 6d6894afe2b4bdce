"""The patient sees who opened their data: role, unit and time, from the session log of the visit.

Never what was in it, never the name of a colleague. Looking is itself an entry.
"""

from __future__ import annotations

from typing import Final

from server.audit import Act, leaves
from server.auth import PATIENT, Route
from server.openings.views import show_openings

ROUTES: Final = (
    Route("GET", "/v/{locator}/who-opened", show_openings, PATIENT, leaves(Act.OPENINGS_READ)),
)
