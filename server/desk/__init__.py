"""The desk: who needs a hand today, and what a person at a telephone can do about it.

Shows identity, contact and booking only; the clinical card, the note and the reason of a visit
are never loaded here (design §4). Only a person who speaks to the patient can complete what CUP
left open: the clinician, the birth date, the contact.
"""

from __future__ import annotations

from typing import Final

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
    Route("GET", "/desk", show_board, DESK),
    Route("POST", "/desk", find_bookings, DESK),
    Route("GET", "/desk/states", live_states, DESK),
    Route("GET", "/desk/visits/{visit_id}", show_visit, DESK),
    Route("POST", "/desk/visits/{visit_id}/contact", correct_contact, DESK),
    Route("POST", "/desk/visits/{visit_id}/code", read_code, DESK),
    Route("POST", "/desk/visits/{visit_id}/link", read_link, DESK),
    Route("POST", "/desk/visits/{visit_id}/revoke", revoke_link, DESK),
    Route("POST", "/desk/visits/{visit_id}/assign", assign_clinician, DESK),
    Route("POST", "/desk/visits/{visit_id}/birth-date", complete_birth_date, DESK),
    Route("POST", "/desk/visits/{visit_id}/resend", resend_invitation, DESK),
)
