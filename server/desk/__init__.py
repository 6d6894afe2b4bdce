"""The desk: who needs a hand today, and what a person at a telephone can do about it.

Shows identity, contact and booking only; the clinical card, the note and the reason of a visit
are never loaded here (design §4). Only a person who speaks to the patient can complete what CUP
left open: the clinician, the birth date, the contact.
"""

from __future__ import annotations

from typing import Final

from server.audit import Act, leaves, leaves_none, may_leave
from server.auth import DESK, Route
from server.desk.acts import (
    assign_clinician,
    complete_birth_date,
    correct_contact,
    read_code,
    read_link,
    resend_invitation,
    revoke_link,
    show_visit,
)
from server.desk.views import find_bookings, live_states, show_board

ROUTES: Final = (
    Route("GET", "/desk", show_board, DESK, leaves(Act.LIST_OPENED)),
    Route("POST", "/desk", find_bookings, DESK, leaves(Act.LIST_OPENED)),
    Route(
        "GET",
        "/desk/states",
        live_states,
        DESK,
        leaves_none(
            "the lines of a board whose opening is logged",
            opens={"check_in.answers", "patient.identity"},
        ),
    ),
    Route("GET", "/desk/visits/{visit_id}", show_visit, DESK, leaves(Act.CONTACT_OPENED)),
    Route(
        "POST",
        "/desk/visits/{visit_id}/contact",
        correct_contact,
        DESK,
        may_leave(
            Act.CONTACT_CORRECTED,
            Act.LINK_ISSUED,
            why="an unchanged contact writes nothing",
            opens={"patient.identity"},
        ),
    ),
    Route("POST", "/desk/visits/{visit_id}/code", read_code, DESK, leaves(Act.LINK_CODE_READ)),
    Route("POST", "/desk/visits/{visit_id}/link", read_link, DESK, leaves(Act.LINK_READ)),
    Route(
        "POST",
        "/desk/visits/{visit_id}/revoke",
        revoke_link,
        DESK,
        leaves(Act.LINK_REVOKED, at_times=[Act.LINK_ISSUED]),
    ),
    Route(
        "POST",
        "/desk/visits/{visit_id}/assign",
        assign_clinician,
        DESK,
        leaves(Act.BOOKING_ASSIGNED),
    ),
    Route(
        "POST",
        "/desk/visits/{visit_id}/birth-date",
        complete_birth_date,
        DESK,
        leaves(Act.IDENTITY_COMPLETED, at_times=[Act.LINK_ISSUED]),
    ),
    Route(
        "POST", "/desk/visits/{visit_id}/resend", resend_invitation, DESK, leaves(Act.LINK_ISSUED)
    ),
)
