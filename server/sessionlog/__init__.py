"""The session log as people read it: managers and auditors, their own organisation only.

Patients are pseudonyms here, never names (design §4), and every reading is itself an entry. The
log is written through :mod:`server.audit`; nothing here changes a line of it.
"""

from __future__ import annotations

from typing import Final

from server.auth import LOG_READERS, Route
from server.sessionlog.views import list_sessions, show_session

ROUTES: Final = (
    Route("GET", "/sessions", list_sessions, LOG_READERS),
    Route("GET", "/sessions/{visit_id}", show_session, LOG_READERS),
)
