"""Recording a visit: asked by the clinician, agreed to on every screen, ended by anybody.

``texts``: what people agree to, ``rows``: the records, ``pages``: the requests of both people,
``adminpages``: the switch, ``keeper`` and ``sitting``: a recorder process for each recording,
``tracks``: what it kept, into the store.
What may be recorded when is decided in the room (:mod:`signaling.recording`); the media libraries
are in the process (:mod:`recordings.recorder`).
"""

from __future__ import annotations

from typing import Final

from server.audit import Act, leaves, leaves_none, may_leave
from server.auth import ADMINISTRATOR, CLINICIAN, PATIENT, Route
from server.recording import adminpages, pages
from server.recording.keeper import KEEPER, Keeper

__all__ = ["KEEPER", "ROUTES", "Keeper"]

_ADMIN: Final = "/admin/recording"
_PATIENT: Final = "/v/{locator}/recording"
_CLINICIAN: Final = "/visits/{visit_id}/recording"
_WORDS: Final = leaves_none("the words of the consent")
_ANSWERED: Final = leaves(
    Act.RECORDING_ACCEPTED,
    Act.RECORDING_REFUSED,
    at_times=[Act.RECORDING_BEGAN, Act.RECORDING_ENDED],
)
_STOPPED: Final = leaves(Act.RECORDING_STOPPED, at_times=[Act.RECORDING_ENDED])

ROUTES: Final = (
    Route("GET", _PATIENT, pages.show_text, PATIENT, _WORDS),
    Route("POST", f"{_PATIENT}/answer", pages.answer, PATIENT, _ANSWERED),
    Route("POST", f"{_PATIENT}/stop", pages.stop, PATIENT, _STOPPED),
    Route("GET", _CLINICIAN, pages.show_text, CLINICIAN, _WORDS),
    Route("POST", _CLINICIAN, pages.ask, CLINICIAN, leaves(Act.RECORDING_ASKED)),
    Route("POST", f"{_CLINICIAN}/answer", pages.answer, CLINICIAN, _ANSWERED),
    Route("POST", f"{_CLINICIAN}/stop", pages.stop, CLINICIAN, _STOPPED),
    Route(
        "GET",
        _ADMIN,
        adminpages.show_switch,
        ADMINISTRATOR,
        leaves_none("no data of patients"),
    ),
    Route(
        "POST",
        _ADMIN,
        adminpages.save_switch,
        ADMINISTRATOR,
        may_leave(
            Act.ORGANISATION_CHANGED,
            Act.RECORDING_ENDED,
            why="without a purpose nothing is changed",
        ),
    ),
)
