"""What is taken out of the session log: tables, AuditEvents, the proof of one visit.

Each export is itself an entry, with what was asked for, written before the first byte leaves. The
whole log as a file is :mod:`server.logexport`; the buttons are on ``server.sessionlog``'s pages.
"""

from __future__ import annotations

from typing import Final

from server.audit import Act, leaves
from server.auth import LOG_READERS, PATIENT, Route
from server.sessionexport.proof import send_own_proof, send_proof
from server.sessionexport.views import (
    send_audit_events,
    send_csv,
    send_log_events,
    send_ndjson,
    send_visit_events,
)

_EXPORTED: Final = leaves(Act.LOG_EXPORTED)
ROUTES: Final = (
    Route("GET", "/sessions/export.csv", send_csv, LOG_READERS, _EXPORTED),
    Route("GET", "/sessions/export.ndjson", send_ndjson, LOG_READERS, _EXPORTED),
    Route("GET", "/sessions/export.fhir.ndjson", send_audit_events, LOG_READERS, _EXPORTED),
    Route("GET", "/sessions/log.fhir.ndjson", send_log_events, LOG_READERS, _EXPORTED),
    Route(
        "GET", "/sessions/{visit_id}/events.fhir.ndjson", send_visit_events, LOG_READERS, _EXPORTED
    ),
    Route("GET", "/sessions/{visit_id}/proof.zip", send_proof, LOG_READERS, _EXPORTED),
    Route("GET", "/v/{locator}/proof.zip", send_own_proof, PATIENT, _EXPORTED),
)
