"""The clinician's page of one visit: patient card, checks before the visit, call and outcome.

Leaving the call is not finishing the visit: only :mod:`server.visit.outcome` ends it. The note
beside the call is ``server.notes``, what happens in the room is ``signaling``.
"""

from __future__ import annotations

from typing import Final

from server.audit import Act, leaves, leaves_none, may_leave
from server.auth import CLINICIAN, Route
from server.visit.checks import confirm_eligibility, confirm_identity
from server.visit.outcome import finish
from server.visit.page import issue_ticket, show_visit

ROUTES: Final = (
    Route("GET", "/visits/{visit_id}", show_visit, CLINICIAN, leaves(Act.CARD_OPENED)),
    Route(
        "POST",
        "/visits/{visit_id}/ticket",
        issue_ticket,
        CLINICIAN,
        leaves_none("the room tells who comes in"),
    ),
    Route(
        "POST",
        "/visits/{visit_id}/identity",
        confirm_identity,
        CLINICIAN,
        leaves(Act.IDENTITY_CONFIRMED),
    ),
    Route(
        "POST",
        "/visits/{visit_id}/eligibility",
        confirm_eligibility,
        CLINICIAN,
        leaves(Act.ELIGIBILITY_CONFIRMED),
    ),
    Route(
        "POST",
        "/visits/{visit_id}/finish",
        finish,
        CLINICIAN,
        may_leave(
            Act.FINISHED,
            Act.OUTCOME,
            Act.SUITABILITY_STATED,
            why="the same outcome twice is one act",
        ),
    ),
)
