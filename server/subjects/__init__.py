"""What the law gives the people whose data are here.

A copy of all of it (GDPR art. 15), the history of their consents, and the facts of the processing
(art. 13, 30 and 35). Rectification (art. 16) is :mod:`server.cup.rectify`: the rules of who is who
are those of the link with CUP.
"""

from __future__ import annotations

from typing import Final

from server.audit import Act, leaves, leaves_none
from server.auth import ADMINISTRATOR, Access, Route
from server.models import UserRole
from server.subjects.pages import show_consents, show_facts

_CONSENT_READERS: Final = Access(frozenset({UserRole.CLINICIAN, UserRole.DESK}))

ROUTES: Final = (
    Route("GET", "/admin/privacy", show_facts, ADMINISTRATOR, leaves_none("no data of patients")),
    Route(
        "GET",
        "/visits/{visit_id}/consents",
        show_consents,
        _CONSENT_READERS,
        leaves(Act.CARD_OPENED, Act.CONTACT_OPENED),
    ),
)
