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
from server.audit import CUP_ACTS, Act, leaves, leaves_none, may_leave
from server.auth import ADMINISTRATOR, Route

ROUTES: Final = (
    Route(
        "GET", "/admin", overview.show_overview, ADMINISTRATOR, leaves_none("no data of patients")
    ),
    Route(
        "POST", "/admin/sources", sourcepages.add_source, ADMINISTRATOR, leaves(Act.SOURCE_CHANGED)
    ),
    Route(
        "GET",
        "/admin/sources/{source_id}",
        sourcepages.show_source,
        ADMINISTRATOR,
        leaves_none("no data of patients"),
    ),
    Route(
        "POST",
        "/admin/sources/{source_id}",
        sourcepages.save_source,
        ADMINISTRATOR,
        leaves(Act.SOURCE_CHANGED),
    ),
    Route(
        "POST",
        "/admin/sources/{source_id}/pause",
        sourcepages.pause_source,
        ADMINISTRATOR,
        may_leave(Act.SOURCE_CHANGED, why="it may be so already"),
    ),
    Route(
        "POST",
        "/admin/sources/{source_id}/resume",
        sourcepages.resume_source,
        ADMINISTRATOR,
        may_leave(Act.SOURCE_CHANGED, why="it may be so already"),
    ),
    Route(
        "POST",
        "/admin/sources/{source_id}/token",
        sourcepages.issue_key,
        ADMINISTRATOR,
        leaves(Act.SOURCE_KEY_ISSUED),
    ),
    Route(
        "POST",
        "/admin/sources/{source_id}/outgoing-token",
        sourcepages.save_outgoing_token,
        ADMINISTRATOR,
        leaves(Act.SOURCE_CHANGED),
    ),
    Route(
        "GET",
        "/admin/inbox",
        messagepages.list_inbox,
        ADMINISTRATOR,
        leaves_none("states of messages, nothing of what is in them"),
    ),
    Route(
        "GET",
        "/admin/quarantine",
        messagepages.list_quarantine,
        ADMINISTRATOR,
        leaves_none("states of messages, nothing of what is in them"),
    ),
    Route(
        "POST",
        "/admin/quarantine/replay",
        messagepages.replay_reason,
        ADMINISTRATOR,
        may_leave(
            *CUP_ACTS, Act.CUP_MESSAGE_REPLAYED, why="there may be no message with this reason"
        ),
    ),
    Route(
        "POST",
        "/admin/quarantine/{message_id}/replay",
        messagepages.replay_message,
        ADMINISTRATOR,
        leaves(Act.CUP_MESSAGE_REPLAYED, at_times=CUP_ACTS),
    ),
    Route(
        "GET",
        "/admin/quarantine/{message_id}/discard",
        messagepages.ask_discard,
        ADMINISTRATOR,
        leaves_none("states of messages, nothing of what is in them"),
    ),
    Route(
        "POST",
        "/admin/quarantine/{message_id}/discard",
        messagepages.discard_message,
        ADMINISTRATOR,
        leaves(Act.CUP_MESSAGE_DISCARDED),
    ),
    Route(
        "GET",
        "/admin/outbox",
        outboxpages.list_events,
        ADMINISTRATOR,
        leaves_none("states of events, nothing of patients"),
    ),
    Route(
        "POST",
        "/admin/outbox/{event_id}/retry",
        outboxpages.retry,
        ADMINISTRATOR,
        leaves(Act.CUP_EVENT_RETRIED),
    ),
    Route(
        "GET",
        "/admin/fse",
        fsepages.show_queue,
        ADMINISTRATOR,
        leaves_none("states of documents, nothing of what is in them"),
    ),
    Route(
        "POST",
        "/admin/fse/{submission_id}/retry",
        fsepages.retry,
        ADMINISTRATOR,
        may_leave(Act.FSE_RETRIED, why="it may be on its way already"),
    ),
    Route(
        "GET",
        "/admin/phases",
        phasepages.show_phases,
        ADMINISTRATOR,
        leaves_none("no data of patients"),
    ),
    Route("POST", "/admin/phases", phasepages.save_phase, ADMINISTRATOR, leaves(Act.PHASE_CHANGED)),
    Route(
        "POST",
        "/admin/phases/review",
        phasepages.review_phase,
        ADMINISTRATOR,
        leaves_none("shows what a change would do"),
    ),
    Route(
        "POST",
        "/admin/phases/rules",
        phasepages.save_rules,
        ADMINISTRATOR,
        leaves(Act.NOTICE_RULE_CHANGED),
    ),
    Route(
        "GET",
        "/admin/reconciliation",
        reconciliationpages.list_runs,
        ADMINISTRATOR,
        leaves_none("numbers of bookings"),
    ),
    Route(
        "POST",
        "/admin/reconciliation",
        reconciliationpages.compare,
        ADMINISTRATOR,
        leaves_none(
            "compares two lists and shows booking codes; its run is a row of its own",
            opens={"appointment.details", "patient.identity"},
        ),
    ),
    Route(
        "GET",
        "/admin/reconciliation/{run_id}",
        reconciliationpages.show_run,
        ADMINISTRATOR,
        leaves_none("booking codes without persons"),
    ),
    Route(
        "GET",
        "/admin/reconciliation/{run_id}/csv",
        reconciliationpages.download,
        ADMINISTRATOR,
        leaves_none("booking codes without persons"),
    ),
)
