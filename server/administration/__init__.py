"""The administrator's pages: the CUP link of one organisation, its phases and its rules.

An administrator sees faults, ids and stable words; no name, no booking's patient and no message is
opened here. The desk's side of the same messages is :mod:`server.intake`.
"""

from __future__ import annotations

from typing import Final

from server.administration import (
    fsepages,
    messagepages,
    outboxpages,
    overview,
    phasepages,
    reconciliationpages,
    sourcepages,
)
from server.auth import ADMINISTRATOR, Route

ROUTES: Final = (
    Route("GET", "/admin", overview.show_overview, ADMINISTRATOR),
    Route("POST", "/admin/sources", sourcepages.add_source, ADMINISTRATOR),
    Route("GET", "/admin/sources/{source_id}", sourcepages.show_source, ADMINISTRATOR),
    Route("POST", "/admin/sources/{source_id}", sourcepages.save_source, ADMINISTRATOR),
    Route("POST", "/admin/sources/{source_id}/pause", sourcepages.pause_source, ADMINISTRATOR),
    Route("POST", "/admin/sources/{source_id}/resume", sourcepages.resume_source, ADMINISTRATOR),
    Route("POST", "/admin/sources/{source_id}/token", sourcepages.issue_key, ADMINISTRATOR),
    Route(
        "POST", "/admin/sources/{source_id}/outgoing-token", sourcepages.save_outgoing_token,
        ADMINISTRATOR,
    ),
    Route("GET", "/admin/inbox", messagepages.list_inbox, ADMINISTRATOR),
    Route("GET", "/admin/quarantine", messagepages.list_quarantine, ADMINISTRATOR),
    Route("POST", "/admin/quarantine/replay", messagepages.replay_reason, ADMINISTRATOR),
    Route(
        "POST", "/admin/quarantine/{message_id}/replay", messagepages.replay_message, ADMINISTRATOR
    ),
    Route("GET", "/admin/quarantine/{message_id}/discard", messagepages.ask_discard, ADMINISTRATOR),
    Route(
        "POST", "/admin/quarantine/{message_id}/discard", messagepages.discard_message,
        ADMINISTRATOR,
    ),
    Route("GET", "/admin/outbox", outboxpages.list_events, ADMINISTRATOR),
    Route("POST", "/admin/outbox/{event_id}/retry", outboxpages.retry, ADMINISTRATOR),
    Route("GET", "/admin/fse", fsepages.show_queue, ADMINISTRATOR),
    Route("POST", "/admin/fse/{submission_id}/retry", fsepages.retry, ADMINISTRATOR),
    Route("GET", "/admin/phases", phasepages.show_phases, ADMINISTRATOR),
    Route("POST", "/admin/phases", phasepages.save_phase, ADMINISTRATOR),
    Route("POST", "/admin/phases/review", phasepages.review_phase, ADMINISTRATOR),
    Route("POST", "/admin/phases/rules", phasepages.save_rules, ADMINISTRATOR),
    Route("GET", "/admin/reconciliation", reconciliationpages.list_runs, ADMINISTRATOR),
    Route("POST", "/admin/reconciliation", reconciliationpages.compare, ADMINISTRATOR),
    Route("GET", "/admin/reconciliation/{run_id}", reconciliationpages.show_run, ADMINISTRATOR),
    Route("GET", "/admin/reconciliation/{run_id}/csv", reconciliationpages.download, ADMINISTRATOR),
)  # fmt: skip
