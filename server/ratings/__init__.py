"""Ratings: two taps and a sentence of each of the two people, after the visit.

The scores are shown in figures and exports only; the sentences to managers, on a page of their
own and without the visit. Neither side reads what the other has said.
"""

from __future__ import annotations

from typing import Final

from server.audit import Act, leaves, may_leave
from server.auth import CLINICIAN, MANAGER, PATIENT, Route
from server.ratings.acts import take_from_clinician, take_from_patient
from server.ratings.sentences import list_sentences

_RATED: Final = may_leave(Act.VISIT_RATED, why="the same rating is kept once")

ROUTES: Final = (
    Route("POST", "/v/{locator}/rating", take_from_patient, PATIENT, _RATED),
    Route("POST", "/visits/{visit_id}/rating", take_from_clinician, CLINICIAN, _RATED),
    Route("GET", "/ratings", list_sentences, MANAGER, leaves(Act.FIGURES_READ)),
)
