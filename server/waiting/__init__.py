"""The patient's room: one page that is the waiting room and then the call.

``pages``: what the patient sees; ``hooks``: what the rooms of ``signaling`` ask of the records. The
clinician's side is ``server.visit``.
"""

from __future__ import annotations

from typing import Final

from server.audit import OWN_DATA, Act, leaves_none, may_leave
from server.auth import PATIENT, Route
from server.waiting.hooks import VisitHooks
from server.waiting.pages import enter, issue_ticket, show_end, show_room
from server.waiting.spool import SPOOL_FOLDER, Spool

__all__ = ["ROUTES", "SPOOL_FOLDER", "Spool", "VisitHooks"]

ROUTES: Final = (
    Route(
        "POST",
        "/v/{locator}/waiting-room",
        enter,
        PATIENT,
        may_leave(Act.WAITING, why="who waits already is led on"),
    ),
    Route("GET", "/v/{locator}/room", show_room, PATIENT, OWN_DATA),
    Route(
        "POST",
        "/v/{locator}/ticket",
        issue_ticket,
        PATIENT,
        leaves_none("the room tells who comes in"),
    ),
    Route("GET", "/v/{locator}/end", show_end, PATIENT, OWN_DATA),
)
